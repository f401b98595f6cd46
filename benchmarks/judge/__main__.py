"""The judge's benchmark: its promises, and the contest with the rules of other tools.

The exit status is not 0 if a goal does not hold; the last line says it in one sentence.

Run: make bench-judge, make bench-judge-full, or python -m benchmarks.judge [--profile full] [--seed N] [--write DIR]
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.judge import contest, cost, faults, promises, stories
from benchmarks.judge.profiles import FULL, QUICK, Profile
from benchmarks.judge.report import Report
from benchmarks.judge.work import Workers

PROFILES = {profile.name: profile for profile in (QUICK, FULL)}


def measure(profile: Profile, *, seed: int) -> tuple[Report, str]:
    """Run everything, and give the report and the picture."""
    report = Report()
    cost.run(seed, report)
    with Workers(seed=seed) as workers:
        for part in (faults, stories, promises):
            begin = time.monotonic()
            part.run(workers, profile, report)
            _tell(part.__name__, begin)
        begin = time.monotonic()
        picture = contest.run(workers, profile, report)
        _tell(contest.__name__, begin)
    return report, picture


def main(argv: Sequence[str] | None = None) -> int:
    """Run one profile; print the tables, and write them if asked to."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.judge", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--profile", choices=sorted(PROFILES), default=QUICK.name)
    parser.add_argument("--seed", type=int, default=1, help="of everything that is drawn")
    parser.add_argument("--write", type=Path, metavar="DIR", help="write judge_results.md and images/judge.svg there")
    asked = parser.parse_args(argv)
    begin = time.monotonic()
    report, picture = measure(PROFILES[asked.profile], seed=asked.seed)
    took = time.monotonic() - begin
    print(report.markdown())
    if asked.write is not None:
        _write(asked.write, report, picture, profile=asked.profile, seed=asked.seed, took=took)
    for finding in report.failed:
        print(f"\nFAILS: {finding.goal} ({finding.cell}): {finding.measured}; goal: {finding.rule}")
    held = len(report.findings) - len(report.failed)
    print(
        f"\njudge benchmark ({asked.profile}, seed {asked.seed}): {held} of {len(report.findings)} goals hold, {took:.0f} s"
    )
    return 1 if report.failed else 0


def _write(directory: Path, report: Report, picture: str, *, profile: str, seed: int, took: float) -> None:
    (directory / "images").mkdir(parents=True, exist_ok=True)
    (directory / "images" / "judge.svg").write_text(picture)
    head = (
        "# The judge's results\n\n"
        f"Made by `python -m benchmarks.judge --profile {profile} --seed {seed} --write docs` (`make bench-judge-full`) in "
        f"{took / 60:.0f} minutes. What it means: [the judge](judge.md).\n\n"
        "![False-rollback rate against detection delay of all judges](images/judge.svg)\n\n"
    )
    (directory / "judge_results.md").write_text(head + report.markdown() + "\n")


def _tell(part: str, begin: float) -> None:
    print(f"{part.rpartition('.')[2]}: {time.monotonic() - begin:.0f} s", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
