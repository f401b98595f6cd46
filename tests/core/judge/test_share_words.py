"""What a person on call reads: sentences with the numbers behind them, and one for every numbers there may be."""

from __future__ import annotations

import math
import re
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_model_ops.core.checks import Check, Evidence, Measurement, Verdict
from airflow_model_ops.core.errors import InvalidState
from airflow_model_ops.core.judge import JudgeSettings, ReleaseJudge
from airflow_model_ops.core.judge.counts import NOTHING, Counts
from airflow_model_ops.core.judge.share_words import Standing, percent, words_of
from tests.core.judge.releases import START, VERSION, Release, errors

WRONG = errors("wrong_predictions", kind="wrong_predictions")


def test_harm_is_told_with_counts_ratio_and_the_least_that_it_surely_is() -> None:
    release = Release(WRONG).sees((162, 2_000), (361, 18_000))
    assert release.verdict is Verdict.HARM
    assert release.reason == (
        "wrong_predictions of v-20230601-120000 8.1 % (162 of 2,000) against stable's 2.0 % (361 of 18,000): "
        "ratio 4.0, at least 2.7 with 99 % confidence"
    )


def test_harm_that_came_late_is_told_since_when() -> None:
    release = Release(WRONG).sees((40, 2_000), (360, 18_000), times=240)
    release.sees((162, 2_000), (361, 18_000), times=2)
    assert release.verdict is Verdict.HARM
    assert release.reason == (
        "wrong_predictions of v-20230601-120000 8.1 % (324 of 4,000) against stable's 2.0 % (722 of 36,000) "
        "since 13:00:00 UTC: ratio 4.0, above the allowed 1.1 with 99 % confidence"
    )


def test_a_canary_that_was_bad_but_for_its_first_moment_is_told_as_bad_from_the_start() -> None:
    release = Release(WRONG).sees((0, 200), (36, 1_800)).sees((162, 2_000), (361, 18_000))
    assert "(162 of 2,200) against stable's 2.0 % (397 of 19,800): ratio 3.7, at least" in release.reason


def test_the_moment_is_told_in_utc_whatever_zone_the_source_writes() -> None:
    zone = timezone(timedelta(hours=2))
    judge = ReleaseJudge([WRONG], settings=JudgeSettings(dispersion=1), has_stable=True)
    judge.enter_step(10)
    for index in range(300):
        at = (START + timedelta(seconds=15 * index)).astimezone(zone)
        bad = 40 if index < 290 else 162
        judge.fold(
            [
                Evidence(
                    check=WRONG.name,
                    canary=Measurement(value=bad / 2_000, samples=2_000, bad=bad, age_seconds=1),
                    stable=Measurement(value=0.02, samples=18_000, bad=360, age_seconds=1),
                    at=at.isoformat(),
                    begin=(at - timedelta(seconds=15)).isoformat(),
                )
            ]
        )
    assert "since 13:12:15 UTC" in judge.summary(subject=VERSION).reason


def test_harm_of_an_earlier_step_is_told_by_its_own_counts() -> None:
    release = Release(WRONG).sees((162, 2_000), (361, 18_000)).enters(50)
    assert "8.1 % (162 of 2,000) against stable's 2.0 % (361 of 18,000) since 12:00:00 UTC" in release.reason


def test_a_stable_without_bad_events_leaves_no_ratio_to_tell() -> None:
    release = Release().sees((60, 1_000), (0, 9_000))
    assert "against stable's 0 % (0 of 9,000): ratio beyond any number, at least" in release.reason


def test_undecided_tells_the_range_and_what_is_missing() -> None:
    release = Release().sees((3, 150), (27, 1_350))
    assert release.verdict is Verdict.UNDECIDED
    assert release.reason == (
        "errors of v-20230601-120000 2.0 % (3 of 150) against stable's 2.0 % (27 of 1,350): ratio 1.0, from 0.048 to 5.6 "
        "with 99 % confidence; neither harm (above 1.1 times stable) nor safety (below 1.5 times, or below 0.10 %) is "
        "shown yet"
    )


def test_too_few_samples_are_told_with_how_many_there_are() -> None:
    release = Release().sees((0, 50), (9, 450))
    assert release.reason.endswith("; 50 of the 100 requests that safety needs")


def test_safety_that_is_used_up_is_told_as_such() -> None:
    release = Release().sees((20, 1_000), (180, 9_000), times=200)
    release.sees((40, 1_000), (180, 9_000))
    assert release.verdict is Verdict.UNDECIDED
    assert release.reason.endswith("its newest counts do not show it to be below 1.5 times stable")


def test_safety_tells_through_what_it_is_shown() -> None:
    release = Release().sees((20, 1_000), (180, 9_000), times=50)
    assert release.reason == (
        "errors of v-20230601-120000 2.0 % (1,000 of 50,000) against stable's 2.0 % (9,000 of 450,000): "
        "ratio 1.0, below 1.5 with 95 % confidence"
    )
    assert Release().sees((0, 50_000), (0, 450_000)).reason.endswith("below the negligible 0.10 % with 95 % confidence")


