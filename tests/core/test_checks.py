"""Plain thresholds: what makes a verdict, and above all what never does."""

from __future__ import annotations

import dataclasses
import json
import math
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_model_ops.core.checks import (
    WORST_FIRST,
    Assessment,
    Check,
    CheckKind,
    Evidence,
    Measurement,
    Verdict,
    assess,
    combine,
)
from airflow_model_ops.core.errors import InvalidConfig, InvalidState

START = datetime(2023, 6, 1, 12, tzinfo=UTC)
ACTING = {Verdict.HARM, Verdict.BREACH}


def share(bad: float, of: float, *, age: float | None = 1.0) -> Measurement:
    return Measurement(value=bad / of, samples=of, age_seconds=age)


def evidence(*arms: tuple[Measurement, Measurement | None], check: str = "wrong") -> list[Evidence]:
    return [
        Evidence(check=check, canary=canary, stable=stable, at=(START + timedelta(seconds=10 * i)).isoformat())
        for i, (canary, stable) in enumerate(arms)
    ]


def wrong_check(**limits: object) -> Check:
    return Check.from_json({"name": "wrong", "kind": "wrong_predictions", **(limits or {"max_ratio_to_stable": 1.5})})


GOOD = (share(20, 1_000), share(361, 18_000))
WORSE = (share(162, 2_000), share(361, 18_000))


def test_a_canary_worse_than_stable_twice_in_a_row_is_harm_in_words_a_person_on_call_understands() -> None:
    told = assess(wrong_check(), evidence(WORSE, WORSE), has_stable=True, subject="v-20230601-120000")
    assert told.verdict is Verdict.HARM
    assert told.reason == (
        "wrong of v-20230601-120000 8.1 % (162 of 2,000) against stable 2.0 % (361 of 18,000): "
        "ratio 4.0, allowed 1.5, 2 times in a row"
    )


def test_one_bad_interval_is_not_enough() -> None:
    told = assess(wrong_check(), evidence(GOOD, WORSE), has_stable=True)
    assert told.verdict is Verdict.UNDECIDED
    assert told.reason.endswith("ratio 4.0, allowed 1.5; seen 1 of 2 times in a row")


def test_one_good_interval_is_not_enough_either() -> None:
    assert assess(wrong_check(), evidence(GOOD), has_stable=True).verdict is Verdict.UNDECIDED
    assert assess(wrong_check(), evidence(WORSE, GOOD), has_stable=True).verdict is Verdict.UNDECIDED
    assert assess(wrong_check(), evidence(GOOD, GOOD), has_stable=True).verdict is Verdict.SAFE


def test_the_same_instant_measured_twice_counts_once() -> None:
    """A restarted trigger may hand in an interval again."""
    (only,) = evidence(WORSE)
    assert assess(wrong_check(), [only, only, only], has_stable=True).verdict is Verdict.UNDECIDED


def test_what_was_gathered_last_decides_when_a_clock_goes_back() -> None:
    """Earlier SAFE intervals with later time stamps must not let a worse or a blind canary pass."""
    down = (Measurement(error="down"), Measurement(error="down"))
    for newest, verdict in ((WORSE, Verdict.UNDECIDED), (down, Verdict.PROVIDER_DOWN)):
        late, *good = evidence(newest, GOOD, GOOD)
        assert assess(wrong_check(), [*good, late], has_stable=True).verdict is verdict
    earlier, later, good = *evidence(WORSE, WORSE), evidence(GOOD, GOOD, GOOD)[2]
    assert assess(wrong_check(), [good, earlier, later], has_stable=True).verdict is Verdict.HARM


def test_an_instant_that_goes_back_starts_the_row_anew() -> None:
    first, second, third = evidence(GOOD, GOOD, GOOD)
    assert assess(wrong_check(), [second, third, first], has_stable=True).verdict is Verdict.UNDECIDED
    assert assess(wrong_check(), [third, first, second], has_stable=True).verdict is Verdict.SAFE


def test_a_limit_crossed_just_now_is_suspicious_unless_the_check_decides_nothing() -> None:
    suspect = assess(wrong_check(), evidence(GOOD, WORSE), has_stable=True)
    assert (suspect.verdict, suspect.suspicious) == (Verdict.UNDECIDED, True)
    assert combine([suspect]).suspicious
    assert not combine([dataclasses.replace(suspect, muted=True)]).suspicious
    assert not assess(wrong_check(), evidence(WORSE, GOOD), has_stable=True).suspicious


