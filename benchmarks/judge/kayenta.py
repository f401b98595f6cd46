"""Kayenta's NetflixACAJudge-v1.0 for one metric, written anew from its formulas.

Source: R's ``wilcox.test`` with a confidence interval, which Kayenta follows, and the constants of kayenta-judge.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from benchmarks.judge.judges import Answer
from benchmarks.judge.traffic import Arm, Seen

CONFIDENCE, TOLERANCE = 0.98, 0.25

Series = NDArray[np.float64]


class MannWhitney:
    """The shift of one series against another: its z value, its estimate and its confidence bounds."""

    def __init__(self, *, experiment: Series, control: Series) -> None:
        self._experiment, self._control = experiment, np.sort(control)

    def z(self, shift: float = 0.0, *, correction: float = 0.5) -> float:
        """Give the rank sum's z value when the experiment is shifted down, with ties averaged.

        :param correction: For continuity, in ranks.
        """
        moved = self._experiment - shift
        below = np.searchsorted(self._control, moved, side="left").sum()
        not_above = np.searchsorted(self._control, moved, side="right").sum()
        n, m = len(moved), len(self._control)
        excess = 0.5 * (below + not_above) - 0.5 * n * m
        _, ties = np.unique(np.concatenate([moved, self._control]), return_counts=True)
        tied = float((ties**3 - ties).sum()) / ((n + m) * (n + m - 1))
        variance = n * m / 12 * (n + m + 1 - tied)
        return 0.0 if variance <= 0 else float((excess - correction * np.sign(excess)) / math.sqrt(variance))

    @property
    def estimate(self) -> float:
        """The shift at which the rank sum is what chance gives."""
        return self.shift_at(0.0, correction=0.0)

    def shift_at(self, z: float, *, correction: float = 0.5) -> float:
        """Give the shift at which the z value falls to ``z``; it never rises with the shift.

        Bisection where Kayenta takes Brent's method: the same root, and no worry about steps in the function.
        """
        low = float(self._experiment.min() - self._control[-1])
        high = float(self._experiment.max() - self._control[0])
        if self.z(low, correction=correction) <= z:
            return low
        if self.z(high, correction=correction) >= z:
            return high
        while high - low > 1e-7 * max(1e-3, abs(low), abs(high)):
            middle = (low + high) / 2
            if self.z(middle, correction=correction) > z:
                low = middle
            else:
                high = middle
        return (low + high) / 2


def is_high(experiment: Series, control: Series) -> bool:
    """Tell whether the judge classifies the metric as High: worse where an increase is bad.

    Missing values are removed before; two equal or two constant series pass.
    """
    if np.array_equal(np.sort(experiment), np.sort(control)) or len(np.unique(np.r_[experiment, control])) == 1:
        return False
    if len(np.unique(experiment)) == len(np.unique(control)) == 1:
        random = np.random.default_rng(0)
        experiment = experiment + random.normal(scale=1e-5 * max(abs(experiment[0]), 1e-12), size=len(experiment))
        control = control + random.normal(scale=1e-5 * max(abs(control[0]), 1e-12), size=len(control))
    test = MannWhitney(experiment=experiment, control=control)
    if test.z() <= 0:
        return False
    low = test.shift_at(_QUANTILE)
    if low <= 0 or low <= TOLERANCE * abs(test.estimate):
        return False
    mean = float(control.mean())
    return mean == 0 or float(experiment.mean()) == 0 or float(experiment.mean()) / mean >= 1.0


_QUANTILE = float(norm.ppf(1 - (1 - CONFIDENCE) / 2))


class Kayenta:
    """One judgement each ``every`` intervals over all intervals so far; the first that is not a pass ends the canary.

    :param every: Intervals between judgements; Kayenta's ``analysisIntervalMins``.
    :param ends: Intervals of the whole canary: a pass in the last judgement promotes.
    """

    def __init__(self, *, every: int = 10, ends: int) -> None:
        self._every, self._ends = every, ends
        self._canary: list[float] = []
        self._baseline: list[float] = []
        self._looks = 0

    def observe(self, seen: Seen) -> Answer:
        """Add one point per series, and judge when it is time."""
        self._looks += 1
        if seen.fault is None and seen.canary.samples:
            self._canary.append(_rate(seen.canary))
        if (seen.fault is None or seen.canary_only) and seen.baseline.samples:
            self._baseline.append(_rate(seen.baseline))
        if self._looks % self._every:
            return Answer.WAIT
        return self._judge()

    def _judge(self) -> Answer:
        if not (self._canary and self._baseline):
            return Answer.ROLL_BACK  # the only metric has no data: half of all metrics or more, which scores 0
        if is_high(np.array(self._canary), np.array(self._baseline)):
            return Answer.ROLL_BACK
        return Answer.PROMOTE if self._looks >= self._ends else Answer.WAIT


def _rate(arm: Arm) -> float:
    return arm.bad / arm.samples
