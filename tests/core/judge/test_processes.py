"""E-processes: exact expectations under what they test, an oracle by their definition, and looking as often as one likes."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from airflow_model_ops.core.judge.counts import Counts
from airflow_model_ops.core.judge.mixture import START_SHARE, Mixture
from airflow_model_ops.core.judge.processes import (
    HARM_FACTORS,
    ODDS_ABOVE,
    ODDS_BELOW,
    SAFE_FACTORS,
    RatioHarm,
    RatioInterval,
    RatioSafe,
    ShareAbove,
    ShareBelow,
    ratio_steps,
    share_steps,
)
from tests.core.judge.streams import Arms, arms_of, streams

ROUNDING = 1e-9
sizes = st.integers(0, 12)
phis = st.floats(1, 20)
tested_ratios = st.floats(1, 5)
shares = st.floats(0, 1)


def heads(rates: Sequence[float]) -> np.ndarray:
    """Return the chances of 0, 1, ... bad events among requests that fail independently, each at its own rate."""
    chances = np.ones(1)
    for rate in rates:
        chances = np.convolve(chances, [1 - rate, rate])
    return chances


def expected(canary: Sequence[float], baseline: Sequence[float], value: Callable[[Counts, Counts], float]) -> float:
    """Return the exact expectation over everything that may happen to the requests of two arms."""
    return sum(
        chance_c * chance_b * value(Counts(len(canary), bad_c), Counts(len(baseline), bad_b))
        for bad_c, chance_c in enumerate(heads(canary))
        for bad_b, chance_b in enumerate(heads(baseline))
    )


# -- validity, exactly ------------------------------------------------------------------------------------------------


@given(tested=tested_ratios, part=shares, rate=shares, n_c=st.integers(1, 12), n_b=sizes, phi=phis)
def test_no_bet_on_harm_gains_on_average_while_the_ratio_is_allowed(
    *, tested: float, part: float, rate: float, n_c: int, n_b: int, phi: float
) -> None:
    base = rate / tested
    for factor in HARM_FACTORS:

        def bet(canary: Counts, baseline: Counts, ratio: float = tested * factor) -> float:
            return math.exp(ratio_steps((ratio,), tested, canary, baseline, phi=phi)[0])

        assert expected([part * tested * base] * n_c, [base] * n_b, bet) <= 1 + ROUNDING


@given(tested=st.floats(1.1, 5), beyond=st.floats(1, 10), rate=shares, n_c=st.integers(1, 12), n_b=sizes, phi=phis)
def test_no_bet_on_safety_gains_on_average_at_the_margin_or_beyond(
    *, tested: float, beyond: float, rate: float, n_c: int, n_b: int, phi: float
) -> None:
    base = rate / (tested * beyond)
    for factor in (SAFE_FACTORS[0], SAFE_FACTORS[9], SAFE_FACTORS[-1]):

        def bet(canary: Counts, baseline: Counts, ratio: float = tested * factor) -> float:
            return math.exp(ratio_steps((ratio,), tested, canary, baseline, phi=phi)[0])

        assert expected([tested * beyond * base] * n_c, [base] * n_b, bet) <= 1 + ROUNDING


@given(
    rates=st.lists(shares, min_size=1, max_size=10),
    others=st.lists(shares, min_size=1, max_size=10),
    tested=tested_ratios,
    phi=phis,
)
def test_rates_may_differ_from_request_to_request(
    rates: list[float], others: list[float], tested: float, phi: float
) -> None:
    """Only the means are compared: scale the canary's down until its mean is allowed."""
    allowed = tested * sum(others) / len(others)
    mean = sum(rates) / len(rates)
    canary = rates if mean <= allowed else [rate * allowed / mean for rate in rates]

    def bet(seen: Counts, baseline: Counts) -> float:
        return math.exp(ratio_steps((2 * tested,), tested, seen, baseline, phi=phi)[0])

    assert expected(canary, others, bet) <= 1 + ROUNDING


@given(tested=st.floats(1e-6, 0.5), part=shares, n=st.integers(0, 60), phi=phis)
def test_no_bet_on_a_high_or_a_low_rate_gains_on_average_where_it_is_not(
    tested: float, part: float, n: int, phi: float
) -> None:
    def gain(rate: float, alternative: float) -> float:
        def bet(counts: Counts, _: Counts) -> float:
            return math.exp(share_steps((alternative,), tested, counts, phi=phi)[0])

        return expected([rate] * n, [], bet)

    for factor in (ODDS_ABOVE[0], ODDS_ABOVE[-1]):
        odds = factor * tested / (1 - tested)
        assert gain(part * tested, odds / (1 + odds)) <= 1 + ROUNDING
    for factor in (ODDS_BELOW[0], ODDS_BELOW[-1]):
        odds = factor * tested / (1 - tested)
        assert gain(tested + part * (1 - tested), odds / (1 + odds)) <= 1 + ROUNDING


