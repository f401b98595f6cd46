"""How noisy counts are: chance is left alone, bursts are seen whatever their length, and nothing is lost in JSON."""

from __future__ import annotations

import json
import math
import random
import statistics
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_model_ops.core.errors import InvalidState
from airflow_model_ops.core.judge.counts import Counts
from airflow_model_ops.core.judge.dispersion import (
    BLOCK_LENGTHS,
    DispersionMeter,
    chi_square_quantile,
    comparison_size,
    comparison_variance,
)

TWO_HOURS = 480
"""Intervals of 15 s."""


def poisson(chance: random.Random, mean: float) -> int:
    """Knuth's method where it is fast, else the normal approximation."""
    if mean > 60:
        return max(0, round(chance.gauss(mean, math.sqrt(mean))))
    left, count = math.exp(-mean), -1
    product = 1.0
    while product > left:
        product *= chance.random()
        count += 1
    return count


def arm(chance: random.Random, *, requests: int, burstiness: float, length: int) -> Iterator[Counts]:
    """One arm with 1 % bad requests whose rate is multiplied by gamma noise, drawn anew each ``length`` intervals."""
    burst, interval = 1.0, 0
    while True:
        if burstiness and interval % length == 0:
            burst = chance.gammavariate(1 / burstiness, burstiness)
        interval += 1
        yield Counts(requests, min(requests, poisson(chance, 0.01 * requests * burst)))


