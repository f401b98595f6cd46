"""The range of the ratio that people are shown: it holds at all looks at once, with few and with very many counts."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_model_ops.core.judge.counts import Counts
from airflow_model_ops.core.judge.processes import (
    RatioInterval,
)
from tests.core.judge.streams import Arms, arms_of, streams


@given(stream=streams, scale=st.sampled_from([1, 1_000]))
def test_every_ratio_that_is_not_excluded_is_inside_the_interval(stream: Arms, scale: int) -> None:
    """By brute force: the likelihood at many ratios against its average over the grid, with few and with very many counts."""
    interval, fine = RatioInterval(), np.geomspace(1 / 32, 32, 4_001)
    grid = np.geomspace(1 / 32, 32, 41)
    logs = {"fine": np.zeros_like(fine), "grid": np.zeros_like(grid)}
    for canary, baseline, phi in arms_of(stream):
        seen, other = Counts(canary.n * scale, canary.bad * scale), Counts(baseline.n * scale, baseline.bad * scale)
        interval.fold(seen, other, phi=phi)
        if seen.bad + other.bad and seen.n and other.n:
            for name, ratios in (("fine", fine), ("grid", grid)):
                whole = np.log(ratios * seen.n + other.n)
                logs[name] += (seen.bad * np.log(ratios) - (seen.bad + other.bad) * whole) / phi
    highest = logs["fine"].max()
    average = np.logaddexp.reduce(logs["grid"] - highest) - math.log(len(grid))
    inside = fine[logs["fine"] - highest > average + math.log(0.01) + 0.001]
    low, high = interval.bounds(alpha=0.01)
    assert len(inside)
    assert low is None or low <= inside[0] * (1 + 1e-6)
    assert high is None or high >= inside[-1] * (1 - 1e-6)
    step = 32 ** (1 / 20)
    assert low is None or low >= inside[0] / step
    assert high is None or high <= inside[-1] * step


@pytest.mark.parametrize("ratio", [0.1, 0.5, 0.9, 1.08, 2.0, 3.0, 4.0, 11.0])
def test_the_true_ratio_stays_inside_with_very_many_counts(ratio: float) -> None:
    """It may lie between two ratios of the grid, which then are both excluded or nearly so."""
    for thousands in (1, 100, 10_000):
        interval = RatioInterval()
        n = thousands * 100_000
        interval.fold(Counts(n, round(0.01 * ratio * n)), Counts(9 * n, round(0.01 * 9 * n)), phi=1.0)
        low, high = interval.bounds(alpha=0.01)
        assert low is not None
        assert high is not None
        assert low < ratio < high
        assert high / low < 3


def test_the_interval_holds_at_all_looks_at_once() -> None:
    chance, missed = np.random.default_rng(5), 0
    for _ in range(200):
        interval = RatioInterval()
        for canary, baseline in zip(chance.binomial(400, 0.06, 60), chance.binomial(3_600, 0.02, 60), strict=True):
            interval.fold(Counts(400, int(canary)), Counts(3_600, int(baseline)), phi=1.0)
            low, high = interval.bounds(alpha=0.05)
            if not (low or 0) <= 3 <= (high or math.inf):
                missed += 1
                break
    assert missed <= 10


def test_the_order_of_independent_intervals_does_not_matter_without_late_onset() -> None:
    chance = random.Random(6)
    arms = [(Counts(50, chance.randrange(4)), Counts(450, chance.randrange(9))) for _ in range(30)]

    def interval_of(order: list[tuple[Counts, Counts]]) -> tuple[float | None, float | None]:
        interval = RatioInterval()
        for canary, baseline in order:
            interval.fold(canary, baseline, phi=2.0)
        return interval.bounds(alpha=0.01)

    assert interval_of(arms[::-1]) == pytest.approx(interval_of(arms))
