"""Checks and their evidence: what is asked, what was answered, and what all checks of a release say together."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime

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
    Summary,
    Verdict,
    combine,
)
from airflow_model_ops.core.errors import InvalidConfig, InvalidState

START = datetime(2023, 6, 1, 12, tzinfo=UTC)
numbers = st.none() | st.floats() | st.integers(0, 10**15)
measurements = st.builds(
    Measurement, value=numbers, samples=numbers, bad=numbers, age_seconds=numbers, error=st.none() | st.text()
)

# -- evidence ---------------------------------------------------------------------------------------------------------


@given(canary=measurements, stable=st.none() | measurements, control=st.none() | measurements)
def test_evidence_survives_strict_json_character_by_character(
    canary: Measurement, stable: Measurement | None, control: Measurement | None
) -> None:
    at = START.isoformat()
    evidence = Evidence(check="c", canary=canary, stable=stable, control=control, at=at, begin=at)
    written = json.dumps(evidence.to_json(), allow_nan=False)
    read = Evidence.from_json(json.loads(written))
    assert repr(read) == repr(evidence)
    assert json.dumps(read.to_json(), allow_nan=False) == written


@pytest.mark.parametrize("at", ["yesterday", "2023-06-01T12:00:00", 5, ""])
def test_evidence_without_a_place_in_time_is_refused(at: str) -> None:
    with pytest.raises(InvalidState, match="write ISO 8601 with an offset"):
        Evidence(check="c", canary=Measurement(), at=at)
    with pytest.raises(InvalidState, match="write ISO 8601 with an offset"):
        Evidence(check="c", canary=Measurement(), at=START.isoformat(), begin=at)


def written_evidence() -> dict[str, object]:
    canary = Measurement(value=0.5, samples=4, bad=2, age_seconds=1)
    return Evidence(check="c", canary=canary, stable=canary, control=canary, at=START.isoformat()).to_json()


@pytest.mark.parametrize("field", ["check", "at", "begin", "canary", "stable", "control"])
def test_evidence_that_lacks_a_field_is_refused(field: str) -> None:
    data = written_evidence()
    del data[field]
    with pytest.raises(InvalidState, match=f"lacks {field}; it was not written by this package"):
        Evidence.from_json(data)


@pytest.mark.parametrize("canary", [{"value": "x"}, {}, "x", {"value": [], "samples": 1, "age_seconds": 1, "bad": 1}])
def test_an_unreadable_measurement_is_refused(canary: object) -> None:
    with pytest.raises(InvalidState, match="not written by this package"):
        Evidence.from_json({**written_evidence(), "canary": canary})


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


def test_an_unreadable_assessment_is_refused() -> None:
    with pytest.raises(InvalidState, match="cannot be read"):
        Assessment.from_json({"check": "c", "verdict": "FINE", "reason": "", "skipped": False, "muted": False})


@given(st.lists(st.builds(Assessment, check=st.just("c"), verdict=st.sampled_from(Verdict), reason=st.just("r"))))
def test_combined_is_safe_only_if_there_is_a_check_and_all_are_safe(assessments: list[Assessment]) -> None:
    summary = combine(assessments)
    assert (summary.verdict is Verdict.SAFE) == (
        bool(assessments) and all(a.verdict is Verdict.SAFE for a in assessments)
    )
    assert all(WORST_FIRST.index(summary.verdict) <= WORST_FIRST.index(a.verdict) for a in assessments)


def test_a_summary_is_suspicious_if_a_check_that_decides_is() -> None:
    assert combine([told(Verdict.SAFE), told(Verdict.UNDECIDED, suspicious=True)]).suspicious
    assert not combine([told(Verdict.SAFE), told(Verdict.UNDECIDED, suspicious=True, muted=True)]).suspicious


def test_the_numbers_behind_an_assessment_are_kept() -> None:
    written = Assessment(
        check="c", verdict=Verdict.SAFE, reason="r", numbers={"canary": {"n": 3, "bad": 1}, "ratio": None}
    )
    summary = Summary(verdict=Verdict.SAFE, reason="r", assessments=(written,))
    (read,) = json.loads(json.dumps(summary.to_json()))["assessments"]
    assert Assessment.from_json(read) == written


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
            margin=1.0,
            negligible=-0.1,
            dispersion=0.5,
            critical="yes",  # type: ignore[arg-type]
        )
    message = str(refused.value)
    for words in (
        "check '9 lives': name must start with a letter",
        "max is 5, but error_rate is a share between 0 and 1; write 5 % as 0.05",
        "max_ratio_to_stable is 0.5; below 1",
        "min_samples is 0",
        "consecutive is 0",
        "window_seconds is 0",
        "max_age_seconds is nan",
        "latency_bound_ms belongs to kind latency, not to error_rate",
        "query belongs to kind promql, not to error_rate",
        "margin is 1.0; give a ratio above 1",
        "negligible is -0.1; give a bad rate from 0 to 1",
        "dispersion is 0.5; give 1 (independent events) to 1000",
        "critical is 'yes'; write true or false",
    ):
        assert words in message


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"kind": "promql", "query": "up"}, "it has no limit"),
        ({"kind": "errors", "max": 0.1}, "kind 'errors' is unknown; choose one of error_rate"),
        ({"kind": "error_rate", "max": math.nan}, "max is nan; write a finite number"),
        ({"kind": "error_rate", "max": True}, "max is True; write a finite number"),
        ({"kind": "promql", "query": "up", "max": 0.1, "min": 0.2}, "min 0.2 is above max 0.1"),
        ({"kind": "error_rate", "min": 0.2}, "min belongs to kind promql, not to error_rate"),
        ({"kind": "error_rate", "max_difference_to_stable": 0.1}, "use max_ratio_to_stable, or negligible"),
        ({"kind": "error_rate", "max": 0}, "max is 0, but error_rate is a share between 0 and 1"),
        ({"kind": "error_rate", "max": 1}, "max is 1, but error_rate is a share between 0 and 1"),
        ({"kind": "error_rate", "min_samples": 10**400}, "min_samples is above 1,000,000,000,000"),
        ({"kind": "error_rate", "max": 1 - 1e-16}, "but error_rate is a share between 0 and 1"),
        ({"kind": "error_rate", "max": 5e-324}, "but error_rate is a share between 0 and 1"),
        ({"kind": "error_rate", "negligible": 1e-300}, "give a bad rate from 0 to 1"),
        ({"kind": "error_rate", "max_ratio_to_stable": 1.5}, "margin 1.5 is not above the 1.5 of max_ratio_to_stable"),
        ({"kind": "error_rate", "margin": 1.05}, "margin 1.05 is not above the 1.1 of max_ratio_to_stable"),
        ({"kind": "error_rate", "margin": math.nan}, "margin is nan; give a ratio above 1 and at most 100"),
        ({"kind": "error_rate", "negligible": 1}, "negligible is 1; give a bad rate from 0 to 1"),
        ({"kind": "error_rate", "negligible": "0.1"}, "negligible is '0.1'; give a bad rate"),
        ({"kind": "error_rate", "dispersion": math.inf}, "dispersion is inf; give 1"),
        ({"kind": "promql", "query": "up", "max": 1, "margin": 2}, "margin belongs to shares, not to kind promql"),
        ({"kind": "promql", "query": "up", "max": 1, "negligible": 0.2}, "negligible belongs to shares"),
        ({"kind": "promql", "query": "up", "max": 1, "dispersion": 2}, "dispersion belongs to shares"),
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


def test_a_share_always_has_limits_and_a_value_has_those_it_is_given() -> None:
    share = Check(name="errors", kind=CheckKind.ERROR_RATE)
    assert (share.is_share, share.has_relative_limit, share.has_absolute_limit) == (True, True, False)
    assert (share.max_ratio, share.margin, share.negligible) == (1.1, 1.5, 0.001)
    assert Check(name="errors", kind=CheckKind.ERROR_RATE, max_ratio_to_stable=1.3).max_ratio == 1.3
    value = Check(name="accuracy", kind=CheckKind.PROMQL, query="x", min=0.9)
    assert (value.is_share, value.has_relative_limit, value.has_absolute_limit) == (False, False, True)
    assert Check(name="a", kind=CheckKind.PROMQL, query="x", max_difference_to_stable=0).has_relative_limit


@pytest.mark.parametrize(
    "check",
    [
        Check(name="e", kind=CheckKind.ERROR_RATE, max=0.05, max_ratio_to_stable=1.2, margin=2, critical=True),
        Check(name="w", kind=CheckKind.WRONG_PREDICTIONS, negligible=0, dispersion=3.5, min_samples=7),
        Check(name="l", kind=CheckKind.LATENCY, latency_bound_ms=250),
    ],
)
def test_the_limits_of_a_share_survive_json(check: Check) -> None:
    assert Check.from_json(json.loads(json.dumps(check.to_json()))) == check


def test_what_a_check_counts_has_a_name_for_people() -> None:
    assert Check(name="w", kind=CheckKind.WRONG_PREDICTIONS).events == "labelled predictions"
    assert Check(name="e", kind=CheckKind.ERROR_RATE).events == "requests"


def test_only_a_value_without_a_selector_may_hide_its_age() -> None:
    assert Check(name="e", kind=CheckKind.ERROR_RATE).knows_age
    assert Check(name="a", kind=CheckKind.PROMQL, query="x", max=1, selector="x").knows_age
    assert not Check(name="a", kind=CheckKind.PROMQL, query="x", max=1).knows_age
