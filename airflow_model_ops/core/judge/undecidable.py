"""Policies that cannot decide: what a release could never, or not in time, be shown, and what would help."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace

from airflow_model_ops.core.checks.definition import Check
from airflow_model_ops.core.judge.dispersion import DispersionMeter
from airflow_model_ops.core.judge.forecast import Forecast, Outlook, Traffic, duration, forecast, safe_seconds
from airflow_model_ops.core.judge.gauge_check import GaugeCheck
from airflow_model_ops.core.judge.ramp import Exposure, allowed_percent, expected_extra
from airflow_model_ops.core.judge.release import parts_of_alpha
from airflow_model_ops.core.judge.settings import JudgeSettings
from airflow_model_ops.core.judge.share_check import ShareCheck
from airflow_model_ops.core.judge.share_words import percent as share_in_percent
from airflow_model_ops.core.policy import OnDeadline, ReleasePolicy

SHARES_TO_TRY = (1.0, 2.0, 5.0, 10.0, 15.0, 20.0, 25.0, 30.0, 40.0, 50.0)
MARGINS_TO_TRY = (1.5, 1.75, 2.0, 2.5, 3.0, 4.0, 5.0)
CEILING_FACTORS_TO_TRY = (1.5, 2.0, 3.0, 5.0)
_ROUND_SPANS = (60, 300, 900, 3600, 4 * 3600, 86_400)
PhiAt = Callable[[float], float]
"""The overdispersion of a check's counts at a share of traffic in percent."""
_FOUND = 2.0
"""The ratio that a release which promotes without proof should at least have noticed."""


def forecasts_of(
    policy: ReleasePolicy,
    *,
    traffic: Mapping[str, Traffic],
    phi: Mapping[str, PhiAt],
    settings: JudgeSettings,
    has_stable: bool = True,
) -> tuple[Forecast, ...]:
    """Forecast each check that counts events at each step.

    :param traffic: By check; checks without it are left out.
    :param phi: Measured overdispersion by check; those without it are taken to have the settings' default.
    """
    parts = _alpha_parts(policy, settings=settings, has_stable=has_stable)
    return tuple(
        forecast(
            Outlook(
                check=check,
                traffic=traffic[check.name],
                percent=step.percent,
                phi=_phi(check, step.percent, phi=phi, otherwise=settings.dispersion),
                settings=settings,
                alpha_part=parts.get(check.name, 1.0),
                has_stable=has_stable,
                interval_seconds=policy.interval_seconds,
                bake_seconds=step.bake_seconds,
            )
        )
        for step in policy.steps
        for check in policy.checks
        if check.is_share and check.name in traffic
    )


def undecidable(
    policy: ReleasePolicy, *, forecasts: Iterable[Forecast], phi: Mapping[str, PhiAt] | None = None
) -> tuple[str, ...]:
    """Return one sentence for each thing that cannot be decided within the deadline, saying what would help.

    :param phi: Measured overdispersion by check, for shares that would help; those without it keep their forecast's.
    """
    deciding = [each for each in forecasts if not each.outlook.check.muted]
    return tuple(
        itertools.chain.from_iterable(
            [*_never_safe(policy, each, phi=phi or {}), *_promoted_unnoticed(policy, each), *_too_costly(policy, each)]
            for each in deciding
            if each.outlook.has_stable or each.outlook.check.max is not None
        )
    )


def _phi(check: Check, percent: float, *, phi: Mapping[str, PhiAt], otherwise: float) -> float:
    if check.dispersion is not None:
        return check.dispersion
    return phi[check.name](percent) if check.name in phi else otherwise


def _alpha_parts(policy: ReleasePolicy, *, settings: JudgeSettings, has_stable: bool) -> dict[str, float]:
    return parts_of_alpha(
        ShareCheck(check, settings=settings, has_stable=has_stable, meter=DispersionMeter())
        if check.is_share
        else GaugeCheck(check, settings=settings, has_stable=has_stable)
        for check in policy.checks
    )


def _never_safe(policy: ReleasePolicy, of: Forecast, *, phi: Mapping[str, PhiAt]) -> Iterator[str]:
    outlook, deadline = of.outlook, policy.deadline_seconds
    if of.safe_seconds is not None and of.safe_seconds <= deadline:
        return
    if outlook.has_stable and outlook.percent >= 100:
        yield (
            f"check {outlook.check.name!r} cannot decide at the 100 % step: no stable is left to compare with; end with a lower "
            "step, the promotion does the rest"
        )
        return
    needed = "not at all" if of.safe_seconds is None else f"about {duration(of.safe_seconds)}"
    remedies = list(_remedies(policy, of, phi=phi))
    yield (
        f"check {outlook.check.name!r} cannot show a good canary safe at the {outlook.percent:g} % step within "
        f"canary.deadline of {duration(deadline)} ({needed}, at {outlook.traffic.rate_rps:g} {outlook.check.events} per second "
        f"with {share_in_percent(outlook.traffic.base_rate)} bad): "
        + (", or ".join(remedies) if remedies else "only more traffic helps, or another check")
    )