def test_a_sample_a_little_in_the_future_is_fresh() -> None:
    skewed = (share(20, 1_000, age=-5), GOOD[1])
    assert assess(wrong_check(), evidence(skewed, skewed), has_stable=True).verdict is Verdict.SAFE


def test_evidence_of_another_check_is_ignored() -> None:
    told = assess(wrong_check(), evidence(WORSE, WORSE, check="other"), has_stable=True)
    assert (told.verdict, told.reason) == (Verdict.NO_DATA, "wrong of the canary has not been measured yet")


def test_a_crossed_ratio_that_may_be_chance_is_undecided() -> None:
    by_chance = (share(3, 150), share(1, 150))
    told = assess(wrong_check(), evidence(by_chance, by_chance), has_stable=True)
    assert told.verdict is Verdict.UNDECIDED
    assert "ratio 3.0, allowed 1.5, but so few events may be chance" in told.reason


def test_a_stable_without_any_bad_event_still_allows_comparison() -> None:
    many, few = (share(90, 1_000), share(0, 1_000)), (share(1, 1_000), share(0, 1_000))
    assert assess(wrong_check(), evidence(many, many), has_stable=True).verdict is Verdict.HARM
    assert assess(wrong_check(), evidence(few, few), has_stable=True).verdict is Verdict.UNDECIDED
    none = (share(0, 1_000), share(0, 1_000))
    assert assess(wrong_check(), evidence(none, none), has_stable=True).verdict is Verdict.SAFE


def test_an_absolute_limit_gives_breach_and_harm_goes_first_when_both_hold() -> None:
    absolute, both = wrong_check(max=0.05), wrong_check(max=0.05, max_ratio_to_stable=1.5)
    told = assess(absolute, evidence(WORSE, WORSE), has_stable=True)
    assert told.verdict is Verdict.BREACH
    assert told.reason == "wrong of the canary 8.1 % (162 of 2,000): above the allowed 5.0 %, 2 times in a row"
    assert assess(both, evidence(WORSE, WORSE), has_stable=True).verdict is Verdict.HARM


def test_a_breach_needs_no_sound_stable_and_its_reason_tells_the_limit_that_was_crossed() -> None:
    check = wrong_check(max=0.05, max_ratio_to_stable=1.5)
    told = assess(check, evidence((WORSE[0], Measurement(error="down")), WORSE), has_stable=True)
    assert (told.verdict, told.reason) == (
        Verdict.BREACH,
        "wrong of the canary 8.1 % (162 of 2,000): above the allowed 5.0 %, 2 times in a row",
    )


def test_a_difference_to_stable_is_harm_too() -> None:
    told = assess(wrong_check(max_difference_to_stable=0.03), evidence(WORSE, WORSE), has_stable=True)
    assert told.verdict is Verdict.HARM
    assert "difference 6.1 %, allowed 3.0 %" in told.reason


def test_a_gauge_below_its_minimum_is_a_breach() -> None:
    check = Check(name="accuracy", kind=CheckKind.PROMQL, query="accuracy", min=0.9, consecutive=1)
    told = assess(check, evidence((Measurement(value=0.42), None), check="accuracy"), has_stable=True)
    assert told.verdict is Verdict.BREACH
    assert told.reason == "accuracy of the canary 0.42: below the required 0.9"


def test_a_ratio_of_negative_gauges_decides_nothing() -> None:
    check = Check(name="drift", kind=CheckKind.PROMQL, query="drift", max_ratio_to_stable=2, consecutive=1)
    arms = (Measurement(value=5.0), Measurement(value=-1.0))
    assert assess(check, evidence(arms, check="drift"), has_stable=True).verdict is Verdict.UNDECIDED


