"""The sentences of a share: what a person on call reads, with the numbers behind it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from airflow_model_ops.core.checks.definition import Check, CheckKind
from airflow_model_ops.core.judge.counts import Counts
from airflow_model_ops.core.judge.finding import Words
from airflow_model_ops.core.judge.settings import JudgeSettings

_LATE_SHARE = 0.5
"""The canary turned bad late if it got less than this share of its requests since."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How a check stands.

    :param step: Canary's and baseline's counts at this step.
    :param recent: The same since the canary may have turned bad.
    :param recent_since: When that was, ISO 8601; empty if it looks good.
    :param ratio_low: Lowest risk ratio that is not excluded at level alpha; ``None`` for no bound.
    :param compared: Whether there is a stable version.
    :param through_negligible: Whether safety is rather shown by the negligible rate than by the ratio.
    :param phi: The overdispersion in use.
    :param log_harm: Logarithms of the e-processes.
    """

    subject: str
    settings: JudgeSettings
    step: tuple[Counts, Counts]
    recent: tuple[Counts, Counts]
    recent_since: str
    ratio_low: float | None
    ratio_high: float | None
    compared: bool
    through_negligible: bool
    phi: float
    phi_measured: bool
    log_harm: float
    log_safe: float

    def to_json(self) -> dict[str, Any]:
        """Give an object that JSON can hold, for displays."""
        (canary, baseline), ratio = self.step, _ratio(*self.step)
        return {
            "canary": {"n": canary.n, "bad": canary.bad},
            "stable": {"n": baseline.n, "bad": baseline.bad} if self.compared else None,
            "ratio": ratio if math.isfinite(ratio) else None,
            "ratio_low": self.ratio_low,
            "ratio_high": self.ratio_high,
            "confidence": 1 - self.settings.alpha,
            "dispersion": self.phi,
            "dispersion_measured": self.phi_measured,
            "log_harm": self.log_harm if self.compared else None,
            "log_safe": self.log_safe if math.isfinite(self.log_safe) else None,
        }


def words_of(check: Check, standing: Standing) -> Words:
    """Return the sentences of a check."""
    if not standing.compared:
        return _words_alone(check, standing)
    compared, interval = _compared(check, standing.step), _interval(standing)
    breach = ""
    if check.max is not None:
        breach = f"{_of(check, standing)} {_shown(check, standing.step[0])}: {_above_ceiling(check, standing)}"
    return Words(
        harm=_harm(check, standing),
        breach=breach,
        safe=f"{_of(check, standing)} {compared}: {_why_safe(check, standing)}",
        undecided=f"{_of(check, standing)} {compared}: {interval}; {_not_shown(check, standing)}",
    )


def percent(share: float) -> str:
    """Write a share with two significant digits, and at least one decimal: 8.1 %, 0.031 %, 100.0 %."""
    value = 100 * share
    if value == 0:
        return "0 %"
    decimals = min(6, max(1, 1 - math.floor(math.log10(abs(value)))))
    return f"{value:.{decimals}f} %"


def _words_alone(check: Check, standing: Standing) -> Words:
    shown = f"{_of(check, standing)} {_shown(check, standing.step[0])}"
    alone = "(not compared with stable: there is none yet)"
    if check.max is None:
        nothing = f"{shown} was not compared: there is no stable version yet, and it has no limit of its own"
        return Words(undecided=nothing)
    below = f"below the allowed {percent(check.max)}"
    return Words(
        breach=f"{shown}: {_above_ceiling(check, standing)} {alone}",
        safe=f"{shown}: {below} with {_confidence(standing.settings.beta)} {alone}",
        undecided=f"{shown}: neither above nor {below} is shown yet {alone}",
    )


def _harm(check: Check, standing: Standing) -> str:
    """Tell harm by the whole step, or since the canary turned bad if that was later."""
    of = _of(check, standing)
    at_least = standing.ratio_low
    sure = _confidence(standing.settings.alpha)
    if _turned_bad_late(check, standing):
        since = datetime.fromisoformat(standing.recent_since).astimezone(UTC).strftime("%H:%M:%S")
        shown = f"{_compared(check, standing.recent)} since {since} UTC: ratio {_ratio_words(standing.recent)}"
        return f"{of} {shown}, above the allowed {check.max_ratio:g} with {sure}"
    shown = f"{_compared(check, standing.step)}: ratio {_ratio_words(standing.step)}"
    if at_least is not None and at_least > check.max_ratio:
        return f"{of} {shown}, at least {at_least:.1f} with {sure}"
    return f"{of} {shown}, above the allowed {check.max_ratio:g} with {sure}"


def _turned_bad_late(check: Check, standing: Standing) -> bool:
    """Tell whether the counts since the canary turned bad show harm better than the step's: it was good for long, or before."""
    canary, since_then = standing.step[0].n, standing.recent[0].n
    shown_by_step = standing.ratio_low is not None and standing.ratio_low > check.max_ratio
    if not since_then or standing.recent == standing.step:
        return False
    return not shown_by_step or since_then < _LATE_SHARE * canary


