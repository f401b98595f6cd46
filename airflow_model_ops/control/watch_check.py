"""The watch after a promotion: the promoted version against the one that is held back, or against absolute limits alone.

It goes on in the record of the release's steps, so that one alpha covers the release and its watch. As at a step, evidence is
kept before it is judged, whoever is restarted or runs twice goes on where the other stopped, and the way back is taken here.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property
from typing import Any

from airflow_model_ops.control.evidence_book import WATCH, Position
from airflow_model_ops.control.heads import Head, read_head
from airflow_model_ops.control.model_control import ModelControl
from airflow_model_ops.control.observer import ArmsOf, Observer
from airflow_model_ops.core.checks import Arms, Summary, Verdict
from airflow_model_ops.core.errors import PreEmpted, TransitionRefused
from airflow_model_ops.core.judge.counts import Counts
from airflow_model_ops.core.judge.recorded import worse_than_recorded
from airflow_model_ops.core.judge.share_words import percent
from airflow_model_ops.core.log import Entry, FactKind
from airflow_model_ops.core.policy import ACTING, ReleasePolicy
from airflow_model_ops.core.ports import MetricSource
from airflow_model_ops.core.state import Fence, ServingState
from airflow_model_ops.core.transitions import Action
from airflow_model_ops.core.versioning import Version

_log = logging.getLogger(__name__)


class WatchResult(StrEnum):
    """How a watch ended."""

    ENDED = "ended"
    """Its time is over and nothing acted."""
    ROLLED_BACK = "rolled_back"
    NOT_ROLLED_BACK = "not_rolled_back"
    """HARM or BREACH, but the rules refuse every way back."""
    SUPERSEDED = "superseded"
    """Somebody else has ended it: the next release, a rollback, a person."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchOutcome:
    """What a watch came to.

    :param verdict: ``None``: it was superseded, or nothing was compared and no limit crossed.
    :param evidence: Where its evidence is kept.
    """

    result: WatchResult
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
    def from_json(cls, data: Mapping[str, Any]) -> WatchOutcome:
        """Read what :meth:`to_json` wrote."""
        return cls(
            result=WatchResult(data["result"]),
            verdict=Verdict(data["verdict"]) if data["verdict"] else None,
            reason=data["reason"],
            evidence=data["evidence"],
        )


def stop_watching(control: ModelControl, *, fence: Fence, reason: str) -> str:
    """Give stable all traffic because nobody will watch it any longer; return what that changed. Asks no metric source."""
    commit = control.end_hold_back(reason=reason, fence=fence)
    if commit.changed:
        control.try_apply()
    return commit.reason


def rollback_of(control: ModelControl, *, fence: Fence) -> Entry | None:
    """Return the transition by which a release's watch took back what it had promoted; ``None``: it did not."""
    promotion, entry = control.promotion_of(fence), control.committer.log.last()
    while promotion is not None and entry is not None and entry.sequence > promotion.sequence:
        if entry.action is Action.ROLLBACK and entry.release == fence:
            return entry
        entry = control.committer.log.read(entry.sequence - 1)
    return None


