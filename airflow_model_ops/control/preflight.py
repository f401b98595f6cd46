"""Before a release starts: whether its checks can decide in time by the present traffic, and what would help."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from airflow_model_ops.control.heads import Head
from airflow_model_ops.core.checks import Arms, Check, Evidence
from airflow_model_ops.core.errors import MetricsUnavailable
from airflow_model_ops.core.judge.counts import NOTHING, Counts, baseline_of
from airflow_model_ops.core.judge.dispersion import DispersionMeter, metered
from airflow_model_ops.core.judge.forecast import Forecast, Traffic
from airflow_model_ops.core.judge.undecidable import PhiAt, forecasts_of, undecidable
from airflow_model_ops.core.policy import ReleasePolicy
from airflow_model_ops.core.ports import MetricSource

_LEAST_HISTORY_SECONDS = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Preflight:
    """What a release can expect.

    :param problems: What could not be decided within the deadline, a sentence each, with what would help.
    :param unknown: Why a check could not be forecast, by its name.
    """

    forecasts: tuple[Forecast, ...] = ()
    problems: tuple[str, ...] = ()
    unknown: Mapping[str, str] = field(default_factory=dict)

    @property
    def lines(self) -> tuple[str, ...]:
        """Everything but the problems, for a log."""
        told = [line for forecast in self.forecasts for line in forecast.lines]
        return (*told, *(f"{name} cannot be forecast: {reason}" for name, reason in self.unknown.items()))


@dataclass(frozen=True, slots=True, kw_only=True)
class StableShare:
    """What part of the traffic stable has, so that its counts tell how much there is of all.

    :param since: Since when it has this share, seconds since the epoch; ``None``: not known.
    """

    percent: float = 100.0
    since: float | None = None

    @classmethod
    def of(cls, head: Head | None) -> StableShare:
        """Read it off a model's head: a live canary, or a version that is held back, takes a part."""
        if head is None or head.state.stable is None:
            return cls()
        percent = dict(head.state.split).get(head.state.stable, 0.0)
        return cls(percent=percent or 100.0, since=head.applied_at)


def look_ahead(
    policy: ReleasePolicy, *, source: MetricSource, arms: Arms, now: float, stable_share: StableShare
) -> Preflight:
    """Forecast a release from what stable got and answered lately. Touches the network; changes nothing.

    :param arms: What will be compared; without a stable there is no traffic to forecast from.
    :param now: Seconds since the epoch.
    """
    traffic: dict[str, Traffic] = {}
    phi: dict[str, PhiAt] = {}
    unknown: dict[str, str] = {}
    for check in (check for check in policy.checks if check.is_share):
        if arms.stable is None:
            unknown[check.name] = "there is no stable version whose traffic could be measured"
            continue
        try:
            history = _history(policy, check, source=source, arms=arms, now=now)
        except MetricsUnavailable as error:
            unknown[check.name] = str(error)
            continue
        seen = _seen(history, share=stable_share)
        if seen is None:
            unknown[check.name] = f"no {check.events} of stable were counted lately"
            continue
        traffic[check.name] = seen.traffic
        phi[check.name] = _phi_at(metered(history), seen, default=policy.judge.dispersion)
    forecasts = forecasts_of(
        policy, traffic=traffic, phi=phi, settings=policy.judge, has_stable=arms.stable is not None
    )
    return Preflight(forecasts=forecasts, problems=undecidable(policy, forecasts=forecasts, phi=phi), unknown=unknown)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """:param per_interval: Events of all versions in an interval that brought any, which is a scrape's or the policy's."""

    traffic: Traffic
    per_interval: float


def _history(
    policy: ReleasePolicy, check: Check, *, source: MetricSource, arms: Arms, now: float
) -> tuple[Evidence, ...]:
    span = max(policy.calibration_seconds, _LEAST_HISTORY_SECONDS)
    return source.history(
        check, model=policy.model, arms=arms, start=now - span, end=now, step_seconds=policy.interval_seconds
    )


def _seen(history: tuple[Evidence, ...], *, share: StableShare) -> _Seen | None:
    """Return the traffic: how much by what came since stable has its share, how bad by everything that is known."""
    spans = tuple(_spans(history))
    if not spans:
        return None
    lately = tuple(span for span in spans if share.since is not None and span[0] >= share.since)
    percent = share.percent if lately else 100.0
    requests = sum(counts.n for _, _, counts in lately or spans) * 100 / percent
    seconds = sum(end - begin for begin, end, _ in lately or spans)
    everything = sum((counts for _, _, counts in spans), NOTHING)
    return _Seen(
        traffic=Traffic(rate_rps=requests / seconds, base_rate=everything.rate),
        per_interval=requests / len(lately or spans),
    )


def _spans(history: Iterable[Evidence]) -> Iterator[tuple[float, float, Counts]]:
    """Yield begin, end and counts of the intervals in which stable got any; scrapes of several routers overlap in time."""
    counted_to = float("-inf")
    for item in history:
        counts, end = baseline_of(item), item.instant.timestamp()
        begin = end if item.begin is None else max(counted_to, datetime.fromisoformat(item.begin).timestamp())
        if counts.n and begin < end:
            counted_to = end
            yield begin, end, counts


def _phi_at(meter: DispersionMeter, seen: _Seen, *, default: float) -> PhiAt:
    """Return the overdispersion at a share of traffic: bursts weigh more the more requests are compared."""

    def at(percent: float) -> float:
        share = percent / 100
        return meter.phi(default, size=seen.per_interval * share * (1 - share))

    return at