def test_a_first_release_is_judged_by_absolute_limits_only() -> None:
    both = wrong_check(max=0.05, max_ratio_to_stable=1.5)
    alone = (share(20, 1_000), None)
    told = assess(both, evidence(alone, alone), has_stable=False)
    assert told.verdict is Verdict.SAFE
    assert told.reason.endswith("(not compared with stable: there is none yet)")
    skipped = assess(wrong_check(), evidence(alone, alone), has_stable=False)
    assert (skipped.verdict, skipped.skipped) == (Verdict.UNDECIDED, True)


@pytest.mark.parametrize(
    ("blind", "verdict", "words"),
    [
        (Measurement(error="Prometheus is away"), Verdict.PROVIDER_DOWN, "could not be measured: Prometheus is away"),
        (Measurement(), Verdict.NO_DATA, "the metric source has nothing for the last 60 s"),
        (Measurement(samples=0, age_seconds=1), Verdict.NO_DATA, "the metric source has nothing"),
        (Measurement(value=math.nan, samples=500, age_seconds=1), Verdict.NO_DATA, "the metric source has nan"),
        (Measurement(value=math.inf, samples=500, age_seconds=1), Verdict.NO_DATA, "the metric source has inf"),
        (Measurement(value=0.0, samples=math.nan, age_seconds=1), Verdict.NO_DATA, "nothing was counted"),
        (Measurement(value=0.0, samples=0, age_seconds=1), Verdict.NO_DATA, "nothing was counted"),
        (share(1, 1_000, age=90), Verdict.STALE, "90 s old, allowed 60 s"),
        (share(1, 1_000, age=math.nan), Verdict.STALE, "nan s old"),
        (share(1, 1_000, age=-90), Verdict.STALE, "90 s in the future, so its age is unknown; check the clocks"),
        (share(1, 1_000, age=None), Verdict.STALE, "no sample is recent enough to tell its age"),
        (Measurement(value=1.7, samples=500, age_seconds=1), Verdict.PROVIDER_DOWN, "1.7, which is no share"),
        (share(30, 99), Verdict.UNDECIDED, "99 samples in the last 60 s, needed 100"),
        (share(1, 10), Verdict.UNDECIDED, "10 samples in the last 60 s, needed 100"),
        (share(1, 9), Verdict.NO_DATA, "9 samples in the last 60 s, needed 100"),
        (share(0, 1), Verdict.NO_DATA, "1 samples in the last 60 s, needed 100"),
    ],
)
def test_a_blind_interval_says_what_is_missing(blind: Measurement, verdict: Verdict, words: str) -> None:
    for arms in ((blind, GOOD[1]), (WORSE[0], blind)):
        told = assess(wrong_check(), evidence(arms, arms), has_stable=True)
        assert told.verdict is verdict
        assert words in told.reason


def test_a_missing_stable_arm_is_no_data() -> None:
    told = assess(wrong_check(), evidence((WORSE[0], None), (WORSE[0], None)), has_stable=True)
    assert (told.verdict, "stable was not measured" in told.reason) == (Verdict.NO_DATA, True)


def test_a_blind_interval_between_bad_ones_breaks_the_row() -> None:
    down = (Measurement(error="down"), Measurement(error="down"))
    assert assess(wrong_check(), evidence(WORSE, down, WORSE), has_stable=True).verdict is Verdict.UNDECIDED


# -- properties -------------------------------------------------------------------------------------------------------

numbers = st.none() | st.floats()
odd = st.sampled_from([None, math.nan, math.inf, -math.inf])
finite = st.floats(allow_nan=False, allow_infinity=False)
blind_measurements = st.one_of(
    st.builds(Measurement, value=numbers, samples=numbers, age_seconds=numbers, error=st.text(max_size=8)),
    st.builds(Measurement, value=odd, samples=numbers, age_seconds=numbers),
    st.builds(Measurement, value=numbers, samples=odd, age_seconds=numbers),
    st.builds(Measurement, value=numbers, samples=st.floats(max_value=0), age_seconds=numbers),
    st.builds(Measurement, value=numbers, samples=numbers, age_seconds=odd),
    st.builds(Measurement, value=numbers, samples=numbers, age_seconds=st.floats(min_value=60, exclude_min=True)),
)
any_measurements = st.builds(Measurement, value=numbers, samples=numbers, age_seconds=numbers) | st.builds(
    share, st.floats(0, 1_000), st.floats(1_000, 1e6)
)
limit_sets = st.sampled_from(
    [
        {"max": 0.05},
        {"min": 0.01},
        {"max_ratio_to_stable": 1.5},
        {"max_difference_to_stable": 0.02},
        {"max": 0.05, "max_ratio_to_stable": 1.5},
    ]
)


