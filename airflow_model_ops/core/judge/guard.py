"""The guard of stable: detectors of all its ceilings together, with one stated mean time between false alarms."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from airflow_model_ops.core.checks.definition import Check, CheckKind
from airflow_model_ops.core.checks.evidence import Evidence
from airflow_model_ops.core.errors import InvalidState
from airflow_model_ops.core.judge.blindness import unanswered
from airflow_model_ops.core.judge.counts import Counts, counts_of
from airflow_model_ops.core.judge.detector import CeilingDetector
from airflow_model_ops.core.judge.dispersion import DispersionMeter
from airflow_model_ops.core.judge.share_words import percent

KEPT_INTERVALS = 40
"""How many of the newest intervals of each check go with an alarm."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """Stable is above a ceiling.

    :param check: The check that shows it most.
    :param reason: A sentence with the numbers, for the person on call.
    :param at: The end of the newest interval that shows it, ISO 8601.
    :param numbers: What is behind it; JSON.
    """

    check: str
    reason: str
    at: str
    numbers: Mapping[str, Any] = field(default_factory=dict)


class GuardedCheck:
    """One ceiling of the stable version: its detector, the noise of its counts, and its newest intervals.

    :param log_threshold: Natural logarithm of where the detector is compared.
    :param dispersion: The overdispersion assumed until it is measured.
    """

    def __init__(self, check: Check, *, log_threshold: float, interval_seconds: float, dispersion: float) -> None:
        if check.max is None:
            raise InvalidState(f"check {check.name!r} has no ceiling to guard; give it max")
        self.check = check
        self.ceiling = check.max
        self.detector = CeilingDetector(ceiling=check.max, log_threshold=log_threshold)
        self._interval_seconds = interval_seconds
        self._dispersion = dispersion
        self._meter = DispersionMeter()
        self._at = -math.inf
        self._starts_at = -math.inf
        self._intervals: deque[list[Any]] = deque(maxlen=KEPT_INTERVALS)
        self._speaks = False

    @property
    def speaks(self) -> bool:
        """Whether the newest evidence was fresh and counted something: without it nothing is said."""
        return self._speaks

    @property
    def intervals(self) -> list[list[Any]]:
        """The newest intervals: begin, end, all events, bad ones."""
        return list(self._intervals)

    def fold(self, evidence: Evidence) -> None:
        """Take in one interval, in which stable is the arm ``canary``; what ends no later than the one before is old."""
        at = evidence.instant.timestamp()
        self._speaks = False
        if evidence.canary.error is not None or at <= self._at:
            return
        self._at = at
        alone, control = counts_of(evidence.canary), counts_of(evidence.control)
        counts = alone + control
        self._fold(counts, evidence)
        self._meter.fold(control, alone)
        self._speaks = counts.n > 0 and unanswered(self.check, evidence.canary, arm="stable") is None

    def to_json(self) -> dict[str, Any]:
        """Give what :meth:`restore` needs to go on bit for bit."""
        return {
            "detector": self.detector.to_json(),
            "meter": self._meter.to_json(),
            "times": [each if math.isfinite(each) else None for each in (self._at, self._starts_at)],
            "intervals": list(self._intervals),
        }

    def restore(self, data: Mapping[str, Any]) -> None:
        """Go on from what :meth:`to_json` gave.

        :raises InvalidState: if it is not that.
        """
        try:
            self.detector.restore(data["detector"])
            self._meter = DispersionMeter.from_json(data["meter"])
            self._at, self._starts_at = (-math.inf if each is None else float(each) for each in data["times"])
            self._intervals = deque((list(each) for each in data["intervals"]), maxlen=KEPT_INTERVALS)
        except (KeyError, OverflowError, TypeError, ValueError) as fault:
            raise InvalidState(f"guard state {data!r} cannot be read ({fault!r}); let the guard start anew") from fault

    def words(self, *, subject: str) -> str:
        """Return what people are told of an alarm."""
        recent, since = self.detector.recent, self.detector.recent_since
        over = f" over {self.check.latency_bound_ms:g} ms" if self.check.kind is CheckKind.LATENCY else ""
        told = f"{self.check.name} of {subject} {percent(recent.rate)}{over} ({recent.bad:,} of {recent.n:,})"
        if since is not None:
            told += f" since {datetime.fromisoformat(since):%H:%M:%S} UTC"
        return f"{told}: above the allowed {percent(self.ceiling)}"

    def _fold(self, counts: Counts, evidence: Evidence) -> None:
        if not counts.n:
            return
        begin = evidence.begin or evidence.at
        starts = self._at >= self._starts_at
        if starts:
            late = self._at - self._starts_at
            # From the time it was due: an interval that is measured a little late must not delay all that follow.
            self._starts_at = (self._at if late >= self._interval_seconds else self._starts_at) + self._interval_seconds
        self.detector.fold(counts, begin=begin, phi=self._phi(counts), starts=starts)
        self._intervals.append([begin, evidence.at, counts.n, counts.bad])

    def _phi(self, counts: Counts) -> float:
        """Return the overdispersion of an interval's counts, in which the noise of both groups adds up instead of cancelling."""
        if self.check.dispersion is not None:
            return self.check.dispersion
        return self._meter.phi(self._dispersion, size=float(counts.n))


