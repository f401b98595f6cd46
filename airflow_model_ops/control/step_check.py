"""One step of a release under watch: measure, keep the evidence, judge, and act on what acts.

State lives in the kept evidence alone, written before it is used: a watcher that is restarted or runs twice reads it and
goes on where the other stopped. The way back is taken here, at once, and not by a later task.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from airflow_model_ops.control.evidence_book import Position
from airflow_model_ops.control.heads import Head, read_head
from airflow_model_ops.control.model_control import ModelControl
from airflow_model_ops.control.observer import ArmsOf, Observer
from airflow_model_ops.core import transitions
from airflow_model_ops.core.checks import Summary, Verdict
from airflow_model_ops.core.decision import Action, Decision, unchanged
from airflow_model_ops.core.errors import PreEmpted
from airflow_model_ops.core.judge.ramp import Pace
from airflow_model_ops.core.log import Entry, FactKind
from airflow_model_ops.core.policy import ACTING, ReleasePolicy, Step, StepMove, next_move
from airflow_model_ops.core.ports import MetricSource
from airflow_model_ops.core.question import Answer, Choice
from airflow_model_ops.core.state import Actor, ActorKind, Fence, ServingState
from airflow_model_ops.core.versioning import Version

_log = logging.getLogger(__name__)


class StepResult(StrEnum):
    """How a step ended."""

    PASSED = "passed"
    PASSED_WITHOUT_PROOF = "passed_without_proof"
    ABORTED = "aborted"
    PRE_EMPTED = "pre_empted"
    ASKED = "asked"
    """It is not over: a person is to be asked, and the canary is to be watched meanwhile."""


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
        control.try_apply()
    return commit.reason


class StepCheck:
    """Watches one step of one attempt.

    :param asked: Whether a person has the question already; else a step that asks says so again.
    """

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
        asked: bool = False,
    ) -> None:
        self._asked = asked
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

    @property
    def still_asks(self) -> bool:
        """Whether a person's answer is still waited for, as far as the last measurement knows."""
        position = self._observer.book.position
        return position is None or position.asked

    def look_after(self) -> StepOutcome | None:
        """Renew the lease; return an outcome if the release is no longer live. Cheap: for every few seconds.

        The lease outlasts a restart of the triggerer, or its trigger's move to another one.
        """
        state = self._control.state
        if not state.is_live(self._fence):
            return self._ended_before() or self._pre_empted(state)
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
        try:
            position = self._positioned(head)
            return None if position is None else self._judged(position, head)
        except PreEmpted as over:
            return StepOutcome(result=StepResult.PRE_EMPTED, verdict=None, reason=str(over))

    def answer(self, answer: Answer) -> StepOutcome | None:
        """Carry out what a person answered; return the outcome if the step is over, ``None`` if it is watched further.

        The approval of a step is kept first and then used as by any later watcher: only while this attempt is live, only if
        the newest counts show neither HARM nor BREACH, and never past a person's hold.
        """
        ended = self.look_after()
        if ended is not None:
            return replace(ended, reason=f"the answer of {answer.by} ({answer.choice}) is void: {self._end(ended)}")
        position = self._observer.book.load()
        if position is None or position.step != self._index or not position.asked:
            _log.warning("step=%d the answer of %s is void: nobody asks now", self._index + 1, answer.by)
            return None
        if answer.choice is Choice.ABORT:
            return self._aborted_by(answer.by)
        if answer.choice is Choice.WAIT:
            self._observer.book.move(replace(position, asked=False, deadline_from=self._control.clock.now()))
            return self._resume(answer.by, "the step waits on")
        self._observer.book.move(replace(position, approved_by=answer.by))
        return self.tick()

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
        return self._act(move, position, summary, head.state, reference)

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

    def _act(
        self, move: StepMove, position: Position, summary: Summary, state: ServingState, reference: str
    ) -> StepOutcome | None:
        _log.info("step=%d verdict=%s move=%s reason=%s", self._index + 1, summary.verdict, move, summary.reason)
        if move is StepMove.ABORT and (state.hold is None or summary.verdict in ACTING):
            return self._abort(summary, reference)
        if position.approved_by is not None:
            return self._approved(position.approved_by, move, summary, state, reference)
        if state.hold is not None:
            return self._question(summary, reference) if position.asked and not self._asked else None
        if move is StepMove.WAIT:
            return None
        if move in {StepMove.HOLD, StepMove.ASK}:
            return self._freeze(move, position, summary, reference)
        return self._pass(move, summary, reference)

    def _pass(self, move: StepMove, summary: Summary, reference: str) -> StepOutcome:
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

    def _freeze(self, move: StepMove, position: Position, summary: Summary, reference: str) -> StepOutcome | None:
        if move is StepMove.HOLD:
            return self._hold(summary)
        # Kept before the hold: whoever goes on after a crash in between asks again.
        self._observer.book.move(replace(position, asked=True))
        return self._hold(summary, then="; a person is asked") or self._question(summary, reference)

    def _question(self, summary: Summary, reference: str) -> StepOutcome:
        return StepOutcome(result=StepResult.ASKED, verdict=summary.verdict, reason=summary.reason, evidence=reference)

    def _approved(
        self, by: str, move: StepMove, summary: Summary, state: ServingState, reference: str
    ) -> StepOutcome | None:
        """Let the step pass because a person said so; what the checks say now is told beside it."""
        if state.hold is not None and state.hold.by_person:
            return None
        proven = move is StepMove.PASS
        reason = f"{'' if proven else 'without proof, '}approved by {by}: {summary.verdict.value}, {summary.reason}"
        ended = self._resume(by, f"the {self.step.percent:g} % step passes {reason}")
        if ended is not None:
            return ended
        result = StepResult.PASSED if proven else StepResult.PASSED_WITHOUT_PROOF
        outcome = StepOutcome(result=result, verdict=summary.verdict, reason=reason, evidence=reference)
        self._record(outcome, summary, answered_by=by)
        return outcome

    def _hold(self, summary: Summary, *, then: str = "") -> StepOutcome | None:
        """Wait for a person; unless the release has ended meanwhile, whose successor this hold would stop."""
        waited = f"the {self.step.percent:g} % step found no verdict within {self._policy.deadline_seconds:g} s"
        reason = f"{waited}: {summary.verdict.value}, {summary.reason}{then}"
        actor = self._control.origin.actor
        return self._commit_while_live(self._control, lambda state: transitions.hold(state, actor=actor, reason=reason))

    def _resume(self, by: str, reason: str) -> StepOutcome | None:
        """End the automation's hold in a person's name; a person's own stays until a person ends that."""
        control = self._in_the_name_of(by)

        def decide(state: ServingState) -> Decision:
            if state.hold is not None and state.hold.by_person:
                return unchanged(Action.RESUME, state, f"held by {state.hold.by}")
            return transitions.resume(state, actor=control.origin.actor, reason=reason)

        return self._commit_while_live(control, decide)

    def _commit_while_live(self, control: ModelControl, rule: Callable[[ServingState], Decision]) -> StepOutcome | None:
        """Commit and apply; return an outcome if the release is no longer live, and nothing was committed."""

        def decide(state: ServingState) -> Decision:
            if not state.is_live(self._fence):
                raise PreEmpted(self._pre_empted(state).reason)
            return rule(state)

        try:
            control.committer.commit(decide, origin=control.origin, release=self._fence)
        except PreEmpted:
            return self._pre_empted(control.state)
        control.try_apply()
        return None

    def _abort(self, summary: Summary, reference: str) -> StepOutcome:
        """Take the canary out of traffic first; what is written down comes after."""
        harmed = summary.verdict is Verdict.HARM
        reason = f"{summary.verdict.value}: {summary.reason}"
        commit = self._control.abort(reason=reason, fence=self._fence, harmed=harmed, evidence=reference)
        if not commit.changed:
            return self._pre_empted(commit.state)
        self._control.try_apply()
        return self._aborted(summary, reference)

    def _aborted(self, summary: Summary, reference: str) -> StepOutcome:
        outcome = StepOutcome(
            result=StepResult.ABORTED, verdict=summary.verdict, reason=summary.reason, evidence=reference
        )
        self._record(outcome, summary)
        return outcome

    def _ended_before(self) -> StepOutcome | None:
        """Return how this step has ended the release; who took the way back may have died before it was written down."""
        entry, position = self._way_back(), self._observer.book.load()
        if entry is None or entry.evidence is None or position is None or position.step != self._index:
            return None
        return self._aborted(self._observer.summary(), entry.evidence)

    def _aborted_by(self, person: str) -> StepOutcome:
        """End the release because a person answered so; its version stays a candidate."""
        summary, control = self._observer.summary(), self._in_the_name_of(person)
        reason = f"ended by {person} when asked: {summary.verdict.value}, {summary.reason}"
        commit = control.abort(reason=reason, fence=self._fence)
        if not commit.changed:
            return self._pre_empted(commit.state)
        control.try_apply()
        outcome = StepOutcome(result=StepResult.ABORTED, verdict=None, reason=reason)
        self._record(outcome, summary, answered_by=person)
        return outcome

    def _in_the_name_of(self, person: str) -> ModelControl:
        return self._control.acting_as(Actor(kind=ActorKind.PERSON, name=person))

    def _record(self, outcome: StepOutcome, summary: Summary, *, answered_by: str | None = None) -> None:
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
                **({"answered_by": answered_by} if answered_by else {}),
            },
        )

    def _positioned(self, head: Head) -> Position | None:
        """Return where the judging is; ``None`` before the step's share is applied for the first time.

        A later head that waits, such as a person's pin while a server is down, changes no share: the judging goes on.

        :raises PreEmpted: if a later share is judged already: a late watcher must not begin this one anew.
        """
        book, held = self._observer.book, head.state.hold is not None
        position = book.load()
        if position is not None and position.step > self._index:
            raise PreEmpted(f"step {self._index + 1} is over; a later one of release {self._fence.release!r} is judged")
        if position is None or position.step != self._index:
            if head.applied_at is None:
                return None
            start = min(head.applied_at, self._control.clock.now())  # the clock of who applied it may be ahead
            entered = Position(step=self._index, started_at=start, deadline_from=start, held=held)
            if position is None:
                self._observer.begin(entered, stable=head.state.stable, percent=self.step.percent)
            else:
                book.enter(entered, percent=self.step.percent)
            return entered
        moved = replace(position, held=held)
        if position.held and not held:
            moved = replace(moved, deadline_from=self._control.clock.now(), asked=False)
        book.move(moved)
        return moved

    def _end(self, outcome: StepOutcome) -> str:
        """Say how the attempt ended: in the words of the way back that ended it, if that is told in the log."""
        return outcome.reason if (entry := self._way_back()) is None else entry.reason

    def _way_back(self) -> Entry | None:
        entry = self._control.committer.log.last()
        while entry is not None and not (entry.action is Action.START_CANARY and entry.release == self._fence):
            if entry.release == self._fence and entry.action in {Action.ABORT, Action.ROLLBACK}:
                return entry
            entry = self._control.committer.log.read(entry.sequence - 1)
        return None

    def _pre_empted(self, state: ServingState) -> StepOutcome:
        live = f"release {state.release.id!r} is live" if state.release else f"{state.stable or 'nothing'} serves"
        reason = f"release {self._fence.release!r} attempt {self._fence.attempt} was pre-empted; now {live}"
        return StepOutcome(result=StepResult.PRE_EMPTED, verdict=None, reason=reason)
