"""Commits while others write too: who loses decides again on the new head, and one wish is granted once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial

import pytest

from airflow_model_ops.control.commit import MOST_TRIES, Committer
from airflow_model_ops.core import transitions
from airflow_model_ops.core.errors import CommitConflict, InvalidConfig, NoRollbackTarget, PreEmpted
from airflow_model_ops.core.log import Entry, FactKind, Origin, check_chain
from airflow_model_ops.core.state import Actor, ActorKind, Canary, Fence, LiveRelease, ServingState
from airflow_model_ops.core.transitions import Action, Decision
from airflow_model_ops.core.versioning import Scheme, Version, VersionNaming
from tests.control.conftest import MemoryLog, StoryClock
from tests.waits import all_ended

NAMING = VersionNaming(scheme=Scheme.SEMANTIC, prefix="m")
V1, V2, V3, V4 = (NAMING.parse(f"m-v{major}.0.0") for major in (1, 2, 3, 4))
ADA = Actor(kind=ActorKind.PERSON, name="ada")
ORIGIN = Origin(actor=ADA)
FENCE = Fence(release="r4", attempt=1)
LIVE = LiveRelease(id="r4", attempt=1, version=V4, started_at="2023-06-01T12:00:00+00:00")
SERVING = ServingState(fleet="main", stable=V3, earlier=(V1, V2), canary=Canary(version=V4, percent=10), release=LIVE)

shift_to_50 = partial(transitions.shift, fence=FENCE, percent=50)
promote_4 = partial(transitions.promote, fence=FENCE, version=V4, proof="it is good")
abort_4 = partial(transitions.abort, fence=FENCE, reason="it harms")
back_to_2 = partial(transitions.rollback, actor=ADA, reason="wrong digits", to=V2)
back = partial(transitions.rollback, actor=ADA, reason="wrong digits")
pin_2 = partial(transitions.pin_golden, actor=ADA, version=V2)
hold = partial(transitions.hold, actor=ADA, reason="audit")


class ContestedLog(MemoryLog):
    """A log in which somebody else writes right before a put: the put loses, once per rival."""

    def __init__(self) -> None:
        super().__init__()
        self.rivals: list[Callable[[], object]] = []

    def put_if_absent(self, entry: Entry) -> bool:
        if self.rivals:
            self.rivals.pop(0)()
        return super().put_if_absent(entry)


def committer(log: MemoryLog, clock: StoryClock, *, initial: ServingState = SERVING) -> Committer:
    return Committer(log=log, initial=initial, clock=clock)


def test_a_commit_appends_one_chained_entry_and_says_what_was_before(log: MemoryLog, clock: StoryClock) -> None:
    ours = committer(log, clock)
    first = ours.commit(shift_to_50, origin=ORIGIN, release=FENCE)
    second = ours.commit(promote_4, origin=ORIGIN, release=FENCE, evidence="evidence/r4/1.json")
    one, two = log.entries()
    check_chain(one, None)
    check_chain(two, one)
    assert (first.changed, first.generation, second.generation, two.evidence) == (True, 1, 2, "evidence/r4/1.json")
    assert second.former == first.state
    assert ours.head() == (second.state, 2)


@pytest.mark.parametrize("decide", [shift_to_50, promote_4, back_to_2, pin_2])
def test_a_model_that_another_fleet_serves_is_changed_by_nobody(
    decide: Callable[[ServingState], Decision], log: MemoryLog, clock: StoryClock
) -> None:
    committer(log, clock).commit(partial(transitions.shift, fence=FENCE, percent=20), origin=ORIGIN)
    astray = committer(log, clock, initial=ServingState(fleet="other"))
    with pytest.raises(InvalidConfig, match=r"fleet 'main' serves the model, but .* of fleet 'other'; nothing was"):
        astray.commit(decide, origin=ORIGIN)
    assert len(log.stored) == 1


def test_a_guard_ends_a_canary_though_its_file_names_another_fleet_now(log: MemoryLog, clock: StoryClock) -> None:
    committer(log, clock).commit(shift_to_50, origin=ORIGIN)
    astray = committer(log, clock, initial=ServingState(fleet="other"))
    assert astray.commit(abort_4, origin=ORIGIN).state.canary is None


def test_asking_for_what_holds_already_appends_nothing(log: MemoryLog, clock: StoryClock) -> None:
    ours = committer(log, clock)
    ours.commit(shift_to_50, origin=ORIGIN)
    again = ours.commit(shift_to_50, origin=ORIGIN)
    assert (again.changed, again.generation, len(log.stored)) == (False, 1, 1)


@pytest.mark.parametrize("insisting", [abort_4, back_to_2, hold])
def test_a_way_back_or_a_hold_that_loses_the_race_wins_the_next(
    insisting: Callable[[ServingState], Decision], clock: StoryClock
) -> None:
    log = ContestedLog()
    rival = committer(log, clock)
    log.rivals = [
        partial(rival.commit, shift_to_50, origin=ORIGIN),
        partial(rival.record, FactKind.VERDICT, reason="NO_DATA", origin=ORIGIN),
    ]
    won = committer(log, clock).commit(insisting, origin=ORIGIN)
    newest = log.last()
    assert won.changed
    assert newest is not None
    assert (newest.sequence, newest.state) == (3, won.state)


@pytest.mark.parametrize("late", [shift_to_50, promote_4])
@pytest.mark.parametrize("rival", [abort_4, back_to_2])
def test_a_shift_or_promotion_that_loses_to_a_way_back_is_pre_empted(
    late: Callable[[ServingState], Decision], rival: Callable[[ServingState], Decision], clock: StoryClock
) -> None:
    log = ContestedLog()
    log.rivals = [partial(committer(log, clock).commit, rival, origin=ORIGIN)]
    with pytest.raises(PreEmpted, match="no release is"):
        committer(log, clock).commit(late, origin=ORIGIN)
    assert len(log.stored) == 1


def test_a_shift_that_loses_to_a_mere_fact_goes_on(clock: StoryClock) -> None:
    log = ContestedLog()
    log.rivals = [partial(committer(log, clock).record, FactKind.VERDICT, reason="SAFE", origin=ORIGIN)]
    assert committer(log, clock).commit(shift_to_50, origin=ORIGIN).generation == 2


def test_a_retry_adopts_the_transition_of_its_own_request(log: MemoryLog, clock: StoryClock) -> None:
    """Without its request a repeated rollback would go back by one more."""
    origin = Origin(actor=ADA, request="rollback run-7")
    ours = committer(log, clock, initial=ServingState(fleet="main", stable=V3, earlier=(V1, V2)))
    ours.commit(back, origin=origin)
    ours.record(FactKind.APPLIED, reason="serves", origin=ORIGIN)
    again = ours.commit(back, origin=origin)
    assert (again.state.stable, again.changed, again.generation) == (V2, False, 1)
    assert "already committed by an earlier try" in again.reason
    assert ours.commit(back, origin=Origin(actor=ADA, request="rollback run-8")).state.stable == V1


def test_two_tries_of_one_request_at_once_are_granted_once(clock: StoryClock) -> None:
    log = ContestedLog()
    origin = Origin(actor=ADA, request="rollback run-7")
    initial = ServingState(fleet="main", stable=V3, earlier=(V1, V2))
    log.rivals = [partial(committer(log, clock, initial=initial).commit, back, origin=origin)]
    commit = committer(log, clock, initial=initial).commit(back, origin=origin)
    assert (commit.state.stable, commit.changed, len(log.stored)) == (V2, False, 1)


def test_a_request_of_a_transition_never_hides_a_fact_nor_another_kind_of_fact(
    log: MemoryLog, clock: StoryClock
) -> None:
    origin = Origin(actor=ADA, request="task try 1")
    ours = committer(log, clock)
    ours.commit(shift_to_50, origin=origin)
    verdict = ours.record(FactKind.VERDICT, reason="SAFE", origin=origin)
    applied = ours.record(FactKind.APPLIED, reason="serves", origin=origin)
    assert [entry.name for entry in log.entries()] == ["shift", "verdict", "applied"]
    assert ours.record(FactKind.VERDICT, reason="SAFE", origin=origin) == verdict
    assert ours.record(FactKind.APPLIED, reason="serves", origin=origin) == applied
    assert len(log.stored) == 3


def test_a_retransmitted_write_is_told_from_a_lost_race_by_its_write_id(clock: StoryClock) -> None:
    class RetransmittingLog(MemoryLog):
        def put_if_absent(self, entry: Entry) -> bool:
            super().put_if_absent(entry)  # the answer to the first try was lost
            return super().put_if_absent(entry)

    log = RetransmittingLog()
    assert committer(log, clock).commit(shift_to_50, origin=ORIGIN).changed
    assert len(log.stored) == 1


def test_a_refusal_appends_nothing(log: MemoryLog, clock: StoryClock) -> None:
    alone = committer(log, clock, initial=ServingState(fleet="main", stable=V1))
    with pytest.raises(NoRollbackTarget):
        alone.commit(back, origin=ORIGIN)
    assert log.stored == []


def test_a_writer_that_never_wins_gives_up_and_says_that_a_retry_helps(clock: StoryClock) -> None:
    class OthersAlwaysWin(MemoryLog):
        tries = 0

        def put_if_absent(self, entry: Entry) -> bool:
            self.tries += 1
            return False

    log = OthersAlwaysWin()
    with pytest.raises(CommitConflict) as failure:
        committer(log, clock).commit(shift_to_50, origin=ORIGIN)
    assert (log.tries, failure.value.retryable) == (MOST_TRIES, True)


def test_twenty_writers_at_once_lose_nothing(log: MemoryLog) -> None:
    from airflow_model_ops.control.clock import SystemClock  # the jitter is real here

    def write(name: int) -> None:
        ours = Committer(log=log, initial=SERVING, clock=SystemClock())
        for number in range(5):
            ours.record(FactKind.VERDICT, reason=f"{name}.{number}", origin=ORIGIN)

    writers = [threading.Thread(target=write, args=(name,), daemon=True) for name in range(20)]
    for writer in writers:
        writer.start()
    all_ended(*writers)
    entries = list(log.entries())
    for entry, previous in zip(entries, [None, *entries], strict=False):
        check_chain(entry, previous)
    assert sorted(entry.reason for entry in entries) == sorted(f"{a}.{b}" for a in range(20) for b in range(5))


def test_a_way_back_among_ten_restless_shifters_wins_and_stays(log: MemoryLog) -> None:
    from airflow_model_ops.control.clock import SystemClock

    ended: list[str] = []

    def keep_shifting(offset: int) -> None:
        ours = Committer(log=log, initial=SERVING, clock=SystemClock())
        percent = 11.0 + offset
        while True:
            try:
                ours.commit(partial(transitions.shift, fence=FENCE, percent=percent), origin=ORIGIN)
            except PreEmpted as end:
                ended.append(str(end))
                return
            percent = 11.0 + (percent + 7) % 80

    shifters = [threading.Thread(target=keep_shifting, args=(offset,), daemon=True) for offset in range(10)]
    for shifter in shifters:
        shifter.start()
    won = Committer(log=log, initial=SERVING, clock=SystemClock()).commit(back_to_2, origin=ORIGIN)
    all_ended(*shifters)
    newest = log.last()
    assert newest is not None
    assert (newest.action, newest.state) == (Action.ROLLBACK, won.state)
    assert len(ended) == 10


def test_versions_in_the_head_read_back_as_they_were_written(log: MemoryLog, clock: StoryClock) -> None:
    ours = committer(log, clock)
    ours.commit(hold, origin=ORIGIN)
    state, generation = committer(log, clock, initial=ServingState(fleet="other")).head()
    stable: Version | None = state.stable
    assert (stable, generation) == (V3, 1)