@given(
    limits=limit_sets,
    canaries=st.lists(blind_measurements, max_size=4),
    stable=any_measurements,
    has_stable=st.booleans(),
)
def test_a_blind_canary_is_never_safe_and_never_acts(
    limits: dict[str, float], canaries: list[Measurement], stable: Measurement, has_stable: bool
) -> None:
    arms = [(canary, stable) for canary in canaries]
    told = assess(wrong_check(**limits), evidence(*arms), has_stable=has_stable)
    assert told.verdict not in {*ACTING, Verdict.SAFE}


@given(canary=any_measurements, stable=blind_measurements)
def test_a_blind_stable_is_never_safe_and_never_harm(canary: Measurement, stable: Measurement) -> None:
    told = assess(wrong_check(max=0.9, max_ratio_to_stable=1.5), evidence(*[(canary, stable)] * 3), has_stable=True)
    assert told.verdict not in {Verdict.HARM, Verdict.SAFE}


@given(limits=limit_sets, arms=st.lists(st.tuples(any_measurements, st.none() | any_measurements), max_size=5))
def test_the_newest_interval_being_blind_freezes_whatever_came_before(
    limits: dict[str, float], arms: list[tuple[Measurement, Measurement | None]]
) -> None:
    told = assess(wrong_check(**limits), evidence(*arms, (Measurement(error="down"), None)), has_stable=True)
    assert told.verdict is Verdict.PROVIDER_DOWN


@given(value=numbers, samples=numbers, age=numbers, error=st.none() | st.text())
def test_evidence_survives_strict_json(
    value: float | None, samples: float | None, age: float | None, error: str | None
) -> None:
    measured = Measurement(value=value, samples=samples, age_seconds=age, error=error)
    (written,) = evidence((measured, None))
    read = Evidence.from_json(json.loads(json.dumps(written.to_json(), allow_nan=False)))
    assert repr(read) == repr(written)


@given(st.lists(st.builds(Assessment, check=st.just("c"), verdict=st.sampled_from(Verdict), reason=st.just("r"))))
def test_combined_is_safe_only_if_there_is_a_check_and_all_are_safe(assessments: list[Assessment]) -> None:
    summary = combine(assessments)
    assert (summary.verdict is Verdict.SAFE) == (
        bool(assessments) and all(a.verdict is Verdict.SAFE for a in assessments)
    )
    assert all(WORST_FIRST.index(summary.verdict) <= WORST_FIRST.index(a.verdict) for a in assessments)


# -- combining --------------------------------------------------------------------------------------------------------


def told(verdict: Verdict, reason: str = "why", **flags: bool) -> Assessment:
    return Assessment(check="c", verdict=verdict, reason=reason, **flags)


def test_the_order_of_verdicts_names_each_of_them_once() -> None:
    assert sorted(WORST_FIRST) == sorted(Verdict)


def test_the_worst_deciding_verdict_wins_with_its_reasons() -> None:
    summary = combine([told(Verdict.SAFE), told(Verdict.HARM, "one"), told(Verdict.NO_DATA), told(Verdict.HARM, "two")])
    assert (summary.verdict, summary.reason) == (Verdict.HARM, "one; two")


def test_muted_and_skipped_checks_are_shown_and_decide_nothing() -> None:
    muted, skipped = told(Verdict.HARM, muted=True), told(Verdict.UNDECIDED, skipped=True)
    summary = combine([muted, skipped, told(Verdict.SAFE, "fine")])
    assert (summary.verdict, summary.reason) == (Verdict.SAFE, "fine")
    assert summary.assessments[:2] == (muted, skipped)


@pytest.mark.parametrize(
    ("assessments", "words"),
    [
        ([], "there are no checks"),
        ([told(Verdict.HARM, muted=True)], "all 1 checks are muted"),
        ([told(Verdict.UNDECIDED, "no stable", skipped=True)], "no check can decide: no stable"),
    ],
)
def test_when_nothing_decides_nothing_is_proven(assessments: list[Assessment], words: str) -> None:
    summary = combine(assessments)
    assert summary.verdict is Verdict.UNDECIDED
    assert words in summary.reason