Fold = Callable[[Counts, Counts], None]


def harm_fold() -> tuple[Mixture, Fold]:
    process = RatioHarm(max_ratio=1.1)

    def fold(canary: Counts, baseline: Counts) -> None:
        process.mixture.open_slot()
        process.fold(canary, baseline, phi=1.0)

    return process.mixture, fold


def safe_fold() -> tuple[Mixture, Fold]:
    process = RatioSafe(margin=1.5, log_threshold=-1.4)
    return process.mixture, lambda canary, baseline: process.fold(canary, baseline, phi=1.0)


def ceiling_fold() -> tuple[Mixture, Fold]:
    process = ShareAbove(rate=0.3, log_cap=0.2)

    def fold(canary: Counts, baseline: Counts) -> None:
        process.mixture.open_slot()
        process.fold(canary, phi=1.0)

    return process.mixture, fold


@pytest.mark.parametrize(
    ("begin", "canary", "baseline"),
    [
        (harm_fold, 1.1 * 0.3, 0.3),
        (harm_fold, 0.3, 0.3),
        (safe_fold, 1.5 * 0.3, 0.3),
        (safe_fold, 0.9, 0.3),
        (ceiling_fold, 0.3, 0.3),
        (ceiling_fold, 0.1, 0.3),
    ],
)
def test_a_whole_process_with_its_late_bets_and_its_cap_never_gains_on_average(
    begin: Callable[[], tuple[Mixture, Fold]], canary: float, baseline: float
) -> None:
    """All that may happen in three intervals: the average of the wealth is 1 at most after each."""
    outcomes = [
        (Counts(2, bad_c), Counts(3, bad_b), chance_c * chance_b)
        for bad_c, chance_c in enumerate(heads([canary] * 2))
        for bad_b, chance_b in enumerate(heads([baseline] * 3))
    ]
    for intervals in (1, 2, 3):
        average = 0.0
        for path in itertools.product(outcomes, repeat=intervals):
            mixture, fold = begin()
            for seen, other, _ in path:
                fold(seen, other)
            average += math.prod(chance for *_, chance in path) * math.exp(mixture.log_e)
        assert average <= 1 + ROUNDING


# -- the oracle: the definition, by scipy's binomial --------------------------------------------------------------------


def by_definition(steps: np.ndarray) -> float:
    """Return the wealth of equal bets on each alternative, started before any interval with what the design gives it.

    :param steps: Log-likelihood ratios by interval and alternative.
    """
    intervals = len(steps)
    kept = [(1 - START_SHARE) / (1 + math.log(slot)) for slot in range(1, intervals + 2)]
    products = np.exp(np.cumsum(steps[::-1], axis=0)[::-1]).mean(axis=1)
    late = sum((kept[start] - kept[start + 1]) * products[start] for start in range(intervals))
    return START_SHARE * products[0] + late + kept[intervals]


@given(stream=streams, tested=st.floats(1, 3))
def test_harm_is_the_average_over_ratios_and_onsets_of_conditional_binomials(stream: Arms, tested: float) -> None:
    process, steps = RatioHarm(max_ratio=tested), []
    ratios = tested * np.array(HARM_FACTORS)
    for canary, baseline, phi in arms_of(stream):
        process.mixture.open_slot()
        process.fold(canary, baseline, phi=phi)
        bad, n_c, n_b = canary.bad + baseline.bad, canary.n, max(baseline.n, 1e-12)
        under = stats.binom.logpmf(canary.bad, bad, ratios * n_c / (ratios * n_c + n_b))
        tested_under = stats.binom.logpmf(canary.bad, bad, tested * n_c / (tested * n_c + n_b))
        steps.append((under - tested_under) / phi)
    assert process.log_e == pytest.approx(math.log(by_definition(np.array(steps))), rel=1e-6, abs=1e-6)


@given(stream=streams, tested=st.floats(0.001, 0.5))
def test_a_ceiling_is_the_average_over_rates_and_onsets_of_binomials(stream: Arms, tested: float) -> None:
    process, steps = ShareAbove(rate=tested), []
    assume(all(counts.bad < 60 for counts, *_ in arms_of(stream)))
    odds = np.array(ODDS_ABOVE) * tested / (1 - tested)
    for counts, _, phi in arms_of(stream):
        process.mixture.open_slot()
        process.fold(counts, phi=phi)
        under = stats.binom.logpmf(counts.bad, counts.n, odds / (1 + odds))
        steps.append((under - stats.binom.logpmf(counts.bad, counts.n, tested)) / phi)
    assert process.log_e == pytest.approx(math.log(by_definition(np.array(steps))), rel=1e-6, abs=1e-6)


# -- as often as one likes ----------------------------------------------------------------------------------------------


