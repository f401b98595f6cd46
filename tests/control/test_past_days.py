"""A policy over recorded days of stable against itself: what acts is a false alarm, and no data is no proof."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from airflow_model_ops.control.past_days import DAY_SECONDS, ReplayedDay, replay_history
from airflow_model_ops.core.checks import Check, CheckKind, Evidence, Measurement
from airflow_model_ops.core.errors import InvalidState, MetricsUnavailable
from airflow_model_ops.core.policy import ReleasePolicy, Step
from tests.control.counted_traffic import arms_of
from tests.control.watched_release import v

NOW = 1_700_000_000.0
ERRORS = Check(name="errors", kind=CheckKind.ERROR_RATE)
LABELS = Check(name="labels", kind=CheckKind.WRONG_PREDICTIONS)
ARMS = arms_of("digits", v(1), v(1))
Rates = Callable[[float], tuple[float, float]]


def policy(*checks: Check, interval: float = 300.0) -> ReleasePolicy:
    return ReleasePolicy(
        model="digits",
        steps=(Step(percent=10, bake_seconds=60),),
        checks=checks or (ERRORS,),
        interval_seconds=interval,
    )


class RecordedDays:
    """A source of the past: 100 requests per second, a tenth of them over the control cluster.

    :param rates: Bad rates of stable and of its second group at a time.
    :param since: Before this nothing was recorded.
    """

    def __init__(self, rates: Rates = lambda at: (0.01, 0.01), *, since: float = 0.0) -> None:
        self._rates, self._since = rates, since
        self._chance = random.Random(42)
        self.asked: list[tuple[str, float, float]] = []

    def gather(self, check: Check, **question: Any) -> Evidence:
        raise AssertionError("nothing of the present is asked")

    def delay_seconds(self, check: Check) -> float:
        del check
        return 0.0

    def ping(self) -> str:
        return "here"

    def history(
        self, check: Check, *, model: str, arms: Any, start: float, end: float, step_seconds: float
    ) -> tuple[Evidence, ...]:
        self.asked.append((check.name, start, end))
        return tuple(
            self._evidence(check, start + number * step_seconds, step_seconds)
            for number in range(int((end - start) / step_seconds))
        )

    def _evidence(self, check: Check, begin: float, seconds: float) -> Evidence:
        stable, control = self._rates(begin)
        there = begin >= self._since
        two_groups = check.kind is not CheckKind.WRONG_PREDICTIONS
        return Evidence(
            check=check.name,
            canary=self._counted(90 * seconds * there, stable),
            stable=self._counted(90 * seconds * there, stable),
            control=self._counted(10 * seconds * there, control) if two_groups else None,
            begin=datetime.fromtimestamp(begin, UTC).isoformat(),
            at=datetime.fromtimestamp(begin + seconds, UTC).isoformat(),
        )

    def _counted(self, requests: float, rate: float) -> Measurement:
        expected = requests * rate
        bad = min(int(requests), max(0, round(self._chance.gauss(expected, expected**0.5))))
        return Measurement(value=None, samples=int(requests), bad=bad, age_seconds=1.0)


def replayed(source: Any, of: ReleasePolicy | None = None, *, days: int = 3) -> list[ReplayedDay]:
    return list(replay_history(of or policy(), source=source, arms=ARMS, now=NOW, days=days))


def test_quiet_days_would_have_rolled_nothing_back() -> None:
    days = replayed(RecordedDays())

    assert [(day.rolled_back, day.has_data, day.hours, day.requests) for day in days] == [
        (False, True, 24.0, 864_000)
    ] * 3
    assert [day.begins for day in days] == [
        "2023-11-11T22:13+00:00",
        "2023-11-12T22:13+00:00",
        "2023-11-13T22:13+00:00",
    ]
    assert "errors of the control group 1.0 %" in days[0].reason


def test_an_incident_that_hits_both_groups_rolls_nothing_back() -> None:
    days = replayed(RecordedDays(lambda at: (0.2, 0.2) if NOW - 40_000 < at < NOW - 30_000 else (0.01, 0.01)))

    assert not any(day.rolled_back for day in days)


def test_a_day_on_which_the_second_group_was_really_worse_is_the_one_that_is_told() -> None:
    """Such as a broken replica that only its connections reached."""
    worse = NOW - 1.5 * DAY_SECONDS
    days = replayed(RecordedDays(lambda at: (0.01, 0.04) if worse < at < worse + 3600 else (0.01, 0.01)))

    assert [day.rolled_back for day in days] == [False, True, False]
    assert "errors of the control group" in days[1].reason
    assert "ratio" in days[1].reason


def test_a_ceiling_that_stable_crosses_itself_is_told_too() -> None:
    days = replayed(RecordedDays(lambda at: (0.1, 0.1)), policy(replace(ERRORS, max=0.05)), days=1)

    assert [day.rolled_back for day in days] == [True]


def test_days_from_before_anything_was_recorded_are_no_days_without_a_rollback() -> None:
    days = replayed(RecordedDays(since=NOW - 1.25 * DAY_SECONDS))

    assert [(day.has_data, day.rolled_back, day.hours) for day in days] == [
        (False, False, 0.0),
        (True, False, 6.0),
        (True, False, 24.0),
    ]
    assert days[0].reason.startswith("no data: no requests of stable's second group were recorded")


def test_a_check_that_cannot_tell_the_groups_apart_is_not_compared_with_itself() -> None:
    """Its canary and stable would be the very same counts, and so never differ."""
    (alone,) = replayed(RecordedDays(), policy(LABELS), days=1)
    (both,) = replayed(RecordedDays(), policy(ERRORS, LABELS), days=1)

    assert not alone.has_data
    assert both.has_data
    assert "labels" not in both.reason


def test_the_noise_is_measured_on_the_hours_before_each_day() -> None:
    source = RecordedDays()
    replayed(source, days=2)

    assert [(start - NOW, end - NOW) for _, start, end in source.asked] == [
        (-2 * DAY_SECONDS, -DAY_SECONDS),
        (-2 * DAY_SECONDS - 6 * 3600, -2 * DAY_SECONDS),
        (-DAY_SECONDS, 0),
        (-DAY_SECONDS - 6 * 3600, -DAY_SECONDS),
    ]


def test_without_calibration_and_with_a_given_noise_the_past_is_asked_for_the_days_alone() -> None:
    source = RecordedDays()
    replayed(source, policy(replace(ERRORS, dispersion=2.0)), days=1)
    replayed(source, replace(policy(), calibration_seconds=0.0), days=1)

    assert [(start - NOW, end - NOW) for _, start, end in source.asked] == [(-DAY_SECONDS, 0)] * 2


def test_a_day_at_fifteen_seconds_takes_seconds_and_no_minutes() -> None:
    began = time.process_time()
    (day,) = replayed(RecordedDays(), policy(interval=15.0), days=1)

    assert day.requests == 864_000
    assert time.process_time() - began < 60  # 4 s on the machine it was written on


def test_without_a_check_that_counts_requests_there_is_nothing_to_replay() -> None:
    gauge = Check(name="gauge", kind=CheckKind.PROMQL, query="up", min=1.0)

    with pytest.raises(InvalidState, match="nothing to replay"):
        replayed(RecordedDays(), policy(replace(ERRORS, muted=True), gauge))


def test_without_a_second_group_there_is_nothing_to_replay() -> None:
    with pytest.raises(
        InvalidState, match="model 'digits' has no stable version whose requests are counted in two groups"
    ):
        list(replay_history(policy(), source=RecordedDays(), arms=replace(ARMS, control=None), now=NOW, days=1))


def test_a_source_that_is_away_is_told() -> None:
    class Away(RecordedDays):
        def history(self, check: Check, **question: Any) -> tuple[Evidence, ...]:
            raise MetricsUnavailable("connection refused")

    with pytest.raises(MetricsUnavailable, match="connection refused"):
        replayed(Away())
