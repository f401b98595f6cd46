"""Forecasts: what they foretell is what then happens, and a policy that cannot decide is told what would help."""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_model_ops.core.checks import Check, CheckKind, Evidence, Measurement, Verdict
from airflow_model_ops.core.errors import InvalidConfig
from airflow_model_ops.core.judge.forecast import (
    RATIOS,
    Outlook,
    Traffic,
    duration,
    forecast,
    harm_seconds,
    safe_seconds,
)
from airflow_model_ops.core.judge.release import ReleaseJudge
from airflow_model_ops.core.judge.settings import JudgeSettings
from airflow_model_ops.core.judge.undecidable import forecasts_of, undecidable
from airflow_model_ops.core.policy import OnDeadline, ReleasePolicy, Step

ERRORS = Check(name="errors", kind=CheckKind.ERROR_RATE, dispersion=1)
CEILING = replace(ERRORS, max=0.02)


def outlook(
    check: Check = ERRORS,
    *,
    rps: float = 100.0,
    base_rate: float = 0.01,
    percent: float = 10.0,
    phi: float = 1.0,
    has_stable: bool = True,
) -> Outlook:
    traffic = Traffic(rate_rps=rps, base_rate=base_rate)
    return Outlook(
        check=check, traffic=traffic, percent=percent, phi=phi, settings=JudgeSettings(), has_stable=has_stable
    )


# What is foretold happens


def binomial(chance: random.Random, n: int, rate: float) -> int:
    """Count by the gaps between bad ones, which is fast for rare ones."""
    if rate <= 0:
        return 0
    at, count = 0, -1
    while at <= n:
        at += 1 + int(math.log(1 - chance.random()) / math.log(1 - rate))
        count += 1
    return count


def measured(chance: random.Random, n: int, rate: float) -> Measurement:
    bad = binomial(chance, n, rate)
    return Measurement(value=bad / n, samples=n, bad=bad, age_seconds=0)


def story(of: Outlook, *, rate: float, seed: int) -> Iterator[Evidence]:
    """The counts of a canary with this bad rate, interval by interval."""
    chance, second = random.Random(seed), 0.0
    n_canary = round(of.canary_rps * of.interval_seconds)
    n_stable = round(of.traffic.rate_rps * of.interval_seconds) - n_canary
    while True:
        second += of.interval_seconds
        yield Evidence(
            check=of.check.name,
            canary=measured(chance, n_canary, rate),
            stable=measured(chance, n_stable, of.traffic.base_rate) if of.has_stable else None,
            at=datetime.fromtimestamp(second, UTC).isoformat(),
        )


def seconds_until(verdict: Verdict, of: Outlook, *, rate: float, seed: int, at_most: float) -> float:
    judge = ReleaseJudge([of.check], settings=of.settings, has_stable=of.has_stable)
    judge.enter_step(of.percent)
    for number, evidence in enumerate(story(of, rate=rate, seed=seed), start=1):
        judge.fold([evidence])
        if judge.summary(subject="the canary").verdict is verdict:
            return number * of.interval_seconds
        if number * of.interval_seconds > at_most:
            return math.inf
    raise AssertionError("a story has no end")


def typical_seconds(verdict: Verdict, of: Outlook, *, rate: float, at_most: float) -> float:
    return statistics.median(seconds_until(verdict, of, rate=rate, seed=seed, at_most=at_most) for seed in range(1, 32))


@pytest.mark.parametrize(
    ("of", "ratio"),
    [
        (outlook(), 2.0),
        (outlook(percent=50), 1.5),
        (outlook(rps=20, base_rate=0.05, percent=25), 3.0),
        (outlook(base_rate=0.0008), 5.0),
    ],
    ids=["twice", "half as much again", "low traffic", "hardly above negligible"],
)
def test_harm_is_found_about_when_it_was_foretold(of: Outlook, ratio: float) -> None:
    foretold = harm_seconds(of, ratio=ratio)
    assert foretold is not None
    found = typical_seconds(Verdict.HARM, of, rate=ratio * of.traffic.base_rate, at_most=4 * foretold)
    assert foretold / 1.6 <= found <= 1.6 * foretold


@pytest.mark.parametrize(
    "of",
    [outlook(), outlook(base_rate=0.0), outlook(base_rate=0.0002), outlook(CEILING, has_stable=False)],
    ids=["by the ratio", "no errors at all", "negligible errors", "by the ceiling"],
)
def test_a_good_canary_is_shown_safe_about_when_it_was_foretold(of: Outlook) -> None:
    foretold = safe_seconds(of)
    assert foretold is not None
    found = typical_seconds(Verdict.SAFE, of, rate=of.traffic.base_rate, at_most=4 * foretold)
    assert foretold / 1.6 <= found <= 1.6 * foretold


