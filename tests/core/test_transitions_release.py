"""Stories of a release: start, shift, promote, abort, and who may still act when."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from airflow_model_ops.core.errors import InvalidState, ModelOnHold, PreEmpted, ReleaseBusy, TransitionRefused
from airflow_model_ops.core.state import Actor, Canary, Fence, LiveRelease, ServingState
from airflow_model_ops.core.transitions import (
    URGENT,
    Action,
    abort,
    hold,
    promote,
    quarantine,
    retire,
    rollback,
    shift,
    start_canary,
)
from airflow_model_ops.core.versioning import Version

V = Callable[[int], Version]
R = Callable[..., LiveRelease]


@pytest.fixture
def on_trial(serving: ServingState, release: R) -> ServingState:
    """Version 4 is the canary at 5 %, version 3 stable."""
    return start_canary(serving, release=release(4), percent=5).state


class TestStart:
    def test_a_canary_starts_without_traffic_so_that_it_can_be_loaded_first(
        self, serving: ServingState, release: R, v: V
    ) -> None:
        decision = start_canary(serving, release=release(4))
        assert decision.action is Action.START_CANARY
        assert decision.version == v(4)
        assert decision.state.split == ((v(3), 100.0),)
        assert v(4) in decision.state.warm
        assert decision.reason == "canary digits-v4.0.0 starts at 0 % of the traffic"

    def test_a_retried_start_changes_nothing(self, on_trial: ServingState, release: R) -> None:
        again = start_canary(on_trial, release=release(4), percent=5)
        assert not again.changed
        assert again.state == on_trial
        assert "already is the canary at 5 %" in again.reason

    def test_the_first_release_takes_all_traffic_because_there_is_nothing_to_share_with(
        self, empty: ServingState, release: R, v: V
    ) -> None:
        first = start_canary(empty, release=release(1), percent=5).state
        assert first.canary == Canary(version=v(1), percent=100.0)
        assert first.split == ((v(1), 100.0),)

    def test_only_one_release_is_live(self, on_trial: ServingState, release: R) -> None:
        with pytest.raises(ReleaseBusy, match=r"release 'r4' of version digits-v4\.0\.0 is live; wait .* or abort"):
            start_canary(on_trial, release=release(5))

    def test_a_release_whose_lease_ran_out_is_abandoned_and_makes_way(
        self, on_trial: ServingState, release: R, v: V
    ) -> None:
        decision = start_canary(on_trial, release=release(5), lease_expired=True)
        assert decision.state.canary == Canary(version=v(5), percent=0)
        assert "release 'r4' was abandoned: its lease had run out" in decision.reason
        with pytest.raises(PreEmpted):
            start_canary(decision.state, release=release(4), lease_expired=True)

    def test_the_automations_hold_of_the_attempt_it_follows_does_not_stop_it(
        self, on_trial: ServingState, release: R, automation: Actor, person: Actor
    ) -> None:
        held = hold(on_trial, actor=automation, reason="no verdict in time").state
        assert start_canary(held, release=release(4, attempt=2)).state.hold is None
        assert start_canary(held, release=release(5), lease_expired=True).state.hold is None
        with pytest.raises(ModelOnHold):
            start_canary(held, release=release(4))
        with pytest.raises(ModelOnHold):
            start_canary(hold(held, actor=person, reason="audit").state, release=release(4, attempt=2))

    def test_it_takes_over_how_many_earlier_versions_stay_loaded(self, serving: ServingState, release: R) -> None:
        assert start_canary(serving, release=release(4), keep_warm=2).state.keep_warm == 2
        assert start_canary(serving, release=release(4)).state.keep_warm == serving.keep_warm

    def test_a_cleared_task_starts_a_new_attempt_that_takes_over(self, on_trial: ServingState, release: R) -> None:
        taken = start_canary(on_trial, release=release(4, attempt=2))
        assert taken.changed
        assert taken.state.release == release(4, attempt=2)
        assert taken.state.canary is not None
        assert taken.state.canary.percent == 0

    def test_the_attempt_that_was_replaced_cannot_start_again(self, on_trial: ServingState, release: R) -> None:
        taken = start_canary(on_trial, release=release(4, attempt=2)).state
        with pytest.raises(PreEmpted, match=r"release 'r4' attempt 1 is no longer live; release 'r4' attempt 2 .* is$"):
            start_canary(taken, release=release(4))

    @pytest.mark.parametrize("way_out", ["abort", "rollback", "rollback to", "quarantine", "promote"])
    def test_a_late_retry_of_the_start_does_not_undo_how_the_release_ended(
        self, way_out: str, on_trial: ServingState, release: R, person: Actor, v: V
    ) -> None:
        """StartCanary is retried a second later; between its tries a person ended the release."""
        fence = release(4).fence
        ended = {
            "abort": lambda: abort(on_trial, reason="no"),
            "rollback": lambda: rollback(on_trial, actor=person, reason="no"),
            "rollback to": lambda: rollback(on_trial, actor=person, reason="no", to=v(2)),
            "quarantine": lambda: quarantine(on_trial, version=v(4), reason="no"),
            "promote": lambda: promote(on_trial, fence=fence, version=v(4), proof="safe"),
        }[way_out]().state
        assert ended.release is None
        with pytest.raises(PreEmpted, match="release 'r4' attempt 1 is no longer live; no release is"):
            start_canary(ended, release=release(4))

    def test_a_new_attempt_may_start_after_the_old_one_was_aborted(self, on_trial: ServingState, release: R) -> None:
        ended = abort(on_trial, reason="the worker died").state
        assert start_canary(ended, release=release(4, attempt=2)).state.is_live(Fence(release="r4", attempt=2))

    def test_stable_cannot_be_its_own_canary(self, serving: ServingState, release: R) -> None:
        with pytest.raises(
            TransitionRefused, match=r"digits-v3\.0\.0 already is stable; a canary must be another version"
        ):
            start_canary(serving, release=release(3))

    def test_a_quarantined_version_is_never_a_candidate(self, serving: ServingState, release: R, v: V) -> None:
        banned = quarantine(serving, version=v(4), reason="harmed").state
        with pytest.raises(
            TransitionRefused, match="quarantined; a person must lift it before anyone may start a canary"
        ):
            start_canary(banned, release=release(4))

    def test_a_retired_version_is_never_a_candidate(self, serving: ServingState, release: R, v: V) -> None:
        retired = retire(serving, versions=[v(1)], reason="old").state
        with pytest.raises(TransitionRefused, match="is retired and its files are going"):
            start_canary(retired, release=release(1))

    def test_a_hold_blocks_the_start_and_says_who_holds(self, serving: ServingState, release: R, person: Actor) -> None:
        held = hold(serving, actor=person, reason="exam week").state
        with pytest.raises(ModelOnHold, match=r"held by person ada \(exam week\); resume first"):
            start_canary(held, release=release(4))

    @pytest.mark.parametrize("percent", [-1, 100.01, float("nan"), float("inf"), 0.001, 33.333])
    def test_a_share_the_router_cannot_say_is_refused(self, percent: float, serving: ServingState, release: R) -> None:
        with pytest.raises(TransitionRefused, match=r"0\.01"):
            start_canary(serving, release=release(4), percent=percent)


class TestShift:
    def test_the_canary_gets_the_new_share_and_stable_the_rest(self, on_trial: ServingState, release: R, v: V) -> None:
        decision = shift(on_trial, fence=release(4).fence, percent=33.33)
        assert decision.state.split == ((v(3), 66.67), (v(4), 33.33))
        assert decision.reason == "canary digits-v4.0.0 goes from 5 % to 33.33 % of the traffic"

    def test_a_retried_shift_changes_nothing(self, on_trial: ServingState, release: R) -> None:
        again = shift(on_trial, fence=release(4).fence, percent=5)
        assert not again.changed
        assert again.reason == "digits-v4.0.0 already gets 5 %"

    def test_at_100_percent_the_canary_serves_alone(self, on_trial: ServingState, release: R, v: V) -> None:
        assert shift(on_trial, fence=release(4).fence, percent=100).state.split == ((v(4), 100.0),)

    def test_a_shift_to_nothing_is_an_abort_and_must_be_asked_for_as_one(
        self, on_trial: ServingState, release: R
    ) -> None:
        with pytest.raises(TransitionRefused, match=r"a share of 0 % is not usable; give 0\.01 to 100"):
            shift(on_trial, fence=release(4).fence, percent=0)

    def test_a_late_attempt_cannot_shift(self, on_trial: ServingState, release: R) -> None:
        taken = start_canary(on_trial, release=release(4, attempt=2)).state
        with pytest.raises(PreEmpted, match="attempt 1 is no longer live"):
            shift(taken, fence=release(4).fence, percent=50)

    def test_a_hold_blocks_the_shift(self, on_trial: ServingState, release: R, person: Actor) -> None:
        held = hold(on_trial, actor=person, reason="exam week").state
        with pytest.raises(ModelOnHold, match=r"cannot shift traffic to digits-v4\.0\.0"):
            shift(held, fence=release(4).fence, percent=50)

    def test_a_release_without_a_canary_says_that_it_should_be_aborted(
        self, on_trial: ServingState, release: R
    ) -> None:
        with pytest.raises(InvalidState, match="release 'r4' is live without a canary; abort it"):
            shift(replace(on_trial, canary=None), fence=release(4).fence, percent=50)


class TestPromote:
    def test_the_canary_becomes_stable_and_the_former_stable_the_next_rollback_target(
        self, on_trial: ServingState, release: R, v: V
    ) -> None:
        decision = promote(on_trial, fence=release(4).fence, version=v(4), proof="SAFE at 50 %")
        assert decision.state.split == ((v(4), 100.0),)
        assert decision.state.earlier == (v(1), v(2), v(3))
        assert decision.state.release is None
        assert decision.reason == "digits-v4.0.0 is promoted to stable: SAFE at 50 %"

    def test_the_first_release_leaves_no_rollback_target_behind(self, empty: ServingState, release: R, v: V) -> None:
        first = start_canary(empty, release=release(1), percent=100).state
        promoted = promote(first, fence=release(1).fence, version=v(1), proof="without proof").state
        assert (promoted.stable, promoted.earlier) == (v(1), ())

    def test_a_retried_promotion_changes_nothing(self, on_trial: ServingState, release: R, v: V) -> None:
        promoted = promote(on_trial, fence=release(4).fence, version=v(4), proof="SAFE").state
        again = promote(promoted, fence=release(4).fence, version=v(4), proof="SAFE")
        assert not again.changed
        assert again.reason == "digits-v4.0.0 already is stable"

    def test_an_approval_of_another_version_promotes_nothing(self, on_trial: ServingState, release: R, v: V) -> None:
        with pytest.raises(TransitionRefused, match=r"cannot promote digits-v5\.0\.0: the canary is digits-v4\.0\.0"):
            promote(on_trial, fence=release(4).fence, version=v(5), proof="approved")

    def test_a_hold_blocks_the_promotion(self, on_trial: ServingState, release: R, person: Actor, v: V) -> None:
        held = hold(on_trial, actor=person, reason="exam week").state
        with pytest.raises(ModelOnHold, match=r"cannot promote digits-v4\.0\.0"):
            promote(held, fence=release(4).fence, version=v(4), proof="SAFE")

    def test_an_aborted_release_cannot_be_promoted(self, on_trial: ServingState, release: R, v: V) -> None:
        ended = abort(on_trial, reason="a person says so").state
        with pytest.raises(PreEmpted, match="no longer live; no release is"):
            promote(ended, fence=release(4).fence, version=v(4), proof="SAFE")

    def test_a_version_that_was_left_counts_as_good_again_once_it_is_promoted(
        self, serving: ServingState, release: R, automation: Actor, v: V
    ) -> None:
        back = rollback(serving, actor=automation, reason="slow").state
        again = start_canary(back, release=release(3), percent=100).state
        promoted = promote(again, fence=release(3).fence, version=v(3), proof="SAFE").state
        assert (promoted.stable, promoted.earlier, promoted.left) == (v(3), (v(1), v(2)), ())


class TestAbort:
    def test_the_canary_ends_stable_is_untouched_and_the_version_stays_a_candidate(
        self, on_trial: ServingState, release: R, serving: ServingState, v: V
    ) -> None:
        decision = abort(on_trial, reason="the worker died", fence=release(4).fence)
        assert decision.state == replace(serving, ended=release(4).fence)
        assert decision.reason == "canary digits-v4.0.0 ends, digits-v3.0.0 keeps all traffic: the worker died"
        assert start_canary(decision.state, release=release(4, attempt=2)).changed

    def test_harm_quarantines_the_version(self, on_trial: ServingState, release: R, v: V) -> None:
        ended = abort(on_trial, reason="HARM", fence=release(4).fence, harmed=True).state
        assert ended.quarantined == (v(4),)
        with pytest.raises(TransitionRefused, match="quarantined"):
            start_canary(ended, release=release(4, attempt=2))

    def test_a_failed_first_release_says_that_the_model_has_no_stable_version(
        self, empty: ServingState, release: R
    ) -> None:
        first = start_canary(empty, release=release(1), percent=100).state
        decision = abort(first, reason="HARM", harmed=True)
        assert decision.state.split == ()
        assert "the model has no stable version" in decision.reason

    def test_a_late_actor_changes_nothing(self, on_trial: ServingState, release: R) -> None:
        """The old trigger's on_kill arrives after the task was cleared."""
        taken = start_canary(on_trial, release=release(4, attempt=2)).state
        late = abort(taken, reason="killed", fence=release(4).fence, harmed=True)
        assert not late.changed
        assert late.state == taken
        assert late.reason == (
            "nothing to abort: release 'r4' attempt 1 is no longer live; release 'r4' attempt 2 (digits-v4.0.0) is"
        )

    def test_a_second_abort_changes_nothing(self, on_trial: ServingState) -> None:
        ended = abort(on_trial, reason="once").state
        again = abort(ended, reason="twice")
        assert not again.changed
        assert again.reason == "nothing to abort: no release is live"

    def test_an_adopted_canary_without_a_release_can_be_aborted(self, serving: ServingState, v: V) -> None:
        adopted = replace(serving, canary=Canary(version=v(4), percent=5))
        assert abort(adopted, reason="not ours").state == serving

    def test_a_release_that_lost_its_canary_can_be_aborted(self, on_trial: ServingState, release: R, v: V) -> None:
        ended = abort(replace(on_trial, canary=None), reason="tidy", fence=release(4).fence)
        assert (ended.version, ended.state.release) == (v(4), None)

    def test_a_hold_never_blocks_an_abort(self, on_trial: ServingState, release: R, person: Actor) -> None:
        held = hold(on_trial, actor=person, reason="exam week").state
        assert abort(held, reason="HARM", fence=release(4).fence).state.canary is None


def test_the_ways_back_are_urgent() -> None:
    assert set(URGENT) == {Action.ABORT, Action.ROLLBACK, Action.QUARANTINE}
