"""The page's benchmark: how fast Airflow's API server answers it over a house of many models and versions.

Beside each figure stands the floor: the same server's answer to a signed-in user who may see no model.

The exit status is not 0 if a goal does not hold.

Run: make bench-page, or python -m benchmarks.page [--models N] [--versions N] [--repetitions N]
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from benchmarks.page.house import House, airflow_settings, write_house
from benchmarks.page.projection import Refreshes, measure_refreshes

GOAL_MS = 200.0
"""The 95th percentile of every answer."""
_READERS_AT_ONCE = 8
_START_SECONDS = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """Milliseconds of one question, sorted."""

    name: str
    values: tuple[float, ...]
    size: int

    @property
    def p95(self) -> float:
        """The 95th percentile."""
        return self.values[math.ceil(0.95 * len(self.values)) - 1]

    def row(self, floor: float) -> str:
        """Return a line of the table."""
        median = statistics.median(self.values)
        holds = "holds" if self.p95 < GOAL_MS else "FAILS"
        return (
            f"| {self.name} | {median:.1f} | {self.p95:.1f} | {self.values[-1]:.1f} | {median / floor:.1f} | "
            f"{self.size / 1024:.0f} | {holds} |"
        )


@contextmanager
def _served(house: House, home: Path) -> Iterator[tuple[httpx.Client, httpx.Client]]:
    """Start the server; yield the clients of who may see everything, and nothing."""
    home.mkdir()
    command = [sys.executable, "-m", "benchmarks.page.server", str(house.root)]
    environment = {**os.environ, **airflow_settings(house, home=home)}
    with (home / "log").open("w") as log:
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=log, text=True)
        try:
            assert process.stdout is not None
            told = next((json.loads(line) for line in process.stdout if line.startswith('{"port"')), None)
            if told is None:
                raise RuntimeError(f"the server did not start:\n{(home / 'log').read_text()[-3000:]}")
            base = f"http://127.0.0.1:{told['port']}/model-ops/api/v1/"
            with _client(base, told["tokens"]["admin"]) as admin, _client(base, told["tokens"]["stranger"]) as stranger:
                yield admin, stranger
        finally:
            process.terminate()
            process.wait(timeout=20)


def _client(base: str, token: str) -> httpx.Client:
    return httpx.Client(base_url=base, headers={"Authorization": f"Bearer {token}"}, timeout=30, trust_env=False)


def _time(name: str, ask: Callable[[], httpx.Response], *, times: int) -> Timed:
    ask().raise_for_status()
    values, size = [], 0
    for _ in range(times):
        begin = time.perf_counter()
        answer = ask()
        values.append(1000 * (time.perf_counter() - begin))
        answer.raise_for_status()
        size = len(answer.content)
    return Timed(name=name, values=tuple(sorted(values)), size=size)


def _time_at_once(name: str, ask: Callable[[], httpx.Response], *, times: int) -> Timed:
    """Time a question that several readers ask at once."""
    with ThreadPoolExecutor(_READERS_AT_ONCE) as readers:
        each = times // _READERS_AT_ONCE
        found = list(readers.map(lambda _: _time(name, ask, times=each), range(_READERS_AT_ONCE)))
    values = sorted(value for timed in found for value in timed.values)
    return Timed(name=name, values=tuple(values), size=found[0].size)


def _ask_all(house: House, admin: httpx.Client, stranger: httpx.Client, *, times: int) -> tuple[Timed, list[Timed]]:
    deadline = time.monotonic() + _START_SECONDS
    while not admin.get("models").json()["complete"] and time.monotonic() < deadline:
        time.sleep(0.05)
    models = itertools.cycle(house.models)
    live = itertools.cycle(house.live)

    def one(path: str, names: Iterator[str] = models) -> Callable[[], httpx.Response]:
        return lambda: admin.get(path.format(next(names)))

    floor = _time("floor: the list of who may see no model", lambda: stranger.get("models"), times=times)
    return floor, [
        _time("list of models", lambda: admin.get("models"), times=times),
        _time_at_once(f"list of models, {_READERS_AT_ONCE} at once", lambda: admin.get("models"), times=times),
        _time("a model", one("models/{}"), times=times),
        _time("a model with a live canary", one("models/{}", live), times=times),
        _time("timeline, 50 entries", one("models/{}/timeline"), times=times),
        _time("traffic of 24 hours", one("models/{}/traffic"), times=times),
        _time("evidence of a live canary", one("models/{}/evidence", live), times=times),
        _time("versions, 50", one("models/{}/versions"), times=times),
    ]


def _first_answer(admin: httpx.Client) -> tuple[float, int]:
    """Return how long the very first list takes, in milliseconds, and how many rows it has more than a name of."""
    begin = time.perf_counter()
    answer = admin.get("models")
    taken = 1000 * (time.perf_counter() - begin)
    return taken, sum(row["stable"] is not None for row in answer.json()["models"])


def report(house: House, floor: Timed, timed: Sequence[Timed], first: tuple[float, int], cost: Refreshes) -> str:
    """Return the tables."""
    base = statistics.median(floor.values)
    what = (
        f"{len(house.models)} models ({len(house.live)} live), {house.versions:,} versions, {house.entries:,} log entries, "
        f"all of them in the ledger, too; written in {house.seconds:.0f} s; load of the machine {os.getloadavg()[0]:.1f}"
    )
    refresh = (
        f"One refresh of the projection: {cost.first_ms:.0f} ms the first time (each log is read anew), {cost.again_ms:.0f} ms "
        f"then ({cost.again_cpu_ms:.0f} ms of processor time, every {cost.every_seconds:g} s while somebody looks); plain reads "
        f"of the newest entries' files: {cost.floor_ms:.0f} ms"
    )
    lines = [
        what,
        "",
        "| question | median ms | p95 ms | max ms | of the floor | KiB | p95 < 200 ms |",
        "|---|---|---|---|---|---|---|",
        floor.row(base),
        *(each.row(base) for each in timed),
        "",
        f"The very first list: {first[0]:.0f} ms, {first[1]} of {len(house.models)} rows were read by then.",
        refresh,
    ]
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.page", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--models", type=int, default=200)
    parser.add_argument("--versions", type=int, default=100_000, help="over all models")
    parser.add_argument("--repetitions", type=int, default=200, help="of each question")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--directory", type=Path, help="where everything is written; default: a temporary directory")
    asked = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(dir=asked.directory) as directory:
        house = write_house(Path(directory) / "house", models=asked.models, versions=asked.versions, seed=asked.seed)
        print(f"written in {house.seconds:.0f} s", file=sys.stderr, flush=True)
        cost = measure_refreshes(house)
        with _served(house, Path(directory) / "home") as (admin, stranger):
            first = _first_answer(admin)
            floor, timed = _ask_all(house, admin, stranger, times=asked.repetitions)
        print(report(house, floor, timed, first, cost))
    failed = [each.name for each in timed if each.p95 >= GOAL_MS]
    if failed:
        print(f"\nFAILS: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
