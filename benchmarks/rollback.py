"""How long a rollback takes: from before its commit until every request through the router is answered by the old version.

    python -m benchmarks.rollback [--runs 30] [--floor-seconds MEDIAN] [--json FILE]

Real: the repository (fsync included), Envoy, gRPC. The two model servers are the tests' fake gRPC service with an echoing
REST side: loading is no part of a warm rollback, so what a server computes does not matter here. The end is observed from
outside: clients ask without pause, and the time is that of the last answer of the version that was rolled back.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from airflow_model_ops.adapters.repository.posix_fleet import PosixFleetStore
from airflow_model_ops.adapters.repository.posix_log import PosixLog
from airflow_model_ops.adapters.serving.envoy_router import EnvoyRouter
from airflow_model_ops.adapters.serving.tf_serving_client import ModelServiceClient
from tests.adapters.serving_rig import PERSON, Fleet, serving_fleet, version

CLIENTS = 2
PARTS: tuple[tuple[str, type, tuple[str, ...]], ...] = (
    ("log and documents (fsync)", PosixLog, ("put_if_absent",)),
    ("log and documents (fsync)", PosixFleetStore, ("write",)),
    ("router files (fsync)", EnvoyRouter, ("write_clusters", "write_routes")),
    ("Envoy takes clusters", EnvoyRouter, ("wait_clusters_active",)),
    ("Envoy takes routes", EnvoyRouter, ("wait_routes",)),
    ("model servers asked", ModelServiceClient, ("status", "resolve_label")),
    ("labels moved", ModelServiceClient, ("reload",)),
)


@dataclass
class Run:
    """One rollback; milliseconds.

    :param commit: Until the log holds it.
    :param outside: Until the last answer of the version that was rolled back.
    :param applied: Until ``apply`` returned: labels moved and the fact ``applied`` recorded too.
    :param failed: Requests that were not answered with 200.
    """

    commit: float
    outside: float
    applied: float
    failed: int
    parts: dict[str, float]


@dataclass
class Clients:
    """Ask without pause and remember when each version answered last."""

    url: str
    last: dict[str, float] = field(default_factory=dict)
    failed: int = 0
    asked: int = 0
    ending: threading.Event = field(default_factory=threading.Event)

    def ask(self) -> None:
        """Be one client, until told to end."""
        with requests.Session() as session:
            session.trust_env = False
            while not self.ending.is_set():
                answer = session.post(self.url, json={}, timeout=10)
                self.asked += 1
                self.failed += answer.status_code != 200
                self.last[answer.headers.get("x-model-version", "")] = time.perf_counter()

    @contextmanager
    def running(self) -> Iterator[Clients]:
        """Let all clients ask meanwhile."""
        threads = [threading.Thread(target=self.ask) for _ in range(CLIENTS)]
        for thread in threads:
            thread.start()
        try:
            yield self
        finally:
            self.ending.set()
            for thread in threads:
                thread.join()

    def wait_for(self, number: int, *, after: float) -> None:
        """Wait until a version has answered after a moment."""
        while self.last.get(str(number), 0.0) <= after:
            time.sleep(0.001)


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=30)
    parser.add_argument("--floor-seconds", type=float, help="median of an Airflow no-op task, measured in the same run")
    parser.add_argument("--json", type=Path, help="also write the figures there")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as root, serving_fleet(Path(root)) as fleet:
        spent = defaultdict[str, float](float)
        _measure_parts(spent)
        runs = [_rollback(fleet, number, spent) for number in range(options.runs)]
    figures = _figures(runs, floor_seconds=options.floor_seconds)
    print(_table(figures))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1))


def _rollback(fleet: Fleet, number: int, spent: dict[str, float]) -> Run:
    """Release two versions of a model and take the second back, under load."""
    model = f"model-{number}"
    fleet.release(1, 2, model=model)
    old, new = version(1).number, version(2).number
    control = fleet.control(model, actor=PERSON)
    with Clients(f"{fleet.envoy.listener_url}/v1/models/{model}:predict").running() as clients:
        clients.wait_for(new, after=0.0)
        spent.clear()
        began = time.perf_counter()
        control.rollback(reason="benchmark")
        committed = time.perf_counter()
        control.apply(deadline_seconds=30)
        applied = time.perf_counter()
        parts = dict(spent)
        time.sleep(0.05)  # a late answer of the new version would show here
        clients.wait_for(old, after=applied)
    last_new = clients.last[str(new)]
    assert fleet.split(model) == {old: 100.0}
    return Run(
        commit=_ms(committed - began),
        outside=_ms(last_new - began),
        applied=_ms(applied - began),
        failed=clients.failed,
        parts={name: _ms(seconds) for name, seconds in parts.items()},
    )


def _measure_parts(spent: dict[str, float]) -> None:
    def timed(original: Callable[..., Any], part: str) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            began = time.perf_counter()
            try:
                return original(*args, **options)
            finally:
                spent[part] += time.perf_counter() - began

        return call

    for part, owner, names in PARTS:
        for name in names:
            setattr(owner, name, timed(getattr(owner, name), part))


def _figures(runs: list[Run], *, floor_seconds: float | None) -> dict[str, Any]:
    rows = {
        "commit": [run.commit for run in runs],
        "traffic on the old version": [run.outside for run in runs],
        "apply returned": [run.applied for run in runs],
    }
    names = dict.fromkeys(name for name, _, _ in PARTS)
    rows |= {f"  {name}": [run.parts.get(name, 0.0) for run in runs] for name in names}
    return {
        "runs": len(runs),
        "failed_requests": sum(run.failed for run in runs),
        "floor_ms": None if floor_seconds is None else _ms(floor_seconds),
        "ms": {name: {"median": statistics.median(values), "p95": _p95(values)} for name, values in rows.items()},
    }


def _table(figures: dict[str, Any]) -> str:
    floor = figures["floor_ms"]
    lines = [
        f"rollback of a warm version, {figures['runs']} runs, {CLIENTS} clients, {figures['failed_requests']} requests failed",
        "repository: POSIX with fsync; router: Envoy; model servers: 2 x fake gRPC service with an echoing REST side",
        f"an Airflow no-op task beside it: {'not measured' if floor is None else f'{floor:.0f} ms'}",
        f"{'':32} {'median ms':>10} {'p95 ms':>10}",
    ]
    lines += [f"{name:32} {each['median']:10.1f} {each['p95']:10.1f}" for name, each in figures["ms"].items()]
    return "\n".join(lines)


def _p95(values: list[float]) -> float:
    return statistics.quantiles(values, n=20, method="inclusive")[-1] if len(values) > 1 else values[0]


def _ms(seconds: float) -> float:
    return seconds * 1000


if __name__ == "__main__":
    main()
