"""The test of two proportions that many write by hand: once at a fixed number of requests, or looked at all the time."""

from __future__ import annotations

import math

from scipy.stats import norm

from benchmarks.judge.judges import Answer
from benchmarks.judge.traffic import Seen


class ZTest:
    """One-sided test of the canary's share of bad requests against the baseline's, on all counts so far.

    :param at: Interval at which it is looked at; ``None``: at every one, without any correction.
    """

    def __init__(self, *, alpha: float, at: int | None = None) -> None:
        self._critical, self._at, self._looks = float(norm.ppf(1 - alpha)), at, 0
        self._counts = [0, 0, 0, 0]

    def observe(self, seen: Seen) -> Answer:
        """Add the counts, and test when it is time."""
        self._looks += 1
        if seen.fault is None:
            for index, count in enumerate((*seen.canary, *seen.baseline)):
                self._counts[index] += count
        if self._at not in {None, self._looks}:
            return Answer.WAIT
        if z_value(*self._counts) > self._critical:
            return Answer.ROLL_BACK
        return Answer.WAIT if self._at is None else Answer.PROMOTE


def z_value(canary: int, bad_canary: int, baseline: int, bad_baseline: int) -> float:
    """Give the pooled z value of two proportions; 0 where nothing can be said."""
    if not (canary and baseline):
        return 0.0
    pooled = (bad_canary + bad_baseline) / (canary + baseline)
    error = math.sqrt(pooled * (1 - pooled) * (1 / canary + 1 / baseline))
    return (bad_canary / canary - bad_baseline / baseline) / error if error else 0.0