def test_an_assessment_survives_json() -> None:
    written = told(Verdict.STALE, muted=True, suspicious=True)
    assert Assessment.from_json(json.loads(json.dumps(written.to_json()))) == written
    assert json.loads(json.dumps(combine([written]).to_json()))["assessments"] == [written.to_json()]


# -- definition -------------------------------------------------------------------------------------------------------


def test_all_mistakes_of_a_check_are_told_at_once() -> None:
    with pytest.raises(InvalidConfig) as refused:
        Check(
            name="9 lives",
            kind=CheckKind.ERROR_RATE,
            max=5,
            min_samples=0,
            consecutive=0,
            window_seconds=0,
            max_age_seconds=math.nan,
            max_ratio_to_stable=0.5,
            latency_bound_ms=250,
            query="up",
        )
    message = str(refused.value)
    for words in (
        "check '9 lives': name must start with a letter",
        "max is 5, but error_rate is a share from 0 to 1; write 5 % as 0.05",
        "max_ratio_to_stable is 0.5; below 1",
        "min_samples is 0",
        "consecutive is 0",
        "window_seconds is 0",
        "max_age_seconds is nan",
        "latency_bound_ms belongs to kind latency, not to error_rate",
        "query belongs to kind promql, not to error_rate",
    ):
        assert words in message


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"kind": "error_rate"}, "it has no limit"),
        ({"kind": "errors", "max": 0.1}, "kind 'errors' is unknown; choose one of error_rate"),
        ({"kind": "error_rate", "max": math.nan}, "max is nan; write a finite number"),
        ({"kind": "error_rate", "max": True}, "max is True; write a finite number"),
        ({"kind": "error_rate", "max": 0.1, "min": 0.2}, "min 0.2 is above max 0.1"),
        ({"kind": "error_rate", "max_difference_to_stable": -0.1}, "share from 0 to 1"),
        ({"kind": "promql", "query": "up", "max_difference_to_stable": -1}, "below 0 no canary"),
        ({"kind": "error_rate", "max": 0.1, "muted": "no"}, "muted is 'no'"),
        ({"kind": "latency", "max": 0.1}, "latency_bound_ms is None"),
        ({"kind": "promql", "max": 1}, "a promql check needs a query"),
        ({"kind": "promql", "max": 1, "query": "up == $5"}, "holds a lone '$'"),
        ({"kind": "promql", "max": 1, "query": 'up{m="$modle"}'}, "names $modle; known are $model, $version"),
        ({"kind": "error_rate", "max": 0.1, "mximum": 1}, "unknown ['mximum']"),
        ({"max": 0.1}, "missing ['kind']"),
    ],
)
def test_a_wrong_check_is_refused_with_the_remedy(fields: dict[str, object], words: str) -> None:
    with pytest.raises(InvalidConfig) as refused:
        Check.from_json({"name": "c", **fields})
    assert words in str(refused.value)


def test_a_check_survives_json() -> None:
    check = Check(
        name="p", kind=CheckKind.PROMQL, query='x{m="$model"} or y{a=~"b$$"}', selector="x", max=1, muted=True
    )
    assert Check.from_json(json.loads(json.dumps(check.to_json()))) == check


@pytest.mark.parametrize("at", ["yesterday", "2023-06-01T12:00:00", 5])
def test_evidence_without_a_place_in_time_is_refused(at: str) -> None:
    with pytest.raises(InvalidState, match="write ISO 8601 with an offset"):
        Evidence(check="c", canary=Measurement(), at=at)


@pytest.mark.parametrize(
    "data", [{}, {"check": "c", "at": START.isoformat(), "canary": {"value": "x"}, "stable": None}]
)
def test_unreadable_evidence_is_refused(data: dict[str, object]) -> None:
    with pytest.raises(InvalidState, match="not written by this package"):
        Evidence.from_json(data)


def test_an_unreadable_assessment_is_refused() -> None:
    with pytest.raises(InvalidState, match="cannot be read"):
        Assessment.from_json({"check": "c", "verdict": "FINE", "reason": "", "skipped": False, "muted": False})
