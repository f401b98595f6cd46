"""A twin of the judge's harm process for many releases at once, so that days of looks every second can be simulated.

The twin only screens: a release whose evidence comes near the threshold is judged again by the real judge, and so is a
sample of the others, whose evidence must then be the same number (``day.py``). It shares no code with what it screens for.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from airflow_model_ops.core.judge import dispersion, mixture, processes
from benchmarks.judge.traffic import CANARY, CONTROL, STABLE, Drawn

Real = NDArray[np.float64]


class MeterTwin:
    """Overdispersion of many releases, from stable against control."""

    def __init__(self, runs: int) -> None:
        shape = (len(dispersion.BLOCK_LENGTHS), runs)
        self._intervals = np.array(dispersion.BLOCK_LENGTHS)[:, None]
        self._deviation, self._variance = np.zeros(shape), np.zeros(shape)
        self._filled, self._chi_squares, self._degrees = np.zeros(shape), np.zeros(shape), np.zeros(shape)
        self._sizes, self._variances, self._folded = np.zeros(runs), np.zeros(runs), np.zeros(runs)

    def fold(self, n_first: Real, x_first: Real, n_second: Real, x_second: Real) -> None:
        """Take in one interval of each release."""
        known = (n_first > 0) & (n_second > 0)
        variance = comparison_variance(n_first, n_second, x_first + x_second)
        self._sizes += comparison_size(n_first, n_second)
        self._variances += variance
        self._folded += known
        expected = (x_first + x_second) * n_first / np.maximum(n_first + n_second, 1)
        self._deviation += np.where(known, x_first - expected, 0.0)
        self._variance += variance
        self._filled += known
        full = known & (self._filled >= self._intervals) & (self._variance >= dispersion.LEAST_VARIANCE)
        usual = np.maximum(1.0, self._chi_squares / np.maximum(self._degrees, 1))
        chi_square = self._deviation**2 / np.where(full, self._variance, 1.0)
        self._chi_squares += np.where(full, np.minimum(chi_square, dispersion.LARGEST_OUTLIER * usual), 0.0)
        self._degrees += full
        for sums in (self._deviation, self._variance, self._filled):
            sums[full] = 0.0

    def phi(self, default: float, *, size: Real, variance: Real) -> Real:
        """Give each release's overdispersion for a comparison of this size and variance."""
        degrees = np.maximum(self._degrees, 1)
        spread = 2 / (9 * degrees)
        quantile = degrees * (1 - spread + dispersion.QUARTILE_NORMAL * np.sqrt(spread)) ** 3
        enough = self._degrees >= dispersion.LEAST_DEGREES_OF_LENGTH
        excess = np.where(enough, self._chi_squares / quantile - 1, 0.0).max(axis=0).clip(min=0)
        blocks = np.where(self._degrees[0] > 0, self._degrees[0], self._folded)
        by_size = size * blocks / np.where(self._sizes > 0, self._sizes, 1.0)
        by_variance = variance * blocks / np.where(self._variances > 0, self._variances, 1.0)
        larger = np.maximum(1.0, np.maximum(by_size, by_variance))
        unmeasured = self._degrees[0] < dispersion.LEAST_DEGREES
        phi: Real = np.maximum(1.0 + dispersion.CAUTION * excess * larger, np.where(unmeasured, default, 1.0))
        return phi


def comparison_size(n_first: Real, n_second: Real) -> Real:
    """Give how large comparisons of two arms are; 0 where one had no requests."""
    size: Real = n_first * n_second / np.maximum(n_first + n_second, 1)
    return size


def comparison_variance(n_first: Real, n_second: Real, bad: Real) -> Real:
    """Give the hypergeometric variance of the first arm's bad events; 0 where one arm had no requests."""
    requests = np.maximum(n_first + n_second, 2)
    share = n_first / requests
    variance: Real = bad * share * (1 - share) * (requests - bad) / (requests - 1)
    return variance


