"""Tempering by the measured noise never makes a process gain on average, however phi follows what was counted."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from scipy import stats

from airflow_model_ops.core.checks import Evidence
from airflow_model_ops.core.judge import DispersionMeter, JudgeSettings
from airflow_model_ops.core.judge.counts import Counts
from airflow_model_ops.core.judge.share_check import ShareCheck
from tests.core.judge.releases import START, Events, counted, errors

CHECK = errors(negligible=0.001, max=0.002)


def bursty(n: int, *, rate: float, burstiness: float) -> DispersionMeter:
    """Measure two hours in which each arm's rate is multiplied by gamma noise."""
    chance, meter = np.random.default_rng(9), DispersionMeter()
    for first, second in chance.gamma(1 / burstiness, burstiness, (480, 2)).tolist():
        meter.fold(
            Counts(n, int(chance.binomial(n, min(1, rate * first)))),
            Counts(9 * n, int(chance.binomial(9 * n, min(1, rate * second)))),
        )
    return meter


def gains(process: str, *, canary: float, stable: float, n: int, burstiness: float) -> np.ndarray:
    """Return by what each bet of a process is multiplied in one interval of independent requests: exact expectations."""
    most_c, most_b = (int(stats.binom.isf(1e-12, size, rate)) for size, rate in ((n, canary), (9 * n, stable)))
    meter = bursty(n, rate=stable, burstiness=burstiness)
    assert meter.phi(1.0) > 1.2
    bets, total = wealth_of(process, meter.to_json(), (0, 0), (0, 0)), np.zeros(1)
    for bad_c in range(most_c + 1):
        for bad_b in range(most_b + 1):
            chance = stats.binom.pmf(bad_c, n, canary) * stats.binom.pmf(bad_b, 9 * n, stable)
            total = total + chance * wealth_of(process, meter.to_json(), (bad_c, n), (bad_b, 9 * n))
    return total / bets


def wealth_of(process: str, written: Mapping[str, Any], canary: Events, stable: Events) -> np.ndarray:
    """Return the wealth of each bet after one interval."""
    check = ShareCheck(CHECK, settings=JudgeSettings(), has_stable=True, meter=DispersionMeter.from_json(written))
    seen, other = counted(canary), counted(stable)
    assert seen is not None
    at = START + timedelta(seconds=15)
    check.fold(Evidence(check=CHECK.name, canary=seen, stable=other, at=at.isoformat(), begin=START.isoformat()))
    return np.array(check._mixtures()[process].wealth)


@pytest.mark.parametrize("burstiness", [1.0, 4.0])
@pytest.mark.parametrize(
    ("process", "canary", "stable"),
    [
        ("harm", 0.0044, 0.004),
        ("harm", 0.004, 0.004),
        ("safe", 0.006, 0.004),
        ("above_negligible", 0.001, 0.002),
        ("below_negligible", 0.001, 0.002),
        ("below_negligible", 0.001, 0.0004),
        ("above_ceiling", 0.002, 0.002),
        ("below_ceiling", 0.002, 0.002),
        ("below_ceiling", 0.002, 0.0005),
    ],
)
def test_one_interval_never_gains_on_average_at_what_is_tested(
    process: str, canary: float, stable: float, burstiness: float
) -> None:
    """An interval with more bad events than usual may be judged with more caution, but only by what cannot favour a side:
    a rate that is to be shown low must not be excused for its own bad events."""
    gained = gains(process, canary=canary, stable=stable, n=1_000, burstiness=burstiness)
    assert gained.max() <= 1 + 1e-9
