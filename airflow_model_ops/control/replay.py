"""Replaying: the verdicts of a past release from its kept evidence, and a policy over recorded history (A/A days)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import islice

from airflow_model_ops.control.evidence_book import EvidenceBook
from airflow_model_ops.core.checks import Arms, Check, Evidence, Summary, Verdict
from airflow_model_ops.core.errors import InvalidState
from airflow_model_ops.core.judge.counts import counts_of
from airflow_model_ops.core.judge.dispersion import DispersionMeter
from airflow_model_ops.core.judge.record import replay
from airflow_model_ops.core.judge.release import ReleaseJudge
from airflow_model_ops.core.log import Entry, FactKind
from airflow_model_ops.core.policy import ReleasePolicy
from airflow_model_ops.core.ports import MetricSource, Repository
from airflow_model_ops.core.state import Fence

DAY_SECONDS = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayedVerdict:
    """A verdict as it was recorded, and as it follows from the kept evidence now.

    :param sequence: Its entry in the model's log.
    :param same: Whether both are equal in every figure.
    """

    sequence: int
    at: str
    release: str
    attempt: int
    recorded: str
    replayed: str
    same: bool


def replay_release(repository: Repository, *, model: str, release: str) -> tuple[ReplayedVerdict, ...]:
    """Judge a past release again from what was kept of it; asks no metric source.

    :raises InvalidState: if the log has no verdict of it, or its evidence is not there or not readable.
    """
    verdicts = [entry for entry in repository.log(model).entries() if _is_verdict_of(entry, release)]
    if not verdicts:
        raise InvalidState(f"the log of model {model!r} has no judged verdict of release {release!r}; see its history")
    return tuple(_replayed(repository, model, entry) for entry in verdicts)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayedDay:
    """What a policy would have done on one day with stable's second group in the canary's place.

    :param requests: Of that group, over all checks' events the most.
    :param acted: The verdict and its reason if it would have been rolled back, falsely, since both arms are the same version.
    """

    day: str
    requests: int
    acted: str | None
    reason: str


def replay_history(
    policy: ReleasePolicy, *, source: MetricSource, arms: Arms, now: float, days: int
) -> tuple[ReplayedDay, ...]:
    """Run a policy over recorded days of stable against itself: how often it would have rolled back for nothing.

    :param arms: With stable and control; the canary is not looked at.
    :raises MetricsUnavailable: if the source does not answer.
    :raises InvalidState: if there is no stable, or no check counts events over a control arm.
    """
    checks = tuple(check for check in policy.checks if check.is_share and not check.muted)
    if arms.stable is None or arms.control is None or not checks:
        raise InvalidState(
            f"model {policy.model!r} has no stable version with a control cluster, or no check that counts requests; "
            "history cannot be replayed"
        )
    return tuple(
        _day(policy, checks, source=source, arms=arms, start=now - back * DAY_SECONDS) for back in range(days, 0, -1)
    )


def _is_verdict_of(entry: Entry, release: str) -> bool:
    of_release = entry.release is not None and entry.release.release == release
    return entry.name == FactKind.VERDICT.value and of_release and "taken_in" in entry.detail


def _replayed(repository: Repository, model: str, entry: Entry) -> ReplayedVerdict:
    fence = entry.release or Fence(release="", attempt=0)
    book = EvidenceBook(repository, model=model, fence=fence)
    if book.load() is None:
        raise InvalidState(
            f"the evidence of release {fence.release!r}, attempt {fence.attempt}, is not in the repository"
        )
    judge = replay(book.opening, islice(book.entries(), int(entry.detail["taken_in"])))
    subject = entry.version.name if entry.version else "the canary"
    summary = judge.summary(subject=subject)
    again = [assessment.to_json() for assessment in summary.assessments]
    return ReplayedVerdict(
        sequence=entry.sequence,
        at=entry.at,
        release=fence.release,
        attempt=fence.attempt,
        recorded=str(entry.detail["verdict"]),
        replayed=summary.verdict.value,
        same=again == entry.detail["assessments"] and summary.verdict.value == entry.detail["verdict"],
    )


def _day(
    policy: ReleasePolicy, checks: tuple[Check, ...], *, source: MetricSource, arms: Arms, start: float
) -> ReplayedDay:
    meters, judge_input = {}, []
    for check in checks:
        before = source.history(
            check,
            model=policy.model,
            arms=arms,
            start=start - policy.calibration_seconds,
            end=start,
            step_seconds=policy.interval_seconds,
        )
        meters[check.name] = _metered(before)
        judge_input.append(
            source.history(
                check,
                model=policy.model,
                arms=arms,
                start=start,
                end=start + DAY_SECONDS,
                step_seconds=policy.interval_seconds,
            )
        )
    judge = ReleaseJudge(checks, settings=policy.judge, has_stable=True, meters=meters)
    # Half of the traffic or more would be no second group: the split is the control's own, and is not judged here.
    judge.enter_step(100)
    day, requests = datetime.fromtimestamp(start, tz=UTC).isoformat(timespec="minutes"), 0
    for evidence in _in_order(judge_input):
        swapped = _as_canary(evidence)
        requests += int(counts_of(swapped.canary).n)
        judge.fold([swapped])
        summary = judge.summary(subject="the control group")
        if summary.verdict in {Verdict.HARM, Verdict.BREACH}:
            return ReplayedDay(day=day, requests=requests, acted=summary.verdict.value, reason=summary.reason)
    last: Summary = judge.summary(subject="the control group")
    return ReplayedDay(day=day, requests=requests, acted=None, reason=last.reason)


def _metered(history: tuple[Evidence, ...]) -> DispersionMeter:
    meter = DispersionMeter()
    for item in history:
        meter.fold(counts_of(item.control), counts_of(item.stable))
    return meter


def _in_order(series: list[tuple[Evidence, ...]]) -> Iterator[Evidence]:
    yield from sorted((item for items in series for item in items), key=lambda item: item.instant)


def _as_canary(evidence: Evidence) -> Evidence:
    """Put stable's second group in the canary's place."""
    return replace(evidence, canary=evidence.control or evidence.canary, control=None)
