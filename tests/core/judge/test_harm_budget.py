"""The harm budget of a release: the check that leaves least of it decides whether a share may rise."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from airflow_model_ops.core.checks import Check, CheckKind, Evidence, Measurement
from airflow_model_ops.core.judge.ramp import Pace
from airflow_model_ops.core.judge.release import ReleaseJudge
from airflow_model_ops.core.judge.settings import JudgeSettings

ERRORS = Check(name="errors", kind=CheckKind.ERROR_RATE, dispersion=1.0)
SLOW = Check(name="slow", kind=CheckKind.LATENCY, latency_bound_ms=100, dispersion=1.0)
ACCURACY = Check(name="accuracy", kind=CheckKind.PROMQL, query="accuracy", min=0.9)
BEGIN = 1_700_000_000.0
INTERVAL = 15.0


def pace(budget: float) -> Pace:
    return Pace(max_bad_events=budget, interval_seconds=INTERVAL, horizon_seconds=3600)


def judge(*checks: Check, has_stable: bool = True) -> ReleaseJudge:
    judge = ReleaseJudge(checks, settings=JudgeSettings(), has_stable=has_stable)
    judge.enter_step(10)
    return judge


def counted(n: int, bad: int) -> Measurement:
    return Measurement(value=bad / n, samples=n, bad=bad, age_seconds=1.0)


def interval(check: Check, number: int, *, canary_bad: int = 15, overlap: float = 0.0) -> Evidence:
    """A hundred requests per second, a tenth of them the canary's; one in a hundred of stable's is bad."""
    begin = BEGIN + number * INTERVAL
    return Evidence(
        check=check.name,
        canary=counted(1500, canary_bad),
        stable=counted(13_500, 135),
        begin=datetime.fromtimestamp(begin - overlap, UTC).isoformat(),
        at=datetime.fromtimestamp(begin + INTERVAL, UTC).isoformat(),
    )


def test_a_share_rises_once_what_is_not_excluded_yet_would_fit() -> None:
    released = judge(ERRORS)
    released.fold([interval(ERRORS, 0)])
    early = released.may_rise(50, pace=pace(200))
    for number in range(1, 40):
        released.fold([interval(ERRORS, number)])
    late = released.may_rise(50, pace=pace(200))

    assert early is not None
    assert late is not None
    assert (early.allowed, late.allowed) == (False, True)
    assert early.expected_extra > 200 > late.expected_extra


@pytest.mark.parametrize("order", [(ERRORS, SLOW), (SLOW, ERRORS)])
def test_one_check_that_has_spent_its_budget_stops_the_rise_whatever_the_others_have_left(
    order: tuple[Check, ...],
) -> None:
    released = judge(*order)
    for number in range(40):
        released.fold([interval(ERRORS, number), interval(SLOW, number, canary_bad=18)])

    rise = released.may_rise(50, pace=pace(50))

    assert rise is not None
    assert not rise.allowed
    assert rise.left == 0
    assert rise.reason.startswith("slow at 50 %")


def test_scrapes_of_several_routers_that_overlap_in_time_make_the_traffic_no_smaller() -> None:
    alone, several = judge(ERRORS), judge(ERRORS)
    for number in range(5):
        alone.fold([interval(ERRORS, number)])
        several.fold([interval(ERRORS, number, overlap=0.0 if number == 0 else 10.0)])

    assert several.may_rise(50, pace=pace(200)) == alone.may_rise(50, pace=pace(200))


def test_a_muted_check_and_one_without_counts_have_no_say() -> None:
    muted = Check(name="dry", kind=CheckKind.ERROR_RATE, dispersion=1.0, muted=True)
    released = judge(muted, ACCURACY)
    for number in range(5):
        released.fold([interval(muted, number, canary_bad=500)])

    assert released.may_rise(50, pace=pace(1)) is None


def test_without_a_stable_there_is_nothing_to_exceed() -> None:
    assert (
        judge(Check(name="errors", kind=CheckKind.ERROR_RATE, max=0.1), has_stable=False).may_rise(50, pace=pace(1))
        is None
    )
