"""Stories of what stands beside a release: golden, quarantine, hold, retirement, adoption."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest

from airflow_model_ops.core.errors import InvalidState, TransitionRefused
from airflow_model_ops.core.state import Actor, Canary, Golden, Hold, LiveRelease, ServingState
from airflow_model_ops.core.transitions import (
    Decision,
    abort,
    adopt,
    hold,
    lift,
    pin_golden,
    quarantine,
    resume,
    retire,
    rollback,
    start_canary,
)
from airflow_model_ops.core.versioning import Version

V = Callable[[int], Version]
R = Callable[..., LiveRelease]


class TestGolden:
    def test_a_pin_says_who_pinned(self, serving: ServingState, person: Actor, v: V) -> None:
        decision = pin_golden(serving, version=v(2), actor=person)
        assert decision.state.golden == Golden(version=v(2), by_person=True)
        assert decision.reason == "digits-v2.0.0 is pinned as golden by person ada"
        assert not pin_golden(decision.state, version=v(2), actor=person).changed

    def test_the_automation_never_moves_a_persons_pin(
        self, serving: ServingState, person: Actor, automation: Actor, v: V
    ) -> None:
        pinned = pin_golden(serving, version=v(2), actor=person).state
        with pytest.raises(
            TransitionRefused, match=r"digits-v2\.0\.0 is pinned as golden by a person; only a person may pin"
        ):
            pin_golden(pinned, version=v(3), actor=automation)

    def test_the_automation_pinning_what_a_person_pinned_leaves_it_the_persons_pin(
        self, serving: ServingState, person: Actor, automation: Actor, v: V
    ) -> None:
        pinned = pin_golden(serving, version=v(2), actor=person).state
        again = pin_golden(pinned, version=v(2), actor=automation)
        assert (again.changed, again.state) == (False, pinned)

    def test_a_person_makes_the_automations_pin_their_own(
        self, serving: ServingState, person: Actor, automation: Actor, v: V
    ) -> None:
        pinned = pin_golden(serving, version=v(2), actor=automation).state
        assert pin_golden(pinned, version=v(2), actor=person).state.golden == Golden(version=v(2), by_person=True)

    def test_a_quarantined_or_retired_version_is_not_golden(self, serving: ServingState, person: Actor, v: V) -> None:
        state = retire(serving, versions=[v(1)], reason="old").state
        state = quarantine(state, version=v(2), reason="harmed").state
        for version, why in ((v(2), "is quarantined"), (v(1), "is retired")):
            with pytest.raises(TransitionRefused, match=why):
                pin_golden(state, version=version, actor=person)


class TestQuarantine:
    def test_a_quarantined_canary_ends_its_release_at_once(self, serving: ServingState, release: R, v: V) -> None:
        on_trial = start_canary(serving, release=release(4), percent=50).state
        ended = quarantine(on_trial, version=v(4), reason="wrong labels").state
        assert (ended.canary, ended.release, ended.quarantined) == (None, None, (v(4),))

    def test_quarantining_another_version_leaves_the_release_alone(
        self, serving: ServingState, release: R, v: V
    ) -> None:
        on_trial = start_canary(serving, release=release(4), percent=50).state
        banned = quarantine(on_trial, version=v(2), reason="wrong labels").state
        assert (banned.release, banned.canary) == (on_trial.release, on_trial.canary)

    def test_quarantining_stable_needs_force_and_leaves_it_serving(self, serving: ServingState, v: V) -> None:
        with pytest.raises(TransitionRefused, match=r"is stable: .* roll back or abort first, or use force"):
            quarantine(serving, version=v(3), reason="bad")
        assert quarantine(serving, version=v(3), reason="bad", force=True).state.split == ((v(3), 100.0),)

    def test_quarantining_the_only_serving_version_of_a_first_release_needs_force(
        self, empty: ServingState, release: R, v: V
    ) -> None:
        first = start_canary(empty, release=release(1), percent=100).state
        with pytest.raises(TransitionRefused, match="is the only version that serves"):
            quarantine(first, version=v(1), reason="bad")
        assert quarantine(first, version=v(1), reason="bad", force=True).state.split == ()
        assert abort(first, reason="HARM", harmed=True).state.quarantined == (v(1),)

    def test_a_second_quarantine_changes_nothing(self, serving: ServingState, v: V) -> None:
        banned = quarantine(serving, version=v(2), reason="bad").state
        assert not quarantine(banned, version=v(2), reason="bad").changed

    def test_a_quarantined_version_does_not_stay_golden_nor_warm(
        self, serving: ServingState, person: Actor, v: V
    ) -> None:
        pinned = pin_golden(serving, version=v(2), actor=person).state
        banned = quarantine(pinned, version=v(2), reason="bad").state
        assert banned.golden is None
        assert banned.warm == (v(1), v(3))

    def test_only_a_person_lifts(self, serving: ServingState, person: Actor, automation: Actor, v: V) -> None:
        banned = quarantine(serving, version=v(2), reason="bad").state
        with pytest.raises(TransitionRefused, match=r"only a person may lift .*, not automation model_release"):
            lift(banned, version=v(2), actor=automation, reason="x")
        lifted = lift(banned, version=v(2), actor=person, reason="it was the data")
        assert lifted.state == serving
        assert lifted.reason == "the quarantine of digits-v2.0.0 is lifted by person ada: it was the data"
        assert not lift(lifted.state, version=v(2), actor=person, reason="again").changed

    def test_retiring_a_quarantined_version_does_not_lift_it(self, serving: ServingState, release: R, v: V) -> None:
        """Otherwise housekeeping and a second push of the same name would bring a harmful version back."""
        banned = quarantine(serving, version=v(4), reason="harmed").state
        retired = retire(banned, versions=[v(4)], reason="old").state
        forgotten = retire(retired, versions=[], forget=[v(4)], reason="files are gone").state
        assert forgotten.retired == ()
        with pytest.raises(TransitionRefused, match="is quarantined"):
            start_canary(forgotten, release=release(4))


class TestHold:
    def test_a_hold_keeps_its_first_reason(self, serving: ServingState, person: Actor, automation: Actor) -> None:
        held = hold(serving, actor=person, reason="exam week")
        assert held.reason == "held by person ada: exam week"
        again = hold(held.state, actor=automation, reason="mine")
        assert (again.changed, again.reason) == (False, "already held by person ada: exam week")

    def test_a_persons_hold_takes_the_place_of_the_automations(
        self, serving: ServingState, person: Actor, automation: Actor
    ) -> None:
        waits = hold(serving, actor=automation, reason="no verdict in time").state
        held = hold(waits, actor=person, reason="exam week")
        assert (held.changed, held.state.hold) == (True, Hold(by="person ada", reason="exam week", by_person=True))

    @pytest.mark.parametrize("way_out", ["abort", "rollback", "rollback to", "quarantine"])
    def test_the_automations_hold_ends_with_its_release_and_a_persons_stays(
        self, *, way_out: str, serving: ServingState, release: R, person: Actor, automation: Actor, v: V
    ) -> None:
        ways: dict[str, Callable[[ServingState], Decision]] = {
            "abort": partial(abort, reason="enough"),
            "rollback": partial(rollback, actor=person, reason="enough"),
            "rollback to": partial(rollback, actor=person, reason="enough", to=v(2)),
            "quarantine": partial(quarantine, version=v(4), reason="enough"),
        }
        on_trial = start_canary(serving, release=release(4), percent=50).state
        assert ways[way_out](hold(on_trial, actor=automation, reason="late").state).state.hold is None
        assert ways[way_out](hold(on_trial, actor=person, reason="audit").state).state.hold is not None

    def test_only_a_person_resumes(self, serving: ServingState, person: Actor, automation: Actor) -> None:
        held = hold(serving, actor=person, reason="exam week").state
        with pytest.raises(TransitionRefused, match="only a person may resume, not automation"):
            resume(held, actor=automation, reason="done")
        resumed = resume(held, actor=person, reason="done")
        assert resumed.state == serving
        assert not resume(resumed.state, actor=person, reason="done").changed


class TestRetire:
    def test_a_retired_version_is_no_rollback_target_any_longer(self, serving: ServingState, v: V) -> None:
        decision = retire(serving, versions=[v(1)], reason="keep_last 2")
        assert (decision.state.retired, decision.state.earlier) == ((v(1),), (v(2),))
        assert decision.reason == "digits-v1.0.0 retired: keep_last 2"

    def test_what_serves_is_labelled_warm_or_on_trial_is_spared(
        self, serving: ServingState, release: R, person: Actor, v: V
    ) -> None:
        state = pin_golden(serving, version=v(1), actor=person).state
        state = start_canary(state, release=release(4)).state
        for version in (v(1), v(2), v(3), v(4)):
            with pytest.raises(TransitionRefused, match=f"cannot retire {version}: it serves or is kept to roll back"):
                retire(state, versions=[version, v(9)], reason="old")

    def test_a_version_whose_release_lost_its_canary_is_spared_too(
        self, serving: ServingState, release: R, v: V
    ) -> None:
        state = replace(start_canary(serving, release=release(4)).state, canary=None)
        with pytest.raises(TransitionRefused, match="cannot retire"):
            retire(state, versions=[v(4)], reason="old")

    def test_a_retried_retirement_changes_nothing(self, serving: ServingState, v: V) -> None:
        retired = retire(serving, versions=[v(1)], reason="old").state
        assert not retire(retired, versions=[v(1)], reason="old").changed
        assert not retire(retired, versions=[], reason="old").changed

    def test_a_version_is_forgotten_once_its_files_are_gone(self, serving: ServingState, v: V) -> None:
        retired = retire(serving, versions=[v(1)], reason="old").state
        decision = retire(retired, versions=[], forget=[v(1)], reason="old")
        assert decision.state.retired == ()
        assert decision.reason == "forgets digits-v1.0.0: files are gone"


class TestAdopt:
    def test_a_fleet_that_serves_becomes_the_first_state(self, empty: ServingState, person: Actor, v: V) -> None:
        decision = adopt(empty, stable=v(1), canary=Canary(version=v(2), percent=10), golden=v(1), actor=person)
        assert decision.state.split == ((v(1), 90.0), (v(2), 10.0))
        assert decision.state.golden == Golden(version=v(1), by_person=True)
        assert decision.reason == "adopted as it serves: digits-v1.0.0 90 %, digits-v2.0.0 10 %"
        assert not adopt(
            decision.state, stable=v(1), canary=Canary(version=v(2), percent=10), golden=v(1), actor=person
        ).changed

    def test_a_fleet_that_serves_nothing_is_adopted_without_a_change(self, empty: ServingState, person: Actor) -> None:
        assert not adopt(empty, stable=None, actor=person).changed

    def test_a_model_with_a_state_cannot_be_adopted_over(self, serving: ServingState, person: Actor, v: V) -> None:
        with pytest.raises(TransitionRefused, match=r"already has a state \(stable digits-v3\.0\.0\); use rollback"):
            adopt(serving, stable=v(9), actor=person)

    def test_adoption_keeps_a_golden_version_that_was_pinned_before(
        self, empty: ServingState, person: Actor, automation: Actor, v: V
    ) -> None:
        pinned = pin_golden(empty, version=v(2), actor=person).state
        adopted = adopt(pinned, stable=v(3), actor=automation).state
        assert adopted.golden == Golden(version=v(2), by_person=True)

    def test_a_split_that_the_router_cannot_say_cannot_be_adopted(
        self, empty: ServingState, person: Actor, v: V
    ) -> None:
        with pytest.raises(InvalidState, match=r"finer than 0\.01 %"):
            adopt(empty, stable=v(1), canary=Canary(version=v(2), percent=33.333), actor=person)

    def test_a_golden_only_adoption_says_that_nothing_serves(self, empty: ServingState, person: Actor, v: V) -> None:
        decision = adopt(empty, stable=None, golden=v(1), actor=person)
        assert decision.reason == "adopted as it serves: nothing"
