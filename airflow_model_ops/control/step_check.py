"""One step of a release under watch: measure, keep the evidence, judge, and act on what acts.

State lives in the kept evidence alone, written before it is used: a watcher that is restarted or runs twice reads it and
goes on where the other stopped. The way back is taken here, at once, and not by a later task.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from airflow_model_ops.control.evidence_book import Position
from airflow_model_ops.control.heads import Head, read_head
from airflow_model_ops.control.model_control import ModelControl
from airflow_model_ops.control.observer import ArmsOf, Observer
from airflow_model_ops.core import transitions
from airflow_model_ops.core.checks import Summary, Verdict
from airflow_model_ops.core.errors import ModelOpsError, PreEmpted
from airflow_model_ops.core.judge.ramp import Pace
from airflow_model_ops.core.log import FactKind
from airflow_model_ops.core.policy import ACTING, ReleasePolicy, Step, StepMove, next_move
from airflow_model_ops.core.ports import MetricSource
from airflow_model_ops.core.state import Fence, ServingState
from airflow_model_ops.core.transitions import Decision
from airflow_model_ops.core.versioning import Version

WAY_BACK_SECONDS = 30.0
"""Longest to wait for the fleet to confirm an abort; after that the watcher goes on."""
_log = logging.getLogger(__name__)


class StepResult(StrEnum):
    """How a step ended."""

    PASSED = "passed"
    PASSED_WITHOUT_PROOF = "passed_without_proof"
    ABORTED = "aborted"
    PRE_EMPTED = "pre_empted"


@dataclass(frozen=True, slots=True, kw_only=True)
class StepOutcome:
    """What a step came to.

    :param evidence: Where its evidence is kept.
    """

    result: StepResult
    verdict: Verdict | None
    reason: str
    evidence: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the form a trigger event and XCom carry."""
        return {
            "result": self.result.value,
            "verdict": self.verdict.value if self.verdict else None,
            "reason": self.reason,
            "evidence": self.evidence,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> StepOutcome:
        """Read what :meth:`to_json` wrote."""
        return cls(
            result=StepResult(data["result"]),
            verdict=Verdict(data["verdict"]) if data["verdict"] else None,
            reason=data["reason"],
            evidence=data["evidence"],
        )


def abandon(control: ModelControl, *, fence: Fence, reason: str) -> str:
    """Abort a release because nobody will watch it any longer; return what that changed. Asks no metric source."""
    commit = control.abort(reason=reason, fence=fence)
    if commit.changed:
        _apply(control)
    return commit.reason


class StepCheck:
    """Watches one step of one attempt."""

    def __init__(
        self,
        *,
        control: ModelControl,
        source: MetricSource,
        policy: ReleasePolicy,
        step_index: int,
        fence: Fence,
        version: Version,
        arms_of: ArmsOf,
    ) -> None:
        self._control = control
        self._policy = policy
        self._index = step_index
        self._fence = fence
        self._version = version
        self._observer = Observer(
            control=control, source=source, policy=policy, fence=fence, version=version, arms_of=arms_of
        )

    @property
    def step(self) -> Step:
        """The step that is watched."""
        return self._policy.steps[self._index]

    @property
    def interval_seconds(self) -> float:
        """Seconds between two measurements."""
        return self._policy.interval_seconds

    def look_after(self) -> StepOutcome | None:
        """Renew the lease; return an outcome if the release is no longer live. Cheap: for every few seconds.

        The lease outlasts a restart of the triggerer, or its trigger's move to another one.
        """
        state = self._control.state
        if not state.is_live(self._fence):
            return self._pre_empted(state)
        self._observer.renew_lease()
        return None

    def tick(self) -> StepOutcome | None:
        """Measure once and assess; return the outcome if the step is over. Acts at once on HARM and BREACH."""
        ended = self.look_after()
        if ended is not None:
            return ended
        head = read_head(self._control.repository.log(self._control.model))
        if head is None:
            return None
        if head.state.stable is None and self._index < len(self._policy.steps) - 1:
            if head.state.hold is not None:
                return None
            reason = "first release: there is no stable version to share traffic with; the last step judges"
            return StepOutcome(result=StepResult.PASSED, verdict=None, reason=reason)
        position = self._positioned(head)
        return None if position is None else self._judged(position, head)

    def _judged(self, position: Position, head: Head) -> StepOutcome | None:
        reference = self._observer.measure(stable=head.state.stable, begin=position.started_at)
        summary = self._observer.summary()
        now = self._control.clock.now()
        move = next_move(
            summary.verdict,
            baked_seconds=now - position.started_at,
            step=self.step,
            waited_seconds=now - position.deadline_from,
            deadline_seconds=self._policy.deadline_seconds,
            on_deadline=self._policy.on_deadline,
            suspicious=summary.suspicious,
            may_rise=self._may_rise(),
        )
        return self._act(move, summary, head.state, reference)

    def _may_rise(self) -> bool:
        """Whether the next share may cost what a canary that is not excluded yet would do at it."""
        following, budget = self._index + 1, self._policy.max_bad_events
        if budget is None or following >= len(self._policy.steps):
            return True
        pace = Pace(
            max_bad_events=budget,
            interval_seconds=self._policy.interval_seconds,
            horizon_seconds=self._policy.deadline_seconds,
        )
        rise = self._observer.book.judge.may_rise(self._policy.steps[following].percent, pace=pace)
        if rise is None:
            return True
        _log.info("step=%d max_bad_events: %s", self._index + 1, rise.reason)
        return rise.allowed

    def _act(self, move: StepMove, summary: Summary, state: ServingState, reference: str) -> StepOutcome | None:
        _log.info("step=%d verdict=%s move=%s reason=%s", self._index + 1, summary.verdict, move, summary.reason)
        if move is StepMove.ABORT and (state.hold is None or summary.verdict in ACTING):
            return self._abort(summary, reference)
        if state.hold is not None or move is StepMove.WAIT:
            return None
        if move is StepMove.HOLD:
            return self._hold(summary)
        without_proof = move is StepMove.PASS_WITHOUT_PROOF
        result = StepResult.PASSED_WITHOUT_PROOF if without_proof else StepResult.PASSED
        outcome = StepOutcome(
            result=result,
            verdict=summary.verdict,
            reason=f"without proof: {summary.reason}" if without_proof else summary.reason,
            evidence=reference,
        )
        self._record(outcome, summary)
        return outcome

    def _hold(self, summary: Summary) -> StepOutcome | None:
        """Wait for a person; unless the release has ended meanwhile, whose successor this hold would stop."""
        waited = f"the {self.step.percent:g} % step found no verdict within {self._policy.deadline_seconds:g} s"
        reason = f"{waited}: {summary.verdict.value}, {summary.reason}"

        def decide(state: ServingState) -> Decision:
            if not state.is_live(self._fence):
                raise PreEmpted(self._pre_empted(state).reason)
            return transitions.hold(state, actor=self._control.origin.actor, reason=reason)

        try:
            self._control.committer.commit(decide, origin=self._control.origin, release=self._fence)
        except PreEmpted:
            return self._pre_empted(self._control.state)
        _apply(self._control)
        return None

    def _abort(self, summary: Summary, reference: str) -> StepOutcome:
        """Take the canary out of traffic first; what is written down comes after."""
        harmed = summary.verdict is Verdict.HARM
        reason = f"{summary.verdict.value}: {summary.reason}"
        commit = self._control.abort(reason=reason, fence=self._fence, harmed=harmed, evidence=reference)
        if not commit.changed:
            return self._pre_empted(commit.state)
        _apply(self._control)
        outcome = StepOutcome(
            result=StepResult.ABORTED, verdict=summary.verdict, reason=summary.reason, evidence=reference
        )
        self._record(outcome, summary)
        return outcome

    def _record(self, outcome: StepOutcome, summary: Summary) -> None:
        origin = replace(
            self._control.origin, request=f"verdict {self._fence.release} {self._fence.attempt} {self._index}"
        )
        self._control.committer.record(
            FactKind.VERDICT,
            reason=f"{outcome.verdict.value if outcome.verdict else '-'}: {outcome.reason}",
            origin=origin,
            version=self._version,
            release=self._fence,
            evidence=outcome.evidence,
            detail={
                "verdict": summary.verdict.value,
                "result": outcome.result.value,
                "percent": self.step.percent,
                "assessments": [assessment.to_json() for assessment in summary.assessments],
                "taken_in": self._observer.book.taken_in,
            },
        )

    def _positioned(self, head: Head) -> Position | None:
        """Return where the judging is; ``None`` before the step's share is applied for the first time.

        A later head that waits, such as a person's pin while a server is down, changes no share: the judging goes on.
        """
        book, held = self._observer.book, head.state.hold is not None
        position = book.load()
        if position is None or position.step != self._index:
            if head.applied_at is None:
                return None
            entered = Position(step=self._index, started_at=head.applied_at, deadline_from=head.applied_at, held=held)
            if position is None:
                self._observer.begin(entered, stable=head.state.stable, percent=self.step.percent)
            else:
                book.enter(entered, percent=self.step.percent)
            return entered
        moved = replace(position, held=held)
        if position.held and not held:
            moved = replace(moved, deadline_from=self._control.clock.now())
        book.move(moved)
        return moved

    def _pre_empted(self, state: ServingState) -> StepOutcome:
        live = f"release {state.release.id!r} is live" if state.release else f"{state.stable or 'nothing'} serves"
        reason = f"release {self._fence.release!r} attempt {self._fence.attempt} was pre-empted; now {live}"
        return StepOutcome(result=StepResult.PRE_EMPTED, verdict=None, reason=reason)


def _apply(control: ModelControl) -> None:
    try:
        control.apply(deadline_seconds=WAY_BACK_SECONDS)
    except ModelOpsError as error:
        _log.error("committed and not yet applied; the watcher goes on: %s", error)
