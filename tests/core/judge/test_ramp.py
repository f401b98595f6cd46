"""The harm budget: what a bad canary may still do, how far traffic may rise, and that the cap is kept."""

from __future__ import annotations

import itertools
import math
import random
import statistics
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from airflow_model_ops.core.checks import Check, CheckKind, Evidence, Measurement, Verdict
from airflow_model_ops.core.judge.counts import NOTHING, Counts
from airflow_model_ops.core.judge.forecast import Outlook, Traffic, harm_seconds
from airflow_model_ops.core.judge.ramp import (
    WORST_RATIO,
    Exposure,
    allowed_percent,
    excess,
    expected_extra,
    may_rise,
)
from airflow_model_ops.core.judge.release import ReleaseJudge
from airflow_model_ops.core.judge.settings import JudgeSettings

ERRORS = Check(name="errors", kind=CheckKind.ERROR_RATE, dispersion=1)
HUNDRED = Exposure(
    check=ERRORS,
    traffic=Traffic(rate_rps=100, base_rate=0.01),
    phi=1.0,
    settings=JudgeSettings(),
    ratio_upper=WORST_RATIO,
)

EXPOSURES = st.builds(
    Exposure,
    check=st.just(ERRORS),
    traffic=st.builds(Traffic, rate_rps=st.floats(0.1, 5000), base_rate=st.floats(0, 0.3)),
    ratio_upper=st.none() | st.floats(1, 64),
    phi=st.floats(1, 50),
    settings=st.builds(JudgeSettings, alpha=st.floats(0.0001, 0.2)),
    alpha_part=st.floats(0.05, 1),
    interval_seconds=st.floats(1, 120),
    reaction_seconds=st.floats(0, 600),
    horizon_seconds=st.floats(60, 86_400),
)
PERCENTS = st.floats(0.01, 100)
FACTORS = st.floats(1, 5)


# What is at stake


FOUND = Exposure(
    check=ERRORS,
    traffic=Traffic(rate_rps=4015.0, base_rate=0.0005),
    ratio_upper=8.0,
    phi=1.0,
    settings=JudgeSettings(alpha=0.125),
    interval_seconds=1.0,
    reaction_seconds=0.0,
    horizon_seconds=60.0,
)
"""Stable is rarer than negligible; without a bound, only multiples of the negligible rate were tried once."""


@example(exposure=FOUND, percent=1.0, factor=1.0)
@given(exposure=EXPOSURES, percent=PERCENTS, factor=FACTORS)
def test_more_is_at_stake_with_more_traffic_noise_or_delay(exposure: Exposure, percent: float, factor: float) -> None:
    now = expected_extra(percent, exposure=exposure)
    worse = [
        replace(exposure, phi=exposure.phi * factor),
        replace(exposure, alpha_part=exposure.alpha_part / factor),
        replace(exposure, interval_seconds=exposure.interval_seconds * factor),
        replace(exposure, reaction_seconds=exposure.reaction_seconds * factor),
        replace(exposure, horizon_seconds=exposure.horizon_seconds * factor),
        replace(exposure, traffic=replace(exposure.traffic, rate_rps=exposure.traffic.rate_rps * factor)),
        replace(exposure, ratio_upper=None),
    ]
    assert 0 <= now < math.inf
    assert min(expected_extra(percent, exposure=each) for each in worse) >= now * (1 - 1e-9)
    assert expected_extra(min(100.0, percent * factor), exposure=exposure) >= now * (1 - 1e-9)


@given(exposure=EXPOSURES, percent=PERCENTS, low=st.floats(1, 30), factor=FACTORS)
def test_what_is_excluded_is_no_longer_at_stake(exposure: Exposure, percent: float, low: float, factor: float) -> None:
    less = expected_extra(percent, exposure=replace(exposure, ratio_upper=low))
    assert less <= expected_extra(percent, exposure=replace(exposure, ratio_upper=low * factor))


def test_nothing_is_at_stake_once_the_margin_is_excluded_or_the_rate_is_negligible() -> None:
    assert expected_extra(50, exposure=replace(HUNDRED, ratio_upper=1.4)) == 0
    assert expected_extra(50, exposure=replace(HUNDRED, is_negligible=True)) == 0


