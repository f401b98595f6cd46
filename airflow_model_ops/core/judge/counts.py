"""Counts: how many requests of one arm, and how many of them were bad. The only thing the judge looks at."""

from __future__ import annotations

import math
from dataclasses import dataclass

from airflow_model_ops.core.checks.evidence import Evidence, Measurement
from airflow_model_ops.core.errors import InvalidState


@dataclass(frozen=True, slots=True)
class Counts:
    """Bad events among all events of one arm in one interval.

    :raises InvalidState: unless ``0 <= bad <= n``.
    """

    n: int = 0
    bad: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.bad <= self.n:
            raise InvalidState(f"{self.bad} bad events among {self.n} is no count; check what the metric source counts")

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.n + other.n, self.bad + other.bad)

    @property
    def rate(self) -> float:
        """The share of bad events, 0 to 1; 0 when nothing was counted."""
        return self.bad / self.n if self.n else 0.0


NOTHING = Counts()
MOST_EVENTS = 2**53
"""Above it floats skip whole numbers, so that what a source says is no count; nobody serves as many requests."""


def counts_of(measurement: Measurement | None) -> Counts:
    """Return what was counted of an arm; nothing if it was not asked, has no answer, counts no events, or cannot be."""
    if measurement is None or measurement.error is not None or measurement.samples is None or measurement.bad is None:
        return NOTHING
    if not can_be_counts(measurement):
        return NOTHING
    return Counts(int(measurement.samples), int(measurement.bad))


def can_be_counts(measurement: Measurement) -> bool:
    """Tell whether what was counted are whole numbers, none of them impossible; nothing at all can be."""
    samples, bad = measurement.samples or 0.0, measurement.bad or 0.0
    if not (math.isfinite(samples) and math.isfinite(bad) and 0 <= bad <= samples <= MOST_EVENTS):
        return False
    return samples == int(samples) and bad == int(bad)


def baseline_of(evidence: Evidence) -> Counts:
    """Return the counts of the stable version, whichever of its two groups a request was in."""
    return counts_of(evidence.stable) + counts_of(evidence.control)
