"""All benchmarks, one after the other: each prints a table with the machine's floor beside our figure.

Run: make bench, or python -m benchmarks [NAME ...] with names out of the list it prints for --help.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence

from benchmarks import airflow_floor


def _rollback() -> int:
    floor = airflow_floor.measure(runs=10)
    print(
        f"Airflow's no-op task here: {floor.task * 1000:.0f} ms of its own, {floor.request * 1000:.0f} ms after the REST call\n"
    )
    return _run("benchmarks.rollback", "--floor-seconds", f"{floor.task:.4f}")


def _run(module: str, *arguments: str) -> int:
    return subprocess.run([sys.executable, "-m", module, *arguments], check=False).returncode


_BENCHMARKS = {
    "parse": lambda: _run("benchmarks.parse"),
    "repository": lambda: _run("benchmarks.repository"),
    "push": lambda: _run("benchmarks.push"),
    "upload": lambda: _run("benchmarks.upload"),
    "rollback": _rollback,
    "break_glass": lambda: _run("benchmarks.break_glass"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the named benchmarks; the exit status is not 0 if one of them failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"out of {', '.join(_BENCHMARKS)}; default: all")
    names = parser.parse_args(argv).names or list(_BENCHMARKS)
    unknown = sorted(set(names) - set(_BENCHMARKS))
    if unknown:
        parser.error(f"no benchmark is called {', '.join(unknown)}; choose out of {', '.join(_BENCHMARKS)}")
    failed = []
    for name in names:
        print(f"\n=== {name} (load of the machine now: {os.getloadavg()[0]:.1f}) ===\n", flush=True)
        if _BENCHMARKS[name]() != 0:
            failed.append(name)
    if failed:
        print(f"\nfailed: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
