"""Leases: who looks after a live release, and what happens when nobody does."""

from __future__ import annotations

from typing import cast

import pytest

from airflow_model_ops.control.leases import HANDOVER_SECONDS, WORKING_SECONDS, LeaseKeeper
from airflow_model_ops.core.errors import ModelOnHold, PreEmpted, ReleaseBusy, RepositoryUnavailable
from airflow_model_ops.core.ports import Lease, Repository
from airflow_model_ops.core.state import Fence, LiveRelease
from tests.control.memory_fleet import PERSON, MemoryFleet, MemoryRepository, version
from tests.waits import until

FENCE = Fence(release="r1", attempt=2)
LIVE = LiveRelease(id="r1", attempt=2, version=version(1), started_at="2023-06-01T12:00:00+00:00")


@pytest.fixture
def fleet() -> MemoryFleet:
    return MemoryFleet(point=lambda _: None, waits=lambda: False)


def keeper(fleet: MemoryFleet) -> LeaseKeeper:
    return LeaseKeeper(repository=cast("Repository", fleet.repository), model="digits", clock=fleet.clock)


def test_a_lease_runs_out_when_nobody_renews_it(fleet: MemoryFleet) -> None:
    ours = keeper(fleet)
    assert ours.has_expired(LIVE)
    ours.renew(FENCE, version(1))
    fleet.clock.sleep(WORKING_SECONDS - 1)
    assert not ours.has_expired(LIVE)
    ours.renew(FENCE, version(1))
    fleet.clock.sleep(WORKING_SECONDS - 1)
    assert not ours.has_expired(LIVE)
    fleet.clock.sleep(2)
    assert ours.has_expired(LIVE)


@pytest.mark.parametrize(("attempt", "covers"), [(1, False), (2, True), (3, True)])
def test_an_older_attempts_lease_covers_nothing_and_a_newer_one_does(
    fleet: MemoryFleet, attempt: int, covers: bool
) -> None:
    keeper(fleet).renew(Fence(release="r1", attempt=attempt), version(1))
    assert keeper(fleet).has_expired(LIVE) is not covers


def test_another_releases_lease_covers_nothing(fleet: MemoryFleet) -> None:
    keeper(fleet).renew(Fence(release="r9", attempt=2), version(1))
    assert keeper(fleet).has_expired(LIVE)


def test_the_newest_waiting_release_is_found_and_one_that_gave_up_is_not(fleet: MemoryFleet) -> None:
    ours = keeper(fleet)
    for major in (2, 4, 3):
        ours.renew(Fence(release=f"r{major}", attempt=1), version(major), waiting=True)
    ours.renew(Fence(release="r5", attempt=1), version(5))  # works, does not wait
    found = ours.newer_waiting(version(1), release="r1")
    assert found is not None
    assert found.version == version(4)
    assert ours.newer_waiting(version(4), release="r4") is None
    fleet.clock.sleep(WORKING_SECONDS + 1)
    assert ours.newer_waiting(version(1), release="r1") is None


BRIEF_SECONDS = 0.2
"""A working lease that is renewed many times a second, while the story's clock stands: none runs out on a busy machine."""


def brief_keeper(fleet: MemoryFleet, *, repository: MemoryRepository | None = None) -> LeaseKeeper:
    return LeaseKeeper(
        repository=cast("Repository", repository or fleet.repository),
        model="digits",
        clock=fleet.clock,
        working_seconds=BRIEF_SECONDS,
    )


def newest_lease(fleet: MemoryFleet) -> Lease:
    return next(iter(fleet.repository.leases("digits")))


def test_while_somebody_works_the_lease_is_renewed_and_a_longer_one_is_left_behind(
    fleet: MemoryFleet,
) -> None:
    ours = brief_keeper(fleet)
    with ours.working(FENCE, version(1)):
        assert newest_lease(fleet).until == fleet.clock.now() + BRIEF_SECONDS
        fleet.clock.sleep(2 * BRIEF_SECONDS)
        until(lambda: not ours.has_expired(LIVE), what="the lease is renewed while the work goes on")
    assert newest_lease(fleet).until == fleet.clock.now() + HANDOVER_SECONDS


def test_work_that_ends_in_an_error_leaves_no_longer_lease_behind(
    fleet: MemoryFleet,
) -> None:
    ours = brief_keeper(fleet)
    with pytest.raises(ValueError, match="boom"), ours.working(FENCE, version(1)):
        raise ValueError("boom")
    assert newest_lease(fleet).until == fleet.clock.now() + BRIEF_SECONDS


def test_a_renewal_that_fails_is_tried_again(fleet: MemoryFleet) -> None:
    writes: list[float] = []

    class Stumbling(MemoryRepository):
        def write_lease(self, model: str, lease: Lease) -> None:
            writes.append(lease.until)
            if len(writes) == 2:
                raise RepositoryUnavailable("the disk is full")
            super().write_lease(model, lease)

    ours = brief_keeper(fleet, repository=Stumbling(fleet.repository.logs, fleet.repository.store))
    with ours.working(FENCE, version(1)):
        until(lambda: len(writes) >= 2, what="a renewal fails")
        fleet.clock.sleep(2 * BRIEF_SECONDS)
        until(lambda: not ours.has_expired(LIVE), what="the next one succeeds")


def test_an_abandoned_release_gives_way_to_the_next_one(fleet: MemoryFleet) -> None:
    control = fleet.control()
    control.start_canary(version(1), fence=FENCE)
    with pytest.raises(ReleaseBusy):
        control.start_canary(version(2), fence=Fence(release="r2", attempt=1))
    fleet.clock.sleep(WORKING_SECONDS + 1)
    assert control.start_canary(version(2), fence=Fence(release="r2", attempt=1)).state.release is not None


def test_a_late_retry_does_not_start_an_ended_release_again_though_another_one_has_ended_since(
    fleet: MemoryFleet,
) -> None:
    control = fleet.control()
    for major in (1, 2):
        fence = Fence(release=f"r{major}", attempt=1)
        control.start_canary(version(major), fence=fence)
        control.abort(reason="a person's wish", fence=fence)
    with pytest.raises(PreEmpted, match="'r1' attempt 1 is no longer live; clear its task"):
        control.start_canary(version(1), fence=Fence(release="r1", attempt=1))
    assert fleet.repository.leases("digits") == ()
    assert control.start_canary(version(1), fence=FENCE).state.is_live(FENCE)


def test_a_refused_start_leaves_no_lease_and_a_refused_retry_keeps_that_of_its_live_release(
    fleet: MemoryFleet,
) -> None:
    control = fleet.control()
    control.start_canary(version(1), fence=FENCE)
    with pytest.raises(ReleaseBusy):
        control.start_canary(version(2), fence=Fence(release="r2", attempt=1))
    assert [lease.release for lease in fleet.repository.leases("digits")] == ["r1"]
    fleet.control(actor=PERSON).hold(reason="audit")
    with pytest.raises(ModelOnHold):
        control.start_canary(version(1), fence=FENCE)
    live = control.state.release
    assert live is not None
    assert not control.leases.has_expired(live)


@pytest.mark.parametrize(
    ("until", "remaining"), [(float("inf"), HANDOVER_SECONDS), (1e15, HANDOVER_SECONDS), (float("nan"), -1.0)]
)
def test_no_lease_is_believed_to_last_longer_than_one_is_ever_written_for(
    fleet: MemoryFleet, until: float, remaining: float
) -> None:
    fleet.repository.write_lease("digits", Lease(release="r1", attempt=2, version=version(1), until=until))
    assert keeper(fleet).remaining_seconds(LIVE) == remaining
