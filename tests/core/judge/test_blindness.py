"""A source that is away, silent, late or talks nonsense never acts, and never lets a canary pass."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_model_ops.core.checks import Check, Measurement, Verdict
from tests.core.judge.releases import ACTING, Release, counted, errors, gauge

GOOD, BAD = Measurement(value=0.0, samples=1_000, bad=0, age_seconds=1.0), (600, 1_000)
STABLE = Measurement(value=0.01, samples=9_000, bad=90, age_seconds=1.0)

BLIND_SHARES = [
    (Measurement(error="Prometheus is away"), Verdict.PROVIDER_DOWN, "could not be measured: Prometheus is away"),
    (Measurement(), Verdict.STALE, "no sample is recent enough to tell its age"),
    (Measurement(samples=500, bad=0, value=0.0), Verdict.STALE, "no sample is recent enough to tell its age"),
    (Measurement(value=math.nan, samples=math.nan, bad=math.nan, age_seconds=1), Verdict.NO_DATA, "are no numbers"),
    (Measurement(value=0.0, samples=math.inf, bad=0, age_seconds=1), Verdict.NO_DATA, "which are no numbers"),
    (Measurement(value=1.7, samples=10, bad=17, age_seconds=1), Verdict.PROVIDER_DOWN, "17 bad requests of 10, which"),
    (Measurement(value=0.1, samples=10, bad=-1, age_seconds=1), Verdict.PROVIDER_DOWN, "cannot be; check its query"),
    (Measurement(value=0.1, samples=10.5, bad=1, age_seconds=1), Verdict.PROVIDER_DOWN, "cannot be; check its query"),
    (Measurement(value=0.1, samples=1e300, bad=1, age_seconds=1), Verdict.PROVIDER_DOWN, "cannot be; check its query"),
    (Measurement(value=0.0, samples=500, bad=0, age_seconds=90), Verdict.STALE, "90 s old, allowed 60 s"),
    (Measurement(value=0.0, samples=500, bad=0, age_seconds=math.nan), Verdict.STALE, "nan s old"),
    (
        Measurement(value=0.0, samples=500, bad=0, age_seconds=-90),
        Verdict.STALE,
        "in the future, so its age is unknown",
    ),
]


@pytest.mark.parametrize(("blind", "verdict", "words"), BLIND_SHARES)
def test_a_blind_arm_ends_safety_at_once_and_says_why(blind: Measurement, verdict: Verdict, words: str) -> None:
    for canary, stable in ((blind, STABLE), (GOOD, blind)):
        release = Release()
        release.sees((10, 1_000), (90, 9_000), times=60)
        assert release.verdict is Verdict.SAFE
        release.hears(canary, stable)
        assert release.verdict is verdict
        assert words in release.reason


@pytest.mark.parametrize(("blind", "verdict", "words"), BLIND_SHARES)
def test_a_canary_that_was_never_seen_is_not_judged(blind: Measurement, verdict: Verdict, words: str) -> None:
    release = Release(errors(max=0.05))
    for _ in range(100):
        release.hears(blind, STABLE)
        assert release.verdict in {Verdict.PROVIDER_DOWN, Verdict.STALE, Verdict.NO_DATA}
        assert not release.summary.suspicious


@pytest.mark.parametrize("blind", [each for each, verdict, _ in BLIND_SHARES if verdict is not Verdict.STALE])
def test_what_cannot_be_counted_leaves_no_trace_in_what_was_shown(blind: Measurement) -> None:
    """Late counts, though, are counts: they are judged, and only safety waits for fresh ones."""
    release = Release().sees((25, 1_000), (180, 9_000), times=3)
    mixtures = release.judge.to_json()["checks"]["errors"]["mixtures"]
    release.hears(blind, STABLE, seconds=1)
    assert release.judge.to_json()["checks"]["errors"]["mixtures"]["harm"]["wealth"] == mixtures["harm"]["wealth"]
    assert release.judge.to_json()["checks"]["errors"]["mixtures"]["safe"] == mixtures["safe"]


def test_control_that_counts_nonsense_is_told_and_control_that_is_away_is_not_missed() -> None:
    release = Release().sees((10, 1_000), (80, 8_000), (10, 1_000), times=60)
    assert release.verdict is Verdict.SAFE
    assert release.hears(GOOD, STABLE, Measurement(error="away")).verdict is Verdict.SAFE
    release.hears(GOOD, STABLE, Measurement(samples=3, bad=4, age_seconds=1))
    assert (release.verdict, "errors of control" in release.reason) == (Verdict.PROVIDER_DOWN, True)


def test_a_stable_that_was_not_asked_is_no_data() -> None:
    release = Release().sees(BAD, times=50)
    assert (release.verdict, release.reason) == (Verdict.NO_DATA, "errors of stable was not measured")


def test_a_canary_that_falls_silent_is_no_data_after_a_while() -> None:
    release = Release(errors(kind="wrong_predictions")).sees((10, 1_000), (90, 9_000), times=60)
    assert release.sees((0, 0), (90, 9_000), times=4).verdict is Verdict.SAFE
    assert release.sees((0, 0), (90, 9_000)).verdict is Verdict.NO_DATA
    assert "no labelled predictions were counted for 75 s" in release.reason


def test_a_canary_that_gets_no_requests_of_many_is_a_wrong_split_first() -> None:
    release = Release().sees((10, 1_000), (90, 9_000), times=60).sees((0, 0), (90, 9_000), times=2)
    assert (release.verdict, release.of("errors").verdict) == (Verdict.SPLIT_MISMATCH, Verdict.SAFE)


def test_a_stable_that_falls_silent_is_no_data_too() -> None:
    release = Release().sees((10, 1_000), (90, 9_000), times=60).sees((10, 1_000), (0, 0), times=5)
    assert release.verdict is Verdict.NO_DATA
    assert release.reason.startswith("errors of stable: no requests were counted for 75 s")


def test_before_anything_is_measured_nothing_is_known() -> None:
    release = Release(errors(), gauge(min=0.5))
    assert release.verdict is Verdict.NO_DATA
    assert "errors of v-20230601-120000 has not been measured yet" in release.reason
    assert "accuracy of v-20230601-120000 has not been measured yet" in release.reason


def test_a_sample_a_little_in_the_future_is_fresh() -> None:
    skewed = Measurement(value=0.01, samples=1_000, bad=10, age_seconds=-5)
    release = Release()
    for _ in range(60):
        release.hears(skewed, STABLE)
    assert release.verdict is Verdict.SAFE


# -- properties ---------------------------------------------------------------------------------------------------------

numbers = st.none() | st.floats() | st.integers(-2, 2_000)
anything = st.builds(
    Measurement,
    value=numbers,
    samples=numbers,
    bad=numbers,
    age_seconds=numbers,
    error=st.none() | st.text(max_size=5),
)
odd = st.sampled_from([math.nan, math.inf, -math.inf])
blind_shares = st.one_of(
    st.builds(Measurement, value=numbers, samples=numbers, bad=numbers, age_seconds=numbers, error=st.text(max_size=8)),
    st.builds(Measurement, value=numbers, samples=odd, bad=numbers, age_seconds=numbers),
    st.builds(Measurement, value=numbers, samples=numbers, bad=odd, age_seconds=numbers),
    st.builds(Measurement, value=numbers, samples=st.none(), bad=numbers, age_seconds=numbers),
    st.builds(Measurement, value=numbers, samples=st.just(0), bad=st.just(0), age_seconds=numbers),
    st.builds(Measurement, value=numbers, samples=st.floats(0.01, 0.99), bad=numbers, age_seconds=numbers),
)
blind_values = st.one_of(
    st.builds(Measurement, value=numbers, age_seconds=numbers, error=st.text(max_size=8)),
    st.builds(Measurement, value=odd, age_seconds=numbers),
    st.builds(Measurement, value=st.none(), age_seconds=numbers),
    st.builds(Measurement, value=numbers, age_seconds=odd),
    st.builds(Measurement, value=numbers, age_seconds=st.floats(min_value=60, exclude_min=True)),
)
checks = st.sampled_from(
    [errors(), errors(max=0.05), errors(max=0.5, negligible=0), errors("wrong", kind="wrong_predictions")]
)
gauges = st.sampled_from([gauge(max=0.5), gauge(min=0.5, consecutive=1), gauge(max_ratio_to_stable=1.5)])


@given(check=checks, canaries=st.lists(blind_shares, max_size=6), stable=anything, has_stable=st.booleans())
def test_a_blind_canary_is_never_safe_and_never_acts(
    check: Check, canaries: list[Measurement], stable: Measurement, has_stable: bool
) -> None:
    release = Release(check, has_stable=has_stable)
    for canary in canaries:
        release.hears(canary, stable if has_stable else None)
        assert release.verdict not in {*ACTING, Verdict.SAFE}


@given(check=gauges, canaries=st.lists(blind_values, max_size=6), stable=anything)
def test_a_blind_value_is_never_safe_and_never_acts(
    check: Check, canaries: list[Measurement], stable: Measurement
) -> None:
    release = Release(check)
    for canary in canaries:
        release.hears(canary, stable, seconds=60)
        assert release.verdict not in {*ACTING, Verdict.SAFE}


@given(canaries=st.lists(anything, max_size=6), stable=blind_shares)
def test_a_canary_is_neither_safe_nor_harmful_against_a_blind_stable(
    canaries: list[Measurement], stable: Measurement
) -> None:
    release = Release()
    for canary in canaries:
        release.hears(canary, stable)
        assert release.verdict not in {Verdict.HARM, Verdict.SAFE}


@given(
    check=st.one_of(checks, gauges),
    arms=st.lists(st.tuples(anything, st.none() | anything, st.none() | anything, st.integers(-20, 90)), max_size=6),
)
def test_whatever_a_source_answers_there_is_a_verdict_that_strict_json_can_hold(
    check: Check, arms: list[tuple[Measurement, Measurement | None, Measurement | None, int]]
) -> None:
    release = Release(check)
    for canary, stable, control, seconds in arms:
        release.hears(canary, stable, control, seconds=seconds)
        assert release.reason
        json.dumps([release.summary.to_json(), release.judge.to_json()], allow_nan=False)


@given(arms=st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), max_size=5))
def test_the_newest_answer_being_none_freezes_whatever_came_before_but_harm(arms: list[tuple[int, int]]) -> None:
    release = Release()
    for bad_c, bad_b in arms:
        release.sees((bad_c, 1_000), (bad_b, 9_000))
    before = release.verdict
    down = Measurement(error="down")
    assert release.hears(down, down).verdict is (Verdict.HARM if before is Verdict.HARM else Verdict.PROVIDER_DOWN)
    assert counted(None) is None