def test_latency_tells_its_bound() -> None:
    slow = errors("slow", kind="latency", latency_bound_ms=250, max=0.05)
    release = Release(slow).sees((160, 2_000), (1_440, 18_000))
    assert release.verdict is Verdict.BREACH
    assert release.reason == (
        "slow of v-20230601-120000 8.0 % over 250 ms (160 of 2,000): above the allowed 5.0 % with 99 % confidence"
    )


def test_confidence_is_what_the_settings_say() -> None:
    strict = JudgeSettings(alpha=0.0005, beta=0.001, dispersion=1)
    assert "with 99.95 % confidence" in Release(settings=strict).sees((300, 1_000), (180, 9_000)).reason
    assert "with 99.9 % confidence" in Release(settings=strict).sees((20, 1_000), (180, 9_000), times=99).reason


def test_the_numbers_behind_a_sentence_are_there_for_displays() -> None:
    numbers = Release(WRONG).sees((162, 2_000), (361, 18_000)).of(WRONG.name).numbers
    assert numbers["canary"] == {"n": 2_000, "bad": 162}
    assert numbers["stable"] == {"n": 18_000, "bad": 361}
    assert numbers["ratio"] == pytest.approx(4.04, abs=0.01)
    assert numbers["ratio_low"] < numbers["ratio"] < numbers["ratio_high"]
    assert (numbers["confidence"], numbers["dispersion"], numbers["dispersion_measured"]) == (0.99, 1.0, False)
    assert numbers["log_harm"] > math.log(100)


@pytest.mark.parametrize(
    ("share", "shown"),
    [(0, "0 %"), (0.081, "8.1 %"), (0.00031, "0.031 %"), (1, "100.0 %"), (0.5, "50.0 %"), (1e-9, "0.000000 %")],
)
def test_a_share_is_written_with_two_digits_that_tell(share: float, shown: str) -> None:
    assert percent(share) == shown


counts = st.integers(0, 10**13).flatmap(lambda n: st.integers(0, n).map(lambda bad: Counts(n, bad)))
arms = st.tuples(st.just(NOTHING) | counts, st.just(NOTHING) | counts)
bounds = st.none() | st.floats(1 / 32, 32)
checks = st.sampled_from(
    [
        errors(),
        errors(max=0.00001, negligible=0),
        WRONG,
        errors("slow", kind="latency", latency_bound_ms=0.5, max=0.999),
    ]
)


@given(
    check=checks,
    step=arms,
    recent=arms,
    since=st.sampled_from(["", START.isoformat()]),
    low=bounds,
    high=bounds,
    flags=st.tuples(st.booleans(), st.booleans(), st.booleans()),
    logs=st.tuples(st.floats(-1e300, 1e300), st.floats(-math.inf, 1e300)),
)
def test_there_is_a_sentence_for_all_numbers(
    *,
    check: Check,
    step: tuple[Counts, Counts],
    recent: tuple[Counts, Counts],
    since: str,
    low: float | None,
    high: float | None,
    flags: tuple[bool, bool, bool],
    logs: tuple[float, float],
) -> None:
    compared, through_negligible, phi_measured = flags
    standing = Standing(
        subject=VERSION,
        settings=JudgeSettings(),
        step=step,
        recent=recent if since else (NOTHING, NOTHING),
        recent_since=since,
        ratio_low=low,
        ratio_high=high,
        compared=compared,
        through_negligible=through_negligible,
        phi=1.5,
        phi_measured=phi_measured,
        log_harm=logs[0],
        log_safe=logs[1],
    )
    words = words_of(check, standing)
    assert words.undecided.startswith(f"{check.name} of {VERSION} ")
    for sentence in (words.harm, words.breach, words.safe, words.undecided):
        assert not re.search(r"\b(nan|inf|None)\b", sentence)
    assert all(
        number is None or math.isfinite(number)
        for number in (standing.to_json()["ratio"], standing.to_json()["log_safe"])
    )


@given(st.lists(st.tuples(arms, arms), min_size=1, max_size=4))
def test_every_verdict_that_is_reached_has_a_sentence(
    story: list[tuple[tuple[Counts, Counts], tuple[Counts, Counts]]],
) -> None:
    release = Release(errors(max=0.3))
    for (canary, stable), (control, _) in story:
        release.sees((canary.bad, canary.n), (stable.bad, stable.n), (control.bad, control.n))
        for assessment in release.summary.assessments:
            assert assessment.reason
            assert not re.search(r"\b(nan|inf|None)\b", assessment.reason)


def test_a_start_that_is_no_time_is_refused_when_it_is_heard_and_not_when_it_is_told() -> None:
    for begin in ("yesterday", datetime(2023, 6, 1).isoformat()):  # noqa: DTZ001 (that it has no offset is the point)
        with pytest.raises(InvalidState, match="write ISO 8601 with an offset"):
            Evidence(check="c", canary=Measurement(), at=START.isoformat(), begin=begin)
