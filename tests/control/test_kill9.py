"""kill -9 at every write of a release: within seconds traffic is on a known-good version again, and no request failed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from airflow_model_ops.control.commit import seconds_of
from tests.adapters.serving_rig import Fleet, FleetTraffic, serving_fleet, version
from tests.control.release_worker import APPLY_SECONDS, RELEASE, start_worker, watch, writes_of

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]  # dozens of processes, on a machine that may be busy

N1, N2 = version(1).number, version(2).number
RECOVERY_SECONDS = 30.0
AT_ONCE = (12, 3, 1)
"""How many releases die at about the same time, each of a model of its own. Releases bring one another along and then have
less to write; a place that was not reached is tried again in less company, at last alone."""


@contextmanager
def fresh_fleet(root: Path) -> Iterator[Fleet]:
    """A fleet with nothing on it; a busy machine answers late, and that is no failed request, and no write more or less."""
    root.mkdir()
    with serving_fleet(root, route_timeout_seconds=10, reload_seconds=30) as running:
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
    worker.join(APPLY_SECONDS)
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
    tmp_path: Path,
) -> None:
    with fresh_fleet(tmp_path / "lives") as fleet:
        places = writes_of_a_release(fleet, fleet.root)
    assert len(places) > 20
    ended_on = dict[tuple[str, int], int]()
    for at_once in AT_ONCE:
        left = [place for place in places if place not in ended_on]
        for first in range(0, len(left), at_once):
            dying = {f"{step}-{number}": (step, number) for step, number in left[first : first + at_once]}
            with fresh_fleet(tmp_path / f"{at_once}-{first}") as fleet:
                ended_on |= die_and_recover(fleet, fleet.root, dying)
    assert ended_on.keys() == set(places)
    assert set(ended_on.values()) == {N1, N2}  # of those that died before and after their promotion was committed


def die_and_recover(fleet: Fleet, traces: Path, dying: dict[str, tuple[str, int]]) -> dict[tuple[str, int], int]:
    """Let one release per model die at its place, under load, and do the watcher's work.

    :return: Of the places where one really died: the version that serves now.
    """
    prepared(fleet, *dying)
    with FleetTraffic(fleet.envoy.listener_url, models=list(dying)) as traffic:
        workers = {
            model: start_worker(fleet.addresses, model, kill_at=place, trace=traces / model, lease_seconds=2)
            for model, place in dying.items()
        }
        for worker in workers.values():
            worker.join(APPLY_SECONDS)
        rest = watch([fleet.control(model) for model in dying], seconds=RECOVERY_SECONDS)
    assert rest.keys() == dying.keys()
    assert traffic.failures == []
    for model in dying:
        expect_known_good(fleet, model, trace=writes_of(traces / model))
    return {place: next(iter(fleet.split(model))) for model, place in dying.items() if workers[model].exitcode == -9}


def test_with_the_real_lease_a_release_that_dies_in_its_shift_is_over_within_thirty_seconds(
    tmp_path: Path,
) -> None:
    with fresh_fleet(tmp_path / "fleet") as fleet:
        die_in_the_shift(fleet, trace=tmp_path / "trace")


def die_in_the_shift(fleet: Fleet, *, trace: Path) -> None:
    prepared(fleet, "digits")
    with FleetTraffic(fleet.envoy.listener_url, models=["digits"]) as traffic:
        worker = start_worker(fleet.addresses, "digits", kill_at=("shift", 2), trace=trace)
        worker.join(APPLY_SECONDS)
        assert worker.exitcode == -9
        control = fleet.control()
        assert control.state.canary is not None
        (lease,) = (each for each in control.repository.leases("digits") if each.release == RELEASE.release)
        rest = watch([control], seconds=RECOVERY_SECONDS)
    assert traffic.failures == []
    assert rest["digits"] < RECOVERY_SECONDS
    abort = control.repository.log("digits").read(control.committer.head()[1])
    assert abort is not None
    assert seconds_of(abort.at) > lease.until - 0.001  # in the log it is cut to milliseconds
    expect_known_good(fleet, "digits", trace=writes_of(trace))
    assert fleet.split() == {N1: 100.0}