def test_a_stable_without_errors_does_not_make_errors_free() -> None:
    spotless = replace(HUNDRED, traffic=Traffic(rate_rps=100, base_rate=0.0), ratio_upper=None)
    assert expected_extra(50, exposure=spotless) > 10


@pytest.mark.parametrize("ratio", [2.0, 3.0])
def test_the_stake_is_about_what_the_forecast_of_detection_says(ratio: float) -> None:
    """One grid step above the ratio is reckoned with, and a bound on the time instead of the time itself."""
    of = Outlook(check=ERRORS, traffic=HUNDRED.traffic, percent=10, phi=1.0, settings=HUNDRED.settings)
    seconds = harm_seconds(of, ratio=ratio)
    assert seconds is not None
    foretold = (ratio - 1) * 0.1 * (seconds + HUNDRED.reaction_seconds)
    check = replace(ERRORS, margin=ratio)
    stake = expected_extra(10, exposure=replace(HUNDRED, check=check, ratio_upper=ratio))
    assert foretold <= stake <= 2 * foretold


# How far traffic may rise


@given(exposure=EXPOSURES, budget=st.floats(0, 10_000), spent=st.floats(0, 10_000))
def test_the_allowed_share_fits_and_a_larger_one_does_not(exposure: Exposure, budget: float, spent: float) -> None:
    percent = allowed_percent(exposure=exposure, budget=budget, spent=spent)
    assert 0 <= percent <= 100
    if percent > 0:
        assert may_rise(percent, exposure=exposure, budget=budget, spent=spent).allowed
    if percent < 100:
        assert not may_rise(min(100.0, percent * 1.01 + 0.01), exposure=exposure, budget=budget, spent=spent).allowed


@given(exposure=EXPOSURES, budget=st.floats(0, 10_000), more=st.floats(0, 10_000), spent=st.floats(0, 10_000))
def test_a_larger_budget_never_allows_less(exposure: Exposure, budget: float, more: float, spent: float) -> None:
    less = allowed_percent(exposure=exposure, budget=budget, spent=spent)
    assert less <= allowed_percent(exposure=exposure, budget=budget + more, spent=spent)
    assert less >= allowed_percent(exposure=exposure, budget=budget, spent=spent + more)


def test_a_refusal_says_what_is_at_stake_what_is_left_and_what_would_fit() -> None:
    refused = may_rise(50, exposure=replace(HUNDRED, ratio_upper=4.2), budget=100, spent=20)
    assert not refused.allowed
    assert refused.left == 80
    assert refused.reason.startswith("errors at 50 %: up to 4.2 times stable is not excluded yet, which could cost ")
    assert "80 of 100 are left, enough for " in refused.reason


def test_a_spent_budget_allows_nothing_even_where_nothing_is_at_stake() -> None:
    decision = may_rise(5, exposure=replace(HUNDRED, ratio_upper=1.1), budget=100, spent=101)
    assert not decision.allowed
    assert "too few for any share" in decision.reason


def test_an_allowed_rise_says_so() -> None:
    decision = may_rise(5, exposure=replace(HUNDRED, ratio_upper=None), budget=1000, spent=0)
    assert decision.allowed
    assert "nothing is excluded yet" in decision.reason


# What was spent


def test_the_excess_is_what_stable_would_not_have_had_less_what_chance_may_add() -> None:
    assert excess(Counts(1000, 110), Counts(9000, 90), phi=1.0) == pytest.approx(100 - math.sqrt(200 / 9))
    assert excess(Counts(1000, 12), Counts(9000, 90), phi=1.0) == 0
    assert excess(Counts(1000, 5), Counts(9000, 90), phi=1.0) == 0
    assert excess(Counts(1000, 500), NOTHING, phi=1.0) == 0


@given(bad=st.integers(0, 500), phi=st.floats(1, 20), factor=FACTORS)
def test_noisier_counts_prove_less_excess(bad: int, phi: float, factor: float) -> None:
    canary, baseline = Counts(1000, bad), Counts(9000, 90)
    assert excess(canary, baseline, phi=phi * factor) <= excess(canary, baseline, phi=phi) <= bad


