"""Whether the canary gets its declared share: a wrong split freezes the step and is believed again once it is mended."""

from __future__ import annotations

import numpy as np
import pytest

from airflow_model_ops.core.checks import Measurement, Verdict
from airflow_model_ops.core.judge import JudgeSettings
from airflow_model_ops.core.judge.counts import Counts
from airflow_model_ops.core.judge.split_check import SPLIT_ALPHA, SplitCheck
from tests.core.judge.releases import Release, errors


def split(percent: float, *, band: float = 0.1) -> SplitCheck:
    return SplitCheck(settings=JudgeSettings(split_band=band), percent=percent)


def test_a_canary_with_half_of_its_share_freezes_the_step_in_words_that_say_where_to_look() -> None:
    release = Release().sees((5, 500), (95, 9_500), times=60)
    assert release.verdict is Verdict.SPLIT_MISMATCH
    assert release.reason == (
        "the canary got 5 % of the requests (30,000 of 600,000) where 10 % was declared, beyond the 10 % that it may be "
        "off; look at the router's routes and at retries"
    )
    assert release.of("errors").verdict is Verdict.SAFE


def test_a_canary_with_twice_its_share_freezes_the_step_too() -> None:
    assert Release().sees((20, 2_000), (80, 8_000), times=60).verdict is Verdict.SPLIT_MISMATCH


def test_a_wrong_split_hides_no_harm() -> None:
    assert Release().sees((400, 2_000), (80, 8_000), times=5).verdict is Verdict.HARM


@pytest.mark.parametrize("percent", [0.5, 10, 50, 91, 99, 99.9])
@pytest.mark.parametrize("off", [0.95, 1.0, 1.05])
def test_a_split_within_the_band_is_no_mismatch(percent: float, off: float) -> None:
    check = split(percent)
    canary = min(99_990, round(1_000 * percent * off))
    for _ in range(300):
        check.fold(Counts(canary, 0), Counts(100_000 - canary, 0))
        assert check.mismatch() is None


@pytest.mark.parametrize("percent", [0.5, 10, 50, 91, 99.9])
def test_a_canary_without_any_requests_is_a_mismatch_whatever_was_declared(percent: float) -> None:
    check = split(percent)
    for _ in range(10):
        check.fold(Counts(), Counts(1_000, 0))
    assert check.mismatch() is not None


def test_a_split_that_is_mended_is_believed_again_and_one_that_breaks_late_is_found() -> None:
    release = Release().sees((10, 1_000), (90, 9_000), times=60 * 24)
    assert release.verdict is Verdict.SAFE
    assert release.sees((20, 2_000), (80, 8_000), times=10).verdict is Verdict.SPLIT_MISMATCH
    assert release.sees((10, 1_000), (90, 9_000), times=10).verdict is Verdict.SAFE


def test_a_split_at_the_edge_of_the_band_is_seldom_a_mismatch_however_often_one_looks() -> None:
    chance, wrong = np.random.default_rng(8), 0
    for _ in range(200):
        check = split(10)
        for canary in chance.binomial(300, 0.11, 100).tolist():
            check.fold(Counts(canary, 0), Counts(300 - canary, 0))
            if check.mismatch() is not None:
                wrong += 1
                break
    assert wrong <= 200 * SPLIT_ALPHA + 3


def test_each_step_is_compared_with_its_own_share() -> None:
    release = Release().sees((20, 2_000), (80, 8_000), times=60)
    assert release.verdict is Verdict.SPLIT_MISMATCH
    assert release.enters(20).sees((20, 2_000), (80, 8_000), times=60).verdict is Verdict.SAFE
    assert release.sees((20, 2_000), (80, 8_000)).enters(100).judge.to_json()["split"] is None


def test_requests_that_two_checks_count_are_counted_once() -> None:
    """Whether the checks come together or one after the other: their evidence may be dated differently."""
    checks = (errors("slow", kind="latency", latency_bound_ms=250), errors())
    together, apart = Release(*checks), Release(*checks)
    for _ in range(20):
        together.sees((10, 1_200), (90, 8_800))
        apart.sees((10, 1_200), (90, 8_800), check="errors").sees((10, 1_200), (90, 8_800), check="slow", seconds=0.5)
    assert together.judge.to_json()["split"] == apart.judge.to_json()["split"]
    assert together.judge.to_json()["split"]["counts"] == [200_000, 24_000]


def test_latency_tells_the_split_where_no_errors_are_counted_and_labels_never_do() -> None:
    slow = errors(kind="latency", latency_bound_ms=250)
    assert Release(slow).sees((10, 2_000), (80, 8_000), times=60).verdict is Verdict.SPLIT_MISMATCH
    wrong = errors(kind="wrong_predictions")
    assert Release(wrong).sees((10, 2_000), (80, 8_000), times=60).verdict is Verdict.SAFE


@pytest.mark.parametrize(
    "away", [Measurement(error="away"), Measurement(samples=1_000, bad=2_000, age_seconds=1)], ids=["away", "nonsense"]
)
def test_an_arm_that_could_not_be_counted_makes_no_mismatch_of_the_others(away: Measurement) -> None:
    """Without control the canary has 10 of 90 %, which is beyond the band though the split is right."""
    canary, stable, control = (
        Measurement(value=0.01, samples=n, bad=n / 100, age_seconds=1) for n in (1_000, 8_000, 1_000)
    )
    for arms in ((canary, stable, away), (canary, away, control), (away, stable, control)):
        release = Release()
        for _ in range(60):
            release.hears(*arms)
        assert release.judge.to_json()["split"]["counts"] == [0, 0]