class WatchCheck:
    """Watches what one attempt of a release has promoted.

    :raises PreEmpted: from every method, if it has promoted nothing.
    """

    def __init__(
        self,
        *,
        control: ModelControl,
        source: MetricSource,
        policy: ReleasePolicy,
        fence: Fence,
        version: Version,
        arms_of: ArmsOf,
    ) -> None:
        def arms_of_watch(model: str, canary: Version, stable: Version | None) -> Arms:
            return replace(arms_of(model, canary, stable), control=None)  # a hold-back has no second group

        self._control = control
        self._policy = policy
        self._fence = fence
        self._version = version
        self._alerts: dict[str, str] = {}
        self._observer = Observer(
            control=control, source=source, policy=policy, fence=fence, version=version, arms_of=arms_of_watch
        )

    @property
    def interval_seconds(self) -> float:
        """Seconds between two measurements."""
        return self._policy.interval_seconds

    def look_after(self) -> WatchOutcome | None:
        """Renew the lease; return an outcome if there is nothing to watch any more. Cheap: for every few seconds."""
        if not self._is_watched(self._control.state):
            return self._ended_by_others()
        self._observer.renew_lease()
        return None

    def tick(self) -> WatchOutcome | None:
        """Measure once and assess; return the outcome if the watch is over. Acts at once on HARM and BREACH."""
        ended = self.look_after()
        if ended is not None:
            return ended
        head = read_head(self._control.repository.log(self._control.model))
        position = None if head is None else self._positioned(head)
        if position is None:
            return None
        reference = self._observer.measure(stable=self._held_back, begin=position.started_at)
        summary = self._observer.summary()
        _log.info("watch verdict=%s reason=%s", summary.verdict, summary.reason)
        self._alert(summary)
        if summary.verdict in ACTING:
            return self._roll_back(summary, reference)
        over = self._control.clock.now() - position.started_at >= self._policy.watch.seconds
        return self._end(summary, reference) if over else None

    @cached_property
    def _promotion(self) -> Entry:
        entry = self._control.promotion_of(self._fence)
        if entry is None:
            raise PreEmpted(
                f"release {self._fence.release!r} attempt {self._fence.attempt} has promoted nothing, so there is nothing "
                "to watch; promote first"
            )
        return entry

    @property
    def _held_back(self) -> Version | None:
        state = self._promotion.state
        return state.holdback.version if state is not None and state.holdback is not None else None

    def _is_watched(self, state: ServingState) -> bool:
        """Whether what was promoted is still stable, is not being replaced, and is compared with what it was meant to be."""
        held_back = state.holdback.version if state.holdback else None
        return state.promoted_by == self._fence and state.release is None and held_back == self._held_back

    def _positioned(self, head: Head) -> Position | None:
        """Return where the judging is; ``None`` before the promotion is applied."""
        book = self._observer.book
        position = book.load()
        if position is not None and position.step == WATCH:
            return position
        if head.applied_at is None:
            return None
        start = min(head.applied_at, self._control.clock.now())  # the clock of who applied it may be ahead
        entered = Position(step=WATCH, started_at=start, deadline_from=start)
        # The split is not judged any more: nothing rises by it, so there is nothing to freeze.
        if position is None:
            self._observer.begin(entered, stable=self._held_back, percent=100)
        else:
            book.enter(entered, percent=100)
        return entered

    def _roll_back(self, summary: Summary, reference: str) -> WatchOutcome:
        """Take the promoted version out of traffic first; what is written down comes after."""
        reason = f"{summary.verdict.value} after the promotion: {self._told(summary)}"
        harmed = summary.verdict is Verdict.HARM
        try:
            commit = self._control.rollback_watched(fence=self._fence, reason=reason, harmed=harmed, evidence=reference)
        except TransitionRefused as refused:
            return self._stuck(summary, reference, refused)
        if not commit.changed:
            return self._ended_by_others()
        self._control.try_apply()
        return self._outcome(WatchResult.ROLLED_BACK, summary, self._told(summary), reference)

    def _stuck(self, summary: Summary, reference: str, refused: TransitionRefused) -> WatchOutcome:
        reason = f"{self._told(summary)}; it cannot be taken back ({refused}), and goes on serving until a person acts"
        _log.error("watch verdict=%s %s", summary.verdict, reason)
        outcome = self._outcome(WatchResult.NOT_ROLLED_BACK, summary, reason, reference)
        self._stop(f"{summary.verdict.value} was found and every way back is refused")
        return outcome

    def _end(self, summary: Summary, reference: str) -> WatchOutcome:
        outcome = self._outcome(WatchResult.ENDED, summary, self._told(summary), reference)
        self._stop(f"it was watched for {self._policy.watch.seconds:g} s: {summary.verdict.value}")
        return outcome

    def _stop(self, reason: str) -> None:
        stop_watching(self._control, fence=self._fence, reason=reason)
        self._control.leases.end(self._fence)

    def _ended_by_others(self) -> WatchOutcome:
        """Say who ended the watch; if it was this watch before a crash, make up for what that left undone."""
        self._control.leases.end(self._fence)
        rollback = rollback_of(self._control, fence=self._fence)
        if rollback is not None and self._observer.book.load():
            summary = self._observer.summary()
            return self._outcome(WatchResult.ROLLED_BACK, summary, self._told(summary), rollback.evidence)
        reason = f"the watch of release {self._fence.release!r} ended early: {self._ending().reason}"
        _log.info("watch %s", reason)
        return WatchOutcome(result=WatchResult.SUPERSEDED, verdict=None, reason=reason)

    def _ending(self) -> Entry:
        """Return the first transition after the promotion that left nothing to watch."""
        log = self._control.committer.log
        ending, entry = self._promotion, log.last()
        while entry is not None and entry.sequence > self._promotion.sequence:
            if entry.state is not None and not self._is_watched(entry.state):
                ending = entry
            entry = log.read(entry.sequence - 1)
        return ending

    def _outcome(self, result: WatchResult, summary: Summary, reason: str, reference: str | None) -> WatchOutcome:
        """Record how the watch ended, once however often it is told, and return it."""
        compared = self._held_back is not None or summary.verdict in ACTING
        verdict = summary.verdict if compared else None
        outcome = WatchOutcome(result=result, verdict=verdict, reason=reason, evidence=reference)
        origin = replace(self._control.origin, request=f"verdict {self._fence.release} {self._fence.attempt} watch")
        state = self._promotion.state
        self._control.committer.record(
            FactKind.VERDICT,
            reason=f"{verdict.value if verdict else '-'}: {reason}",
            origin=origin,
            version=self._version,
            release=self._fence,
            evidence=reference,
            detail={
                "verdict": summary.verdict.value,
                "result": result.value,
                "percent": dict(state.split).get(self._version, 100.0) if state is not None else 100.0,
                "held_back": self._held_back.name if self._held_back else None,
                "assessments": [assessment.to_json() for assessment in summary.assessments],
                "taken_in": self._observer.book.taken_in,
                **({"alerts": list(self._alerts.values())} if self._alerts else {}),
            },
        )
        return outcome

    def _told(self, summary: Summary) -> str:
        if self._held_back:
            return f"{summary.reason} (stable stands for {self._held_back}, which was held back)"
        return summary.reason if summary.verdict in ACTING else self._limits_told(summary)

    def _limits_told(self, summary: Summary) -> str:
        """Say what was seen of the absolute limits: the judge's own sentence misses the stable version there is not."""
        limited = {check.name for check in self._observer.book.opening.checks if check.has_absolute_limit}
        seen = [
            f"{assessment.check} {_shown(assessment.numbers)}"
            for assessment in summary.assessments
            if assessment.check in limited and not assessment.muted
        ]
        return f"no absolute limit is shown to be crossed: {', '.join(seen)}; nothing was held back to compare with"

    def _alert(self, summary: Summary) -> None:
        """Without a hold-back: warn once of each check by which the version looks worse than the one before it. It never acts."""
        if self._held_back or not self._recorded:
            return
        checks = {check.name: check for check in self._observer.book.opening.checks}
        for assessment in summary.assessments:
            recorded, check = self._recorded.get(assessment.check), checks.get(assessment.check)
            if recorded is None or check is None or assessment.muted or check.name in self._alerts:
                continue
            now, phi = _counted(assessment.numbers, "canary"), float(assessment.numbers["dispersion"])
            sentence = worse_than_recorded(check, now, recorded, phi=phi, subject=self._version.name)
            if sentence is not None:
                self._alerts[check.name] = sentence
                _log.warning("watch model=%s %s", self._control.model, sentence)

    @cached_property
    def _recorded(self) -> dict[str, Counts]:
        """What the release's newest verdict before the promotion holds of the version that was stable then, by check."""
        entry: Entry | None = self._promotion
        while entry is not None and entry.action is not Action.START_CANARY:
            if entry.name == FactKind.VERDICT.value and entry.release == self._fence:
                found = {each["check"]: _counted(each["numbers"], "stable") for each in entry.detail["assessments"]}
                return {name: counts for name, counts in found.items() if counts.n}
            entry = self._control.committer.log.read(entry.sequence - 1)
        return {}


def _counted(numbers: Mapping[str, Any], arm: str) -> Counts:
    """Return the counts behind an assessment; nothing for a check whose answer is no count."""
    counted = numbers.get(arm)
    return Counts(int(counted["n"]), int(counted["bad"])) if isinstance(counted, Mapping) else Counts()


def _shown(numbers: Mapping[str, Any]) -> str:
    """Write what an assessment is about: a share with its counts, or a value."""
    canary = numbers.get("canary")
    if not isinstance(canary, Mapping):
        return "not measured" if canary is None else f"{canary:.4g}"
    counts = _counted(numbers, "canary")
    return f"{percent(counts.rate)} ({counts.bad:,} of {counts.n:,})" if counts.n else "not counted"
