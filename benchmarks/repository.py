"""What the repository's small operations cost: reading the head of a long log, appending to it, the fleet lock.

Budgets: a head is read in well under 1 ms warm, whatever the length of the log; the lock is taken and released in under
10 ms. Each append waits for the disk twice (the entry, and the name of its file).

Run: python -m benchmarks.repository [--entries N] [--directory DIR]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from airflow_model_ops.adapters.repository.posix_fleet import PosixFleetStore
from airflow_model_ops.adapters.repository.posix_log import PosixLog
from airflow_model_ops.core.log import Entry, Origin, transition
from airflow_model_ops.core.state import Actor, ActorKind, ServingState
from airflow_model_ops.core.transitions import Action, Decision
from airflow_model_ops.core.versioning import VersionNaming

_HEAD_BUDGET_MS, _LOCK_BUDGET_MS = 1.0, 10.0
_VERSIONS = tuple(VersionNaming().parse(f"v-20230601-1200{second:02d}") for second in range(20))
_STATE = ServingState(fleet="main", stable=_VERSIONS[-1], earlier=_VERSIONS[:-1])


def next_entry(previous: Entry | None) -> Entry:
    """Return a transition of usual size: its state names twenty versions."""
    decision = Decision(action=Action.ADOPT, state=_STATE, reason="a benchmark", version=_STATE.stable)
    origin = Origin(actor=Actor(kind=ActorKind.AUTOMATION, name="benchmark"), run={"dag_id": "model_release"})
    return transition(decision, origin=origin, at="2023-06-01T12:00:00Z", write_id="w").after(previous)


def fill(directory: Path, *, entries: int) -> Entry:
    """Write a log quickly, without syncing each entry; return the last."""
    directory.mkdir(parents=True)
    entry = next_entry(None)
    for sequence in range(1, entries + 1):
        (directory / f"{sequence:020d}.json").write_bytes(entry.to_bytes())
        if sequence < entries:
            entry = next_entry(entry)
    return entry


def milliseconds(work: Callable[[], object], *, times: int) -> list[float]:
    """Return how long each of some calls took."""
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        taken.append(1000 * (time.perf_counter() - start))
    return taken


def measure(directory: Path, *, entries: int) -> dict[str, list[float]]:
    """Return the milliseconds of each operation."""
    place = directory / "digits" / "log"
    last = fill(place, entries=entries)
    log = PosixLog(place)
    fleet = PosixFleetStore(directory / "_fleets" / "main")

    def read_without_hint() -> None:
        (place / ".newest").unlink(missing_ok=True)
        assert log.last() == last

    def append() -> None:
        assert log.put_if_absent(next_entry(log.last()))

    def lock() -> None:
        with fleet.lock(wait_seconds=1):
            return

    return {
        "head, by a listing": milliseconds(read_without_hint, times=5),
        "head, by the hint": milliseconds(log.last, times=1000),
        "read head, append": milliseconds(append, times=200),
        "fleet lock, take and release": milliseconds(lock, times=200),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--entries", type=int, default=100_000)
    parser.add_argument("--directory", type=Path, help="where to measure (default: the directory for temporary files)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.directory) as directory:
        taken = measure(Path(directory), entries=options.entries)
    print(f"{f'log of {options.entries} entries':32}{'median ms':>11}{'p90 ms':>9}{'max ms':>9}")
    for name, values in taken.items():
        p90 = statistics.quantiles(values, n=10)[-1]
        print(f"{name:32}{statistics.median(values):>11.3f}{p90:>9.3f}{max(values):>9.3f}")
    print(f"\nbudgets: head by the hint {_HEAD_BUDGET_MS:g} ms, fleet lock {_LOCK_BUDGET_MS:g} ms")


if __name__ == "__main__":
    main()
