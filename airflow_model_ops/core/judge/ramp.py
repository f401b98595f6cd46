"""The harm budget: a share of traffic may rise only as far as what a bad canary could still do fits into a stated cap.

``max_bad_events`` caps the expected extra bad events of a whole release: those of a bad canary beyond what stable would have
had, until the judge finds it and it is out. A canary of risk ratio r at bad events ``lambda_c`` per second (of the baseline's
rate) costs

    extra(r) = (r - 1) lambda_c (min(T(r), horizon) + interval + reaction),    T(r) = nats / g(r),

with ``g`` the growth of the evidence per second and ``nats`` what it must grow by: the logarithm of the threshold, and of how
thinly the mixture spreads its wealth. What is at stake is the largest extra among the ratios that are not excluded yet, from
the check's margin on: a canary below the margin is one that the policy takes for good, whatever it costs.

Detection takes a certain number of bad events, not of seconds, so a smaller share saves less than one may expect: it saves the
part of interval and reaction, and what does not fit is a cap too small for any judge. The
ratio at a larger share is taken to be what it was at the smaller one; harm that only load brings is met by the next intervals.

Source: Wald 1947 (expected sample size); Howard, Ramdas, McAuliffe, Sekhon 2021 (confidence sequences, for what is excluded);
Ramdas, Gruenwald, Vovk, Shafer 2023.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

from airflow_model_ops.core.checks.definition import Check
from airflow_model_ops.core.judge.counts import Counts
from airflow_model_ops.core.judge.forecast import Traffic
from airflow_model_ops.core.judge.mixture import START_SHARE, geometric_grid
from airflow_model_ops.core.judge.processes import HARM_FACTORS, ODDS_ABOVE
from airflow_model_ops.core.judge.settings import JudgeSettings

WORST_RATIO = 20.0
"""The worst canary that is reckoned with while nothing is excluded."""
SMALLEST_PERCENT = 0.01
"""The smallest share a router can be told."""
_RATIOS_TRIED = 24
_HALVINGS = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How fast a release can react, and what it may cost.

    :param max_bad_events: Cap of the expected extra bad events of the whole release, per check.
    :param horizon_seconds: Longest a step may last, which ends what is never found.
    """

    max_bad_events: float
    interval_seconds: float
    horizon_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposure:
    """What a bad canary's cost depends on, beside its share of traffic.

    :param ratio_upper: The worst ratio to stable that is not excluded; ``None`` while there is no bound. A ratio to a stable
        without bad events means nothing, so then multiples of the negligible rate are reckoned with.
    :param is_negligible: Whether the canary's bad rate is already shown to be below the negligible one: nothing is at stake.
    :param phi: Overdispersion in use.
    :param alpha_part: The check's part of the release's alpha.
    :param reaction_seconds: From the verdict until no request reaches the canary any more.
    :param horizon_seconds: Longest a step may last, which ends what is never found.
    """

    check: Check
    traffic: Traffic
    ratio_upper: float | None = None
    is_negligible: bool = False
    phi: float
    settings: JudgeSettings
    alpha_part: float = 1.0
    interval_seconds: float = 15.0
    reaction_seconds: float = 10.0
    horizon_seconds: float = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RiseDecision:
    """Whether a share of traffic may rise as far as the harm budget goes.

    :param reason: A sentence for people.
    :param expected_extra: Bad events at stake at the larger share.
    :param left: What is left of the cap.
    """

    allowed: bool
    reason: str
    expected_extra: float
    left: float


def expected_extra(percent: float, *, exposure: Exposure) -> float:
    """Return the extra bad events that the worst canary not excluded yet would cause at a share of traffic until it is out.

    It rises with the share, the ratio not excluded, the overdispersion, and every delay.
    """
    if exposure.is_negligible:
        return 0.0
    upper = WORST_RATIO if exposure.ratio_upper is None else min(exposure.ratio_upper, WORST_RATIO)
    ratios = _ratios_up_to(upper, exposure.check.margin)
    bad_rates = (ratio * reference for reference in _references(exposure) for ratio in ratios)
    return max((_extra(min(1.0, bad_rate), percent, exposure) for bad_rate in bad_rates), default=0.0)


def allowed_percent(*, exposure: Exposure, budget: float, spent: float) -> float:
    """Return the largest share of traffic whose expected extra fits into what is left; 0 if not even the smallest does."""
    left = budget - spent
    if left < 0 or expected_extra(SMALLEST_PERCENT, exposure=exposure) > left:
        return 0.0
    if expected_extra(100.0, exposure=exposure) <= left:
        return 100.0
    low, high = SMALLEST_PERCENT, 100.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if expected_extra(middle, exposure=exposure) <= left else (low, middle)
    return low


