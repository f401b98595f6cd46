"""Blindness: why an arm cannot be judged on its newest measurement. It freezes a step and never acts."""

from __future__ import annotations

import math
from dataclasses import dataclass

from airflow_model_ops.core.checks.definition import Check, Verdict
from airflow_model_ops.core.checks.evidence import Evidence, Measurement
from airflow_model_ops.core.judge.counts import can_be_counts

MAX_CLOCK_SKEW_SECONDS = 5.0
"""How far in the future a sample may seem before its age is unknown: clocks of two machines differ a little."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Blindness:
    """Which verdict it makes, and why, as a sentence."""

    verdict: Verdict
    reason: str


def unanswered(check: Check, measured: Measurement, *, arm: str) -> Blindness | None:
    """Say why the source's answer about an arm is none, or too old to speak of now; ``None`` if it can be used."""
    what, age = f"{check.name} of {arm}", measured.age_seconds
    if measured.error is not None:
        return Blindness(verdict=Verdict.PROVIDER_DOWN, reason=f"{what} could not be measured: {measured.error}")
    if age is not None and not (math.isfinite(age) and age <= check.max_age_seconds):
        reason = f"the newest sample of {what} is {age:.0f} s old, allowed {check.max_age_seconds:g} s"
        return Blindness(verdict=Verdict.STALE, reason=reason)
    if age is not None and age < -MAX_CLOCK_SKEW_SECONDS:
        reason = f"the newest sample of {what} is {-age:.0f} s in the future, so its age is unknown; check the clocks"
        return Blindness(verdict=Verdict.STALE, reason=reason)
    return None


def uncountable(check: Check, measured: Measurement, *, arm: str) -> Blindness | None:
    """Say why what a source counted of an arm's share cannot be counts; ``None`` if it can."""
    what, samples, bad = f"{check.name} of {arm}", measured.samples, measured.bad
    if can_be_counts(measured):
        return None
    if not all(math.isfinite(each or 0.0) for each in (samples, bad)):
        reason = f"{what}: the metric source counted {bad} bad {check.events} of {samples}, which are no numbers"
        return Blindness(verdict=Verdict.NO_DATA, reason=reason)
    reason = (
        f"{what}: the metric source counted {bad} bad {check.events} of {samples}, which cannot be; check its query"
    )
    return Blindness(verdict=Verdict.PROVIDER_DOWN, reason=reason)


def out_of_order(check: Check, evidence: Evidence, *, newest_at: float, arm: str) -> Blindness | None:
    """Say that the source's clock went back; ``None`` if it did not. What it says meanwhile cannot be put in order."""
    behind = newest_at - evidence.instant.timestamp()
    if behind <= 0:
        return None
    reason = f"{check.name} of {arm}: the answer is dated {behind:.0f} s before the one before it; check the clocks"
    return Blindness(verdict=Verdict.STALE, reason=reason)


def without_number(check: Check, measured: Measurement, *, arm: str) -> Blindness | None:
    """Say why a ``promql`` answer holds no number that can be judged; ``None`` if it does."""
    what, value = f"{check.name} of {arm}", measured.value
    if value is None or not math.isfinite(value):
        answer = "nothing" if value is None else f"{value}"
        window = f"{check.window_seconds:g} s"
        return Blindness(
            verdict=Verdict.NO_DATA, reason=f"{what}: the metric source has {answer} for the last {window}"
        )
    if check.knows_age and measured.age_seconds is None:
        return Blindness(verdict=Verdict.STALE, reason=f"{what}: no sample is recent enough to tell its age")
    return None
