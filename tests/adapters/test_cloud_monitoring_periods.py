"""Sampling periods: what is complete, what is not counted yet, and events as whole numbers that are counted once."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_model_ops.adapters.metrics.cloud_monitoring_periods import (
    LONGEST_LOOK_MS,
    Periods,
    complete_until,
    counters_of,
    uncounted,
)
from airflow_model_ops.adapters.metrics.cloud_monitoring_queries import Events
from airflow_model_ops.adapters.metrics.counting import Count, count, total

MINUTE, DELAY = 60_000, 360_000
NOON = 1_700_000_000_000 // (60 * MINUTE) * (60 * MINUTE)
"""A whole hour."""


@pytest.mark.parametrize(
    ("now", "complete"),
    [(NOON, NOON - DELAY), (NOON + 59_999, NOON - DELAY), (NOON + MINUTE, NOON - DELAY + MINUTE)],
)
def test_a_period_is_complete_when_the_delay_has_passed_since_its_end(now: int, complete: int) -> None:
    assert complete_until(now, delay=DELAY, length=MINUTE) == complete


@given(now=st.integers(0, 2**43), delay=st.integers(0, 86_400_000), seconds=st.integers(1, 600))
def test_the_newest_complete_period_is_the_newest_one_that_may_not_change_any_more(
    now: int, delay: int, seconds: int
) -> None:
    length = seconds * 1000
    complete = complete_until(now, delay=delay, length=length)
    assert complete % length == 0
    assert complete + delay <= now < complete + delay + length


@given(begin=st.integers(NOON, NOON + 10**8), asked=st.integers(0, 10**8), heard=st.none() | st.integers(0, 10**8))
def test_the_periods_to_count_lie_between_the_begin_and_what_is_complete_and_reach_back_to_what_was_counted(
    begin: int, asked: int, heard: int | None
) -> None:
    complete = complete_until(begin + asked, delay=DELAY, length=MINUTE)
    after = None if heard is None else min(complete, (begin + heard) // MINUTE * MINUTE)
    found = uncounted(begin=begin, after=after, complete=complete, length=MINUTE)
    assert found.anchor >= begin
    assert found.anchor % MINUTE == 0
    assert found.end == complete
    assert found.none == (complete <= found.anchor)
    if after is not None and after >= begin and after >= complete - LONGEST_LOOK_MS:
        assert found.anchor <= after, "something between would be lost"
    assert found.end - found.anchor <= LONGEST_LOOK_MS + 3_600_000, "an answer has a bounded size"


@dataclass(frozen=True)
class Minute:
    """What was sampled of one arm in one minute."""

    good: float
    bad: float


whole = st.builds(Minute, good=st.integers(0, 50), bad=st.integers(0, 5))
torn = st.builds(Minute, good=st.floats(0, 50), bad=st.floats(0, 2))


def follow(minutes: list[Minute | None], polls: list[int]) -> list[Count]:
    """Ask at some minutes, from the first one on, and give what each answer counted."""
    events = Events(
        good={NOON + (i + 1) * MINUTE: each.good for i, each in enumerate(minutes) if each},
        bad={NOON + (i + 1) * MINUTE: each.bad for i, each in enumerate(minutes) if each},
    )
    after, answers = None, []
    for minute in sorted(polls):
        periods = uncounted(begin=NOON, after=after, complete=NOON + minute * MINUTE, length=MINUTE)
        visible = Events(
            good={at: value for at, value in events.good.items() if periods.anchor < at <= periods.end},
            bad={at: value for at, value in events.bad.items() if periods.anchor < at <= periods.end},
        )
        counted = count(counters_of({"a": visible}, periods, groups=["a", "b"]), begin=NOON, after=after)
        answers.append(counted.counts.get("a", Count()))
        after = counted.at if counted.at is not None else after
    return answers


def add(counts: list[Count]) -> Count:
    return sum(counts, Count())


@settings(max_examples=60, deadline=None)
@given(minutes=st.lists(st.none() | whole, min_size=1, max_size=200), data=st.data())
def test_whole_answers_are_counted_exactly_once_however_often_and_when_it_is_asked(
    minutes: list[Minute | None], data: st.DataObject
) -> None:
    polls = data.draw(st.lists(st.integers(0, len(minutes)), max_size=30))
    # Nobody waits longer than the longest look: what is older is not counted.
    polls = [*polls, *range(0, len(minutes), 55), len(minutes)]
    counted = add(follow(minutes, polls))
    happened = [each for each in minutes if each]
    assert counted == Count(
        all=sum(int(each.good + each.bad) for each in happened), bad=sum(int(each.bad) for each in happened)
    )


@settings(max_examples=60, deadline=None)
@given(minutes=st.lists(torn, min_size=1, max_size=59), data=st.data())
def test_fractions_are_shared_out_as_whole_events_that_add_up_to_the_rounded_sums(
    minutes: list[Minute], data: st.DataObject
) -> None:
    polls = [*data.draw(st.lists(st.integers(0, len(minutes)), max_size=30)), len(minutes)]
    answers = follow(minutes, polls)  # type: ignore[arg-type]
    assert all(each.is_possible for each in answers)
    good, bad = sum(each.good for each in minutes), sum(each.bad for each in minutes)
    assert add(answers).bad == pytest.approx(bad, abs=0.5 + 1e-6)
    assert add(answers).all == pytest.approx(good + bad, abs=1 + 1e-6)


def test_an_arm_without_a_sample_had_no_events_while_another_was_sampled() -> None:
    periods = Periods(anchor=NOON, end=NOON + 3 * MINUTE, length=MINUTE)
    counters = counters_of({"a": Events(good={NOON + 2 * MINUTE: 7.0})}, periods, groups=["a", "b"])
    counted = count(counters, begin=NOON, after=None)
    assert (counted.at, counted.newest) == (NOON + 2 * MINUTE, NOON + 2 * MINUTE), "the third minute may come in late"
    assert counted.counts == {"a": Count(all=7), "b": Count()}
    assert total([]) == {}


def test_without_any_sample_there_is_nothing_that_an_age_could_be_told_of() -> None:
    periods = Periods(anchor=NOON, end=NOON + 3 * MINUTE, length=MINUTE)
    assert counters_of({}, periods, groups=["a"]) == ()
    assert counters_of({"a": Events(good={NOON: 7.0})}, periods, groups=["a"]) == (), "a period before the anchor"
