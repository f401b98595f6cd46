"""What the metric source would hand to the judge for an interval, faults included."""

from __future__ import annotations

import math
from datetime import UTC, datetime

from airflow_model_ops.core.checks import Evidence, Measurement
from benchmarks.judge.scenes import Fault
from benchmarks.judge.traffic import Arm, Seen

START = datetime(2023, 6, 1, tzinfo=UTC).timestamp()
"""When every simulated release begins, seconds since the epoch."""

SCRAPE_AGE_SECONDS, STALE_SECONDS = 2.0, 600.0
"""Age of the newest sample when nothing is wrong, and at least when the source is stale."""


class Source:
    """Turns intervals into evidence of one check; it remembers its last answer, which is what a stale source repeats."""

    def __init__(self, check: str) -> None:
        self._check = check
        self._last = 0.0

    def answer(self, seen: Seen) -> Evidence:
        """Give the evidence of one interval."""
        stuck = seen.fault is Fault.STALE and not seen.canary_only
        begin, self._last = self._last, self._last if stuck else seen.end
        age = SCRAPE_AGE_SECONDS if seen.fault is not Fault.STALE else max(STALE_SECONDS, seen.end - self._last)
        others = None if seen.canary_only else seen.fault
        return Evidence(
            check=self._check,
            canary=_measured(seen.canary, seen.fault, age=age),
            stable=_measured(seen.stable, others, age=age if others else SCRAPE_AGE_SECONDS),
            control=_measured(seen.control, others, age=age if others else SCRAPE_AGE_SECONDS),
            begin=_iso(begin),
            at=_iso(self._last),
        )


def _measured(arm: Arm, fault: Fault | None, *, age: float) -> Measurement:
    match fault:
        case Fault.OUTAGE:
            return Measurement(error="connection refused")
        case Fault.NAN:
            return Measurement(value=math.nan, samples=math.nan, bad=math.nan, age_seconds=age)
        case Fault.EMPTY:
            return Measurement()
        case Fault.STALE:
            return Measurement(samples=0, bad=0, age_seconds=age)
    value = arm.bad / arm.samples if arm.samples else None
    return Measurement(value=value, samples=arm.samples, bad=arm.bad, age_seconds=age)


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(START + seconds, UTC).isoformat()
