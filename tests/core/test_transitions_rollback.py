"""Stories of a rollback: where it lands, where it never lands, and who may send it there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from airflow_model_ops.core.errors import NoRollbackTarget, TransitionRefused
from airflow_model_ops.core.state import Actor, Golden, LiveRelease, ServingState
from airflow_model_ops.core.transitions import (
    Action,
    hold,
    pin_golden,
    promote,
    quarantine,
    retire,
    rollback,
    start_canary,
)
from airflow_model_ops.core.versioning import Version

V = Callable[[int], Version]
R = Callable[..., LiveRelease]


class TestAutomaticTarget:
    def test_a_rollback_goes_to_the_newest_earlier_stable(self, serving: ServingState, automation: Actor, v: V) -> None:
        decision = rollback(serving, actor=automation, reason="accuracy fell")
        assert decision.action is Action.ROLLBACK
        assert (decision.state.stable, decision.state.earlier, decision.state.left) == (v(2), (v(1),), (v(3),))
        assert decision.reason == "rolled back from digits-v3.0.0 to digits-v2.0.0: accuracy fell"

    def test_with_a_live_canary_the_rollback_only_ends_the_canary(
        self, serving: ServingState, release: R, automation: Actor, v: V
    ) -> None:
        on_trial = start_canary(serving, release=release(4), percent=50).state
        decision = rollback(on_trial, actor=automation, reason="slow")
        assert decision.action is Action.ROLLBACK
        assert decision.state.split == ((v(3), 100.0),)
        assert "digits-v3.0.0 keeps all traffic" in decision.reason

    def test_a_second_rollback_goes_further_back_and_never_to_what_was_just_left(
        self, serving: ServingState, automation: Actor, v: V
    ) -> None:
        once = rollback(serving, actor=automation, reason="bad").state
        twice = rollback(once, actor=automation, reason="bad too").state
        assert (twice.stable, twice.left) == (v(1), (v(3), v(2)))
        with pytest.raises(NoRollbackTarget, match=r"digits-v1\.0\.0 goes on serving\. Name a version, or push"):
            rollback(twice, actor=automation, reason="all bad")

    def test_golden_is_the_last_resort(self, serving: ServingState, automation: Actor, person: Actor, v: V) -> None:
        pinned = pin_golden(replace(serving, earlier=()), version=v(1), actor=person).state
        assert rollback(pinned, actor=automation, reason="bad").state.stable == v(1)

    def test_golden_is_no_resort_when_it_is_what_was_just_left(
        self, serving: ServingState, automation: Actor, v: V
    ) -> None:
        pinned = pin_golden(replace(serving, earlier=(v(2),)), version=v(3), actor=automation).state
        once = rollback(pinned, actor=automation, reason="bad").state
        assert once.stable == v(2)
        with pytest.raises(
            NoRollbackTarget, match=r"golden digits-v3\.0\.0 is what was just left .*digits-v2\.0\.0 goes on"
        ):
            rollback(once, actor=automation, reason="bad too")

    def test_quarantined_retired_and_unusable_versions_are_passed_over(
        self, serving: ServingState, automation: Actor, v: V
    ) -> None:
        state = replace(serving, stable=v(6), earlier=(v(1), v(2), v(3), v(4)))
        state = quarantine(state, version=v(4), reason="harmed").state
        state = retire(state, versions=[v(2)], reason="old").state
        assert rollback(state, actor=automation, reason="bad", unusable=[v(3)]).state.stable == v(1)

    def test_a_golden_version_whose_files_are_gone_is_no_target(
        self, empty: ServingState, automation: Actor, v: V
    ) -> None:
        state = replace(empty, golden=Golden(version=v(1), by_person=True))
        with pytest.raises(NoRollbackTarget, match="nothing serves"):
            rollback(state, actor=automation, reason="bad", unusable=[v(1)])

    def test_a_model_that_serves_nothing_can_be_taken_to_golden(
        self, empty: ServingState, automation: Actor, v: V
    ) -> None:
        state = replace(empty, golden=Golden(version=v(1), by_person=True))
        decision = rollback(state, actor=automation, reason="first release failed")
        assert decision.state.split == ((v(1), 100.0),)
        assert decision.reason == "rolled back to digits-v1.0.0: first release failed"

    def test_a_persons_pin_is_a_floor_for_the_automation(
        self, serving: ServingState, automation: Actor, person: Actor, v: V
    ) -> None:
        pinned = pin_golden(serving, version=v(3), actor=person).state
        with pytest.raises(NoRollbackTarget):
            rollback(pinned, actor=automation, reason="bad")

    def test_a_pin_by_the_automation_is_no_floor(self, serving: ServingState, automation: Actor, v: V) -> None:
        pinned = pin_golden(serving, version=v(3), actor=automation).state
        assert rollback(pinned, actor=automation, reason="bad").state.stable == v(2)

    def test_a_hold_never_blocks_a_rollback(
        self, serving: ServingState, automation: Actor, person: Actor, v: V
    ) -> None:
        held = hold(serving, actor=person, reason="exam week").state
        assert rollback(held, actor=automation, reason="bad").state.stable == v(2)


class TestNamedTarget:
    def test_a_named_rollback_ends_the_canary_and_lands_in_one_transition(
        self, serving: ServingState, release: R, person: Actor, v: V
    ) -> None:
        on_trial = start_canary(serving, release=release(4), percent=50).state
        back = rollback(on_trial, actor=person, reason="page at 3 a.m.", to=v(1)).state
        assert (back.stable, back.canary, back.release) == (v(1), None, None)
        assert (back.earlier, back.left) == ((), (v(2), v(3)))

    def test_naming_stable_ends_the_canary_only(self, serving: ServingState, release: R, person: Actor, v: V) -> None:
        on_trial = start_canary(serving, release=release(4), percent=50).state
        decision = rollback(on_trial, actor=person, reason="enough", to=v(3))
        assert decision.state == replace(serving, ended=release(4).fence)
        assert decision.reason == "back to digits-v3.0.0 alone: enough"

    def test_naming_stable_when_it_serves_alone_changes_nothing(
        self, serving: ServingState, person: Actor, v: V
    ) -> None:
        decision = rollback(serving, actor=person, reason="again", to=v(3))
        assert not decision.changed
        assert decision.reason == "digits-v3.0.0 already is stable and serves alone"

    def test_a_version_that_was_left_can_be_named(self, serving: ServingState, person: Actor, v: V) -> None:
        back = rollback(serving, actor=person, reason="bad").state
        forward = rollback(back, actor=person, reason="it was the network", to=v(3)).state
        assert (forward.stable, forward.earlier, forward.left) == (v(3), (v(1),), (v(2),))

    @pytest.mark.parametrize("by", ["person", "automation"])
    def test_nobody_lands_on_a_quarantined_version(
        self, by: str, serving: ServingState, v: V, request: pytest.FixtureRequest
    ) -> None:
        banned = quarantine(serving, version=v(2), reason="harmed").state
        with pytest.raises(TransitionRefused, match="must lift it before anyone may roll back to it"):
            rollback(banned, actor=request.getfixturevalue(by), reason="bad", to=v(2))

    def test_nobody_lands_on_a_retired_version(self, serving: ServingState, person: Actor, v: V) -> None:
        retired = retire(serving, versions=[v(1)], reason="old").state
        with pytest.raises(TransitionRefused, match="retired and its files are going"):
            rollback(retired, actor=person, reason="bad", to=v(1))

    def test_nobody_lands_on_altered_files(self, serving: ServingState, person: Actor, v: V) -> None:
        with pytest.raises(TransitionRefused, match="files are gone or altered; choose another version"):
            rollback(serving, actor=person, reason="bad", to=v(1), unusable=[v(1)])

    def test_only_a_person_goes_past_a_persons_pin(
        self, serving: ServingState, automation: Actor, person: Actor, v: V
    ) -> None:
        pinned = pin_golden(serving, version=v(2), actor=person).state
        with pytest.raises(TransitionRefused, match="only a person may go past a pin"):
            rollback(pinned, actor=automation, reason="bad", to=v(1))
        assert rollback(pinned, actor=person, reason="bad", to=v(1)).state.stable == v(1)

    def test_the_automation_cannot_promote_by_calling_it_a_rollback(
        self, serving: ServingState, release: R, automation: Actor, person: Actor, v: V
    ) -> None:
        """Otherwise a hold, which never blocks a rollback, could be walked around."""
        on_trial = hold(start_canary(serving, release=release(4)).state, actor=person, reason="exam week").state
        for unproven in (v(4), v(9)):
            with pytest.raises(TransitionRefused, match="was never stable and is not golden; only a person"):
                rollback(on_trial, actor=automation, reason="bad", to=unproven)
        assert rollback(on_trial, actor=person, reason="I know", to=v(4)).state.stable == v(4)

    def test_the_automation_may_name_golden(
        self, serving: ServingState, automation: Actor, person: Actor, v: V
    ) -> None:
        pinned = pin_golden(serving, version=v(9), actor=person).state
        assert rollback(pinned, actor=automation, reason="bad", to=v(9)).state.stable == v(9)


def test_after_a_rollback_and_a_new_promotion_the_way_back_passes_over_the_bad_version(
    serving: ServingState, release: R, automation: Actor, v: V
) -> None:
    back = rollback(serving, actor=automation, reason="bad").state
    on_trial = start_canary(back, release=release(4), percent=100).state
    promoted = promote(on_trial, fence=release(4).fence, version=v(4), proof="SAFE").state
    assert rollback(promoted, actor=automation, reason="bad").state.stable == v(2)


class TestTwoWishesAtOnce:
    """Who loses the race for the next log entry decides again; a wish that another one has met is met."""

    def test_two_people_who_see_a_canary_end_it_and_leave_stable_alone(
        self, serving: ServingState, release: R, person: Actor
    ) -> None:
        seen = start_canary(serving, release=release(4), percent=50).state
        first = rollback(seen, actor=person, reason="bad", seen=seen)
        second = rollback(first.state, actor=person, reason="bad", seen=seen)
        assert (second.changed, second.state.stable) == (False, serving.stable)
        assert "another way back was faster" in second.reason

    def test_two_people_who_leave_one_version_go_back_one_and_not_two(
        self, serving: ServingState, person: Actor
    ) -> None:
        first = rollback(serving, actor=person, reason="bad", seen=serving)
        second = rollback(first.state, actor=person, reason="bad", seen=serving)
        assert (first.changed, second.changed, second.state) == (True, False, first.state)

    def test_a_canary_that_was_promoted_meanwhile_is_taken_back(
        self, serving: ServingState, release: R, person: Actor, v: V
    ) -> None:
        seen = start_canary(serving, release=release(4), percent=50).state
        after = promote(seen, fence=release(4).fence, version=v(4), proof="fine").state
        assert rollback(after, actor=person, reason="bad", seen=seen).state.stable == serving.stable