def _promoted_unnoticed(policy: ReleasePolicy, of: Forecast) -> Iterator[str]:
    """Warn of a harm that would be promoted without proof, since it is not seen before the deadline."""
    outlook, found = of.outlook, of.harm_seconds.get(_FOUND)
    is_harm = outlook.has_stable and outlook.percent < 100 and outlook.check.max_ratio < _FOUND
    matters = _FOUND * outlook.traffic.base_rate > outlook.check.negligible
    if policy.on_deadline is not OnDeadline.PROMOTE or not (is_harm and matters):
        return
    if found is None or found > policy.deadline_seconds:
        yield (
            f"check {outlook.check.name!r} would most likely not notice a canary twice as bad as stable at the "
            f"{outlook.percent:g} % step within canary.deadline of {duration(policy.deadline_seconds)}, and on_deadline promotes: "
            "set on_deadline to hold or ask"
        )


def _too_costly(policy: ReleasePolicy, of: Forecast) -> Iterator[str]:
    """Warn of a harm budget that the first share would overrun already: nothing asks for it before that share."""
    outlook, budget = of.outlook, policy.max_bad_events
    if budget is None or not outlook.has_stable or outlook.percent != policy.steps[0].percent:
        return
    exposure = Exposure(
        check=outlook.check,
        traffic=outlook.traffic,
        phi=outlook.phi,
        settings=outlook.settings,
        alpha_part=outlook.alpha_part,
        interval_seconds=outlook.interval_seconds,
        horizon_seconds=policy.deadline_seconds,
    )
    extra = expected_extra(outlook.percent, exposure=exposure)
    if extra <= budget:
        return
    fits = math.floor(100 * allowed_percent(exposure=exposure, budget=budget, spent=0)) / 100
    smaller = f"begin at {fits:g} %, or " if fits else ""
    yield (
        f"check {outlook.check.name!r}: a bad canary could cost about {extra:,.0f} extra bad events at the first step of "
        f"{outlook.percent:g} % before it is out, more than canary.max_bad_events of {budget:,.0f}: {smaller}raise it to "
        f"{math.ceil(extra):,}"
    )


def _remedies(policy: ReleasePolicy, of: Forecast, *, phi: Mapping[str, PhiAt]) -> Iterator[str]:
    """Name the smallest change of each kind that makes the check decide in time, and does so by itself."""
    outlook, deadline = of.outlook, policy.deadline_seconds
    for share in SHARES_TO_TRY:
        noise = _phi(outlook.check, share, phi=phi, otherwise=outlook.phi)
        if share > outlook.percent and _in_time(replace(outlook, percent=share, phi=noise), deadline):
            yield f"raise the step to {share:g} %"
            break
    if of.safe_seconds is not None:
        yield f"raise canary.deadline to {duration(_round_up(of.safe_seconds))}"
    for remedy, check in _looser_limits(outlook):
        if _in_time(replace(outlook, check=check), deadline):
            yield remedy
            break
    fewest = math.floor(outlook.canary_rps * deadline)
    if 1 <= fewest < outlook.check.min_samples:
        yield f"lower min_samples to {fewest}"


def _looser_limits(outlook: Outlook) -> Iterator[tuple[str, Check]]:
    check = outlook.check
    if outlook.has_stable:
        margins = (margin for margin in MARGINS_TO_TRY if margin > check.margin)
        yield from ((f"raise margin to {margin:g}", replace(check, margin=margin)) for margin in margins)
    elif check.max is not None:
        ceilings = (check.max * factor for factor in CEILING_FACTORS_TO_TRY)
        yield from ((f"raise max to {ceiling:g}", replace(check, max=ceiling)) for ceiling in ceilings if ceiling < 1)


def _in_time(outlook: Outlook, deadline: float) -> bool:
    seconds = safe_seconds(outlook)
    return seconds is not None and seconds <= deadline


def _round_up(seconds: float) -> float:
    unit = next((span for span in reversed(_ROUND_SPANS) if seconds >= 2 * span), _ROUND_SPANS[0])
    return math.ceil(seconds / unit) * unit
