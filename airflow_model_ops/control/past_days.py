"""Running a policy over recorded days of stable against itself (A/A days): how often it would have rolled back for nothing.

Stable's requests are counted in two groups, and the smaller one takes the canary's place. Both are the same version, so
whatever acts is a false alarm. Each day is judged as one release of 24 hours, which is harder than most: a shorter one has
less time to go wrong.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import groupby

from airflow_model_ops.core.checks import Arms, Check, Evidence, Summary
from airflow_model_ops.core.errors import InvalidState
from airflow_model_ops.core.judge.counts import counts_of
from airflow_model_ops.core.judge.dispersion import metered
from airflow_model_ops.core.judge.release import ReleaseJudge
from airflow_model_ops.core.policy import ACTING, ReleasePolicy
from airflow_model_ops.core.ports import MetricSource

DAY_SECONDS = 86_400.0
SUBJECT = "the control group"
"""How sentences call stable's second group, which stands in for a canary."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayedDay:
    """What a policy would have done on one day.

    :param begins: ISO 8601.
    :param hours: How long both groups were counted, of the check with the most; 0: there was nothing to judge.
    :param requests: Of the group in the canary's place, by the check with the most.
    :param rolled_back: Whether HARM or BREACH was shown, falsely.
    :param reason: What was shown, or why there was nothing.
    """

    begins: str
    hours: float
    requests: int
    rolled_back: bool
    reason: str

    @property
    def has_data(self) -> bool:
        """Whether there was anything to judge; a day without tells nothing about the policy."""
        return self.requests > 0


def replay_history(
    policy: ReleasePolicy, *, source: MetricSource, arms: Arms, now: float, days: int
) -> Iterator[ReplayedDay]:
    """Run a policy over the last days, the oldest first. Touches the network; a day with 15 s intervals takes some seconds.

    Only checks that count requests of both groups are judged; with the part of alpha that they have among all.

    :param arms: With stable and control; the canary is not looked at.
    :raises MetricsUnavailable: if the source does not answer.
    :raises InvalidState: if there is no second group, or no check that counts it.
    """
    checks = tuple(check for check in policy.checks if check.is_share and not check.muted)
    if arms.stable is None or arms.control is None or not checks:
        raise InvalidState(
            f"model {policy.model!r} has no stable version whose requests are counted in two groups, or no unmuted check that "
            "counts them; there is nothing to replay"
        )
    asked = _Asked(policy=policy, source=source, arms=arms)
    for back in range(days, 0, -1):
        yield _day(asked, checks, start=now - back * DAY_SECONDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    policy: ReleasePolicy
    source: MetricSource
    arms: Arms

    def history(self, check: Check, *, start: float, end: float) -> tuple[Evidence, ...]:
        """Return what was counted over both groups; nothing of a check that cannot tell them apart."""
        if end <= start:
            return ()
        step = self.policy.interval_seconds
        found = self.source.history(
            check, model=self.policy.model, arms=self.arms, start=start, end=end, step_seconds=step
        )
        return tuple(item for item in found if item.control is not None)


def _day(asked: _Asked, checks: tuple[Check, ...], *, start: float) -> ReplayedDay:
    policy = asked.policy
    recorded = {check.name: asked.history(check, start=start, end=start + DAY_SECONDS) for check in checks}
    meters = {
        check.name: metered(asked.history(check, start=start - policy.calibration_seconds, end=start))
        for check in checks
        if check.dispersion is None
    }
    judge = ReleaseJudge(policy.checks, settings=policy.judge, has_stable=True, meters=meters)
    judge.enter_step(100)  # no share was declared for the second group, so none is checked
    for _, at_once in groupby(_in_order(recorded), key=lambda item: item.instant):
        judge.fold(_as_canary(item) for item in at_once)
        summary = judge.summary(subject=SUBJECT)
        if summary.verdict in ACTING:
            return _told(recorded, summary, start=start)
    return _told(recorded, judge.summary(subject=SUBJECT), start=start)


def _told(recorded: Mapping[str, tuple[Evidence, ...]], summary: Summary, *, start: float) -> ReplayedDay:
    requests = max(sum(counts_of(item.control).n for item in items) for items in recorded.values())
    told = [each for each in summary.assessments if recorded.get(each.check)]
    acted = summary.verdict in ACTING
    return ReplayedDay(
        begins=datetime.fromtimestamp(start, tz=UTC).isoformat(timespec="minutes"),
        hours=round(max(map(_hours, recorded.values())), 1),
        requests=requests,
        rolled_back=acted,
        reason=_reason(requests, summary.reason if acted else "; ".join(each.reason for each in told)),
    )


def _reason(requests: int, reason: str) -> str:
    if requests:
        return reason
    return "no data: no requests of stable's second group were recorded; it may not have been stable then, or it is forgotten"


def _hours(items: tuple[Evidence, ...]) -> float:
    """Return how long both groups were counted; scrapes of several routers overlap in time."""
    seconds, counted_to = 0.0, float("-inf")
    for item in items:
        if item.begin is None or not (counts_of(item.control).n and counts_of(item.stable).n):
            continue
        end = item.instant.timestamp()
        seconds += max(0.0, end - max(counted_to, datetime.fromisoformat(item.begin).timestamp()))
        counted_to = end
    return seconds / 3600


def _in_order(recorded: Mapping[str, tuple[Evidence, ...]]) -> list[Evidence]:
    return sorted((item for items in recorded.values() for item in items), key=lambda item: item.instant)


def _as_canary(evidence: Evidence) -> Evidence:
    """Put stable's second group in the canary's place."""
    return replace(evidence, canary=evidence.control or evidence.canary, control=None)