# The cap is kept


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    extra: float
    verdict: Verdict | None
    percent: float


def poisson(chance: random.Random, mean: float) -> int:
    if mean > 60:
        return max(0, round(chance.gauss(mean, math.sqrt(mean))))
    left, count, product = math.exp(-mean), -1, 1.0
    while product > left:
        product *= chance.random()
        count += 1
    return count


def measured(counts: Counts) -> Measurement:
    return Measurement(value=counts.rate, samples=counts.n, bad=counts.bad, age_seconds=0)


def counted(chance: random.Random, *, percent: float, ratio: float) -> tuple[Counts, Counts]:
    """Canary and stable over 15 s at 100 requests per second."""
    n = round(15 * percent)
    canary = Counts(n, min(n, poisson(chance, ratio * 0.01 * n)))
    return canary, Counts(1500 - n, poisson(chance, 0.01 * (1500 - n)))


def release(*, ratio: float, budget: float, seed: int, steps: tuple[float, ...] = (5, 10, 25, 50)) -> Outcome:
    """A release: it rises when it is shown safe and what is at stake fits, and ends on harm or on a deadline of 1 h."""
    chance, extra, at, total = random.Random(seed), 0.0, 0.0, (NOTHING, NOTHING)
    judge, percent = ReleaseJudge([ERRORS], settings=JudgeSettings(), has_stable=True), 0.0
    upper: float | None = None

    def fits(share: float) -> bool:
        exposure = replace(HUNDRED, ratio_upper=upper)
        return may_rise(share, exposure=exposure, budget=budget, spent=excess(*total, phi=1.0)).allowed

    for step, following in itertools.pairwise((*steps, steps[-1])):
        if not fits(step):
            break
        percent, deadline = step, at + 3600
        judge.enter_step(percent)
        while at < deadline:
            at += 15
            canary, stable = counted(chance, percent=percent, ratio=ratio)
            total, extra = (total[0] + canary, total[1] + stable), extra + (ratio - 1) * 0.01 * canary.n
            moment = datetime.fromtimestamp(at, UTC).isoformat()
            judge.fold([Evidence(check="errors", canary=measured(canary), stable=measured(stable), at=moment)])
            summary = judge.summary(subject="the canary")
            upper = summary.assessments[0].numbers["ratio_high"]
            if summary.verdict is Verdict.HARM:
                extra += (ratio - 1) * 0.01 * percent * HUNDRED.reaction_seconds
                return Outcome(extra=extra, verdict=Verdict.HARM, percent=percent)
            if summary.verdict is Verdict.SAFE and fits(following):
                break
        else:
            break
    else:
        return Outcome(extra=extra, verdict=Verdict.SAFE, percent=percent)
    return Outcome(extra=extra, verdict=None, percent=percent)


@pytest.mark.parametrize("budget", [90.0, 400.0])
@pytest.mark.parametrize("ratio", [1.5, 2.0, 3.0, 5.0, 10.0, 20.0])
def test_bad_canaries_stay_below_the_cap_on_average(ratio: float, budget: float) -> None:
    outcomes = [release(ratio=ratio, budget=budget, seed=seed) for seed in range(12)]
    assert statistics.mean(each.extra for each in outcomes) <= budget
    assert all(each.percent > 0 for each in outcomes)


def test_a_good_canary_still_gets_through_with_the_same_cap() -> None:
    outcomes = [release(ratio=1.0, budget=100.0, seed=seed) for seed in range(10)]
    assert sum(each.verdict is Verdict.SAFE and each.percent == 50 for each in outcomes) >= 8


@pytest.mark.parametrize(("budget", "begun"), [(90.0, 0), (400.0, 50)])
def test_a_release_that_begins_with_half_of_the_traffic_needs_a_cap_to_match(budget: float, begun: float) -> None:
    outcomes = [release(ratio=20.0, budget=budget, seed=seed, steps=(50,)) for seed in range(6)]
    assert {each.percent for each in outcomes} == {begun}
    assert statistics.mean(each.extra for each in outcomes) <= budget


def test_a_cap_that_no_judge_can_keep_starts_nothing() -> None:
    assert release(ratio=1.0, budget=1.0, seed=1).percent == 0
