"""kill -9 at every write of a release: within seconds traffic is on a known-good version again, and no request failed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_model_ops.control.leases import WORKING_SECONDS
from tests.adapters.serving_rig import Fleet, FleetTraffic, serving_fleet, version
from tests.control.release_worker import start_worker, watch, writes_of

pytestmark = pytest.mark.integration

N1, N2 = version(1).number, version(2).number
RECOVERY_SECONDS = 30.0
AT_ONCE = 12
"""How many releases die at about the same time, each of a model of its own."""


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    with serving_fleet(tmp_path) as running:
        yield running


def prepared(fleet: Fleet, *models: str) -> None:
    """Version 1 of each model is stable; version 2 is pushed."""
    fleet.serve_at_once(*models)
    for model in models:
        fleet.push(2, model=model)


def writes_of_a_release(fleet: Fleet, tmp_path: Path) -> list[tuple[str, int]]:
    """Every write of a release that lives, as step and number."""
    prepared(fleet, "lives")
    worker = start_worker(fleet.addresses, "lives", trace=tmp_path / "lives")
    worker.join(60)
    assert worker.exitcode == 0
    parts = [line.split(" ") for line in writes_of(tmp_path / "lives")]
    return [(step, int(number)) for step, number, _ in parts if step]


def expect_known_good(fleet: Fleet, model: str, *, trace: list[str]) -> None:
    control = fleet.control(model)
    state = control.state
    assert (state.canary, state.release) == (None, None), trace
    assert state.stable is not None
    assert state.stable.number in (N1, N2), trace
    assert fleet.split(model) == {state.stable.number: 100.0}, trace
    assert control.applier.unapplied() == (), trace
    assert all(state.stable.number in available for available in fleet.available(model)), trace


def test_whichever_write_a_release_dies_at_the_watcher_brings_traffic_to_a_known_good_version(
    fleet: Fleet, tmp_path: Path
) -> None:
    """A release may bring others along, so which write the n-th one is differs a little; all of them are met."""
    places = writes_of_a_release(fleet, tmp_path)
    assert len(places) > 20
    died, ended_on = set[tuple[str, int]](), set[int]()
    for first in range(0, len(places), AT_ONCE):
        dying = {f"{step}-{number}": (step, number) for step, number in places[first : first + AT_ONCE]}
        prepared(fleet, *dying)
        with FleetTraffic(fleet.envoy.listener_url, models=list(dying)) as traffic:
            workers = {
                model: start_worker(fleet.addresses, model, kill_at=place, trace=tmp_path / model, lease_seconds=2)
                for model, place in dying.items()
            }
            for worker in workers.values():
                worker.join(60)
            rest = watch([fleet.control(model) for model in dying], seconds=RECOVERY_SECONDS)
        assert rest.keys() == dying.keys()
        assert traffic.failures == []
        for model, place in dying.items():
            expect_known_good(fleet, model, trace=writes_of(tmp_path / model))
            ended_on |= set(fleet.split(model))
            died |= {place} if workers[model].exitcode == -9 else set()
    assert len(died) > len(places) * 0.8  # the others were brought along by one another and had less to write
    assert ended_on == {N1, N2}  # of those that died before and after their promotion was committed


def test_with_the_real_lease_a_release_that_dies_in_its_shift_is_over_within_thirty_seconds(
    fleet: Fleet, tmp_path: Path
) -> None:
    prepared(fleet, "digits")
    with FleetTraffic(fleet.envoy.listener_url, models=["digits"]) as traffic:
        worker = start_worker(fleet.addresses, "digits", kill_at=("shift", 2), trace=tmp_path / "trace")
        worker.join(60)
        assert worker.exitcode == -9
        assert fleet.control().state.canary is not None
        rest = watch([fleet.control()], seconds=RECOVERY_SECONDS)
    assert traffic.failures == []
    assert WORKING_SECONDS - 6 < rest["digits"] < RECOVERY_SECONDS
    expect_known_good(fleet, "digits", trace=writes_of(tmp_path / "trace"))
    assert fleet.split() == {N1: 100.0}