class GuardJudge:
    """Judges a stable version, interval by interval, for as long as it serves.

    :param mean_seconds: Mean time between two alarms about a version that never is above a ceiling, at least.
    :param interval_seconds: Time between two intervals; shorter ones are put together as far as the promise needs it.
    :param dispersion: The overdispersion assumed of a check whose noise was not measured yet.
    """

    def __init__(
        self, checks: Sequence[Check], *, mean_seconds: float, interval_seconds: float, dispersion: float
    ) -> None:
        self._mean_seconds = mean_seconds
        self._threshold = len(checks) * mean_seconds / interval_seconds
        self.checks = {
            check.name: GuardedCheck(
                check,
                log_threshold=math.log(self._threshold),
                interval_seconds=interval_seconds,
                dispersion=dispersion,
            )
            for check in checks
        }

    def fold(self, evidence: Iterable[Evidence]) -> None:
        """Take in one interval of each check."""
        for each in evidence:
            self.checks[each.check].fold(each)

    def to_json(self) -> dict[str, dict[str, Any]]:
        """Give what :meth:`restore` needs to go on bit for bit, by check."""
        return {name: check.to_json() for name, check in self.checks.items()}

    def restore(self, name: str, data: Mapping[str, Any]) -> None:
        """Go on with one check from what :meth:`to_json` gave.

        :raises InvalidState: if it is not that; the check then starts anew.
        """
        self.checks[name].restore(data)

    def alarm(self, *, subject: str) -> Alarm | None:
        """Say whether stable is above a ceiling now; blind, it says nothing.

        :param subject: How the sentence calls the version.
        """
        speaking = [each for each in self.checks.values() if each.speaks]
        if not speaking or math.fsum(each.detector.value for each in speaking) < self._threshold:
            return None
        worst = max(speaking, key=lambda each: each.detector.value)
        often = f"by chance the guard says so once in {_days(self._mean_seconds)} or more seldom"
        return Alarm(
            check=worst.check.name,
            reason=f"{worst.words(subject=subject)}; {often}",
            at=worst.intervals[-1][1],
            numbers={
                "ceiling": worst.ceiling,
                "n": worst.detector.recent.n,
                "bad": worst.detector.recent.bad,
                "since": worst.detector.recent_since,
                "threshold": self._threshold,
                "values": {name: each.detector.value for name, each in self.checks.items()},
                "intervals": {name: each.intervals for name, each in self.checks.items()},
            },
        )


def _days(seconds: float) -> str:
    for name, length in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.3g} {name}"
    return f"{seconds:.3g} seconds"
