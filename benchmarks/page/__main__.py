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
from typing import Any, TypeAlias

import httpx

from benchmarks.page.house import House, airflow_settings, write_house
from benchmarks.page.projection import Refreshes, measure_refreshes

GOAL_MS = 200.0
"""The 95th percentile of every answer."""
_READERS_AT_ONCE = 8
_START_SECONDS = 120.0
Ask: TypeAlias = Callable[[], httpx.Response]


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """Milliseconds of one question, sorted.

    :param processor: Milliseconds of processor time that the server spends on it, which other work on the machine lengthens little.
    """

    name: str
    values: tuple[float, ...]
    size: int
    processor: float

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
            f"{self.processor:.1f} | {self.size / 1024:.0f} | {holds} |"
        )


class Server:
    """The server in a process of its own, with the clients of who may see everything, and nothing."""

    def __init__(self, process: subprocess.Popen[str], told: dict[str, Any]) -> None:
        self._pid = process.pid
        base = f"http://127.0.0.1:{told['port']}/model-ops/api/v1/"
        self.admin, self.stranger = (_client(base, told["tokens"][name]) for name in ("admin", "stranger"))

    @property
    def processor_seconds(self) -> float:
        """The processor time that it has taken so far."""
        user, system = Path(f"/proc/{self._pid}/stat").read_text().rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    def time(self, name: str, ask: Ask, *, times: int, readers: int = 1) -> Timed:
        """Time a question that some readers ask at once."""
        ask().raise_for_status()
        begin, each = self.processor_seconds, times // readers
        with ThreadPoolExecutor(readers) as at_once:
            found = list(at_once.map(lambda _: [_milliseconds(ask) for _ in range(each)], range(readers)))
        used = 1000 * (self.processor_seconds - begin) / (each * readers)
        return Timed(
            name=name,
            values=tuple(sorted(itertools.chain.from_iterable(found))),
            size=len(ask().content),
            processor=used,
        )


@contextmanager
def _served(house: House, home: Path) -> Iterator[Server]:
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
            server = Server(process, told)
            with server.admin, server.stranger:
                yield server
        finally:
            process.terminate()
            process.wait(timeout=20)


def _client(base: str, token: str) -> httpx.Client:
    return httpx.Client(base_url=base, headers={"Authorization": f"Bearer {token}"}, timeout=30, trust_env=False)


def _milliseconds(ask: Ask) -> float:
    begin = time.perf_counter()
    answer = ask()
    taken = 1000 * (time.perf_counter() - begin)
    answer.raise_for_status()
    return taken


def _ask_all(house: House, server: Server, *, times: int) -> tuple[Timed, list[Timed]]:
    admin, stranger, deadline = server.admin, server.stranger, time.monotonic() + _START_SECONDS
    while not admin.get("models").json()["complete"] and time.monotonic() < deadline:
        time.sleep(0.05)
    models = itertools.cycle(house.models)
    live = itertools.cycle(house.live)

    def one(path: str, names: Iterator[str] = models) -> Ask:
        return lambda: admin.get(path.format(next(names)))

    floor = server.time("floor: the list of who may see no model", lambda: stranger.get("models"), times=times)
    everything = {
        "list of models": lambda: admin.get("models"),
        "a model": one("models/{}"),
        "a model with a live canary": one("models/{}", live),
        "timeline, 50 entries": one("models/{}/timeline"),
        "traffic of 24 hours": one("models/{}/traffic"),
        "evidence of a live canary": one("models/{}/evidence", live),
        "versions, 50": one("models/{}/versions"),
    }
    found = [server.time(name, ask, times=times) for name, ask in everything.items()]
    name = f"list of models, {_READERS_AT_ONCE} at once"
    return floor, [*found, server.time(name, everything["list of models"], times=times, readers=_READERS_AT_ONCE)]


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
        f"and a ledger of as many ({house.recorded} models recorded, the others' rows copied); written in {house.seconds:.0f} s; "
        f"load of the machine {os.getloadavg()[0]:.1f}"
    )
    refresh = (
        f"One refresh of the projection: {cost.first_ms:.0f} ms the first time (each log is read anew), {cost.again_ms:.0f} ms "
        f"then ({cost.again_cpu_ms:.0f} ms of processor time, every {cost.every_seconds:g} s while somebody looks); plain reads "
        f"of the newest entries' files: {cost.floor_ms:.0f} ms"
    )
    lines = [
        what,
        "",
        "| question | median ms | p95 ms | max ms | of the floor | server's CPU ms | KiB | p95 < 200 ms |",
        "|---|---|---|---|---|---|---|---|",
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
    parser.add_argument("--recorded", type=int, default=5, help="models in the ledger that are not copies of others'")
    parser.add_argument("--repetitions", type=int, default=200, help="of each question")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--directory", type=Path, help="where everything is written; default: a temporary directory")
    asked = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(dir=asked.directory) as directory:
        house = write_house(
            Path(directory) / "house",
            models=asked.models,
            versions=asked.versions,
            recorded=asked.recorded,
            seed=asked.seed,
        )
        print(f"written in {house.seconds:.0f} s", file=sys.stderr, flush=True)
        cost = measure_refreshes(house)
        with _served(house, Path(directory) / "home") as server:
            first = _first_answer(server.admin)
            floor, timed = _ask_all(house, server, times=asked.repetitions)
        print(report(house, floor, timed, first, cost))
    failed = [each.name for each in timed if each.p95 >= GOAL_MS]
    if failed:
        print(f"\nFAILS: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
