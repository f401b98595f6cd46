"""What a release's judging is kept as, and that its verdicts follow from it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from airflow_model_ops.core.checks import Check, CheckKind, Evidence, Measurement
from airflow_model_ops.core.errors import InvalidState
from airflow_model_ops.core.judge import DispersionMeter, JudgeSettings
from airflow_model_ops.core.judge.counts import Counts
from airflow_model_ops.core.judge.record import Entry, Opening, replay

ERRORS = Check(name="errors", kind=CheckKind.ERROR_RATE, max=0.2, margin=2)
DRIFT = Check(name="drift", kind=CheckKind.PROMQL, query="drift", max=3.0)


def noisy() -> DispersionMeter:
    meter = DispersionMeter()
    for index in range(200):
        meter.fold(Counts(1_000, 20 * (index % 2)), Counts(9_000, 90))
    return meter


def opening() -> Opening:
    return Opening(
        checks=(ERRORS, DRIFT), settings=JudgeSettings(alpha=0.02), has_stable=True, meters={"errors": noisy()}
    )


def interval(second: int, *, bad: int, drift: float = 1.0) -> Entry:
    at = f"2023-06-01T12:00:{second:02d}+00:00"
    counted = Evidence(
        check="errors",
        at=at,
        begin=f"2023-06-01T12:00:{second - 1:02d}+00:00",
        canary=Measurement(value=bad / 1000, samples=1000, bad=bad, age_seconds=1.0),
        stable=Measurement(value=0.01, samples=8000, bad=80, age_seconds=1.0),
        control=Measurement(value=0.012, samples=1000, bad=12, age_seconds=1.0),
    )
    gauge = Evidence(check="drift", at=at, canary=Measurement(value=drift, age_seconds=1.0), stable=Measurement())
    return Entry(evidence=(counted, gauge))


STORIES = {
    "good": [Entry(percent=10.0), *(interval(second, bad=10) for second in range(1, 20))],
    "harmful": [Entry(percent=10.0), *(interval(second, bad=5 * second) for second in range(1, 12))],
    "two shares": [Entry(percent=10.0), interval(1, bad=9), Entry(percent=50.0), interval(2, bad=11)],
    "a NaN": [Entry(percent=10.0), interval(1, bad=10, drift=float("nan"))],
}


def through_json(value: Any) -> Any:
    return json.loads(json.dumps(value, allow_nan=False))


def shown(opening: Opening, entries: Sequence[Entry]) -> str:
    judge = replay(opening, entries)
    return json.dumps([judge.to_json(), judge.summary(subject="v-2").to_json()], sort_keys=True)


@pytest.mark.parametrize("story", STORIES)
def test_what_went_through_json_gives_the_same_judge_and_the_same_summary_bit_for_bit(story: str) -> None:
    entries = STORIES[story]
    kept = [Entry.from_json(through_json(entry.to_json())) for entry in entries]

    again = Opening.from_json(through_json(opening().to_json()))

    assert shown(again, kept) == shown(opening(), entries)


@pytest.mark.parametrize("story", STORIES)
def test_a_judge_that_is_restored_anywhere_ends_as_one_that_saw_everything(story: str) -> None:
    entries = STORIES[story]
    whole = replay(opening(), entries)
    for middle in range(len(entries)):
        judge = opening().judge()
        judge.restore(through_json(replay(opening(), entries[:middle]).to_json()))
        for entry in entries[middle:]:
            entry.apply(judge)
        assert judge.to_json() == whole.to_json()


def test_judging_leaves_the_opening_as_it_was() -> None:
    fixed = opening()
    before = through_json(fixed.to_json())

    replay(fixed, STORIES["good"])

    assert through_json(fixed.to_json()) == before


def test_what_was_known_of_the_noise_is_part_of_it() -> None:
    known = opening().judge().summary(subject="it")
    unknown = Opening(checks=(ERRORS, DRIFT), settings=JudgeSettings(), has_stable=True).judge().summary(subject="it")

    assert known.assessments[0].numbers["dispersion"] > 3
    assert unknown.assessments[0].numbers["dispersion"] == 2.0


@pytest.mark.parametrize("broken", [{}, {"checks": 3}, {"checks": [], "settings": {"alpha": 0.01, "gamma": 1}}])
def test_an_opening_that_cannot_be_read_is_told(broken: dict[str, Any]) -> None:
    with pytest.raises(InvalidState, match="cannot be read"):
        Opening.from_json(broken)


@pytest.mark.parametrize("broken", [{}, {"percent": "half"}, {"percent": None}, {"evidence": [{"check": "errors"}]}])
def test_an_entry_that_cannot_be_read_is_told(broken: dict[str, Any]) -> None:
    with pytest.raises(InvalidState):
        Entry.from_json(broken)
