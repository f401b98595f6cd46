"""A machine that tries to break the rules: releases, attempts, people and the automation in any order.

The real transitions run beside a model of sets, lists and plain numbers that says what each call may do. Fences recur
through a bundle, so that most of them are late when they are used. Statistics of which rules fire:
``pytest tests/core/test_release_state_machine.py --hypothesis-show-statistics``.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import event, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, precondition, rule

from airflow_model_ops.core.errors import ModelOnHold, NoRollbackTarget, PreEmpted, ReleaseBusy, TransitionRefused
from airflow_model_ops.core.log import Entry, Origin, check_chain, transition
from airflow_model_ops.core.state import Actor, ActorKind, Canary, Fence, LiveRelease, ServingState
from airflow_model_ops.core.transitions import (
    Decision,
    abort,
    adopt,
    end_hold_back,
    hold,
    lift,
    pin_golden,
    promote,
    quarantine,
    resume,
    retire,
    rollback,
    rollback_guarded,
    rollback_watched,
    shift,
    start_canary,
)
from airflow_model_ops.core.versioning import Scheme, Version, VersionNaming

NAMING = VersionNaming(scheme=Scheme.SEMANTIC, prefix="digits")
VERSIONS = tuple(NAMING.parse(f"digits-v{major}.0.0") for major in range(1, 8))
ACTORS = tuple(Actor(kind=kind, name="x") for kind in ActorKind)
PERSON, AUTOMATION = ACTORS
AT = "2023-06-01T12:00:00+00:00"

versions = st.sampled_from(VERSIONS)
few_versions = st.sets(versions, max_size=3)
actors = st.sampled_from(ACTORS)
mostly_people = st.sampled_from([PERSON, PERSON, PERSON, AUTOMATION])
percents = st.sampled_from([0.01, 5.0, 33.33, 50.0, 100.0])
hold_backs = st.sampled_from([0.0, 0.01, 5.0, 50.0])


class Model:
    """What is true, told without the code under test."""

    def __init__(self) -> None:
        self.stable: Version | None = None
        self.canary: Version | None = None
        self.percent = 0.0
        self.golden: Version | None = None
        self.pinned_by_person = False
        self.way_back: list[Version] = []
        self.left: list[Version] = []
        self.quarantined: set[Version] = set()
        self.retired: set[Version] = set()
        self.held: Actor | None = None
        self.live: Fence | None = None
        self.last_ended: Fence | None = None
        self.just_left: Version | None = None
        self.held_back: Version | None = None
        self.held_back_percent = 0.0
        self.promoter: Fence | None = None

    def banned(self, version: Version) -> bool:
        return version in self.quarantined or version in self.retired

    def floor(self) -> Version | None:
        return self.golden if self.pinned_by_person else None

    def end_release(self) -> None:
        self.last_ended = self.live or self.last_ended
        self.drop_the_automations_hold()
        self.live = self.canary = None
        self.percent = 0.0

    def end_hold_back(self) -> None:
        self.held_back, self.held_back_percent = None, 0.0

    def drop_the_automations_hold(self) -> None:
        self.held = PERSON if self.held is PERSON else None

    def is_over(self, fence: Fence) -> bool:
        """Whether a newer attempt runs, or this or a newer one was the last to end."""
        newer = self.live is not None and self.live.release == fence.release and self.live.attempt > fence.attempt
        ended = self.last_ended
        return newer or (ended is not None and ended.release == fence.release and ended.attempt >= fence.attempt)

    def traffic(self) -> dict[Version, float]:
        if self.held_back and self.stable:
            return {self.stable: 100.0 - self.held_back_percent, self.held_back: self.held_back_percent}
        if self.canary is None or self.percent == 0:
            return {self.stable: 100.0} if self.stable else {}
        if self.stable is None or self.percent == 100:
            return {self.canary: 100.0}
        return {self.stable: 100.0 - self.percent, self.canary: self.percent}

    def automatic_targets(self, unusable: set[Version]) -> list[Version]:
        """Every version an automatic rollback may choose, best first."""
        floor = self.floor()
        fine = [
            version
            for version in self.way_back[::-1]
            if not self.banned(version)
            and version not in unusable
            and (floor is None or version.number >= floor.number)
        ]
        golden_helps = self.golden not in {None, self.stable, self.just_left, *unusable}
        return fine + ([self.golden] if golden_helps and self.golden else [])

    def move_stable(self, target: Version) -> None:
        """What a rollback does to the way back."""
        former = [self.stable] if self.stable else []
        if target in self.way_back:
            cut = self.way_back.index(target)
            former = self.way_back[cut + 1 :] + former
            self.way_back = self.way_back[:cut]
        self.left = [version for version in self.left if version not in {target, *former}] + former
        self.just_left = self.left[-1] if self.left else None
        self.stable = target
        self.promoter = None

    def quarantine(self, version: Version) -> None:
        self.quarantined.add(version)
        if self.golden == version:
            self.golden, self.pinned_by_person = None, False


class ReleaseMachine(RuleBasedStateMachine):
    """Drives the pure transitions and the model side by side."""

    fences = Bundle("fences")

    def __init__(self) -> None:
        super().__init__()
        self.state = ServingState(fleet="main")
        self.model = Model()
        self.entry: Entry | None = None
        self.releases = 0

    @initialize(adopted=st.booleans(), golden=st.booleans(), promoted=st.integers(0, 4))
    def begins(self, adopted: bool, golden: bool, promoted: int) -> None:
        """Some models are adopted from a fleet that serves, some have a history, some begin with nothing."""
        stable = VERSIONS[2] if adopted else None
        pinned = VERSIONS[0] if golden else None
        decision = adopt(self.state, stable=stable, golden=pinned, actor=AUTOMATION)
        self.model.stable, self.model.golden = stable, pinned
        self.accept("adopt", decision, changes=adopted or golden)
        for version in [version for version in VERSIONS if version != stable][:promoted]:
            fence = Fence(release=f"past {version}", attempt=1)
            self._start(fence, version, 5.0, expired=False)
            self._promote(fence, version, 5.0)

    def accept(self, name: str, decision: Decision, *, changes: bool) -> None:
        """Take a decision that the model allows, and commit it to the chain of the log."""
        event(f"{name}: {'changes' if changes else 'changes nothing'}")
        assert decision.changed == changes, decision.reason
        assert changes == (decision.state != self.state)
        assert decision.reason
        self.state = decision.state
        if changes:
            entry = transition(decision, origin=Origin(actor=PERSON), at=AT, write_id="w").after(self.entry)
            check_chain(Entry.from_bytes(entry.to_bytes()), self.entry)
            self.entry = entry

    def refuse(self, name: str, why: type[TransitionRefused], call: Callable[[], Any]) -> None:
        """Check that a call the model forbids is refused for the right reason, in words."""
        event(f"{name}: refused, {why.__name__}")
        with pytest.raises(TransitionRefused) as refused:
            call()
        assert type(refused.value) is why
        assert str(refused.value)

    # --- releases -----------------------------------------------------------------------------------------------------

    @rule(
        target=fences,
        number=st.integers(1, 3),
        attempt=st.integers(1, 3),
        version=versions,
        percent=st.one_of(st.just(0.0), percents),
        expired=st.booleans(),
    )
    def start(self, number: int, attempt: int, version: Version, percent: float, expired: bool) -> Fence:
        self._start(Fence(release=f"r{number}", attempt=attempt), version, percent, expired)
        return Fence(release=f"r{number}", attempt=attempt)

    @rule(target=fences, fence=fences, version=versions, percent=percents)
    def clear(self, fence: Fence, version: Version, percent: float) -> Fence:
        """A cleared task runs the release again as a new attempt, which works."""
        again = Fence(release=fence.release, attempt=fence.attempt + 1)
        self._start(again, version, percent, expired=True)
        return again

    @precondition(lambda self: self.candidates() and self.model.live is None)
    @rule(target=fences, data=st.data(), percent=percents)
    def start_a_fresh_release(self, data: st.DataObject, percent: float) -> Fence:
        """What the rules above find too rarely: a release that nothing stands against but a hold."""
        self.releases += 1
        fence = Fence(release=f"fresh{self.releases}", attempt=1)
        self._start(fence, data.draw(st.sampled_from(self.candidates())), percent, expired=False)
        return fence

    def candidates(self) -> list[Version]:
        return [version for version in VERSIONS if version != self.model.stable and not self.model.banned(version)]

    @rule(fence=fences, version=versions)
    def start_late(self, fence: Fence, version: Version) -> None:
        self._start(fence, version, 5.0, expired=False)

    def _start(self, fence: Fence, version: Version, percent: float, expired: bool) -> None:
        model = self.model
        release = LiveRelease(id=fence.release, attempt=fence.attempt, version=version, started_at=AT)
        other = model.live is not None and model.live.release != fence.release

        def call() -> Decision:
            return start_canary(self.state, release=release, percent=percent, lease_expired=expired)

        if model.is_over(fence):
            self.refuse("start", PreEmpted, call)
        elif model.banned(version) or version == model.stable:
            self.refuse("start", TransitionRefused, call)
        elif other and not expired:
            self.refuse("start", ReleaseBusy, call)
        elif model.held is PERSON or (model.held and model.live in {None, fence}):
            self.refuse("start", ModelOnHold, call)
        else:
            share = 100.0 if percent and model.stable is None else percent
            same = (model.live, model.canary, model.percent) == (fence, version, share)
            decision = call()
            if other:
                model.end_release()
            model.drop_the_automations_hold()
            model.end_hold_back()
            model.live, model.canary, model.percent = fence, version, share
            self.accept("start", decision, changes=not same)

    @rule(fence=fences, percent=percents)
    def shift(self, fence: Fence, percent: float) -> None:
        self._shift(fence, percent)

    @precondition(lambda self: self.model.live is not None)
    @rule(percent=percents)
    def shift_the_live_canary(self, percent: float) -> None:
        assert self.model.live is not None
        self._shift(self.model.live, percent)

    def _shift(self, fence: Fence, percent: float) -> None:
        def call() -> Decision:
            return shift(self.state, fence=fence, percent=percent)

        if fence != self.model.live:
            self.refuse("shift", PreEmpted, call)
        elif self.model.held:
            self.refuse("shift", ModelOnHold, call)
        else:
            share = percent if self.model.stable else 100.0
            changes = self.model.percent != share
            self.model.percent = share
            self.accept("shift", call(), changes=changes)

    @rule(fence=fences, approved=versions)
    def promote(self, fence: Fence, approved: Version) -> None:
        self._promote(fence, approved)

    @precondition(lambda self: self.model.live is not None)
    @rule(target=fences, hold_back=hold_backs)
    def promote_the_live_canary(self, hold_back: float) -> Fence:
        """Its fence recurs: the watch of a release shows it, too."""
        assert self.model.live is not None
        assert self.model.canary is not None
        fence = self.model.live
        self._promote(fence, self.model.canary, hold_back)
        return fence

    def _promote(self, fence: Fence, approved: Version, hold_back: float = 0) -> None:
        model = self.model

        def call() -> Decision:
            return promote(self.state, fence=fence, version=approved, proof="SAFE", hold_back=hold_back)

        if model.live is None and approved == model.stable:
            self.accept("promote", call(), changes=False)
        elif fence != model.live:
            self.refuse("promote", PreEmpted, call)
        elif approved != model.canary:
            self.refuse("promote", TransitionRefused, call)
        elif model.held:
            self.refuse("promote", ModelOnHold, call)
        else:
            decision = call()
            model.way_back = [version for version in model.way_back if version != approved]
            model.way_back += [model.stable] if model.stable else []
            model.left = [version for version in model.left if version != approved]
            model.just_left = model.left[-1] if model.left else None
            if hold_back and model.stable and model.stable not in model.quarantined:
                model.held_back, model.held_back_percent = model.stable, hold_back
            model.stable, model.promoter = approved, fence
            model.end_release()
            self.accept("promote with a hold-back" if model.held_back else "promote", decision, changes=True)

    @rule(fence=consumes(fences), harmed=st.booleans())
    def abort_by_an_actor_of_a_release(self, fence: Fence, harmed: bool) -> None:
        """on_kill, a teardown, a callback: each shows its fence, most are late."""
        decision = abort(self.state, reason="killed", fence=fence, harmed=harmed)
        self._aborted("abort with fence", decision, live=fence == self.model.live, harmed=harmed)

    @rule(harmed=st.booleans())
    def abort_by_a_person(self, harmed: bool) -> None:
        decision = abort(self.state, reason="no", harmed=harmed)
        self._aborted("abort", decision, live=self.model.live is not None, harmed=harmed)

    def _aborted(self, name: str, decision: Decision, *, live: bool, harmed: bool) -> None:
        before = self.state.stable, self.state.earlier, self.state.left
        if live:
            ended = self.model.canary
            self.model.end_release()
            if harmed and ended:
                self.model.quarantine(ended)
        self.accept(name, decision, changes=live)
        assert (self.state.stable, self.state.earlier, self.state.left) == before, "an abort moved stable"

    # --- the watch after a promotion ---------------------------------------------------------------------------------

    @rule(fence=fences)
    def end_the_hold_back_as_the_watch_of_any_release(self, fence: Fence) -> None:
        self._end_hold_back(fence)

    @precondition(lambda self: self.model.held_back)
    @rule(of_the_watch=st.booleans())
    def end_the_hold_back(self, of_the_watch: bool) -> None:
        self._end_hold_back(self.model.promoter if of_the_watch else None)

    def _end_hold_back(self, fence: Fence | None) -> None:
        model = self.model
        changes = model.held_back is not None and fence in {None, model.promoter}
        before = self.state.stable, self.state.earlier, self.state.left
        if changes:
            model.end_hold_back()
        self.accept("end the hold-back", end_hold_back(self.state, reason="over", fence=fence), changes=changes)
        assert (self.state.stable, self.state.earlier, self.state.left) == before, "the end of a watch moved stable"

    @rule(fence=fences, harmed=st.booleans(), unusable=few_versions)
    def take_back_as_the_watch_of_any_release(self, fence: Fence, harmed: bool, unusable: set[Version]) -> None:
        self._take_back(fence, harmed, unusable)

    @precondition(lambda self: self.model.promoter)
    @rule(harmed=st.booleans(), unusable=few_versions)
    def take_back_what_was_promoted(self, harmed: bool, unusable: set[Version]) -> None:
        assert self.model.promoter is not None
        self._take_back(self.model.promoter, harmed, unusable)

    def _take_back(self, fence: Fence, harmed: bool, unusable: set[Version]) -> None:
        model = self.model

        def call() -> Decision:
            return rollback_watched(self.state, fence=fence, reason="late harm", harmed=harmed, unusable=unusable)

        if fence != model.promoter or model.live:
            self.accept("take back, late", call(), changes=False)
            return
        targets = model.automatic_targets(unusable)
        if not targets:
            self.refuse("take back", NoRollbackTarget, call)
            return
        bad, held_back, decision = model.stable, model.held_back, call()
        assert bad is not None
        assert decision.state.stable == targets[0]
        floor = model.floor()
        if held_back and held_back not in unusable and not (floor and held_back < floor):
            assert targets[0] == held_back, "the watch passed over the version that was held back"
        if harmed:
            model.quarantine(bad)
        self._landed(decision, actor=AUTOMATION, unusable=unusable, automatic=True, name="take back")

    @rule(suspect=versions, unusable=few_versions)
    def guard(self, suspect: Version, unusable: set[Version]) -> None:
        self._guard(suspect, unusable)

    @precondition(lambda self: self.model.stable)
    @rule(unusable=few_versions)
    def guard_stable(self, unusable: set[Version]) -> None:
        assert self.model.stable is not None
        self._guard(self.model.stable, unusable)

    def _guard(self, suspect: Version, unusable: set[Version]) -> None:
        model = self.model

        def call() -> Decision:
            return rollback_guarded(self.state, version=suspect, reason="over its ceiling", unusable=unusable)

        if suspect != model.stable:
            self.accept("guard, late", call(), changes=False)
        elif model.held is PERSON:
            self.refuse("guard", ModelOnHold, call)
        elif not model.automatic_targets(unusable):
            self.refuse("guard", NoRollbackTarget, call)
        else:
            decision = call()
            assert decision.state.stable == model.automatic_targets(unusable)[0]
            assert set(decision.state.quarantined) == model.quarantined, "the guard quarantined"
            self._landed(decision, actor=AUTOMATION, unusable=unusable, automatic=True, name="guard")

    # --- rollback -----------------------------------------------------------------------------------------------------

    @rule(actor=actors, unusable=few_versions)
    def rollback(self, actor: Actor, unusable: set[Version]) -> None:
        model = self.model

        def call() -> Decision:
            return rollback(self.state, actor=actor, reason="bad", unusable=unusable)

        if model.live is not None:
            model.end_release()
            self.accept("rollback of a canary", call(), changes=True)
            return
        targets = model.automatic_targets(unusable)
        if not targets:
            self.refuse("rollback", NoRollbackTarget, call)
            return
        just_left, decision = model.just_left, call()
        assert decision.state.stable == targets[0]
        assert decision.state.stable != just_left, "a second rollback went back to what was just left"
        self._landed(decision, actor=actor, unusable=unusable, automatic=True)

    @rule(actor=actors, to=versions, unusable=few_versions)
    def rollback_to(self, actor: Actor, to: Version, unusable: set[Version]) -> None:
        self._rollback_to(actor, to, unusable)

    @precondition(lambda self: self.model.way_back)
    @rule(data=st.data(), actor=actors)
    def rollback_to_a_former_stable(self, data: st.DataObject, actor: Actor) -> None:
        self._rollback_to(actor, data.draw(st.sampled_from(self.model.way_back)), set())

    def _rollback_to(self, actor: Actor, to: Version, unusable: set[Version]) -> None:
        model = self.model

        def call() -> Decision:
            return rollback(self.state, actor=actor, reason="bad", to=to, unusable=unusable)

        proven = {*model.way_back, *model.left, model.stable, model.golden} - {model.canary}
        floor = model.floor()
        below = floor is not None and to.number < floor.number
        may_not = actor is AUTOMATION and (to not in proven or below)
        if model.banned(to) or to in unusable or may_not:
            self.refuse("rollback to", TransitionRefused, call)
        elif to == model.stable and model.live is None and model.held_back is None:
            self.accept("rollback to", call(), changes=False)
        else:
            self._landed(call(), actor=actor, unusable=unusable, automatic=False)

    def _landed(
        self, decision: Decision, *, actor: Actor, unusable: set[Version], automatic: bool, name: str = "rollback"
    ) -> None:
        model, landed = self.model, decision.state.stable
        assert landed is not None
        assert not model.banned(landed), "a rollback landed on a banned version"
        assert landed not in unusable, "a rollback landed on a version whose files are gone or altered"
        if actor is AUTOMATION or automatic:
            floor = model.floor()
            assert floor is None or landed >= floor, "the automation went past a person's pin"
        model.end_release()
        model.end_hold_back()
        if landed != model.stable:
            model.move_stable(landed)
        self.accept(name if automatic else "rollback to", decision, changes=True)

    # --- what stands beside -------------------------------------------------------------------------------------------

    @rule(version=versions, actor=actors)
    def pin_golden(self, version: Version, actor: Actor) -> None:
        model, by_person = self.model, actor is PERSON

        def call() -> Decision:
            return pin_golden(self.state, version=version, actor=actor)

        if model.golden == version and (model.pinned_by_person or not by_person):
            self.accept("pin", call(), changes=False)
        elif model.banned(version) or (model.pinned_by_person and not by_person):
            self.refuse("pin", TransitionRefused, call)
        else:
            model.golden, model.pinned_by_person = version, by_person
            self.accept("pin", call(), changes=True)

    @rule(version=versions, force=st.booleans())
    def quarantine(self, version: Version, force: bool) -> None:
        self._quarantine(version, force)

    @precondition(lambda self: self.model.way_back)
    @rule()
    def quarantine_the_nearest_way_back(self) -> None:
        self._quarantine(self.model.way_back[-1], force=False)

    def _quarantine(self, version: Version, force: bool) -> None:
        model = self.model

        def call() -> Decision:
            return quarantine(self.state, version=version, reason="bad", force=force)

        only = set(model.traffic()) == {version} and model.stable is None
        if version in model.quarantined:
            self.accept("quarantine", call(), changes=False)
        elif (version == model.stable or only) and not force:
            self.refuse("quarantine", TransitionRefused, call)
        else:
            decision = call()
            if version == model.canary:
                model.end_release()
            if version == model.held_back:
                model.end_hold_back()
            model.quarantine(version)
            self.accept("quarantine", decision, changes=True)

    @rule(version=versions, actor=mostly_people)
    def lift(self, version: Version, actor: Actor) -> None:
        if actor is AUTOMATION:
            self.refuse(
                "lift", TransitionRefused, lambda: lift(self.state, version=version, actor=actor, reason="fine")
            )
            return
        changes = version in self.model.quarantined
        self.model.quarantined.discard(version)
        self.accept("lift", lift(self.state, version=version, actor=actor, reason="fine"), changes=changes)

    @rule(actor=actors)
    def hold(self, actor: Actor) -> None:
        changes = self.model.held is None or (self.model.held is AUTOMATION and actor is PERSON)
        self.model.held = actor if changes else self.model.held
        self.accept("hold", hold(self.state, actor=actor, reason="wait"), changes=changes)

    @precondition(lambda self: self.model.held)
    @rule(actor=mostly_people)
    def resume(self, actor: Actor) -> None:
        if actor is AUTOMATION:
            self.refuse("resume", TransitionRefused, lambda: resume(self.state, actor=actor, reason="go"))
            return
        changes, self.model.held = self.model.held is not None, None
        self.accept("resume", resume(self.state, actor=actor, reason="go"), changes=changes)

    @rule(chosen=few_versions)
    def retire(self, chosen: set[Version]) -> None:
        model = self.model
        nearest = [version for version in model.way_back if version not in model.quarantined][-1:]
        spared = {model.stable, model.canary, model.golden, model.held_back, *nearest}
        if chosen & spared:
            self.refuse("retire", TransitionRefused, lambda: retire(self.state, versions=chosen, reason="old"))
            return
        gone = chosen - model.retired
        model.retired |= gone
        model.way_back = [version for version in model.way_back if version not in gone]
        model.left = [version for version in model.left if version not in gone]
        model.just_left = model.left[-1] if model.left else None
        self.accept("retire", retire(self.state, versions=chosen, reason="old"), changes=bool(gone))

    @precondition(lambda self: self.model.retired)
    @rule(data=st.data())
    def forget(self, data: st.DataObject) -> None:
        """Housekeeping finished a deletion; the same name may be pushed again later."""
        version = data.draw(st.sampled_from(sorted(self.model.retired)))
        self.model.retired.discard(version)
        self.accept("forget", retire(self.state, versions=[], forget=[version], reason="gone"), changes=True)

    @precondition(lambda self: self.model.stable or self.model.live or self.model.way_back)
    @rule(version=versions)
    def adopt_over_a_state(self, version: Version) -> None:
        canary = Canary(version=version, percent=5.0)
        if version != self.model.stable and not self.model.banned(version) and self.model.live is None:
            self.refuse(
                "adopt",
                TransitionRefused,
                lambda: adopt(self.state, stable=self.model.stable, canary=canary, actor=PERSON),
            )

    # --- what always holds --------------------------------------------------------------------------------------------

    @invariant()
    def the_state_is_what_the_model_says(self) -> None:
        state, model = self.state, self.model
        assert state.stable == model.stable
        assert (state.canary.version if state.canary else None) == model.canary
        assert (state.canary.percent if state.canary else 0.0) == model.percent
        assert (state.golden.version if state.golden else None) == model.golden
        assert bool(state.golden and state.golden.by_person) == model.pinned_by_person
        assert (list(state.earlier), list(state.left)) == (model.way_back, model.left)
        assert (set(state.quarantined), set(state.retired)) == (model.quarantined, model.retired)
        assert (state.hold and state.hold.by_person) == (model.held and model.held is PERSON)
        assert (state.release.fence if state.release else None) == model.live
        assert (state.holdback.version if state.holdback else None) == model.held_back
        assert (state.holdback.percent if state.holdback else 0.0) == model.held_back_percent
        assert state.promoted_by == model.promoter

    @invariant()
    def shares_sum_to_100_or_nothing_serves(self) -> None:
        shares = dict(self.state.split)
        assert shares == pytest.approx(self.model.traffic())
        assert sum(shares.values()) == pytest.approx(100) if shares else self.state.stable is None
        assert len(shares) == len(self.state.split)
        assert all(share > 0 for share in shares.values())

    @invariant()
    def a_canary_is_never_banned_and_always_has_a_release(self) -> None:
        canary = self.state.canary
        assert (canary is None) == (self.state.release is None)
        assert canary is None or not self.model.banned(canary.version)

    @invariant()
    def a_version_is_held_back_only_beside_the_promotion_it_belongs_to(self) -> None:
        held_back = self.model.held_back
        if held_back is not None:
            assert self.model.live is None
            assert self.model.promoter is not None
            assert not self.model.banned(held_back)
            assert self.model.way_back[-1] == held_back, "the nearest way back is another version"
            assert self.state.leased == self.model.promoter

    @invariant()
    def what_serves_or_is_labelled_or_warm_is_never_retired(self) -> None:
        served = {version for version, _ in self.state.split}
        assert not {*self.state.warm, *self.state.labels.values(), *served} & self.model.retired
        assert {*self.state.labels.values(), *served} <= set(self.state.warm)

    @invariant()
    def no_version_is_in_two_places(self) -> None:
        stable = (self.state.stable,) if self.state.stable else ()
        places = [*self.state.earlier, *self.state.left, *stable]
        assert len(places) == len(set(places))

    @invariant()
    def the_state_survives_json(self) -> None:
        assert ServingState.from_json(json.loads(json.dumps(self.state.to_json()))) == self.state


ReleaseMachine.TestCase.settings = settings(max_examples=300, stateful_step_count=40, deadline=None)
# Twelve thousand steps: many times longer than any other test that starts no process, so it has more time on a busy machine.
TestReleases = pytest.mark.timeout(300)(ReleaseMachine.TestCase)
