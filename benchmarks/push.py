"""How fast a push is, next to its floor: ``cp -r`` followed by ``sha256sum`` of the same files.

The push also makes the files durable, which the floor does not; so the floor with a ``sync`` of the copied files is shown
too, and one that hashes with OpenSSL, which may be several times faster than ``sha256sum``. All read a warm page cache.

Run: python -m benchmarks.push [--size BYTES] [--rounds N] [--directory DIR]
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from airflow_model_ops.adapters.repository.posix_repository import PosixRepository
from airflow_model_ops.core.ports import PushRequest
from airflow_model_ops.core.versioning import VersionNaming

GIB = 2**30
TARGET = 0.8
"""The promised share of the floor's speed."""
_CHUNK = 8 * 2**20
_VERSION = VersionNaming().parse("v-20230601-120000")


def make_model(directory: Path, *, size: int) -> Path:
    """Write a SavedModel's layout of about ``size`` bytes: one large shard, a graph, twenty small assets."""
    noise = random.Random(0)
    small = {"saved_model.pb": 2**20, "fingerprint.pb": 80, "variables/variables.index": 2**14}
    small |= {f"assets/vocabulary-{number}.txt": 2**16 for number in range(20)}
    for name, length in small.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(noise.randbytes(length))
    with (directory / "variables/variables.data-00000-of-00001").open("wb") as stream:
        for start in range(0, size, _CHUNK):
            stream.write(noise.randbytes(min(_CHUNK, size - start)))
    return directory


def time_push(model: Path, place: Path) -> float:
    """Return the seconds of one push into a new repository."""
    place.mkdir()
    repository = PosixRepository(place)
    request = PushRequest(directory=model, created="2023-06-01T12:00:00Z")
    return _seconds(lambda: repository.push("digits", _VERSION, request))


def time_floor(model: Path, place: Path) -> float:
    """Return the seconds of ``cp -r`` and ``sha256sum`` of the copied files."""
    return _seconds(lambda: (_copy(model, place), _sha256sum(place)))


def time_durable_floor(model: Path, place: Path) -> float:
    """Return the seconds of the floor with a sync of the copied files, as the push syncs them."""
    return _seconds(lambda: (_copy(model, place), _sync(place), _sha256sum(place)))


def time_openssl_floor(model: Path, place: Path) -> float:
    """Return the seconds of ``cp -r``, a sync and OpenSSL's SHA-256 of the copied files."""
    return _seconds(lambda: (_copy(model, place), _sync(place), _openssl(place)))


CONTENDERS: dict[str, Callable[[Path, Path], float]] = {
    "push": time_push,
    "cp -r + sha256sum (the floor)": time_floor,
    "cp -r + sync + sha256sum": time_durable_floor,
    "cp -r + sync + OpenSSL": time_openssl_floor,
}


def measure(directory: Path, *, size: int, rounds: int) -> dict[str, list[float]]:
    """Return the seconds of each contender, round by round; each starts with nothing left to write back."""
    model = make_model(directory / "model", size=size)
    seconds: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    for _ in range(rounds):
        for name, contender in CONTENDERS.items():
            os.sync()
            place = directory / "place"
            seconds[name].append(contender(model, place))
            shutil.rmtree(place)
    return seconds


def show(seconds: dict[str, list[float]], *, size: int) -> None:
    """Print the table: median seconds, speed, and each contender's seconds as a multiple of the push's."""
    push = statistics.median(seconds["push"])
    print(f"{'':32}{'median s':>10}{'min s':>8}{'MiB/s':>8}{'ratio':>8}")
    for name, values in seconds.items():
        median = statistics.median(values)
        print(f"{name:32}{median:>10.2f}{min(values):>8.2f}{size / 2**20 / median:>8.0f}{median / push:>8.2f}")
    ratio = statistics.median(seconds["cp -r + sha256sum (the floor)"]) / push
    print(f"\nspeed of the push / speed of the floor: {ratio:.2f} (promised: at least {TARGET})")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=GIB, help="bytes of the model (default 1 GiB)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--directory", type=Path, help="where to measure (default: the directory for temporary files)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.directory) as directory:
        show(measure(Path(directory), size=options.size, rounds=options.rounds), size=options.size)


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _copy(model: Path, place: Path) -> None:
    subprocess.run(["cp", "-r", model, place], check=True)


def _sync(place: Path) -> None:
    subprocess.run(["sync", *_files(place)], check=True)


def _sha256sum(place: Path) -> None:
    subprocess.run(["sha256sum", *_files(place)], check=True, stdout=subprocess.DEVNULL)


def _openssl(place: Path) -> None:
    for path in _files(place):
        with path.open("rb") as stream:
            hashlib.file_digest(stream, "sha256")


def _files(place: Path) -> list[Path]:
    return [path for path in place.rglob("*") if path.is_file()]


if __name__ == "__main__":
    main()
