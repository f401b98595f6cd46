"""How fast a push to a bucket is, next to the store's own client that copies the same files.

Google's client is ``google-cloud-storage`` with its transfer manager, Amazon's is ``boto3`` with s3transfer; the stores are
fake-gcs-server and moto on loopback, so that the figures are of the clients and of this machine's cores, not of a network.
All have the store check a CRC of what it receives. "Our upload" does beside that what a push must: it is conditional, can be
gone on with after a kill, and takes the SHA-256 of what it sends; "our whole push" also hashes all files before, claims the
name, checks what has arrived and commits. Clients are made before the clock starts, the order changes from round to round,
and a share is the median of the rounds' own, as rounds are minutes apart on a busy machine.

Run: python -m benchmarks.upload [--size BYTES] [--rounds N]
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import boto3
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage
from google.cloud.storage import transfer_manager

from airflow_model_ops.adapters.repository.contents import hash_files, saved_model_contents
from airflow_model_ops.adapters.repository.fsspec_store import FsspecStore
from airflow_model_ops.adapters.repository.object_repository import ObjectRepository
from airflow_model_ops.adapters.repository.object_store import Upload
from airflow_model_ops.core.ports import PushRequest
from airflow_model_ops.core.versioning import VersionNaming
from benchmarks.push import make_model
from tests.adapters.bucket_rig import S3_KEYS, BucketServer, run_gcs, run_s3

GOAL = 0.8
"""The promised share of the speed of the store's own client."""
_SIZE = 256 << 20
_SMALL_FILES = 20
"""Beside the 22 that the model has."""
_VERSION = VersionNaming().parse("v-20230601-120000")


def files_of(model: Path) -> list[str]:
    """Return the names of all files of a model, relative to it."""
    return sorted(path.relative_to(model).as_posix() for path in model.rglob("*") if path.is_file())


def own_client(server: BucketServer, model: Path) -> Callable[[], None]:
    """Return what copies a model into a fresh bucket with the store's own client, as its documentation advises."""
    bucket, names = server.new_bucket(), files_of(model)
    if server.scheme == "gs":
        client = storage.Client(
            project="test", credentials=AnonymousCredentials(), client_options={"api_endpoint": server.url}
        )

        def copy() -> None:
            done = transfer_manager.upload_many_from_filenames(
                client.bucket(bucket),
                names,
                source_directory=str(model),
                worker_type=transfer_manager.THREAD,
                max_workers=8,
                raise_exception=True,
            )
            assert len(done) == len(names)

        return copy
    s3 = boto3.client(
        "s3",
        endpoint_url=server.url,
        region_name="us-east-1",
        aws_access_key_id=S3_KEYS["key"],
        aws_secret_access_key=S3_KEYS["secret"],
    )

    def copy_to_s3() -> None:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda name: s3.upload_file(str(model / name), bucket, name), names))

    return copy_to_s3


def our_upload(server: BucketServer, model: Path) -> Callable[[], None]:
    """Return what copies a model of which the digests are known into a fresh bucket with our store."""
    store, digests = opened(server), hash_files(saved_model_contents(model))
    uploads = [
        Upload(key=f"digits/{name}", path=model / name, size=(model / name).stat().st_size, sha256=digests[name])
        for name in files_of(model)
    ]
    return lambda: check(len(store.upload(uploads, progress=lambda _: None)) == len(uploads))


def opened(server: BucketServer) -> FsspecStore:
    """Return a store whose client is made, as the others' are: each process makes it once."""
    store = server.new_store()
    store.names("")
    return store


def our_push(server: BucketServer, model: Path) -> Callable[[], None]:
    """Return what pushes a model as a version: hashed, claimed, uploaded, checked, committed."""
    repository = ObjectRepository(opened(server))
    request = PushRequest(directory=model, created="2023-06-01T12:00:00+00:00")
    return lambda: check(bool(repository.push("digits", _VERSION, request).digest))


def check(done: bool) -> None:
    """Stop a benchmark whose work was not done."""
    assert done


def timed(work: Callable[[], None]) -> float:
    """Return the seconds that some work takes."""
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def compare(server: BucketServer, model: Path, *, rounds: int, label: str, size: int) -> float:
    """Print one store's rows, medians of all rounds; return the speed of our upload as a share of the client's."""
    ways = {"its own client": own_client, "our upload": our_upload, "our whole push": our_push}
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    work: dict[str, list[float]] = {way: [] for way in ways}
    for number in range(rounds):
        for way in list(ways)[:: -1 if number % 2 else 1]:
            task, begin = ways[way](server, model), time.process_time()
            seconds[way].append(timed(task))
            work[way].append(time.process_time() - begin)
    shares = {}
    for way, taken in seconds.items():
        shares[way] = statistics.median(own / ours for own, ours in zip(seconds["its own client"], taken, strict=True))
        median, cpu = statistics.median(taken), statistics.median(work[way])
        print(
            f"| {label} | {way} | {median:.2f} | {size / median / 1e6:.0f} | {cpu:.2f} | {shares[way]:.2f} |",
            flush=True,
        )
    return shares["our upload"]


def main() -> int:
    """Compare both stores; the exit status is 1 if an upload is slower than promised."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.upload", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--size", type=int, default=_SIZE, help="of the large file, in bytes")
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        directory = Path(place)
        model = make_model(directory / "model", size=args.size)
        for number in range(_SMALL_FILES):
            (model / f"assets/more-{number}.txt").write_bytes(os.urandom(1 << 14))
        size = sum((model / name).stat().st_size for name in files_of(model))
        hashing = timed(lambda: check(bool(hash_files(saved_model_contents(model)))))
        print(f"{len(files_of(model))} files, {size / 1e6:.0f} MB; hashing them takes {hashing:.2f} s")
        print(f"{args.rounds} rounds; load of the machine now: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores\n")
        print(
            "| store | way | seconds | MB/s | CPU s of the client | of its client's speed |\n|---|---|---|---|---|---|"
        )
        shares = {}
        for label, run in (("fake-gcs-server", run_gcs), ("moto S3", run_s3)):
            (directory / label).mkdir()
            with run(directory / label) as server:
                shares[label] = compare(server, model, rounds=args.rounds, label=label, size=size)
    print(f"\nload of the machine at the end: {os.getloadavg()[0]:.1f}")
    for label, share in shares.items():
        verdict = "holds" if share >= GOAL else "does not hold"
        print(f"{label}: an upload has {share:.2f} of the client's speed; the goal of {GOAL} {verdict}")
    return 0 if min(shares.values()) >= GOAL else 1


if __name__ == "__main__":
    raise SystemExit(main())
