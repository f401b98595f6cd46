"""The evidence of a model's releases: from its log, which ones there are; from what is kept of one, how it was judged."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain

from airflow_model_ops.control.commit import head_state
from airflow_model_ops.control.evidence_book import EvidenceBook
from airflow_model_ops.core.checks import Assessment, Verdict
from airflow_model_ops.core.errors import InvalidState, ModelOpsError
from airflow_model_ops.core.log import Entry
from airflow_model_ops.core.ports import Repository
from airflow_model_ops.core.state import Fence, ServingState
from airflow_model_ops.plugin.datamodels.history import (
    CheckSeries,
    EvidenceAnswer,
    EvidenceSeries,
    Point,
    ReleaseChoice,
    StepMark,
)
from airflow_model_ops.plugin.history.entries import assessments_of
from airflow_model_ops.plugin.history.evidence_replays import EvidenceReplays, Replayed
from airflow_model_ops.plugin.history.evidence_series import point_of, series_of
from airflow_model_ops.plugin.history.log_walk import newest_first
from airflow_model_ops.plugin.history.releases import Attempt, attempts_of

_SUBJECT = "the canary"
"""How sentences call a version that nobody names."""
_MOST_MODELS = 64
_SILENT_SECONDS = 600.0
"""A watch that measured nothing for so long is over."""


class UnknownRelease(ModelOpsError):
    """No release of that name is known; asking again does not help."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """What a log says of a model's releases.

    :param newest: The digest of its newest entry when it was read.
    :param judged: The attempts that were judged, newest first.
    """

    newest: str
    state: ServingState | None
    judged: dict[Fence, Attempt]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Question:
    repository: Repository
    model: str
    now: float


class ReleaseEvidence:
    """Answers for the evidence of releases, and remembers what it read; safe for several threads."""

    def __init__(self) -> None:
        self._replays = EvidenceReplays()
        self._known: OrderedDict[tuple[str, str], _Known] = OrderedDict()
        self._lock = threading.Lock()

    def answer(
        self, repository: Repository, *, model: str, now: float, release: str | None = None, attempt: int | None = None
    ) -> EvidenceAnswer:
        """Return the evidence of an attempt, and which others there are.

        :param now: Seconds since the epoch.
        :param release: ``None``: the live one, or else the one that was judged last.
        :param attempt: ``None``: the newest one of the release.
        :raises UnknownRelease: if there is none.
        """
        question = _Question(repository=repository, model=model, now=now)
        known = self._read(question)
        series = self._newest(question, known) if release is None else self._asked(question, known, release, attempt)
        return EvidenceAnswer(series=series, releases=[_choice(each) for each in known.judged.values()])

    def _read(self, question: _Question) -> _Known:
        """Read the log, if there is anything new in it."""
        log = question.repository.log(question.model)
        last = log.last()
        if last is None:
            return _Known(newest="", state=None, judged={})
        key = (question.repository.uri, question.model)
        with self._lock:
            known = self._known.get(key)
        if known is not None and known.newest == last.digest:
            return known
        state = head_state(log, last) if last.generation else None
        attempts = attempts_of(newest_first(log))
        judged = {fence: each for fence, each in attempts.items() if _is_judged(question, each)}
        known = _Known(newest=last.digest, state=state, judged=judged)
        with self._lock:
            self._known[key] = known
            self._known.move_to_end(key)
            while len(self._known) > _MOST_MODELS:
                self._known.popitem(last=False)
        return known

    def _newest(self, question: _Question, known: _Known) -> EvidenceSeries | None:
        chosen = next(iter(known.judged.values()), None)
        return None if chosen is None else self._series(question, chosen, known.state)

    def _asked(self, question: _Question, known: _Known, release: str, attempt: int | None) -> EvidenceSeries:
        for fence, found in known.judged.items():
            if fence.release == release and attempt in (None, fence.attempt):
                return self._series(question, found, known.state)
        older = None
        if attempt is not None:
            fence = Fence(release=release, attempt=attempt)
            unlisted = Attempt(fence=fence, version=None, at=datetime.fromtimestamp(0, UTC))
            older = self._kept(question, unlisted, known.state)
        if older is None:
            which = f"release {release!r}" if attempt is None else f"attempt {attempt} of release {release!r}"
            raise UnknownRelease(f"model {question.model!r} has no evidence of {which}; see its list of releases")
        return older

    def _series(self, question: _Question, attempt: Attempt, state: ServingState | None) -> EvidenceSeries:
        live = attempt.is_looked_after(state)
        try:
            return self._kept(question, attempt, state) or _recorded(attempt, live=live)
        except InvalidState as error:  # the other releases can be looked at all the same
            told = _recorded(attempt, live=live)
            return told.model_copy(update={"reason": f"{told.reason} ({error})"})

    def _kept(self, question: _Question, attempt: Attempt, state: ServingState | None) -> EvidenceSeries | None:
        subject = attempt.version or _SUBJECT
        with self._replays.up_to_now(
            question.repository, model=question.model, fence=attempt.fence, subject=subject
        ) as found:
            if found is None:
                return None
            live = attempt.is_looked_after(state) or (
                attempt.may_be_watched(state) and _is_watching(found, question.now)
            )
            return _replayed(attempt, found, live=live)


def _is_judged(question: _Question, attempt: Attempt) -> bool:
    if attempt.outcome is None or attempt.verdicts:
        return True
    return EvidenceBook(question.repository, model=question.model, fence=attempt.fence).is_kept


def _is_watching(found: Replayed, now: float) -> bool:
    """Whether a watch measures: without a version held back, the log does not tell when one has ended early."""
    newest = max((points[-1].at.timestamp() for points in found.replay.points.values() if points), default=0.0)
    return found.watching and now - newest < _SILENT_SECONDS


def _choice(attempt: Attempt) -> ReleaseChoice:
    return ReleaseChoice(
        release=attempt.fence.release,
        attempt=attempt.fence.attempt,
        version=attempt.version,
        at=attempt.at,
        outcome=attempt.outcome,
    )


def _replayed(attempt: Attempt, found: Replayed, *, live: bool) -> EvidenceSeries:
    summary = found.replay.summary
    return EvidenceSeries(
        release=attempt.fence.release,
        attempt=attempt.fence.attempt,
        version=attempt.version,
        stable=attempt.stable,
        confidence=1 - found.replay.opening.settings.alpha,
        steps=_steps(found),
        checks=series_of(found.replay),
        verdict=summary.verdict.value,
        reason=summary.reason,
        live=live,
    )


def _steps(found: Replayed) -> list[StepMark]:
    """Return when each share began; of the newest one that is kept exactly, of an earlier one by its first interval."""
    steps = found.replay.steps
    newest = len(steps) - 1
    began = datetime.fromtimestamp(found.step_began, UTC)
    return [
        StepMark(at=at, percent=step.percent, watch=found.watching and index == newest)
        for index, step in enumerate(steps)
        if (at := began if index == newest else step.at) is not None
    ]


def _recorded(attempt: Attempt, *, live: bool) -> EvidenceSeries:
    """Return what the facts ``verdict`` say of an attempt whose evidence is not kept: one point for each."""
    oldest_first = attempt.verdicts[::-1]
    newest = attempt.verdicts[0] if attempt.verdicts else None
    points: dict[str, list[Point]] = {}
    newest_by: dict[str, Assessment] = {}
    for entry in oldest_first:
        for assessment in assessments_of(entry):
            point = point_of(assessment, at=_at(entry), percent=_percent(entry))
            points.setdefault(assessment.check, []).append(point)
            newest_by[assessment.check] = assessment
    confidences = chain.from_iterable(
        (each.numbers.get("confidence") for each in assessments_of(entry)) for entry in attempt.verdicts
    )
    return EvidenceSeries(
        release=attempt.fence.release,
        attempt=attempt.fence.attempt,
        version=attempt.version,
        stable=attempt.stable,
        confidence=next((float(each) for each in confidences if isinstance(each, int | float)), None),
        steps=[StepMark(at=_at(entry), percent=_percent(entry), watch=_of_watch(entry)) for entry in oldest_first],
        checks=[_recorded_check(newest_by[name], found) for name, found in points.items()],
        verdict=str(newest.detail.get("verdict")) if newest else Verdict.NO_DATA.value,
        reason=newest.reason if newest else "nothing has been measured yet",
        live=live,
    )


def _recorded_check(newest: Assessment, points: list[Point]) -> CheckSeries:
    return CheckSeries(
        check=newest.check,
        description="as recorded with its verdicts; the evidence itself is not kept",
        kind="share" if any(point.canary_total is not None for point in points) else "gauge",
        muted=newest.muted,
        rollback_line=None,
        promotion_line=None,
        limits={},
        harm_line=None,
        safe_line=None,
        points=points,
        reason=newest.reason,
        verdict=newest.verdict.value,
    )


def _at(entry: Entry) -> datetime:
    return datetime.fromisoformat(entry.at)


def _percent(entry: Entry) -> float:
    return float(entry.detail.get("percent", 100.0))


def _of_watch(entry: Entry) -> bool:
    return "held_back" in entry.detail
