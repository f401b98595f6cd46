"""A sensor's plain question: is one window of one version within its absolute limits?"""

from __future__ import annotations

import pytest

from airflow_model_ops.core.checks import Assessment, Check, CheckKind, Evidence, Measurement, Verdict
from airflow_model_ops.core.judge.single_window import assess_window

ERRORS = Check(name="errors", kind=CheckKind.ERROR_RATE, max=0.05)
ACCURACY = Check(name="accuracy", kind=CheckKind.PROMQL, query="accuracy", selector="accuracy", min=0.9, max=1.0)


def counted(requests: int, bad: int, *, age: float = 1.0) -> Measurement:
    return Measurement(value=bad / requests if requests else None, samples=requests, bad=bad, age_seconds=age)


def asked(check: Check, measured: Measurement) -> Assessment:
    evidence = Evidence(check=check.name, canary=measured, at="2023-06-01T12:00:00+00:00")
    return assess_window(check, evidence, subject="v-1")


@pytest.mark.parametrize(
    ("bad", "verdict", "words"),
    [
        (50, Verdict.SAFE, "errors of v-1 5.0 % (50 of 1,000): within its limits"),
        (51, Verdict.BREACH, "errors of v-1 5.1 % (51 of 1,000): above the allowed 5.0 %"),
        (0, Verdict.SAFE, "errors of v-1 0 % (0 of 1,000): within its limits"),
    ],
)
def test_a_share_is_compared_with_its_ceiling(bad: int, verdict: Verdict, words: str) -> None:
    told = asked(ERRORS, counted(1_000, bad))

    assert (told.verdict, told.reason) == (verdict, words)


@pytest.mark.parametrize(
    ("value", "verdict", "words"),
    [
        (0.95, Verdict.SAFE, "accuracy of v-1 0.95: within its limits"),
        (0.85, Verdict.BREACH, "accuracy of v-1 0.85: below the required 0.9"),
        (1.5, Verdict.BREACH, "accuracy of v-1 1.5: above the allowed 1"),
    ],
)
def test_a_value_is_compared_with_both_its_limits(value: float, verdict: Verdict, words: str) -> None:
    told = asked(ACCURACY, Measurement(value=value, age_seconds=1.0))

    assert (told.verdict, told.reason) == (verdict, words)


@pytest.mark.parametrize(
    ("check", "measured", "verdict"),
    [
        (ERRORS, counted(0, 0), Verdict.NO_DATA),
        (ERRORS, counted(99, 99), Verdict.UNDECIDED),
        (ERRORS, counted(1_000, 900, age=61.0), Verdict.STALE),
        (ERRORS, counted(1_000, 900, age=-6.0), Verdict.STALE),
        (ERRORS, Measurement(error="connection refused"), Verdict.PROVIDER_DOWN),
        (ACCURACY, Measurement(), Verdict.NO_DATA),
        (ACCURACY, Measurement(value=float("nan"), age_seconds=1.0), Verdict.NO_DATA),
        (ACCURACY, Measurement(value=0.1), Verdict.STALE),
        (ACCURACY, Measurement(value=0.1, age_seconds=61.0), Verdict.STALE),
    ],
)
def test_what_cannot_be_said_is_neither_safe_nor_a_breach(
    check: Check, measured: Measurement, verdict: Verdict
) -> None:
    told = asked(check, measured)

    assert told.verdict is verdict
    assert f"{check.name} of v-1" in told.reason


def test_too_few_events_are_told_with_how_many_are_needed() -> None:
    assert asked(ERRORS, counted(99, 0)).reason == "errors of v-1: 99 requests in the last 60 s, needed 100"
