"""Twenty releases of different models on one fleet at once, each in a process of its own: none disturbs another."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_model_ops.core.log import check_chain
from airflow_model_ops.core.state import Fence
from tests.adapters.serving_rig import Fleet, FleetTraffic, serving_fleet, version
from tests.control.release_worker import RELEASE, start_worker

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]  # dozens of processes, on a machine that may be busy

MODELS = [f"model-{number}" for number in range(20)]
N1, N2 = version(1).number, version(2).number
FIRST = Fence(release="r1", attempt=1)


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    # A busy machine may answer late, and that is no failure.
    with serving_fleet(tmp_path, load_seconds=0.2, route_timeout_seconds=10) as running:
        yield running


def test_twenty_releases_at_once_end_stable_without_a_failed_request(fleet: Fleet, tmp_path: Path) -> None:
    for major, fence in ((1, FIRST), (2, RELEASE)):
        for model in MODELS:
            fleet.push(major, model=model)
        if major == 1:  # nothing serves before a first release, so nobody asks
            _release_all(fleet, tmp_path / "first", major=major, fence=fence)
            continue
        with FleetTraffic(fleet.envoy.listener_url, models=MODELS) as traffic:
            _release_all(fleet, tmp_path / "second", major=major, fence=fence)
        assert traffic.failures == []
        assert traffic.total > 100
    for model in MODELS:
        _expect_only_its_own(fleet, model)


def _release_all(fleet: Fleet, traces: Path, *, major: int, fence: Fence) -> None:
    traces.mkdir()
    workers = {
        model: start_worker(fleet.addresses, model, major=major, fence=fence, trace=traces / model) for model in MODELS
    }
    for worker in workers.values():
        worker.join(200)
    assert {model: worker.exitcode for model, worker in workers.items()} == dict.fromkeys(MODELS, 0)


def _expect_only_its_own(fleet: Fleet, model: str) -> None:
    control = fleet.control(model)
    entries = list(control.repository.log(model).entries())
    for entry, previous in zip(entries, [None, *entries], strict=False):
        check_chain(entry, previous)
    steps = ["start_canary", "shift", "promote"]
    ours = [(entry.name, entry.release) for entry in entries if entry.is_transition]
    assert ours == [(step, fence) for fence in (FIRST, RELEASE) for step in steps], ours
    applied = [entry.detail["generation"] for entry in entries if entry.name == "applied"]
    assert applied == [entry.generation for entry in entries if entry.is_transition]
    assert control.state.stable == version(2)
    assert fleet.split(model) == {N2: 100.0}
    assert all({N1, N2} <= available for available in fleet.available(model))
    assert fleet.labels(model) == [{"stable": N2}] * 2
    assert control.applier.unapplied() == ()
