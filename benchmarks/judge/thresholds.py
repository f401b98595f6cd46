"""The threshold rules of Argo Rollouts and Flagger, written anew from their documented semantics.

Source: Argo Rollouts v1.9 (an AnalysisRun's measurement and metric states), Flagger v1.44 (the canary's scheduler).
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable

import numpy as np

from benchmarks.judge.judges import Answer
from benchmarks.judge.scenes import Fault
from benchmarks.judge.traffic import CANARY, Arm, Drawn, Seen


class Window:
    """The sums of the newest intervals, as a range query over a fixed span sees them."""

    def __init__(self, *, intervals: int) -> None:
        self._seen: deque[tuple[Arm, Arm]] = deque(maxlen=intervals)

    def add(self, seen: Seen) -> None:
        """Take in one interval; one that is hidden by a fault holds nothing."""
        nothing = Arm(0, 0)
        hidden_baseline = seen.fault is not None and not seen.canary_only
        canary = nothing if seen.fault is not None else seen.canary
        self._seen.append((canary, nothing if hidden_baseline else seen.baseline))

    def rates(self) -> tuple[float, float]:
        """Give the canary's and the baseline's share of bad requests; NaN where nothing was counted."""
        return _rate(arms[0] for arms in self._seen), _rate(arms[1] for arms in self._seen)


def _rate(arms: Iterable[Arm]) -> float:
    samples = bad = 0
    for arm in arms:
        samples += arm.samples
        bad += arm.bad
    return bad / samples if samples else math.nan


class ArgoRollouts:
    """An AnalysisTemplate with a success condition on the canary's error rate, measured once per window.

    The metric fails for good when more than ``failure_limit`` measurements failed, in a row or not, and an answer that
    is NaN fails the condition. A measurement that errs does not count; the fifth in a row ends the rollout.

    :param limit: The condition is: share of bad requests at most this, or this times the baseline's if ``relative``.
    :param window: Intervals per measurement.
    """

    CONSECUTIVE_ERROR_LIMIT = 4

    def __init__(self, *, limit: float, window: int = 1, failure_limit: int = 3, relative: bool = False) -> None:
        self._limit, self._failure_limit, self._relative = limit, failure_limit, relative
        self._every, self._window = window, Window(intervals=window)
        self._looks = self._failed = self._errors = 0

    def observe(self, seen: Seen) -> Answer:
        """Measure when the interval of the metric has passed."""
        self._window.add(seen)
        self._looks += 1
        if self._looks % self._every:
            return Answer.WAIT
        if seen.fault in {Fault.OUTAGE, Fault.EMPTY}:
            self._errors += 1
            return Answer.ROLL_BACK if self._errors > self.CONSECUTIVE_ERROR_LIMIT else Answer.WAIT
        self._errors = 0
        self._failed += not self._succeeds()
        return Answer.ROLL_BACK if self._failed > self._failure_limit else Answer.WAIT

    def _succeeds(self) -> bool:
        canary, baseline = self._window.rates()
        return canary <= (self._limit * baseline if self._relative else self._limit)


class Flagger:
    """The built-in ``request-success-rate`` check, once per interval.

    Every failed check adds one and none is ever forgiven; NaN, nothing and an outage are failed checks, too. The rollback
    happens on the tick after the count has reached ``threshold``.
    """

    def __init__(self, *, limit: float, threshold: int = 5) -> None:
        self._limit, self._threshold = limit, threshold
        self._window, self._failed = Window(intervals=1), 0

    def observe(self, seen: Seen) -> Answer:
        """Count a failed check, or roll back if there were too many before this tick."""
        if self._failed >= self._threshold:
            return Answer.ROLL_BACK
        self._window.add(seen)
        canary, _ = self._window.rates()
        self._failed += not canary <= self._limit
        return Answer.WAIT


def tune_argo(healthy: Iterable[Drawn], *, false_rate: float, failure_limit: int = 3) -> float:
    """Give the limit an oracle would choose: on these healthy releases at most ``false_rate`` of them are rolled back.

    A release is rolled back when its (failure_limit + 1)-th largest interval rate is above the limit, so the limit is a
    quantile of those over the releases. No team can do this: it takes thousands of healthy releases at the very base rate
    and traffic of the next one.
    """
    decisive = []
    for drawn in healthy:
        samples, bad = drawn.samples[:, CANARY], drawn.bad[:, CANARY]
        rates = np.sort(np.where(samples > 0, bad / np.maximum(samples, 1), np.inf))
        decisive.append(rates[-1 - failure_limit])
    return float(np.quantile(decisive, 1 - false_rate, method="higher"))