def ever_reaches(process_of: Callable[[], RatioHarm | RatioSafe], *, ratio: float, error: float, seed: int) -> float:
    """Return how many of 300 releases ever reach ``1/error`` in 150 looks, while the base rate swings and weights change."""
    chance, reached = np.random.default_rng(seed), 0
    swing = 0.02 * (1 + 0.8 * np.sin(np.arange(150) / 10))
    n_c = np.where(np.arange(150) < 75, 200, 900)
    for _ in range(300):
        process = process_of()
        bad_c, bad_b = chance.binomial(n_c, ratio * swing), chance.binomial(1_800, swing)
        for n, canary, baseline in zip(n_c.tolist(), bad_c.tolist(), bad_b.tolist(), strict=True):
            process.mixture.open_slot()
            process.fold(Counts(n, canary), Counts(1_800, baseline), phi=1.0)
            if process.log_e >= math.log(1 / error):
                reached += 1
                break
    return reached / 300


def test_harm_is_seldom_seen_at_the_allowed_ratio_however_often_one_looks() -> None:
    assert ever_reaches(lambda: RatioHarm(max_ratio=1.1), ratio=1.1, error=0.05, seed=1) <= 0.05


def test_safety_is_seldom_seen_at_the_margin_however_often_one_looks() -> None:
    seen = ever_reaches(lambda: RatioSafe(margin=1.5, log_threshold=math.log(20)), ratio=1.5, error=0.05, seed=2)
    assert seen <= 0.05


def test_harm_and_safety_are_seen_where_they_are() -> None:
    """So that the two tests above do not hold only because nothing is ever seen."""
    assert ever_reaches(lambda: RatioHarm(max_ratio=1.1), ratio=2.0, error=0.05, seed=3) > 0.95
    seen = ever_reaches(lambda: RatioSafe(margin=1.5, log_threshold=math.log(20)), ratio=1.0, error=0.05, seed=4)
    assert seen > 0.95


# -- shape ----------------------------------------------------------------------------------------------------------------


@given(stream=streams, place=st.integers(0, 7))
def test_one_bad_event_more_in_the_canary_never_lowers_harm_and_one_in_the_baseline_never_raises_it(
    stream: Arms, place: int
) -> None:
    arms = arms_of(stream)
    at = place % len(arms)

    def harm(canary_more: int, baseline_more: int) -> float:
        process = RatioHarm(max_ratio=1.1)
        for index, (canary, baseline, phi) in enumerate(arms):
            more_c = canary_more if index == at and canary.bad < canary.n else 0
            more_b = baseline_more if index == at and baseline.bad < baseline.n else 0
            process.mixture.open_slot()
            process.fold(Counts(canary.n, canary.bad + more_c), Counts(baseline.n, baseline.bad + more_b), phi=phi)
        return process.log_e

    assert harm(0, 1) - ROUNDING <= harm(0, 0) <= harm(1, 0) + ROUNDING


@given(canary=st.integers(0, 500), baseline=st.integers(0, 5_000), phi=phis)
def test_intervals_without_a_bad_event_and_arms_without_requests_say_nothing_about_the_ratio(
    canary: int, baseline: int, phi: float
) -> None:
    harm, safe, interval = RatioHarm(max_ratio=1.1), RatioSafe(margin=1.5, log_threshold=3.0), RatioInterval()
    for process in (harm, safe, interval):
        process.fold(Counts(canary, 0), Counts(baseline, 0), phi=phi)
        process.fold(Counts(canary, canary), Counts(), phi=phi)
        process.fold(Counts(), Counts(baseline, baseline), phi=phi)
    assert harm.log_e == pytest.approx(0, abs=ROUNDING)
    assert safe.log_e == pytest.approx(0, abs=ROUNDING)
    assert interval.bounds(alpha=0.01) == (None, None)


def test_wealth_beyond_the_cap_is_forgotten_so_that_a_few_bad_events_use_it_up() -> None:
    safe = RatioSafe(margin=1.5, log_threshold=math.log(20))
    for _ in range(1_000):
        safe.fold(Counts(1_000, 10), Counts(9_000, 90), phi=1.0)
    assert safe.log_e == pytest.approx(math.log(20) + 1.5)
    safe.fold(Counts(1_000, 30), Counts(9_000, 90), phi=1.0)
    assert safe.log_e < math.log(20)


def test_no_numbers_are_too_large_or_too_many_for_a_process() -> None:
    harm, below = RatioHarm(max_ratio=1.1), ShareBelow(rate=0.001, log_cap=4.5)
    for _ in range(50):
        harm.fold(Counts(10**9, 10**9), Counts(10**12, 1), phi=1.0)
        below.fold(Counts(10**9, 10**9), phi=1.0)
    assert 500 < harm.log_e < math.inf
    assert below.log_e == -math.inf