def _why_safe(check: Check, standing: Standing) -> str:
    sure = _confidence(standing.settings.beta)
    if standing.through_negligible:
        return f"below the negligible {percent(check.negligible)} with {sure}"
    return f"ratio {_ratio_words(standing.step)}, below {check.margin:g} with {sure}"


def _not_shown(check: Check, standing: Standing) -> str:
    high, enough = standing.ratio_high, standing.step[0].n >= check.min_samples
    if not enough:
        return f"{standing.step[0].n:,} of the {check.min_samples:,} {check.events} that safety needs"
    if high is not None and high < check.margin:
        return f"its newest counts do not show it to be below {check.margin:g} times stable"
    return (
        f"neither harm (above {check.max_ratio:g} times stable) nor safety (below {check.margin:g} "
        f"times{_or_negligible(check)}) is shown yet"
    )


def _interval(standing: Standing) -> str:
    low, high, sure = standing.ratio_low, standing.ratio_high, _confidence(standing.settings.alpha)
    ratio = f"ratio {_ratio_words(standing.step)}"
    if low is not None and high is not None:
        return f"{ratio}, from {low:.2g} to {high:.2g} with {sure}"
    if high is not None:
        return f"{ratio}, at most {high:.2g} with {sure}"
    if low is not None:
        return f"{ratio}, at least {low:.2g} with {sure}"
    return ratio


def _above_ceiling(check: Check, standing: Standing) -> str:
    return f"above the allowed {percent(check.max or 0.0)} with {_confidence(standing.settings.alpha)}"


def _or_negligible(check: Check) -> str:
    return f", or below {percent(check.negligible)}" if check.negligible else ""


def _compared(check: Check, arms: tuple[Counts, Counts]) -> str:
    canary, baseline = arms
    return f"{_shown(check, canary)} against stable's {_shown(check, baseline)}"


def _shown(check: Check, counts: Counts) -> str:
    if not counts.n:
        return f"without {check.events}"
    over = f" over {check.latency_bound_ms:g} ms" if check.kind is CheckKind.LATENCY else ""
    return f"{percent(counts.rate)}{over} ({counts.bad:,} of {counts.n:,})"


def _of(check: Check, standing: Standing) -> str:
    return f"{check.name} of {standing.subject}"


def _ratio(canary: Counts, baseline: Counts) -> float:
    if not (canary.n and baseline.n) or (canary.bad == 0 and baseline.bad == 0):
        return math.nan
    return canary.rate / baseline.rate if baseline.bad else math.inf


def _ratio_words(arms: tuple[Counts, Counts]) -> str:
    ratio = _ratio(*arms)
    if math.isnan(ratio):
        return "unknown"
    return "beyond any number" if math.isinf(ratio) else f"{ratio:.1f}"


def _confidence(error: float) -> str:
    return f"{100 * (1 - error):.6g} % confidence"
