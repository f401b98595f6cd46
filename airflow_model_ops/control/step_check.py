"""One step of a release under watch: measure, keep the evidence, assess, and act on what acts.

State lives in the evidence file alone, written before it is used: a watcher that is restarted or runs twice reads it and
goes on where the other stopped. The way back is taken here, at once, and not by a later task.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from airflow_model_ops.control.heads import Head, read_head
from airflow_model_ops.control.leases import HANDOVER_SECONDS
from airflow_model_ops.control.model_control import ModelControl
from airflow_model_ops.core import transitions
from airflow_model_ops.core.checks import Arm, Evidence, Summary, Verdict, assess, combine
from airflow_model_ops.core.errors import InvalidState, ModelOpsError, PreEmpted
from airflow_model_ops.core.log import FactKind
from airflow_model_ops.core.policy import ACTING, ReleasePolicy, Step, StepMove, next_move
from airflow_model_ops.core.ports import MetricSource
from airflow_model_ops.core.state import Fence, ServingState
from airflow_model_ops.core.transitions import Decision
from airflow_model_ops.core.versioning import Version

WAY_BACK_SECONDS = 30.0
"""Longest to wait for the fleet to confirm an abort; after that the watcher goes on."""
_KEPT_INTERVALS = 5_000
ArmOf = Callable[[str, Version], Arm]
"""How a metric source knows a version of a model."""
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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Series:
    """What is kept of a step: when it began, since when its deadline counts, and all evidence per check."""

    started_at: float
    deadline_from: float
    held: bool = False
    evidence: Mapping[str, tuple[Evidence, ...]] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        data = {
            "started_at": self.started_at,
            "deadline_from": self.deadline_from,
            "held": self.held,
            "evidence": {name: [item.to_json() for item in items] for name, items in self.evidence.items()},
        }
        return json.dumps(data, separators=(",", ":")).encode()

    @classmethod
    def from_bytes(cls, content: bytes) -> _Series:
        try:
            data = json.loads(content)
            return cls(
                started_at=data["started_at"],
                deadline_from=data["deadline_from"],
                held=data["held"],
                evidence={
                    name: tuple(Evidence.from_json(item) for item in items) for name, items in data["evidence"].items()
                },
            )
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidState(f"kept evidence cannot be read ({error!r}); abort the release") from error


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
        arm_of: ArmOf,
    ) -> None:
        self._control = control
        self._source = source
        self._policy = policy
        self._index = step_index
        self._fence = fence
        self._version = version
        self._arm_of = arm_of
        self._name = f"attempt-{fence.attempt}-step-{step_index + 1}"

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
        self._renew_lease()
        return None

    def tick(self) -> StepOutcome | None:
        """Measure once and assess; return the outcome if the step is over. Acts at once on HARM and BREACH."""
        ended = self.look_after()
        if ended is not None:
            return ended
        head = read_head(self._control.repository.log(self._control.model))
        series = self._series(head) if head is not None else None
        if head is None or series is None:
            return None
        if head.state.stable is None and self._index < len(self._policy.steps) - 1:
            if head.state.hold is not None:
                return None
            reason = "first release: there is no stable version to share traffic with; the last step judges"
            return StepOutcome(result=StepResult.PASSED, verdict=None, reason=reason)
        return self._judged(series, head)

    def _judged(self, series: _Series, head: Head) -> StepOutcome | None:
        series = self._measured(series, head.state)
        reference = self._keep(series)
        summary = self._assessed(series, has_stable=head.state.stable is not None)
        now = self._control.clock.now()
        move = next_move(
            summary.verdict,
            baked_seconds=now - series.started_at,
            step=self.step,
            waited_seconds=now - series.deadline_from,
            deadline_seconds=self._policy.deadline_seconds,
            on_deadline=self._policy.on_deadline,
            suspicious=summary.suspicious,
        )
        return self._act(move, summary, head.state, reference)

    def _act(self, move: StepMove, summary: Summary, state: ServingState, reference: str) -> StepOutcome | None:
        _log.info("step=%s verdict=%s move=%s reason=%s", self._name, summary.verdict, move, summary.reason)
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
            },
        )

    def _series(self, head: Head) -> _Series | None:
        """Return what is kept so far; ``None`` before the step's share is applied for the first time.

        A later head that waits, such as a person's pin while a server is down, changes no share: the judging goes on.
        """
        content = self._control.repository.read_evidence(self._control.model, self._fence.release, self._name)
        if content is None:
            if head.applied_at is None:
                return None
            return _Series(started_at=head.applied_at, deadline_from=head.applied_at, held=head.state.hold is not None)
        series = _Series.from_bytes(content)
        if series.held and head.state.hold is None:
            return replace(series, held=False, deadline_from=self._control.clock.now())
        return replace(series, held=head.state.hold is not None)

    def _measured(self, series: _Series, state: ServingState) -> _Series:
        canary = self._arm_of(self._control.model, self._version)
        stable = self._arm_of(self._control.model, state.stable) if state.stable else None
        evidence = dict(series.evidence)
        for check in self._policy.checks:
            self._renew_lease()  # an unreachable source may take its whole time-out for every check
            item = self._source.gather(check, model=self._control.model, canary=canary, stable=stable)
            evidence[check.name] = (*evidence.get(check.name, ()), item)[-_KEPT_INTERVALS:]
        return replace(series, evidence=evidence)

    def _renew_lease(self) -> None:
        self._control.leases.renew(self._fence, self._version, seconds=HANDOVER_SECONDS)

    def _keep(self, series: _Series) -> str:
        return self._control.repository.write_evidence(
            self._control.model, self._fence.release, self._name, series.to_bytes()
        )

    def _assessed(self, series: _Series, *, has_stable: bool) -> Summary:
        return combine(
            assess(check, series.evidence.get(check.name, ()), has_stable=has_stable, subject=self._version.name)
            for check in self._policy.checks
        )

    def _pre_empted(self, state: ServingState) -> StepOutcome:
        live = f"release {state.release.id!r} is live" if state.release else f"{state.stable or 'nothing'} serves"
        reason = f"release {self._fence.release!r} attempt {self._fence.attempt} was pre-empted; now {live}"
        return StepOutcome(result=StepResult.PRE_EMPTED, verdict=None, reason=reason)


def _apply(control: ModelControl) -> None:
    try:
        control.apply(deadline_seconds=WAY_BACK_SECONDS)
    except ModelOpsError as error:
        _log.error("committed and not yet applied; the watcher goes on: %s", error)