class HarmTwin:
    """The harm process of many releases."""

    def __init__(self, runs: int, *, max_ratio: float) -> None:
        self._tested = max_ratio
        self._grid = max_ratio * np.array(processes.HARM_FACTORS)[None, :]
        self._log_factors = np.log(self._grid / max_ratio)
        self._wealth = np.full((runs, self._grid.shape[1]), mixture.START_SHARE)
        self._slots = 0

    def open_slot(self) -> None:
        """Let the next part of the kept wealth bet."""
        self._slots += 1
        self._wealth += self._kept(self._slots) - self._kept(self._slots + 1)

    def fold(self, n_canary: Real, x_canary: Real, n_base: Real, x_base: Real, *, phi: Real) -> None:
        """Take in one interval of each release."""
        whole = self._tested * n_canary + n_base
        odds = self._grid * n_canary[:, None] + n_base[:, None]
        logs = np.log(np.where(whole > 0, whole, 1.0)[:, None] / np.where(odds > 0, odds, 1.0))
        steps = (x_canary / phi)[:, None] * self._log_factors + ((x_canary + x_base) / phi)[:, None] * logs
        self._wealth = np.minimum(self._wealth * np.exp(np.minimum(steps, 700.0)), 1e250)

    @property
    def log_e(self) -> Real:
        """Natural logarithm of each release's evidence."""
        evidence: Real = np.log(self._wealth.mean(axis=1) + self._kept(self._slots + 1))
        return evidence

    @staticmethod
    def _kept(slot: int) -> float:
        return (1 - mixture.START_SHARE) / (1 + math.log(slot))


@dataclass(frozen=True, slots=True, kw_only=True)
class Trails:
    """Natural logarithms of the evidence of harm.

    :param highest: Of each release, the highest at any look.
    :param first: At each of the first looks (rows), of each release (columns).
    """

    highest: Real
    first: Real


def highest_evidence(
    drawn: list[Drawn], histories: list[Drawn], *, max_ratio: float, default_dispersion: float, trail: int = 0
) -> Trails:
    """Follow the evidence of harm in many releases of one scene.

    :param trail: How many of the first looks are kept.
    """
    runs, peek_seconds = len(drawn), drawn[0].scene.peek_seconds
    meter, harm = MeterTwin(runs), HarmTwin(runs, max_ratio=max_ratio)
    for samples, bad in _intervals(histories):
        meter.fold(samples[:, CONTROL], bad[:, CONTROL], samples[:, STABLE], bad[:, STABLE])
    highest, first, slot_at = np.full(runs, -math.inf), [], -math.inf
    for index, (samples, bad) in enumerate(_intervals(drawn)):
        at = (index + 1) * peek_seconds
        if at - slot_at >= mixture.SLOT_SECONDS:
            slot_at = at
            harm.open_slot()
        base_n, base_x = samples[:, STABLE] + samples[:, CONTROL], bad[:, STABLE] + bad[:, CONTROL]
        compared = comparison_variance(samples[:, CANARY], base_n, bad[:, CANARY] + base_x)
        phi = meter.phi(default_dispersion, size=comparison_size(samples[:, CANARY], base_n), variance=compared)
        harm.fold(samples[:, CANARY], bad[:, CANARY], base_n, base_x, phi=phi)
        highest = np.maximum(highest, harm.log_e)
        if index < trail:
            first.append(harm.log_e)
        meter.fold(samples[:, CONTROL], bad[:, CONTROL], samples[:, STABLE], bad[:, STABLE])
    return Trails(highest=highest, first=np.array(first))


def _intervals(drawn: list[Drawn]) -> zip[tuple[Real, Real]]:
    """Yield the counts of all releases interval by interval: one array for requests, one for bad ones."""
    samples = np.stack([each.samples for each in drawn], axis=1)
    bad = np.stack([each.bad for each in drawn], axis=1)
    return zip(samples, bad, strict=True)
