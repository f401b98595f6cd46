"""Plain thresholds: limits on single measurements, and a number of them in a row. They come with no error bound.

Each interval is graded by itself; the newest grades together make the verdict. An interval in which the canary could not
be measured well enough is blind, and a blind interval speaks for neither side.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from airflow_model_ops.core.checks.definition import Check, CheckKind, Verdict
from airflow_model_ops.core.checks.evidence import Evidence, Measurement
from airflow_model_ops.core.checks.summary import Assessment

NOISE_SIGMAS = 3.0
"""A share must differ from stable's by more than this many standard errors before a crossed limit counts as harm."""
MAX_CLOCK_SKEW_SECONDS = 5.0
"""How far in the future a sample may seem before its age is unknown: clocks of two machines differ a little."""
FEWEST_SAMPLES = 0.1
"""Share of ``min_samples`` below which nothing was seen: a single request is no ground for a promotion without proof."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Grade:
    """What one interval says by itself.

    :param verdict: HARM, BREACH, SAFE, UNDECIDED or a blind one.
    :param harm: Whether it is worse than stable; it may be beyond an absolute limit too.
    :param breach: Which absolute limit is crossed, as a sentence.
    """

    verdict: Verdict
    reason: str
    harm: bool = False
    breach: str | None = None


def assess(check: Check, evidence: Sequence[Evidence], *, has_stable: bool, subject: str = "the canary") -> Assessment:
    """Say what a check's evidence shows so far, by plain thresholds.

    HARM: worse than stable in each of the ``consecutive`` newest intervals. BREACH: beyond ``max`` or ``min`` in each of
    them. SAFE: within every limit in each of them. If the newest is blind: why it is. Everything else is UNDECIDED.

    :param evidence: Intervals in the order they were gathered; those of other checks are ignored. One instant twice in
        a row counts once, and an instant before its predecessor's starts the row anew.
    :param has_stable: Whether there is a stable version to compare with. Without one relative limits are left out, and
        a check that has no other limit is skipped.
    :param subject: How the reason calls the canary, e.g. its version.
    """
    if not (has_stable or check.has_absolute_limit):
        reason = f"{check.name} of {subject} was not compared: there is no stable version yet, and it has no limit of its own"
        return Assessment(check=check.name, verdict=Verdict.UNDECIDED, reason=reason, skipped=True, muted=check.muted)
    compare = has_stable and check.has_relative_limit
    grades = [_grade(check, each, compare=compare, subject=subject) for each in _newest(check, evidence)]
    verdict, reason = _decide(check, grades, subject=subject)
    if check.has_relative_limit and not has_stable:
        reason += " (not compared with stable: there is none yet)"
    suspicious = bool(grades) and grades[-1].verdict in {Verdict.HARM, Verdict.BREACH}
    return Assessment(check=check.name, verdict=verdict, reason=reason, muted=check.muted, suspicious=suspicious)


def _newest(check: Check, evidence: Sequence[Evidence]) -> list[Evidence]:
    """Give the newest row of intervals by the order of gathering.

    Time stamps come from several clocks (the worker's when the metric source is away), so they must not choose what is
    newest; where they go back, nothing says how the earlier intervals lie to the later ones.
    """
    row: list[Evidence] = []
    for each in evidence:
        if each.check != check.name:
            continue
        if row and each.instant < row[-1].instant:
            row.clear()
        if row and each.instant == row[-1].instant:
            row.pop()
        row.append(each)
    return row[-check.consecutive :]


def _decide(check: Check, grades: Sequence[_Grade], *, subject: str) -> tuple[Verdict, str]:
    if not grades:
        return Verdict.NO_DATA, f"{check.name} of {subject} has not been measured yet"
    newest, full = grades[-1], len(grades) == check.consecutive
    in_a_row = f", {check.consecutive} times in a row" if check.consecutive > 1 else ""
    if full and all(grade.harm for grade in grades):
        return Verdict.HARM, newest.reason + in_a_row
    if full and newest.breach and all(grade.breach for grade in grades):
        return Verdict.BREACH, newest.breach + in_a_row
    if newest.verdict not in {Verdict.HARM, Verdict.BREACH, Verdict.SAFE}:
        return newest.verdict, newest.reason
    if full and all(grade.verdict is Verdict.SAFE for grade in grades):
        return Verdict.SAFE, newest.reason
    agreeing = _run_length(grades)
    return Verdict.UNDECIDED, f"{newest.reason}; seen {agreeing} of {check.consecutive} times in a row"


def _run_length(grades: Sequence[_Grade]) -> int:
    length = 0
    for grade in reversed(grades):
        if grade.verdict is not grades[-1].verdict:
            break
        length += 1
    return length


def _grade(check: Check, evidence: Evidence, *, compare: bool, subject: str) -> _Grade:
    blind = _blindness(check, evidence.canary, arm=subject)
    if blind:
        return blind
    shown = f"{check.name} of {subject} {_show(check, evidence.canary)}"
    crossed = _crossed_limit(check, _value(evidence.canary))
    breach = None if crossed is None else f"{shown}: {crossed}"
    against = _against_stable(check, evidence, shown=shown) if compare else None
    if against is not None and against.harm:
        return _Grade(verdict=Verdict.HARM, reason=against.reason, harm=True, breach=breach)
    if breach is not None:
        return _Grade(verdict=Verdict.BREACH, reason=breach, breach=breach)
    return against or _Grade(verdict=Verdict.SAFE, reason=f"{shown}: within {_limits_in_words(check)}")


def _blindness(check: Check, arm_measured: Measurement, *, arm: str) -> _Grade | None:
    """Say why an arm cannot be judged in this interval, or ``None`` if it can."""
    value, samples, age = arm_measured.value, arm_measured.samples, arm_measured.age_seconds
    what, window = f"{check.name} of {arm}", f"{check.window_seconds:g} s"
    if arm_measured.error is not None:
        return _Grade(verdict=Verdict.PROVIDER_DOWN, reason=f"{what} could not be measured: {arm_measured.error}")
    if age is not None and not (math.isfinite(age) and age <= check.max_age_seconds):
        reason = f"the newest sample of {what} is {age:.0f} s old, allowed {check.max_age_seconds:g} s"
        return _Grade(verdict=Verdict.STALE, reason=reason)
    if age is not None and age < -MAX_CLOCK_SKEW_SECONDS:
        reason = f"the newest sample of {what} is {-age:.0f} s in the future, so its age is unknown; check the clocks"
        return _Grade(verdict=Verdict.STALE, reason=reason)
    if value is None or not math.isfinite(value):
        answer = "nothing" if value is None else f"{value}"
        return _Grade(verdict=Verdict.NO_DATA, reason=f"{what}: the metric source has {answer} for the last {window}")
    if check.knows_age and age is None:
        return _Grade(verdict=Verdict.STALE, reason=f"{what}: no sample is recent enough to tell its age")
    return _blindness_of_share(check, value=value, samples=samples, what=what) if check.is_share else None


def _blindness_of_share(check: Check, *, value: float, samples: float | None, what: str) -> _Grade | None:
    window = f"{check.window_seconds:g} s"
    if samples is None or not math.isfinite(samples) or samples <= 0:
        return _Grade(verdict=Verdict.NO_DATA, reason=f"{what}: nothing was counted in the last {window}")
    if not 0 <= value <= 1:
        return _Grade(
            verdict=Verdict.PROVIDER_DOWN, reason=f"{what}: the metric source answered {value:g}, which is no share"
        )
    if samples < check.min_samples:
        reason = f"{what}: {samples:,.0f} samples in the last {window}, needed {check.min_samples:,}"
        seen = samples >= FEWEST_SAMPLES * check.min_samples
        return _Grade(verdict=Verdict.UNDECIDED if seen else Verdict.NO_DATA, reason=reason)
    return None


def _crossed_limit(check: Check, value: float) -> str | None:
    if check.max is not None and value > check.max:
        return f"above the allowed {_quantity(check, check.max)}"
    if check.min is not None and value < check.min:
        return f"below the required {_quantity(check, check.min)}"
    return None


def _against_stable(check: Check, evidence: Evidence, *, shown: str) -> _Grade:
    if evidence.stable is None:
        return _Grade(verdict=Verdict.NO_DATA, reason=f"{shown}, but stable was not measured")
    blind = _blindness(check, evidence.stable, arm="stable")
    if blind:
        return _Grade(verdict=blind.verdict, reason=f"{shown}, but {blind.reason}")
    shown += f" against stable {_show(check, evidence.stable)}"
    canary, stable = _value(evidence.canary), _value(evidence.stable)
    if check.max_ratio_to_stable is not None and min(canary, stable) < 0:
        return _Grade(verdict=Verdict.UNDECIDED, reason=f"{shown}: a ratio of negative values means nothing")
    excess = _excess_over_stable(check, canary=canary, stable=stable)
    if excess is None:
        return _Grade(verdict=Verdict.SAFE, reason=f"{shown}: within {_limits_in_words(check)}")
    if check.is_share and not _is_beyond_noise(evidence.canary, evidence.stable):
        return _Grade(verdict=Verdict.UNDECIDED, reason=f"{shown}: {excess}, but so few events may be chance")
    return _Grade(verdict=Verdict.HARM, reason=f"{shown}: {excess}", harm=True)


def _excess_over_stable(check: Check, *, canary: float, stable: float) -> str | None:
    ratio, difference = check.max_ratio_to_stable, check.max_difference_to_stable
    if ratio is not None and canary > ratio * stable:
        measured = f"{canary / stable:.1f}" if stable > 0 else "beyond any number"
        return f"ratio {measured}, allowed {ratio:g}"
    if difference is not None and canary - stable > difference:
        return f"difference {_quantity(check, canary - stable)}, allowed {_quantity(check, difference)}"
    return None


def _is_beyond_noise(canary: Measurement, stable: Measurement) -> bool:
    """Tell whether two shares differ by more than chance, by the pooled standard error of two binomial proportions."""
    n_canary, n_stable = canary.samples or 0.0, stable.samples or 0.0
    pooled = ((canary.bad or 0.0) + (stable.bad or 0.0)) / (n_canary + n_stable)
    error = math.sqrt(max(0.0, pooled * (1 - pooled)) * (1 / n_canary + 1 / n_stable))
    return _value(canary) - _value(stable) > NOISE_SIGMAS * error


def _value(measurement: Measurement) -> float:
    return math.nan if measurement.value is None else measurement.value


def _limits_in_words(check: Check) -> str:
    words = [
        (check.max, f"at most {_quantity(check, check.max)}"),
        (check.min, f"at least {_quantity(check, check.min)}"),
        (check.max_ratio_to_stable, f"{check.max_ratio_to_stable} times stable"),
        (check.max_difference_to_stable, f"stable plus {_quantity(check, check.max_difference_to_stable)}"),
    ]
    return " and ".join(text for limit, text in words if limit is not None)


def _show(check: Check, measurement: Measurement) -> str:
    shown = _quantity(check, measurement.value)
    if check.kind is CheckKind.LATENCY:
        shown += f" over {check.latency_bound_ms:g} ms"
    if check.is_share and measurement.bad is not None and measurement.samples is not None:
        shown += f" ({measurement.bad:,.0f} of {measurement.samples:,.0f})"
    return shown


def _quantity(check: Check, value: float | None) -> str:
    if value is None:
        return "none"
    return _percent(value) if check.is_share else f"{value:.4g}"


def _percent(share: float) -> str:
    """Write a share with two significant digits, and at least one decimal: 8.1 %, 0.031 %, 100.0 %."""
    percent = 100 * share
    if percent == 0:
        return "0 %"
    decimals = min(6, max(1, 1 - math.floor(math.log10(abs(percent)))))
    return f"{percent:.{decimals}f} %"
