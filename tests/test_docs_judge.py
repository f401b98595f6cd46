"""What the page on the judge shows is what the judge says: its sentences, its forecasts, its numbers."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from airflow_model_ops.core.checks import Check, CheckKind, Evidence, Measurement, Summary
from airflow_model_ops.core.judge import JudgeSettings, ReleaseJudge, dispersion, processes, ramp, split_check
from airflow_model_ops.core.judge.counts import Counts
from airflow_model_ops.core.judge.forecast import Outlook, Traffic, forecast
from airflow_model_ops.core.judge.recorded import SIGMAS
from airflow_model_ops.core.judge.undecidable import forecasts_of, undecidable
from airflow_model_ops.core.policy import ReleasePolicy, Step

PAGES = {
    name: (Path(__file__).resolve().parents[1] / name).read_text(encoding="utf-8")
    for name in ("README.md", "docs/judge.md")
}
PAGE = PAGES["docs/judge.md"]
START = datetime(2026, 1, 1, tzinfo=UTC)
Events = tuple[int, int]


def measured(events: Events) -> Measurement:
    bad, samples = events
    return Measurement(value=bad / samples, samples=samples, bad=bad, age_seconds=1.0)


def judged(canary: Events, stable: Events) -> Summary:
    check = Check(name="wrong_predictions", kind=CheckKind.WRONG_PREDICTIONS)
    judge = ReleaseJudge([check], settings=JudgeSettings(), has_stable=True)
    judge.enter_step(10)
    at = (START + timedelta(seconds=15)).isoformat()
    evidence = Evidence(
        check=check.name, canary=measured(canary), stable=measured(stable), at=at, begin=START.isoformat()
    )
    judge.fold([evidence])
    return judge.summary(subject="v-20230608-120000")


@pytest.mark.parametrize(
    ("canary", "stable"),
    [((162, 2_000), (361, 18_000)), ((800, 40_000), (7_200, 360_000)), ((60, 2_000), (361, 18_000))],
)
def test_the_verdicts_that_the_page_shows_are_the_judges_own(canary: Events, stable: Events) -> None:
    summary = judged(canary, stable)
    told, _, not_shown = summary.reason.partition("; ")
    shown = f"{summary.verdict.value:<9}  {told}" + ("; ..." if not_shown else "")
    assert shown in PAGE


def test_the_verdict_that_the_readme_shows_is_the_judges_own() -> None:
    assert judged((162, 2_000), (361, 18_000)).reason in PAGES["README.md"]


def test_the_forecast_that_the_page_shows_is_the_judges_own() -> None:
    check = Check(name="errors", kind=CheckKind.ERROR_RATE)
    traffic = Traffic(rate_rps=100, base_rate=0.01)
    lines = forecast(Outlook(check=check, traffic=traffic, percent=10, phi=1.0, settings=JudgeSettings())).lines
    assert "\n".join(lines) in PAGE


def test_the_warning_of_a_policy_that_cannot_decide_is_the_judges_own() -> None:
    policy = ReleasePolicy(
        model="digits",
        steps=(Step(percent=5, bake_seconds=600),),
        checks=(Check(name="errors", kind=CheckKind.ERROR_RATE),),
        deadline_seconds=3600,
    )
    ahead = forecasts_of(
        policy,
        traffic={"errors": Traffic(rate_rps=20, base_rate=0.01)},
        phi={"errors": lambda _percent: 1.0},
        settings=policy.judge,
    )
    (problem,) = undecidable(policy, forecasts=ahead)
    assert problem in PAGE


@pytest.mark.parametrize(("requests", "phi"), [(4_300, 1.0), (8_500, 2.0)])
def test_so_many_requests_without_a_bad_one_as_the_page_says_are_shown_to_be_negligible(
    requests: int, phi: float
) -> None:
    assert f"{requests:,}" in PAGE
    alone = math.log(2 / JudgeSettings().beta - 1)  # the ratio, of which nothing is known, has the other half at 1
    reached = {}
    for count in (requests - 200, requests):
        process = processes.ShareBelow(rate=0.001, log_cap=alone + processes.REMEMBERED_NATS)
        process.fold(Counts(count), phi=phi)
        reached[count] = process.log_e >= alone
    assert reached == {requests - 200: False, requests: True}


def test_the_numbers_in_the_text_are_those_of_the_code() -> None:
    settings = JudgeSettings()
    assert (settings.alpha, settings.beta, settings.dispersion, settings.split_band) == (0.01, 0.05, 2.0, 0.1)
    bets = [processes.HARM_FACTORS, processes.SAFE_FACTORS, processes.ODDS_BELOW, processes.ODDS_ABOVE]
    assert [len(grid) for grid in bets] == [8, 20, 14, 16]
    assert (processes.HARM_FACTORS[0], processes.HARM_FACTORS[-1]) == (1.1, 8.0)
    assert processes.REMEMBERED_NATS == 1.5
    assert dispersion.BLOCK_LENGTHS == (1, 4, 16, 64)
    assert (dispersion.LEAST_VARIANCE, dispersion.LEAST_DEGREES, dispersion.LEAST_DEGREES_OF_LENGTH) == (1.0, 20, 10)
    assert dispersion.CAUTION == 1.15
    assert split_check.SPLIT_ALPHA == 0.01
    assert (ramp.WORST_RATIO, SIGMAS) == (20.0, 4.0)
    for words in ("8 bets, on 1.1 to 8 times", "20 bets below it", "14 bets on smaller odds", "16 bets on larger odds"):
        assert words in PAGE
