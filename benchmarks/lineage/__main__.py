"""The ledger's benchmark: how long it takes to write one, and how long questions to it take, whatever its size.

The exit status is not 0 if a goal does not hold; the last line says it in one sentence.

Run: make bench-lineage, or python -m benchmarks.lineage [--versions N ...] [--seed N] [--write DIR]
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.judge.report import Report
from benchmarks.lineage.ledgers import WrittenLedger, write_ledger
from benchmarks.lineage.measures import Measured, measure_ledger
from benchmarks.lineage.results import report_of

SIZES = (1_000, 10_000, 100_000)
REPETITIONS = 300


def measure(sizes: Sequence[int], *, seed: int, repetitions: int, directory: Path) -> Report:
    """Write all ledgers, then ask all of them: so that whatever else the machine does lies on the questions to all sizes alike."""
    ledgers = [_written(size, seed=seed, directory=directory) for size in sorted(sizes)]
    return report_of([_asked(ledger, seed=seed, repetitions=repetitions) for ledger in ledgers])


def _written(versions: int, *, seed: int, directory: Path) -> WrittenLedger:
    begin = time.monotonic()
    ledger = write_ledger(directory / f"ledger-{versions}.sqlite", versions=versions, seed=seed)
    _tell(f"{versions:,} versions, {ledger.entries:,} entries: written", begin)
    return ledger


def _asked(ledger: WrittenLedger, *, seed: int, repetitions: int) -> Measured:
    begin = time.monotonic()
    measured = measure_ledger(ledger, repetitions=repetitions, seed=seed)
    _tell(f"{ledger.versions:,} versions: asked", begin)
    return measured


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; print the tables, and write them if asked to."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.lineage", description=(__doc__ or "").splitlines()[0])
    sizes = ", ".join(f"{size:,}" for size in SIZES)
    parser.add_argument("--versions", type=int, nargs="+", default=SIZES, metavar="N", help=f"default: {sizes}")
    parser.add_argument("--repetitions", type=int, default=REPETITIONS, help="of each question")
    parser.add_argument("--seed", type=int, default=1, help="of everything that is drawn")
    parser.add_argument("--directory", type=Path, help="where the ledgers are written; default: a temporary directory")
    parser.add_argument("--write", type=Path, metavar="DIR", help="write lineage_results.md there")
    asked = parser.parse_args(argv)
    begin, busy = time.monotonic(), os.getloadavg()[0]
    with tempfile.TemporaryDirectory(dir=asked.directory) as directory:
        medium = _medium(Path(directory))
        report = measure(asked.versions, seed=asked.seed, repetitions=asked.repetitions, directory=Path(directory))
    took = time.monotonic() - begin
    print(report.markdown())
    if asked.write is not None:
        _write(asked.write, report, asked=asked, took=took, busy=busy, medium=medium)
    for finding in report.failed:
        print(f"\nFAILS: {finding.goal} ({finding.cell}): {finding.measured}; goal: {finding.rule}")
    held = len(report.findings) - len(report.failed)
    largest = f"up to {max(asked.versions):,} versions, seed {asked.seed}"
    print(f"\nlineage benchmark ({largest}): {held} of {len(report.findings)} goals hold, {took:.0f} s")
    return 1 if report.failed else 0


def _write(
    directory: Path, report: Report, *, asked: argparse.Namespace, took: float, busy: float, medium: str
) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    sizes = " ".join(str(size) for size in sorted(asked.versions))
    head = (
        "# The ledger's speed\n\n"
        f"Made by `python -m benchmarks.lineage --versions {sizes} --seed {asked.seed} --write docs` in {took / 60:.0f} minutes "
        f"on {datetime.now(UTC):%Y-%m-%d}; {_machine()}, SQLite files on {medium}; load of the machine "
        f"{busy:.1f} before and {os.getloadavg()[0]:.1f} after. What is asked: [lineage](lineage.md).\n\n"
    )
    (directory / "lineage_results.md").write_text(head + report.markdown() + "\n")


def _machine() -> str:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{os.cpu_count()} cores ({platform.machine()}), {memory:.0f} GB, Python {platform.python_version()}"


def _medium(directory: Path) -> str:
    """Return the kind of file system a directory is on, e.g. ``ext4``; ``tmpfs`` is memory."""
    mounts = Path("/proc/mounts")
    lines = mounts.read_text().splitlines() if mounts.exists() else []
    over = [
        (len(point), kind) for _, point, kind, *_ in map(str.split, lines) if directory.resolve().is_relative_to(point)
    ]
    return max(over)[1] if over else "an unknown file system"


def _tell(what: str, begin: float) -> None:
    print(f"{what} in {time.monotonic() - begin:.0f} s", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