def may_rise(percent: float, *, exposure: Exposure, budget: float, spent: float) -> RiseDecision:
    """Say whether a share of traffic fits into the harm budget.

    :param budget: ``max_bad_events``.
    :param spent: :func:`excess` of the release so far.
    """
    extra, left = expected_extra(percent, exposure=exposure), max(0.0, budget - spent)
    allowed = spent <= budget and extra <= left
    upper = exposure.ratio_upper
    known = (
        "nothing is excluded yet"
        if upper is None
        else f"up to {min(upper, WORST_RATIO):.1f} times stable is not excluded yet"
    )
    reason = (
        f"{exposure.check.name} at {percent:g} %: {known}, which could cost {extra:,.0f} extra bad events before it is out; "
        f"{left:,.0f} of {budget:,.0f} are left"
    )
    if not allowed:
        fits = allowed_percent(exposure=exposure, budget=budget, spent=spent)
        reason += f", enough for {fits:.2g} %" if fits else ", too few for any share"
        reason += "; it waits until more is excluded"
    return RiseDecision(allowed=allowed, reason=reason, expected_extra=extra, left=left)


def excess(canary: Counts, baseline: Counts, *, phi: float) -> float:
    """Return how many bad events the canary has had beyond what stable would have had, at least 0.

    That is ``x_c - n_c x_b / n_b``, less one standard error of it: by chance alone every second good canary is above 0, and the
    more it serves, the further. Without a baseline there is nothing to exceed.
    """
    if not baseline.n:
        return 0.0
    odds = canary.n / baseline.n
    error = math.sqrt(phi * odds * (canary.bad + baseline.bad))
    return max(0.0, canary.bad - odds * baseline.bad - error)


def _ratios_up_to(upper: float, margin: float) -> tuple[float, ...]:
    """Return the ratios from the margin to about an upper one: all of a fixed grid, up to the first that covers it."""
    if upper < margin:
        return ()
    if margin >= WORST_RATIO:
        return (margin,)
    grid = geometric_grid(margin, WORST_RATIO, _RATIOS_TRIED)
    below = list(itertools.takewhile(lambda ratio: ratio < upper, grid))
    return tuple(grid[: len(below) + 1])


def _references(exposure: Exposure) -> tuple[float, ...]:
    """Return the rates of which multiples are tried: without a bound the negligible one too, beside stable's and not in its
    place, so that a bound never adds a rate that was not tried before."""
    base, negligible = exposure.traffic.base_rate, exposure.check.negligible
    return (base, negligible) if exposure.ratio_upper is None and negligible > base else (base,)


def _extra(bad_rate: float, percent: float, exposure: Exposure) -> float:
    """Return what a canary of this rate costs until it is out; one that is negligible costs nothing that matters."""
    check, traffic = exposure.check, exposure.traffic
    if bad_rate <= max(check.negligible, traffic.base_rate):
        return 0.0
    canary_rps = traffic.rate_rps * percent / 100
    shown = _seconds_to_harm(bad_rate, canary_rps, exposure)
    matters = _seconds_to_matter(bad_rate, canary_rps, exposure)
    until_seen = min(max(shown, matters), exposure.horizon_seconds) + exposure.interval_seconds
    return (bad_rate - traffic.base_rate) * canary_rps * (until_seen + exposure.reaction_seconds)


def _seconds_to_harm(bad_rate: float, canary_rps: float, exposure: Exposure) -> float:
    check, traffic, tested = exposure.check, exposure.traffic, exposure.check.max_ratio
    baseline_rps = max(0.0, traffic.rate_rps - canary_rps)
    canary_bad, baseline_bad = bad_rate * canary_rps, traffic.base_rate * baseline_rps
    largest = tested * HARM_FACTORS[-1]
    ratio = min(bad_rate / traffic.base_rate, largest) if traffic.base_rate else largest
    whole = (tested * canary_rps + baseline_rps) / (ratio * canary_rps + baseline_rps) if canary_rps else 1.0
    growth = canary_bad * math.log(ratio / tested) + (canary_bad + baseline_bad) * math.log(whole)
    processes = 1 + int(check.max is not None)
    threshold = math.log(processes / (exposure.alpha_part * exposure.settings.alpha))
    return _seconds(threshold + math.log(len(HARM_FACTORS) / START_SHARE), growth, exposure)


def _seconds_to_matter(bad_rate: float, canary_rps: float, exposure: Exposure) -> float:
    limit = exposure.check.negligible
    if not limit:
        return 0.0
    good = (1 - bad_rate) * math.log((1 - bad_rate) / (1 - limit)) if bad_rate < 1 else 0.0
    growth = canary_rps * (bad_rate * math.log(bad_rate / limit) + good)
    nats = math.log(1 / exposure.settings.beta) + math.log(len(ODDS_ABOVE) / START_SHARE)
    return _seconds(nats, growth, exposure)


def _seconds(nats: float, growth: float, exposure: Exposure) -> float:
    return nats * exposure.phi / growth if growth > 0 else math.inf
