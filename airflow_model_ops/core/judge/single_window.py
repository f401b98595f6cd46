"""One window of one version against its absolute limits: the sensor's plain question, without an error bound."""

from __future__ import annotations

from airflow_model_ops.core.checks.definition import Check, Verdict
from airflow_model_ops.core.checks.evidence import Evidence, Measurement
from airflow_model_ops.core.checks.summary import Assessment
from airflow_model_ops.core.judge.blindness import Blindness, unanswered, without_number
from airflow_model_ops.core.judge.share_words import percent


def assess_window(check: Check, evidence: Evidence, *, subject: str) -> Assessment:
    """Say whether one measurement is within ``max`` and ``min``: SAFE, BREACH, or why it cannot be said.

    :param subject: How the reason calls the version.
    """
    measured = evidence.canary
    blind = unanswered(check, measured, arm=subject) or _unusable(check, measured, subject=subject)
    if blind is not None:
        return Assessment(check=check.name, verdict=blind.verdict, reason=blind.reason, muted=check.muted)
    value = measured.value or 0.0
    shown = f"{check.name} of {subject} {_show(check, value)}"
    if check.is_share:
        shown += f" ({measured.bad or 0:,.0f} of {measured.samples or 0:,.0f})"
    if check.max is not None and value > check.max:
        verdict, reason = Verdict.BREACH, f"{shown}: above the allowed {_show(check, check.max)}"
    elif check.min is not None and value < check.min:
        verdict, reason = Verdict.BREACH, f"{shown}: below the required {_show(check, check.min)}"
    else:
        verdict, reason = Verdict.SAFE, f"{shown}: within its limits"
    return Assessment(check=check.name, verdict=verdict, reason=reason, muted=check.muted)


def _unusable(check: Check, measured: Measurement, *, subject: str) -> Blindness | None:
    if not check.is_share:
        return without_number(check, measured, arm=subject)
    what, window = f"{check.name} of {subject}", f"{check.window_seconds:g} s"
    if not measured.samples:
        return Blindness(verdict=Verdict.NO_DATA, reason=f"{what}: no {check.events} were counted in the last {window}")
    if measured.samples < check.min_samples:
        reason = f"{what}: {measured.samples:,.0f} {check.events} in the last {window}, needed {check.min_samples:,}"
        return Blindness(verdict=Verdict.UNDECIDED, reason=reason)
    return None


def _show(check: Check, value: float) -> str:
    return percent(value) if check.is_share else f"{value:.4g}"
