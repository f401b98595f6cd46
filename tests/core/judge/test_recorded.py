"""Comparing a promoted version with what was recorded of the one before it: an alert for people, without an error bound."""

from __future__ import annotations

import pytest

from airflow_model_ops.core.checks import Check, CheckKind
from airflow_model_ops.core.judge.counts import Counts
from airflow_model_ops.core.judge.recorded import worse_than_recorded

RECORDED = Counts(100_000, 1_000)


def told(now: Counts, *, recorded: Counts = RECORDED, phi: float = 1.0, negligible: float = 0.001) -> str | None:
    check = Check(name="errors", kind=CheckKind.ERROR_RATE, max=0.2, negligible=negligible)
    return worse_than_recorded(check, now, recorded, phi=phi, subject="v-2")


def test_twice_as_bad_is_told_with_both_counts_and_that_nothing_acts_on_it() -> None:
    sentence = told(Counts(50_000, 1_000))

    assert sentence is not None
    assert "errors of v-2 2.0 % (1,000 of 50,000) looks worse than the 1.0 % (1,000 of 100,000)" in sentence
    assert "no error bound and nothing acts on it" in sentence


@pytest.mark.parametrize(
    "now",
    [
        pytest.param(Counts(50_000, 500), id="the same"),
        pytest.param(Counts(50_000, 550), id="as much worse as is allowed"),
        pytest.param(Counts(90, 60), id="too few to say"),
        pytest.param(Counts(1_000, 16), id="within chance"),
        pytest.param(Counts(0, 0), id="nothing"),
    ],
)
def test_no_worse_than_allowed_or_too_little_is_not_told(now: Counts) -> None:
    assert told(now) is None


def test_what_is_negligible_is_not_told() -> None:
    clean, few = Counts(1_000_000, 1), Counts(1_000_000, 900)

    assert told(few, recorded=clean) is None
    assert told(few, recorded=clean, negligible=0.0005) is not None


def test_noisy_counts_need_a_larger_difference() -> None:
    now = Counts(50_000, 700)

    assert told(now) is not None
    assert told(now, phi=10.0) is None


def test_without_a_record_there_is_nothing_to_tell() -> None:
    assert told(Counts(1_000, 900), recorded=Counts()) is None


def test_a_record_without_a_bad_event_is_one() -> None:
    assert told(Counts(10_000, 500), recorded=Counts(10_000, 0)) is not None