def test_a_canary_above_the_ceiling_is_found_about_when_it_was_foretold() -> None:
    of = outlook(CEILING, has_stable=False)
    foretold = harm_seconds(of, ratio=2.0)
    assert foretold is not None
    found = typical_seconds(Verdict.BREACH, of, rate=0.04, at_most=4 * foretold)
    assert foretold / 1.6 <= found <= 1.6 * foretold


# What cannot be


def test_harm_that_is_allowed_or_negligible_is_never_found_and_said_to_be_so() -> None:
    allowed = forecast(outlook(replace(ERRORS, max_ratio_to_stable=1.6, margin=3)))
    assert allowed.harm_seconds[1.5] is None
    assert "1.5 times never (it is allowed)" in allowed.lines[0]
    negligible = forecast(outlook(base_rate=0.0004))
    assert negligible.harm_seconds == dict.fromkeys(RATIOS)
    assert "2 times never (it is negligible)" in negligible.lines[0]


def test_without_stable_and_without_a_ceiling_there_is_nothing_to_foretell() -> None:
    nothing = forecast(outlook(has_stable=False))
    assert (set(nothing.harm_seconds.values()), nothing.safe_seconds) == ({None}, None)
    assert "decides nothing" in nothing.lines[0]


def test_no_traffic_means_no_verdict() -> None:
    idle = forecast(outlook(rps=0))
    assert (set(idle.harm_seconds.values()), idle.safe_seconds) == ({None}, None)
    assert "may go on not within 30 days" in idle.lines[1]


def test_the_forecast_reads_like_a_sentence() -> None:
    said = forecast(outlook()).lines
    assert said[0].startswith("errors at 10 %: a canary that is worse than stable is found, at 2 times in about ")
    assert said[1].startswith("errors at 10 %: one as good as stable may go on in about ")


@pytest.mark.parametrize(("rate_rps", "base_rate"), [(-1, 0.1), (math.nan, 0.1), (1, 1.1), (math.inf, 0.1)])
def test_impossible_traffic_is_refused(rate_rps: float, base_rate: float) -> None:
    with pytest.raises(InvalidConfig, match="traffic of"):
        Traffic(rate_rps=rate_rps, base_rate=base_rate)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (15, "15 s"),
        (59.9, "1 min"),
        (90, "1.5 min"),
        (1140, "19 min"),
        (9000, "2.5 h"),
        (150_000, "42 h"),
        (2.6e5, "3 days"),
    ],
)
def test_durations_are_written_as_people_say_them(seconds: float, words: str) -> None:
    assert duration(seconds) == words


# What makes it slower or faster


def later(one: float | None, other: float | None) -> bool:
    """Whether the other comes no sooner, but for one interval of rounding."""
    return other is None or (one is not None and other >= one - 15)


OUTLOOKS = st.builds(
    outlook,
    rps=st.floats(1, 2000),
    base_rate=st.floats(0.0005, 0.2),
    percent=st.floats(1, 40),
    phi=st.floats(1, 20),
)


@settings(max_examples=40, deadline=None)
@given(of=OUTLOOKS, factor=st.floats(1, 4))
def test_noise_delays_and_traffic_hastens_every_verdict(of: Outlook, factor: float) -> None:
    noisier = replace(of, phi=of.phi * factor)
    busier = replace(of, traffic=replace(of.traffic, rate_rps=of.traffic.rate_rps * factor))
    for quick, slow in ((of, noisier), (busier, of)):
        assert later(harm_seconds(quick, ratio=2.0), harm_seconds(slow, ratio=2.0))
        assert later(safe_seconds(quick), safe_seconds(slow))


@settings(max_examples=40, deadline=None)
@given(of=OUTLOOKS, low=st.floats(1.2, 10), factor=st.floats(1.05, 3))
def test_worse_canaries_are_found_sooner(of: Outlook, low: float, factor: float) -> None:
    assert later(harm_seconds(of, ratio=low * factor), harm_seconds(of, ratio=low))


def test_a_smaller_part_of_alpha_delays_harm_and_not_safety() -> None:
    whole, part = outlook(percent=5), replace(outlook(percent=5), alpha_part=0.1)
    assert (harm_seconds(part, ratio=1.5) or 0) > (harm_seconds(whole, ratio=1.5) or 0)
    assert safe_seconds(part) == safe_seconds(whole)


def test_bake_time_and_least_samples_are_waited_for() -> None:
    quick = outlook(rps=1000, percent=25)
    assert safe_seconds(replace(quick, bake_seconds=3600)) == 3600
    picky = outlook(replace(ERRORS, min_samples=1_000_000), rps=1000, percent=25)
    assert safe_seconds(picky) == 4005


