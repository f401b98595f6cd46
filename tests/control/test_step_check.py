"""One step under watch, second by second: what acts, what waits, what a person's hold freezes, and what a restart keeps."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from airflow_model_ops.control.model_control import ModelControl
from airflow_model_ops.control.step_check import StepCheck, StepOutcome, StepResult, abandon
from airflow_model_ops.core.checks import Arm, Check, CheckKind, Evidence, Measurement, Verdict
from airflow_model_ops.core.errors import InvalidConfig, InvalidState, MetricsUnavailable
from airflow_model_ops.core.log import Origin
from airflow_model_ops.core.policy import OnDeadline, ReleasePolicy, Step
from airflow_model_ops.core.state import Actor, ActorKind, Fence, ServingState
from airflow_model_ops.core.versioning import Scheme, Version, VersionNaming
from airflow_model_ops.testing import InMemoryRepository, InMemoryTarget, ManualClock

NAMING = VersionNaming(scheme=Scheme.SEMANTIC, prefix="digits")
PERSON = Actor(kind=ActorKind.PERSON, name="ada")
AUTOMATION = Actor(kind=ActorKind.AUTOMATION, name="model_release_digits")
GOOD = Measurement(value=0.01, samples=10_000.0, age_seconds=1.0)
BAD = Measurement(value=0.1, samples=10_000.0, age_seconds=1.0)
AWFUL = Measurement(value=0.5, samples=10_000.0, age_seconds=1.0)
BLIND = {
    Verdict.NO_DATA: Measurement(),
    Verdict.STALE: Measurement(value=0.9, samples=10_000.0, age_seconds=3600.0),
    Verdict.PROVIDER_DOWN: Measurement(error="connection refused"),
    Verdict.UNDECIDED: Measurement(value=0.9, samples=30.0, age_seconds=1.0),
}


def v(major: int) -> Version:
    return NAMING.parse(f"digits-v{major}.0.0")


class Watch:
    """A model that serves version 1 and tries version 2, watched by a trigger that may be restarted at any time."""

    def __init__(self, *, stable: bool = True, on_deadline: OnDeadline = OnDeadline.HOLD) -> None:
        self.clock = ManualClock()
        self.repository, self.target = InMemoryRepository(), InMemoryTarget()
        self.canary, self.stable = GOOD, GOOD
        self.seconds_per_answer = 0.0
        self.seconds_ahead = 0.0
        self.asked = 0
        self.policy = ReleasePolicy(
            model="digits",
            naming=NAMING,
            steps=(Step(percent=10, bake_seconds=60), Step(percent=50, bake_seconds=60)),
            checks=(
                Check(name="errors", kind=CheckKind.ERROR_RATE, max=0.2, max_ratio_to_stable=1.5, consecutive=2),
                Check(name="muted", kind=CheckKind.ERROR_RATE, max=0.0, muted=True),
            ),
            interval_seconds=10,
            deadline_seconds=300,
            on_deadline=on_deadline,
        )
        self.fence = Fence(release="r", attempt=1)
        for major in (1, 2, 3):
            self.repository.add_version("digits", v(major))
        if stable:
            self.release(1, fence=Fence(release="first", attempt=1), percent=100)
            self.control().promote(v(1), fence=Fence(release="first", attempt=1), proof="good")
            self.apply()
        self.release(2, fence=self.fence, percent=10)

    def control(self, actor: Actor = AUTOMATION) -> ModelControl:
        return ModelControl(
            model="digits",
            naming=NAMING,
            repository=self.repository,
            target=self.target,
            initial=ServingState(fleet="main"),
            origin=Origin(actor=actor),
            clock=self.clock,
        )

    def apply(self) -> None:
        self.control().apply(deadline_seconds=5)

    def release(self, major: int, *, fence: Fence, percent: float) -> None:
        control = self.control()
        control.start_canary(v(major), fence=fence)
        control.shift(fence=fence, percent=percent)
        self.apply()

    def check(self, *, step: int = 0) -> StepCheck:
        """A watcher that remembers nothing, as after a restart."""
        return StepCheck(
            control=self.control(),
            source=self,
            policy=self.policy,
            step_index=step,
            fence=self.fence,
            version=v(2),
            arm_of=lambda model, version: Arm(version_number=str(version.number), cluster=f"{model}-{version.number}"),
        )

    def gather(self, check: Check, *, model: str, canary: Arm, stable: Arm | None) -> Evidence:
        self.asked += 1
        self.clock.advance(self.seconds_per_answer)
        at = datetime.fromtimestamp(self.clock.now() + self.seconds_ahead, UTC).isoformat()
        return Evidence(check=check.name, canary=self.canary, stable=self.stable if stable else None, at=at)

    def ping(self) -> str:
        raise MetricsUnavailable("nobody pings here")

    def ticks(self, times: int, *, check: StepCheck | None = None, step: int = 0) -> StepOutcome | None:
        """Measure every ten seconds until the step is over."""
        for _ in range(times):
            self.clock.advance(10)
            outcome = (check or self.check(step=step)).tick()
            if outcome is not None:
                return outcome
        return None

    @property
    def state(self) -> ServingState:
        return self.control().state

    @property
    def split(self) -> dict[int, float]:
        return {number // 10**8: percent for number, percent in self.target.observe("digits").split.items()}

    @property
    def names(self) -> list[str]:
        return [entry.name for entry in self.repository.log("digits").entries()]


@pytest.fixture
def watch() -> Watch:
    return Watch()


class TestPassing:
    def test_a_good_canary_passes_when_it_has_baked_and_not_before(self, watch: Watch) -> None:
        check = watch.check()

        assert watch.ticks(5, check=check) is None
        outcome = watch.ticks(1, check=check)

        assert outcome is not None
        assert (outcome.result, outcome.verdict) == (StepResult.PASSED, Verdict.SAFE)
        assert watch.split == {1: 90, 2: 10}

    def test_a_restart_at_every_tick_changes_nothing(self, watch: Watch) -> None:
        assert watch.ticks(5) is None  # each tick is of another watcher
        outcome = watch.ticks(1)

        assert outcome is not None
        assert outcome.result is StepResult.PASSED

    def test_the_verdict_is_recorded_once_however_often_the_last_tick_is_repeated(self, watch: Watch) -> None:
        watch.ticks(6)
        watch.ticks(3)

        assert watch.names.count("verdict") == 1

    def test_the_record_carries_the_numbers_of_every_check(self, watch: Watch) -> None:
        outcome = watch.ticks(6)

        last = watch.repository.log("digits").last()
        assert last is not None
        assert outcome is not None
        assert (last.name, last.evidence, last.release) == ("verdict", outcome.evidence, watch.fence)
        assert [each["check"] for each in last.detail["assessments"]] == ["errors", "muted"]
        assert (last.detail["verdict"], last.detail["percent"]) == ("SAFE", 10)

    def test_a_passed_step_leaves_a_lease_that_outlasts_the_way_to_the_next_task(self, watch: Watch) -> None:
        watch.ticks(6)
        watch.clock.advance(60)

        live = watch.state.release
        assert live is not None
        assert not watch.control().leases.has_expired(live)

    def test_an_outcome_survives_the_trip_through_an_event(self, watch: Watch) -> None:
        outcome = watch.ticks(6)

        assert outcome is not None
        assert StepOutcome.from_json(outcome.to_json()) == outcome


class TestActing:
    def test_harm_takes_the_canary_down_and_quarantines_it(self, watch: Watch) -> None:
        watch.canary = BAD

        outcome = watch.ticks(2)

        assert outcome is not None
        assert (outcome.result, outcome.verdict) == (StepResult.ABORTED, Verdict.HARM)
        assert watch.split == {1: 100}
        assert v(2) in watch.state.quarantined
        assert watch.names[-3:] == ["abort", "applied", "verdict"]

    def test_a_crossed_limit_that_stable_crosses_too_takes_it_down_and_leaves_it_a_candidate(
        self, watch: Watch
    ) -> None:
        watch.canary = watch.stable = AWFUL

        outcome = watch.ticks(2)

        assert outcome is not None
        assert (outcome.result, outcome.verdict) == (StepResult.ABORTED, Verdict.BREACH)
        assert watch.split == {1: 100}
        assert v(2) not in watch.state.quarantined

    def test_one_bad_interval_alone_does_not_act(self, watch: Watch) -> None:
        watch.canary = BAD
        assert watch.ticks(1) is None
        watch.canary = GOOD

        assert watch.ticks(1) is None
        assert watch.split == {1: 90, 2: 10}

    def test_safe_intervals_dated_later_do_not_pass_a_canary_that_harms_now(self, watch: Watch) -> None:
        assert watch.ticks(5) is None
        watch.canary, watch.seconds_ahead = BAD, -100.0

        assert watch.ticks(1) is None
        outcome = watch.ticks(1)

        assert outcome is not None
        assert (outcome.result, outcome.verdict) == (StepResult.ABORTED, Verdict.HARM)

    def test_an_interval_that_is_read_twice_counts_once(self, watch: Watch) -> None:
        watch.canary = BAD
        watch.clock.advance(10)

        assert watch.check().tick() is None
        assert watch.check().tick() is None
        assert watch.split == {1: 90, 2: 10}

    def test_a_fleet_that_cannot_confirm_the_abort_does_not_keep_the_verdict_from_being_told(
        self, watch: Watch
    ) -> None:
        watch.canary = BAD
        watch.ticks(1)
        watch.target.unavailable_servers.add("server-1")

        outcome = watch.ticks(1)

        assert outcome is not None
        assert outcome.result is StepResult.ABORTED
        assert watch.state.canary is None

    @pytest.mark.parametrize("verdict", BLIND)
    def test_blindness_and_scant_data_never_act(self, watch: Watch, verdict: Verdict) -> None:
        watch.canary = BLIND[verdict]

        assert watch.ticks(25) is None
        assert watch.split == {1: 90, 2: 10}
        assert watch.state.hold is None


class TestDeadline:
    @pytest.mark.parametrize("verdict", BLIND)
    def test_hold_freezes_the_step_once_and_waits_for_a_person(self, watch: Watch, verdict: Verdict) -> None:
        watch.canary = BLIND[verdict]

        assert watch.ticks(60) is None

        hold = watch.state.hold
        assert hold is not None
        assert verdict.value in hold.reason
        assert watch.names.count("hold") == 1
        assert watch.split == {1: 90, 2: 10}

    def test_a_resume_arms_the_deadline_again(self, watch: Watch) -> None:
        watch.canary = BLIND[Verdict.NO_DATA]
        watch.ticks(40)
        watch.control(PERSON).resume(reason="the metrics come back")
        watch.apply()

        assert watch.ticks(29) is None
        assert watch.state.hold is None
        watch.ticks(3)
        assert watch.state.hold is not None

    def test_a_resume_lets_a_canary_pass_that_is_safe_by_then(self, watch: Watch) -> None:
        watch.canary = BLIND[Verdict.NO_DATA]
        watch.ticks(40)
        watch.canary = GOOD
        assert watch.ticks(3) is None  # held
        watch.control(PERSON).resume(reason="go on")
        watch.apply()

        outcome = watch.ticks(2)

        assert outcome is not None
        assert outcome.result is StepResult.PASSED

    @pytest.mark.parametrize("verdict", BLIND)
    def test_abort_ends_the_canary_without_a_quarantine(self, verdict: Verdict) -> None:
        watch = Watch(on_deadline=OnDeadline.ABORT)
        watch.canary = BLIND[verdict]

        outcome = watch.ticks(31)

        assert outcome is not None
        assert (outcome.result, outcome.verdict) == (StepResult.ABORTED, verdict)
        assert watch.split == {1: 100}
        assert not watch.state.quarantined

    def test_promote_goes_on_without_proof_when_undecided(self) -> None:
        watch = Watch(on_deadline=OnDeadline.PROMOTE)
        watch.canary = BLIND[Verdict.UNDECIDED]

        outcome = watch.ticks(31)

        assert outcome is not None
        assert outcome.result is StepResult.PASSED_WITHOUT_PROOF
        assert outcome.reason.startswith("without proof")

    def test_a_limit_crossed_just_before_the_deadline_holds_where_it_would_promote(self) -> None:
        watch = Watch(on_deadline=OnDeadline.PROMOTE)
        watch.canary = BLIND[Verdict.UNDECIDED]
        watch.ticks(29)
        watch.canary = BAD

        assert watch.ticks(1) is None

        hold = watch.state.hold
        assert hold is not None
        assert "seen 1 of 2 times in a row" in hold.reason

    @pytest.mark.parametrize("verdict", [Verdict.NO_DATA, Verdict.STALE, Verdict.PROVIDER_DOWN])
    def test_blindness_never_promotes(self, verdict: Verdict) -> None:
        watch = Watch(on_deadline=OnDeadline.PROMOTE)
        watch.canary = BLIND[verdict]

        assert watch.ticks(31) is None
        assert watch.state.hold is not None

    def test_a_deadline_does_not_hold_a_model_whose_release_a_person_just_ended(self, watch: Watch) -> None:
        watch.canary = BLIND[Verdict.NO_DATA]
        watch.ticks(29)
        real = watch.gather

        def gather_while_a_person_rolls_back(check: Check, **arms: Any) -> Evidence:
            if watch.state.release is not None:
                watch.control(PERSON).rollback(reason="enough")
            return real(check, **arms)

        check = watch.check()
        check._source = type("Source", (), {"gather": staticmethod(gather_while_a_person_rolls_back)})()  # type: ignore[assignment]
        outcome = watch.ticks(1, check=check)

        assert outcome is not None
        assert outcome.result is StepResult.PRE_EMPTED
        assert watch.state.hold is None


class TestHold:
    def hold(self, watch: Watch) -> None:
        watch.control(PERSON).hold(reason="audit")
        watch.apply()

    def test_a_person_freezes_the_step(self, watch: Watch) -> None:
        self.hold(watch)

        assert watch.ticks(100) is None
        assert watch.names.count("hold") == 1

    def test_harm_still_ends_a_held_canary(self, watch: Watch) -> None:
        self.hold(watch)
        watch.canary = BAD

        outcome = watch.ticks(2)

        assert outcome is not None
        assert outcome.result is StepResult.ABORTED
        assert watch.split == {1: 100}

    def test_a_deadline_that_passes_under_a_hold_does_not_abort(self) -> None:
        watch = Watch(on_deadline=OnDeadline.ABORT)
        watch.canary = BLIND[Verdict.NO_DATA]
        self.hold(watch)

        assert watch.ticks(40) is None
        assert watch.split == {1: 90, 2: 10}

        watch.control(PERSON).resume(reason="done")
        watch.apply()
        assert watch.ticks(29) is None
        outcome = watch.ticks(3)
        assert outcome is not None
        assert outcome.result is StepResult.ABORTED


class TestPreEmption:
    def test_a_rollback_ends_the_watch(self, watch: Watch) -> None:
        watch.ticks(2)
        watch.control(PERSON).rollback(reason="no")

        outcome = watch.ticks(1)

        assert outcome is not None
        assert outcome.result is StepResult.PRE_EMPTED
        assert "digits-v1.0.0 serves" in outcome.reason

    def test_a_newer_attempt_ends_the_watch_of_the_older_one(self, watch: Watch) -> None:
        watch.release(2, fence=Fence(release="r", attempt=2), percent=10)
        asked = watch.asked

        outcome = watch.ticks(1)

        assert outcome is not None
        assert outcome.result is StepResult.PRE_EMPTED
        assert watch.asked == asked

    def test_a_newer_attempt_starts_with_no_evidence_of_the_older_one(self, watch: Watch) -> None:
        watch.ticks(5)
        watch.fence = Fence(release="r", attempt=2)
        watch.release(2, fence=watch.fence, percent=10)

        assert watch.ticks(5) is None

    def test_abandoning_it_is_fenced_and_done_once(self, watch: Watch) -> None:
        late = Fence(release="r", attempt=0)

        assert "no longer live" in abandon(watch.control(), fence=late, reason="killed")
        assert watch.split == {1: 90, 2: 10}
        abandon(watch.control(), fence=watch.fence, reason="killed")
        before = watch.names
        abandon(watch.control(), fence=watch.fence, reason="killed")

        assert watch.split == {1: 100}
        assert watch.names == before


class TestApplied:
    def test_nothing_is_measured_before_the_share_is_applied(self, watch: Watch) -> None:
        watch.control().shift(fence=watch.fence, percent=50)

        assert watch.ticks(5, step=1) is None
        assert watch.asked == 0

    def test_baking_begins_when_the_share_was_applied(self, watch: Watch) -> None:
        watch.clock.advance(100)

        outcome = watch.ticks(2)

        assert outcome is not None
        assert outcome.result is StepResult.PASSED

    def test_a_later_head_that_waits_does_not_stop_the_judging(self, watch: Watch) -> None:
        watch.ticks(1)
        watch.control(PERSON).pin_golden(v(1))  # and its author died before applying it
        watch.canary = BAD

        outcome = watch.ticks(2)

        assert outcome is not None
        assert outcome.result is StepResult.ABORTED
        assert watch.split == {1: 100}


class TestLease:
    def test_it_is_renewed_while_a_slow_source_is_asked(self, watch: Watch) -> None:
        watch.seconds_per_answer = 70.0

        watch.ticks(1)

        live = watch.state.release
        assert live is not None
        assert watch.control().leases.remaining_seconds(live) > 0


class TestFirstRelease:
    def test_early_steps_leave_the_judging_to_the_last(self) -> None:
        watch = Watch(stable=False)

        outcome = watch.ticks(1)

        assert outcome is not None
        assert (outcome.result, outcome.verdict) == (StepResult.PASSED, None)
        assert watch.asked == 0
        assert watch.split == {2: 100}

    def test_a_hold_freezes_an_early_step_too(self) -> None:
        watch = Watch(stable=False)
        watch.control(PERSON).hold(reason="audit")
        watch.apply()

        assert watch.ticks(5) is None

    def test_the_last_step_judges_by_absolute_limits(self) -> None:
        watch = Watch(stable=False)
        watch.canary = AWFUL

        outcome = watch.ticks(2, step=1)

        assert outcome is not None
        assert (outcome.result, outcome.verdict) == (StepResult.ABORTED, Verdict.BREACH)
        assert watch.state.stable is None


@pytest.mark.parametrize(
    ("consecutive", "words"),
    [
        (31, "'errors' needs 31 measurements in a row, one each 10 s, longer than the deadline of 300 s"),
        (1001, "'errors' has consecutive 1001; give at most 1000"),
    ],
)
def test_a_check_that_could_never_decide_is_refused(consecutive: int, words: str, watch: Watch) -> None:
    checks = (replace(watch.policy.checks[0], consecutive=consecutive),)

    with pytest.raises(InvalidConfig, match=words):
        replace(watch.policy, checks=checks)
    assert replace(watch.policy, checks=(replace(checks[0], consecutive=30),)).checks[0].consecutive == 30


def test_evidence_that_cannot_be_read_says_what_to_do(watch: Watch) -> None:
    watch.repository.write_evidence("digits", "r", "attempt-1-step-1", b"not json")

    with pytest.raises(InvalidState, match="abort the release"):
        watch.ticks(1)
