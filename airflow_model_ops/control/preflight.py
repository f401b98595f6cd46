"""Before a release starts: whether its checks can decide in time by the present traffic, and what would help."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from airflow_model_ops.core.checks import Arms, Check, Evidence
from airflow_model_ops.core.errors import MetricsUnavailable
from airflow_model_ops.core.judge.counts import NOTHING, baseline_of, counts_of
from airflow_model_ops.core.judge.dispersion import DispersionMeter
from airflow_model_ops.core.judge.forecast import Forecast, Traffic
from airflow_model_ops.core.judge.undecidable import forecasts_of, undecidable
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
        """Everything, for a log."""
        told = [line for forecast in self.forecasts for line in forecast.lines]
        return (*told, *(f"{name} cannot be forecast: {reason}" for name, reason in self.unknown.items()))


def look_ahead(policy: ReleasePolicy, *, source: MetricSource, arms: Arms, now: float) -> Preflight:
    """Forecast a release from what stable got and answered lately. Touches the network; changes nothing.

    :param arms: What will be compared; without a stable there is no traffic to forecast from.
    :param now: Seconds since the epoch.
    """
    traffic: dict[str, Traffic] = {}
    phi: dict[str, float] = {}
    unknown: dict[str, str] = {}
    for check in policy.checks:
        if not check.is_share:
            continue
        if arms.stable is None:
            unknown[check.name] = "there is no stable version whose traffic could be measured"
            continue
        try:
            found = _history(policy, check, source=source, arms=arms, now=now)
        except MetricsUnavailable as error:
            unknown[check.name] = str(error)
            continue
        meter, seen = _measured(found)
        phi[check.name] = check.dispersion or meter.phi(policy.judge.dispersion)
        if seen is None:
            unknown[check.name] = f"no {check.events} of stable were counted lately"
        else:
            traffic[check.name] = seen
    forecasts = forecasts_of(
        policy, traffic=traffic, phi=phi, settings=policy.judge, has_stable=arms.stable is not None
    )
    return Preflight(forecasts=forecasts, problems=undecidable(policy, forecasts=forecasts), unknown=unknown)


def _history(
    policy: ReleasePolicy, check: Check, *, source: MetricSource, arms: Arms, now: float
) -> tuple[Evidence, ...]:
    span = max(policy.calibration_seconds, _LEAST_HISTORY_SECONDS)
    return source.history(
        check, model=policy.model, arms=arms, start=now - span, end=now, step_seconds=policy.interval_seconds
    )


def _measured(history: tuple[Evidence, ...]) -> tuple[DispersionMeter, Traffic | None]:
    """Return stable's noise, and its requests per second while it got any."""
    meter, total, seconds = DispersionMeter(), NOTHING, 0.0
    for item in history:
        counts = baseline_of(item)
        if item.control is not None:
            meter.fold(counts_of(item.control), counts_of(item.stable))
        if counts.n and item.begin is not None:
            total += counts
            seconds += (item.instant - datetime.fromisoformat(item.begin)).total_seconds()
    if not total.n or seconds <= 0:
        return meter, None
    return meter, Traffic(rate_rps=total.n / seconds, base_rate=total.rate)
