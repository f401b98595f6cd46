"""Our Kayenta is the published formula: it agrees with scipy where the two overlap."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import mannwhitneyu, norm

from benchmarks.judge.kayenta import MannWhitney, is_high


@pytest.mark.parametrize("seed", range(12))
def test_the_z_value_gives_the_p_value_of_scipys_mann_whitney_test_with_ties_and_without(seed: int) -> None:
    random = np.random.default_rng(seed)
    experiment, control = random.normal(0.3, 1, size=17 + seed), random.normal(0, 1, size=29)
    if seed % 2:
        experiment, control = experiment.round(1), control.round(1)

    z = MannWhitney(experiment=experiment, control=control).z()

    theirs = mannwhitneyu(experiment, control, use_continuity=True, alternative="two-sided", method="asymptotic")
    assert 2 * norm.sf(abs(z)) == pytest.approx(theirs.pvalue, rel=1e-9)


@pytest.mark.parametrize("seed", range(6))
def test_the_estimated_shift_is_the_median_of_all_differences(seed: int) -> None:
    """Hodges and Lehmann: the shift at which the rank sum is what chance gives is the median pairwise difference."""
    random = np.random.default_rng(seed)
    experiment, control = random.normal(1, 1, size=21), random.normal(0, 1, size=33)

    shift = MannWhitney(experiment=experiment, control=control).estimate

    assert shift == pytest.approx(np.median(np.subtract.outer(experiment, control)), abs=1e-5)


def test_the_lower_confidence_bound_is_where_scipys_test_stops_rejecting() -> None:
    random = np.random.default_rng(3)
    experiment, control = random.normal(1, 1, size=40), random.normal(0, 1, size=40)
    test = MannWhitney(experiment=experiment, control=control)

    low = test.shift_at(float(norm.ppf(0.99)))

    def rejects(shift: float) -> bool:
        found = mannwhitneyu(
            experiment - shift, control, alternative="greater", method="asymptotic", use_continuity=True
        )
        return bool(found.pvalue < 0.01)

    assert rejects(low - 1e-3)
    assert not rejects(low + 1e-3)


def test_a_clear_increase_is_high_and_equal_constant_or_lower_series_are_not() -> None:
    random = np.random.default_rng(5)
    control = random.normal(0.01, 0.002, size=30)

    assert is_high(control + 0.01, control)
    assert not is_high(control, control)
    assert not is_high(control - 0.01, control)
    assert not is_high(np.zeros(30), np.zeros(30))
    assert is_high(np.full(30, 0.02), np.full(30, 0.01))


def test_an_irrelevant_shift_is_high_once_it_is_certain() -> None:
    """The band is a quarter of the estimated shift itself, so size never matters: a known weakness that we keep."""
    random = np.random.default_rng(6)
    control = random.normal(0.01, 0.0003, size=1_440)

    assert is_high(random.normal(0.0103, 0.0003, size=1_440), control)