# Policies that cannot decide


def policy(
    *checks: Check, percents: tuple[float, ...] = (10.0,), on_deadline: OnDeadline = OnDeadline.HOLD
) -> ReleasePolicy:
    steps = tuple(Step(percent=percent, bake_seconds=60) for percent in percents)
    return ReleasePolicy(model="digits", steps=steps, checks=checks, on_deadline=on_deadline)


def complaints(
    policy: ReleasePolicy, *, rps: float, base_rate: float = 0.01, has_stable: bool = True
) -> tuple[str, ...]:
    traffic = {check.name: Traffic(rate_rps=rps, base_rate=base_rate) for check in policy.checks}
    foretold = forecasts_of(policy, traffic=traffic, phi={}, settings=JudgeSettings(), has_stable=has_stable)
    return undecidable(policy, forecasts=foretold)


def test_a_policy_that_decides_in_time_gets_no_complaint() -> None:
    assert complaints(policy(ERRORS), rps=100) == ()
    assert complaints(policy(CEILING), rps=100, has_stable=False) == ()


def test_each_step_that_cannot_decide_is_named_with_what_would_help() -> None:
    (said,) = complaints(policy(ERRORS, percents=(1.0, 25.0)), rps=50)
    assert said.startswith(
        "check 'errors' cannot show a good canary safe at the 1 % step within canary.deadline of 1 h"
    )
    assert "raise the step to " in said
    assert "raise canary.deadline to " in said
    assert "raise margin to " in said


def test_what_is_said_to_help_helps_and_less_would_not() -> None:
    (said,) = complaints(policy(ERRORS, percents=(2.0,)), rps=50)
    share = float(said.split("raise the step to ")[1].split(" %")[0])
    assert complaints(policy(ERRORS, percents=(share,)), rps=50) == ()
    margin = float(said.split("raise margin to ")[1])
    assert complaints(policy(replace(ERRORS, margin=margin), percents=(2.0,)), rps=50) == ()
    hours = float(said.split("raise canary.deadline to ")[1].split(" h")[0])
    patient = replace(policy(ERRORS, percents=(2.0,)), deadline_seconds=hours * 3600)
    assert complaints(patient, rps=50) == ()
    assert complaints(replace(patient, deadline_seconds=0.5 * hours * 3600), rps=50) != ()


def test_too_many_samples_asked_for_are_named() -> None:
    (said,) = complaints(policy(replace(ERRORS, min_samples=1_000_000)), rps=100)
    assert "lower min_samples to 36000" in said


def test_a_ceiling_too_close_to_the_rate_is_named_on_a_first_release() -> None:
    (said,) = complaints(policy(replace(ERRORS, max=0.011)), rps=100, has_stable=False)
    assert "raise max to 0.0165" in said


def test_a_step_without_any_stable_left_cannot_be_compared() -> None:
    (said,) = complaints(policy(ERRORS, percents=(50.0, 100.0)), rps=100)
    assert "cannot decide at the 100 % step" in said


def test_hopeless_traffic_is_said_to_be_so() -> None:
    (said,) = complaints(policy(ERRORS), rps=0)
    assert said.endswith("only more traffic helps, or another check")


def test_promoting_without_proof_and_without_notice_is_warned_of() -> None:
    said = complaints(policy(ERRORS, percents=(1.0,), on_deadline=OnDeadline.PROMOTE), rps=10)
    assert any("would most likely not notice a canary twice as bad" in each for each in said)


def test_muted_checks_decide_nothing_and_get_no_complaint() -> None:
    muted = replace(ERRORS, name="other", muted=True)
    (complaint,) = complaints(policy(ERRORS, muted, percents=(1.0,)), rps=10)
    assert "'errors'" in complaint


def test_a_harm_budget_that_the_first_share_would_overrun_is_named_with_what_would_help() -> None:
    thrifty = replace(policy(ERRORS, percents=(10.0, 25.0)), max_bad_events=70.0)
    (said,) = complaints(thrifty, rps=1000)
    assert "more than canary.max_bad_events of 70" in said
    needed = float(said.rsplit("raise it to ", 1)[1].replace(",", ""))
    assert complaints(replace(thrifty, max_bad_events=needed), rps=1000) == ()
    assert complaints(replace(thrifty, max_bad_events=0.9 * needed), rps=1000) != ()


def test_a_harm_budget_is_not_asked_where_there_is_no_stable_to_exceed() -> None:
    thrifty = replace(policy(CEILING), max_bad_events=1.0)
    assert complaints(thrifty, rps=100, has_stable=False) == ()