def measured(
    seed: int, *, rps: int, burstiness: float = 0.0, length: int = 1, intervals: int = TWO_HOURS
) -> DispersionMeter:
    """Control with 10 % of the requests against stable with 80 %, in intervals of 15 s."""
    chance, meter = random.Random(seed), DispersionMeter()
    control = arm(chance, requests=rps * 15 // 10, burstiness=burstiness, length=length)
    stable = arm(chance, requests=rps * 15 * 8 // 10, burstiness=burstiness, length=length)
    for _ in range(intervals):
        meter.fold(next(control), next(stable))
    return meter


def typical(*, rps: int, burstiness: float = 0.0, length: int = 1, seeds: int = 15) -> float:
    return statistics.median(
        measured(seed, rps=rps, burstiness=burstiness, length=length).phi(2.0) for seed in range(seeds)
    )


@pytest.mark.parametrize("rps", [20, 100, 1000])
def test_counts_that_are_pure_chance_hardly_slow_the_judge(rps: int) -> None:
    assert 1 <= typical(rps=rps) <= 1.25


@pytest.mark.parametrize("length", [1, 4, 16])
@pytest.mark.parametrize("burstiness", [0.05, 0.25])
@pytest.mark.parametrize("rps", [100, 1000])
def test_bursts_are_seen_whether_they_last_an_interval_or_minutes(rps: int, burstiness: float, length: int) -> None:
    variance = rps * 15 * 0.01 * 0.1 * 0.8 / 0.9
    true = 1 + 2 * burstiness * variance * length
    assert 0.9 * true <= typical(rps=rps, burstiness=burstiness, length=length) <= 1.6 * true


def test_a_burst_that_hits_both_arms_alike_is_no_overdispersion() -> None:
    chance, meter = random.Random(7), DispersionMeter()
    for _ in range(TWO_HOURS):
        rate = 0.01 * chance.gammavariate(4, 0.25)
        meter.fold(Counts(1500, poisson(chance, 1500 * rate)), Counts(12_000, poisson(chance, 12_000 * rate)))
    assert meter.phi(2.0) < 1.6


def test_a_moving_split_is_no_overdispersion() -> None:
    chance, meter = random.Random(8), DispersionMeter()
    for interval in range(TWO_HOURS):
        first, rate = (300, 0.02) if interval % 7 else (3000, 0.005)
        meter.fold(Counts(first, poisson(chance, first * rate)), Counts(9000, poisson(chance, 9000 * rate)))
    assert meter.phi(2.0) < 1.6


def test_the_default_holds_until_enough_was_compared() -> None:
    assert DispersionMeter().phi(2.0) == 2.0
    assert measured(1, rps=1000, intervals=19).phi(2.0) == 2.0
    assert measured(1, rps=1000, intervals=100).phi(2.0) < 2.0


def test_wild_counts_are_believed_before_the_default_is_given_up() -> None:
    assert measured(1, rps=1000, burstiness=0.25, intervals=15).phi(2.0) > 3


def test_counts_without_bad_events_never_replace_the_default() -> None:
    meter = DispersionMeter()
    for _ in range(1000):
        meter.fold(Counts(1000, 0), Counts(9000, 0))
    assert (meter.degrees, meter.phi(2.0)) == (0, 2.0)


def test_an_interval_in_which_an_arm_had_no_requests_changes_nothing() -> None:
    meter = measured(3, rps=100)
    before = meter.to_json()
    meter.fold(Counts(0, 0), Counts(9000, 90))
    meter.fold(Counts(100, 1), Counts(0, 0))
    assert meter.to_json() == before


def test_a_larger_comparison_than_measured_gets_a_larger_phi_and_a_smaller_one_the_same() -> None:
    meter = measured(4, rps=1000, burstiness=0.25)
    measured_size = comparison_size(Counts(1500, 0), Counts(12_000, 0))
    phi = meter.phi(2.0)
    assert meter.phi(2.0, size=measured_size / 5) == pytest.approx(phi)
    assert meter.phi(2.0, size=3 * measured_size) == pytest.approx(phi + 2 * (phi - 1), rel=1e-9)


def test_an_incident_of_both_arms_that_makes_bursts_weigh_more_gets_a_larger_phi() -> None:
    meter = measured(4, rps=1000, burstiness=0.25)
    usual, incident = (comparison_variance(Counts(1500, bad), Counts(12_000, 8 * bad)) for bad in (15, 75))
    phi = meter.phi(2.0, variance=incident)
    assert phi > 3 * meter.phi(2.0, variance=usual)
    both = meter.phi(2.0, variance=incident, size=comparison_size(Counts(1500, 0), Counts(12_000, 0)))
    assert both == pytest.approx(phi)


def test_chi_square_quantiles_agree_with_tables() -> None:
    assert chi_square_quantile(10, normal=0.6745) == pytest.approx(12.549, rel=0.002)
    assert chi_square_quantile(100, normal=1.6449) == pytest.approx(124.342, rel=0.002)


@pytest.mark.parametrize("data", [{}, {"lengths": [[0, 0, 0, 0, 0]], "sizes": 0, "intervals": 0}, {"lengths": 3}])
def test_a_state_of_something_else_is_refused(data: dict[str, object]) -> None:
    with pytest.raises(InvalidState, match="not written by this package"):
        DispersionMeter.from_json(data)


def counts() -> st.SearchStrategy[Counts]:
    return st.integers(0, 10**9).flatmap(lambda n: st.builds(Counts, st.just(n), st.integers(0, n)))


INTERVALS = st.lists(st.tuples(counts(), counts()), max_size=90)


@given(before=INTERVALS, after=INTERVALS)
def test_a_meter_goes_on_from_json_bit_for_bit(
    before: list[tuple[Counts, Counts]], after: list[tuple[Counts, Counts]]
) -> None:
    kept = DispersionMeter()
    for first, second in before:
        kept.fold(first, second)
    text = json.dumps(kept.to_json(), allow_nan=False)
    restored = DispersionMeter.from_json(json.loads(text))
    for first, second in after:
        kept.fold(first, second)
        restored.fold(first, second)
    assert len(text) < 1000
    assert restored.to_json() == kept.to_json()
    assert restored.phi(2.0) == kept.phi(2.0)


@given(intervals=INTERVALS, default=st.floats(1, 1000), size=st.none() | st.floats(0, 1e9))
def test_phi_is_finite_and_at_least_one_whatever_was_counted(
    intervals: list[tuple[Counts, Counts]], default: float, size: float | None
) -> None:
    meter = DispersionMeter()
    for first, second in intervals:
        meter.fold(first, second)
    phi = meter.phi(default, size=size)
    assert 1 <= phi < math.inf
    assert phi >= meter.phi(default)


@given(intervals=INTERVALS)
def test_swapping_the_arms_changes_nothing_but_rounding(intervals: list[tuple[Counts, Counts]]) -> None:
    one, other = DispersionMeter(), DispersionMeter()
    for first, second in intervals:
        one.fold(first, second)
        other.fold(second, first)
    if one.degrees == other.degrees:
        assert other.phi(1.0) == pytest.approx(one.phi(1.0), rel=1e-6)


def test_a_day_of_intervals_keeps_the_state_small() -> None:
    meter = measured(5, rps=1000, burstiness=0.25, intervals=5760)
    assert len(json.dumps(meter.to_json())) < 1000
    assert meter.degrees == 5760
    assert BLOCK_LENGTHS[0] == 1


def test_an_interval_with_the_only_error_for_long_is_no_larger_than_the_blocks_that_were_measured() -> None:
    """Where bad events are rare a block is many intervals; measured by a quiet interval, each error would seem a burst."""
    chance, meter = random.Random(4), DispersionMeter()
    for _ in range(6000):
        meter.fold(Counts(15, int(chance.random() < 0.02)), Counts(120, 3 * int(chance.random() < 0.05)))
    lone = comparison_variance(Counts(15, 1), Counts(120, 0))
    assert meter.phi(2.0, variance=lone) == meter.phi(2.0) > 1


def test_a_single_incident_of_one_group_does_not_make_the_judge_blind_for_hours() -> None:
    """A minute in which control alone fails says little about the usual noise of the other hours."""
    chance, meter = random.Random(5), DispersionMeter()
    for interval in range(4 * 60 * 6):
        failing = 700 <= interval < 704
        first = 150 if failing else sum(chance.random() < 0.01 for _ in range(150))
        meter.fold(Counts(150, first), Counts(1200, sum(chance.random() < 0.01 for _ in range(1200))))
    assert 1 < meter.phi(2.0) < 4
