"""Stories of the time after a promotion: a share that is held back, its end, and the automation's ways back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from airflow_model_ops.core.errors import ModelOnHold, NoRollbackTarget, TransitionRefused
from airflow_model_ops.core.state import Actor, Fence, Golden, Holdback, LiveRelease, ServingState
from airflow_model_ops.core.transitions import (
    URGENT,
    Action,
    abort,
    adopt,
    end_hold_back,
    hold,
    pin_golden,
    promote,
    quarantine,
    retire,
    rollback,
    rollback_guarded,
    rollback_watched,
    start_canary,
)
from airflow_model_ops.core.versioning import Version

V = Callable[[int], Version]
R = Callable[..., LiveRelease]
R4 = Fence(release="r4", attempt=1)
UNTIL = "2023-06-01T13:00:00+00:00"


@pytest.fixture
def on_trial(serving: ServingState, release: R) -> ServingState:
    """Version 4 gets half; 3 is stable."""
    return start_canary(serving, release=release(4), percent=50).state


@pytest.fixture
def watched(on_trial: ServingState, v: V) -> ServingState:
    """Version 4 is stable, and 3 keeps 5 % while the release r4 is watched."""
    return promote(on_trial, fence=R4, version=v(4), proof="SAFE", hold_back=5, hold_back_until=UNTIL).state


@pytest.fixture
def unheld(on_trial: ServingState, v: V) -> ServingState:
    """Version 4 is stable and was promoted without a hold-back."""
    return promote(on_trial, fence=R4, version=v(4), proof="SAFE").state


class TestPromotingWithAHoldBack:
    def test_the_former_stable_version_keeps_a_share_from_the_same_transition_on(
        self, on_trial: ServingState, v: V
    ) -> None:
        decision = promote(on_trial, fence=R4, version=v(4), proof="SAFE", hold_back=5, hold_back_until=UNTIL)
        assert decision.state.split == ((v(4), 95.0), (v(3), 5.0))
        assert decision.state.holdback == Holdback(version=v(3), percent=5.0, until=UNTIL)
        assert decision.state.promoted_by == R4
        assert decision.state.release is None
        assert decision.reason == "digits-v4.0.0 is promoted to stable: SAFE; digits-v3.0.0 is held back with 5 %"

    def test_without_one_stable_gets_everything_and_the_state_still_tells_who_promoted_it(
        self, unheld: ServingState, v: V
    ) -> None:
        assert (unheld.split, unheld.holdback, unheld.promoted_by) == (((v(4), 100.0),), None, R4)

    def test_a_first_release_has_nothing_to_hold_back(self, empty: ServingState, release: R, v: V) -> None:
        first = start_canary(empty, release=release(4), percent=100).state
        promoted = promote(first, fence=R4, version=v(4), proof="SAFE", hold_back=5).state
        assert (promoted.split, promoted.holdback) == (((v(4), 100.0),), None)

    def test_a_stable_version_that_a_person_has_banned_keeps_nothing(self, on_trial: ServingState, v: V) -> None:
        banned = quarantine(on_trial, version=v(3), reason="leaks", force=True).state
        assert promote(banned, fence=R4, version=v(4), proof="SAFE", hold_back=5).state.holdback is None

    @pytest.mark.parametrize("percent", [-1, 50.01, 0.001, float("nan")])
    def test_a_share_that_makes_no_sense_is_refused(self, on_trial: ServingState, v: V, percent: float) -> None:
        with pytest.raises(TransitionRefused, match=r"cannot hold back .* %; give 0 to 50, in steps of 0\.01"):
            promote(on_trial, fence=R4, version=v(4), proof="SAFE", hold_back=percent)

    def test_a_retry_finds_it_done(self, watched: ServingState, v: V) -> None:
        assert not promote(watched, fence=R4, version=v(4), proof="SAFE", hold_back=5).changed


class TestTheEndOfAHoldBack:
    def test_its_watch_ends_it_and_stable_gets_everything(self, watched: ServingState, v: V) -> None:
        decision = end_hold_back(watched, fence=R4, reason="an hour without harm")
        assert (decision.action, decision.version) == (Action.END_HOLD_BACK, v(4))
        assert decision.state == replace(watched, holdback=None)
        assert decision.state.split == ((v(4), 100.0),)
        assert decision.reason == (
            "digits-v3.0.0 is no longer held back, digits-v4.0.0 gets all traffic: an hour without harm"
        )

    def test_it_is_no_way_back_that_would_do_with_fewer_servers(self) -> None:
        assert Action.END_HOLD_BACK not in URGENT

    def test_a_person_needs_no_fence(self, watched: ServingState) -> None:
        assert end_hold_back(watched, reason="enough").state.holdback is None

    @pytest.mark.parametrize("late", [Fence(release="r4", attempt=2), Fence(release="r3", attempt=1)])
    def test_a_late_watch_ends_nothing(self, watched: ServingState, late: Fence) -> None:
        decision = end_hold_back(watched, fence=late, reason="over")
        assert (decision.changed, decision.state) == (False, watched)
        assert "digits-v4.0.0 was promoted by release 'r4' attempt 1" in decision.reason

    def test_a_persons_hold_does_not_stop_it(self, watched: ServingState, person: Actor) -> None:
        held = hold(watched, actor=person, reason="audit").state
        ended = end_hold_back(held, fence=R4, reason="over").state
        assert (ended.holdback, ended.hold) == (None, held.hold)

    def test_the_next_canary_ends_it_in_the_same_transition(self, watched: ServingState, release: R, v: V) -> None:
        decision = start_canary(watched, release=release(5), percent=10)
        assert decision.state.split == ((v(4), 90.0), (v(5), 10.0))
        assert decision.state.holdback is None
        assert decision.reason.endswith("digits-v3.0.0 is no longer held back: a newer release starts")

    def test_after_the_next_release_has_ended_the_old_watch_ends_nothing(
        self, watched: ServingState, release: R
    ) -> None:
        over = abort(start_canary(watched, release=release(5)).state, reason="slow").state
        assert not end_hold_back(over, fence=R4, reason="over").changed

    def test_its_version_may_be_released_again(self, watched: ServingState, release: R, v: V) -> None:
        again = start_canary(watched, release=release(3), percent=5).state
        assert again.split == ((v(4), 95.0), (v(3), 5.0))
        assert again.holdback is None

    def test_banning_its_version_ends_it(self, watched: ServingState, v: V) -> None:
        banned = quarantine(watched, version=v(3), reason="leaks").state
        assert (banned.split, banned.holdback, banned.stable) == (((v(4), 100.0),), None, v(4))

    def test_banning_another_version_does_not(self, watched: ServingState, v: V) -> None:
        assert quarantine(watched, version=v(2), reason="leaks").state.holdback == watched.holdback

    def test_its_version_is_never_retired(self, watched: ServingState, v: V) -> None:
        with pytest.raises(TransitionRefused, match=r"cannot retire digits-v3\.0\.0: it serves"):
            retire(replace(watched, keep_warm=0), versions=[v(3)], reason="old")

    def test_a_fleet_is_not_adopted_over_it(self, watched: ServingState, person: Actor, v: V) -> None:
        with pytest.raises(TransitionRefused, match="cannot adopt"):
            adopt(watched, stable=v(3), actor=person)


class TestARollbackByAPerson:
    def test_it_goes_to_the_version_that_is_held_back(self, watched: ServingState, person: Actor, v: V) -> None:
        back = rollback(watched, actor=person, reason="complaints").state
        assert (back.split, back.holdback, back.promoted_by) == (((v(3), 100.0),), None, None)

    def test_by_name_it_goes_elsewhere_and_ends_the_hold_back(self, watched: ServingState, person: Actor, v: V) -> None:
        back = rollback(watched, actor=person, reason="complaints", to=v(1)).state
        assert (back.split, back.holdback) == (((v(1), 100.0),), None)

    def test_to_stable_by_name_it_ends_the_hold_back_alone(self, watched: ServingState, person: Actor, v: V) -> None:
        decision = rollback(watched, actor=person, reason="enough", to=v(4))
        assert (decision.changed, decision.state) == (True, replace(watched, holdback=None))


class TestTheWatchGoesBack:
    def test_harm_goes_to_the_version_that_is_held_back_and_quarantines(self, watched: ServingState, v: V) -> None:
        decision = rollback_watched(watched, fence=R4, reason="ratio 4.0", harmed=True)
        state = decision.state
        assert decision.action is Action.ROLLBACK
        assert (state.split, state.earlier, state.left) == (((v(3), 100.0),), (v(1), v(2)), (v(4),))
        assert (state.quarantined, state.holdback, state.promoted_by) == ((v(4),), None, None)
        assert decision.reason == (
            "rolled back from digits-v4.0.0 to digits-v3.0.0: ratio 4.0; digits-v4.0.0 is quarantined"
        )

    def test_a_ceiling_goes_back_and_leaves_it_a_candidate(self, watched: ServingState, v: V) -> None:
        state = rollback_watched(watched, fence=R4, reason="over 5 %").state
        assert (state.stable, state.quarantined) == (v(3), ())

    def test_without_a_hold_back_it_goes_back_as_long_as_its_version_is_stable(
        self, unheld: ServingState, v: V
    ) -> None:
        assert rollback_watched(unheld, fence=R4, reason="over 5 %").state.stable == v(3)

    def test_after_a_hold_back_was_ended_it_goes_back_all_the_same(self, watched: ServingState, v: V) -> None:
        ended = end_hold_back(watched, reason="enough").state
        assert rollback_watched(ended, fence=R4, reason="over 5 %").state.stable == v(3)

    @pytest.mark.parametrize("late", [Fence(release="r4", attempt=2), Fence(release="r3", attempt=1)])
    def test_a_late_watch_changes_nothing(self, watched: ServingState, late: Fence) -> None:
        assert not rollback_watched(watched, fence=late, reason="harm", harmed=True).changed

    def test_a_second_time_it_changes_nothing(self, watched: ServingState) -> None:
        once = rollback_watched(watched, fence=R4, reason="harm", harmed=True).state
        assert not rollback_watched(once, fence=R4, reason="harm", harmed=True).changed

    def test_nor_does_it_for_a_model_that_was_rolled_back_and_forward_by_a_person(
        self, watched: ServingState, person: Actor, v: V
    ) -> None:
        state = rollback(watched, actor=person, reason="complaints").state
        state = rollback(state, actor=person, reason="it was not that", to=v(4)).state
        decision = rollback_watched(state, fence=R4, reason="harm", harmed=True)
        assert not decision.changed
        assert "digits-v4.0.0 is stable by no release" in decision.reason

    def test_nor_once_a_newer_release_is_live(self, watched: ServingState, release: R) -> None:
        newer = start_canary(watched, release=release(5), percent=10).state
        decision = rollback_watched(newer, fence=R4, reason="harm", harmed=True)
        assert not decision.changed
        assert "release 'r5' attempt 1 (digits-v5.0.0) is live" in decision.reason

    def test_nor_for_a_model_without_a_stable_version(self, empty: ServingState) -> None:
        assert "has no stable version" in rollback_watched(empty, fence=R4, reason="harm").reason

    def test_a_hold_does_not_stop_it(self, watched: ServingState, person: Actor, v: V) -> None:
        held = hold(watched, actor=person, reason="audit").state
        assert rollback_watched(held, fence=R4, reason="harm", harmed=True).state.stable == v(3)

    def test_a_persons_pin_does(self, watched: ServingState, person: Actor, v: V) -> None:
        pinned = pin_golden(watched, version=v(4), actor=person).state
        with pytest.raises(NoRollbackTarget, match=r"digits-v4\.0\.0 goes on serving"):
            rollback_watched(pinned, fence=R4, reason="harm", harmed=True)

    def test_if_the_files_of_the_version_that_is_held_back_are_altered_it_goes_further_back(
        self, watched: ServingState, v: V
    ) -> None:
        assert rollback_watched(watched, fence=R4, reason="harm", unusable=[v(3)]).state.stable == v(2)

    def test_an_automatic_golden_that_harms_is_golden_no_longer(
        self, watched: ServingState, automation: Actor, v: V
    ) -> None:
        golden = pin_golden(watched, version=v(4), actor=automation).state
        assert rollback_watched(golden, fence=R4, reason="harm", harmed=True).state.golden is None


class TestTheGuardGoesBack:
    def test_from_a_bad_stable_version_to_the_newest_earlier_one(self, serving: ServingState, v: V) -> None:
        decision = rollback_guarded(serving, version=v(3), reason="9 % wrong")
        assert (decision.state.stable, decision.state.quarantined) == (v(2), ())
        assert decision.reason == "rolled back from digits-v3.0.0 to digits-v2.0.0: 9 % wrong"

    def test_a_live_canary_and_its_release_end_with_it(self, on_trial: ServingState, v: V) -> None:
        decision = rollback_guarded(on_trial, version=v(3), reason="9 % wrong")
        assert (decision.state.split, decision.state.release) == (((v(2), 100.0),), None)
        assert decision.state.ended == R4
        assert decision.reason.endswith("9 % wrong; the canary digits-v4.0.0 ends with it")

    def test_a_hold_back_ends_with_it(self, watched: ServingState, v: V) -> None:
        assert rollback_guarded(watched, version=v(4), reason="9 % wrong").state.split == ((v(3), 100.0),)

    def test_an_alarm_about_another_version_than_stable_is_late(self, serving: ServingState, v: V) -> None:
        decision = rollback_guarded(serving, version=v(2), reason="9 % wrong")
        assert (decision.changed, decision.reason) == (False, "digits-v2.0.0 is no longer stable, digits-v3.0.0 is")

    def test_it_leaves_a_model_that_a_person_holds_to_that_person(
        self, serving: ServingState, person: Actor, v: V
    ) -> None:
        held = hold(serving, actor=person, reason="I am on it").state
        with pytest.raises(ModelOnHold, match=r"held by person ada \(I am on it\); resume, or roll back by hand"):
            rollback_guarded(held, version=v(3), reason="9 % wrong")

    def test_the_automations_hold_does_not_stop_it(self, on_trial: ServingState, automation: Actor, v: V) -> None:
        held = hold(on_trial, actor=automation, reason="deadline").state
        assert rollback_guarded(held, version=v(3), reason="9 % wrong").state.stable == v(2)

    def test_it_never_goes_past_a_persons_pin(self, serving: ServingState, person: Actor, v: V) -> None:
        pinned = pin_golden(serving, version=v(3), actor=person).state
        with pytest.raises(NoRollbackTarget, match=r"digits-v3\.0\.0 goes on serving"):
            rollback_guarded(pinned, version=v(3), reason="9 % wrong")

    def test_golden_is_its_last_resort(self, serving: ServingState, v: V) -> None:
        golden = replace(serving, earlier=(), golden=Golden(version=v(1), by_person=True))
        assert rollback_guarded(golden, version=v(3), reason="9 % wrong").state.stable == v(1)
