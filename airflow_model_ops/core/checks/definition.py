"""Checks: one metric question each, with its limits. Measure first (a metric source), then judge (``core/judge``)."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from string import Template
from typing import Any

from airflow_model_ops.core.errors import InvalidConfig

PLACEHOLDERS = ("model", "version", "cluster", "deployed_model", "window")
"""What a check's own query may name, written ``$model``; braces stay PromQL's, and ``$$`` is a dollar sign. On Vertex AI a version
is a deployed model where Envoy has a cluster: both words stand for the id that its platform's metrics know it by."""

MAX_RATIO, MARGIN, NEGLIGIBLE = 1.1, 1.5, 0.001
"""Of a share: the ratio to stable that is no harm, the one that must be excluded before SAFE, and the bad rate that is
nothing to act on, where the check does not say otherwise."""

_MOST_SAMPLES = 10**12
_SMALLEST_SHARE = 1e-9
"""A tested rate this close to 0 or 1 is none: the alternatives beside it would be 0 or 1, which nothing can be tested against."""

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")


class Verdict(StrEnum):
    """What a check, or all checks of a release together, say. Only HARM and BREACH act by themselves."""

    HARM = "HARM"
    """The canary is shown to be worse than stable."""
    BREACH = "BREACH"
    """An absolute limit is crossed."""
    SAFE = "SAFE"
    """Shown to be no worse than allowed, on enough fresh samples."""
    UNDECIDED = "UNDECIDED"
    """Measured, and neither proven good nor bad so far."""
    NO_DATA = "NO_DATA"
    """The source answered and had nothing, or no number."""
    STALE = "STALE"
    """The newest sample is too old, or its age is unknown."""
    SPLIT_MISMATCH = "SPLIT_MISMATCH"
    """The traffic does not follow the declared split."""
    PROVIDER_DOWN = "PROVIDER_DOWN"
    """The source could not be asked or answered nonsense."""


class CheckKind(StrEnum):
    """Where a check's numbers come from. All but ``promql`` are shares of bad events, from 0 to 1."""

    ERROR_RATE = "error_rate"
    """Share of the router's attempts that ended in 5xx, a time-out or a retry."""
    LATENCY = "latency"
    """Share of requests that took longer than ``latency_bound_ms``, in the router's histogram."""
    WRONG_PREDICTIONS = "wrong_predictions"
    """Share of labelled predictions that were wrong, from ``model_predictions_total``."""
    PROMQL = "promql"
    """Whatever the check's own query answers, in the query's own unit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One metric question and the limits of its answer.

    :param name: How people know it, unique within a release policy.
    :param max: Absolute limit. Of a share the ceiling, such as a service level objective: a true rate above it is shown by
        counts. Of a ``promql`` value a plain threshold. Shares are fractions: 5 % is 0.05.
    :param min: ``promql`` only; the value may not fall below it.
    :param max_ratio_to_stable: Canary may be at most this many times stable; more is harm. Shares: default 1.1.
    :param max_difference_to_stable: ``promql`` only; canary may exceed stable by at most this. For a quantity where less is
        worse, such as accuracy, let the query give its opposite (``1 - accuracy``).
    :param margin: Shares only; being this many times stable must be excluded before the canary counts as safe.
    :param negligible: Shares only; a bad rate below it is nothing to act on, and being below it is safe too.
    :param dispersion: Shares only; how many times the Poisson variance the counts have, if you know it (1: independent
        events). Else it is measured between control and stable, or assumed.
    :param critical: Whether it gets a larger part of alpha, and so acts sooner.
    :param min_samples: Shares only; least requests or labelled predictions of the canary in a step before it is safe.
    :param window_seconds: ``promql`` and sensors; span of one measurement. Counts of a release have none: each is judged once.
    :param max_age_seconds: A newest sample older than this makes the answer stale.
    :param consecutive: ``promql`` only; how many measurements in a row must be beyond ``max`` or ``min``.
    :param latency_bound_ms: ``latency`` only; must be an edge of the router's histogram buckets.
    :param query: ``promql`` only; must answer a scalar or exactly one series. Placeholders: :data:`PLACEHOLDERS`.
    :param selector: ``promql`` only; an instant selector whose newest sample tells the answer's age. Without it the age is
        not checked beyond Prometheus's own five minutes of look-back.
    :param muted: Measured, judged and shown, but decides nothing.
    :raises InvalidConfig: with every mistake at once.
    """

    name: str
    kind: CheckKind
    max: float | None = None
    min: float | None = None
    max_ratio_to_stable: float | None = None
    max_difference_to_stable: float | None = None
    margin: float = MARGIN
    negligible: float = NEGLIGIBLE
    dispersion: float | None = None
    critical: bool = False
    min_samples: int = 100
    window_seconds: float = 60.0
    max_age_seconds: float = 60.0
    consecutive: int = 2
    latency_bound_ms: float | None = None
    query: str | None = None
    selector: str | None = None
    muted: bool = False

    def __post_init__(self) -> None:
        mistakes = [*_name_and_kind(self), *_limits(self), *_sizes(self), *_kind_fields(self), *_templates(self)]
        if mistakes:
            raise InvalidConfig(f"check {self.name!r}: " + "; ".join(mistakes), mistakes=mistakes)

    @property
    def has_absolute_limit(self) -> bool:
        """Whether the canary alone can be judged by it."""
        return self.max is not None or self.min is not None

    @property
    def has_relative_limit(self) -> bool:
        """Whether it compares the canary with stable; shares always do."""
        return self.is_share or self.max_ratio_to_stable is not None or self.max_difference_to_stable is not None

    @property
    def max_ratio(self) -> float:
        """The ratio to stable that is no harm, of a share."""
        return MAX_RATIO if self.max_ratio_to_stable is None else self.max_ratio_to_stable

    @property
    def is_share(self) -> bool:
        """Whether its value is a count of bad events over a count of all, from 0 to 1."""
        return self.kind is not CheckKind.PROMQL

    @property
    def events(self) -> str:
        """What is counted, for sentences."""
        return "labelled predictions" if self.kind is CheckKind.WRONG_PREDICTIONS else "requests"

    @property
    def knows_age(self) -> bool:
        """Whether a measurement must tell its age."""
        return self.is_share or self.selector is not None

    def to_json(self) -> dict[str, Any]:
        """Give an object that JSON can hold, for a trigger's arguments and the evidence files."""
        return {
            **{field.name: getattr(self, field.name) for field in dataclasses.fields(self)},
            "kind": self.kind.value,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Check:
        """Read what :meth:`to_json` gave; fields left out take their defaults.

        :raises InvalidConfig: if a field is unknown, missing or wrong.
        """
        known = {field.name for field in dataclasses.fields(cls)}
        unknown = sorted(set(data) - known)
        missing = sorted({"name", "kind"} - set(data))
        if unknown or missing:
            raise InvalidConfig(
                f"check {data.get('name')!r}: unknown {unknown}, missing {missing}; known are {sorted(known)}"
            )
        kinds = {kind.value: kind for kind in CheckKind}
        return cls(**{**data, "kind": kinds.get(data["kind"], data["kind"])})


def _name_and_kind(check: Check) -> Iterator[str]:
    if not isinstance(check.name, str) or not _NAME.fullmatch(check.name):
        yield "name must start with a letter and hold at most 64 letters, digits, '_', '-' or '.'"
    if not isinstance(check.kind, CheckKind):
        yield f"kind {check.kind!r} is unknown; choose one of {', '.join(CheckKind)}"


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _limits(check: Check) -> Iterator[str]:
    is_share = isinstance(check.kind, CheckKind) and check.is_share
    if not is_share and not (check.has_absolute_limit or check.has_relative_limit):
        yield "it has no limit; set max, min, max_ratio_to_stable or max_difference_to_stable"
    for field in ("max", "min", "max_ratio_to_stable", "max_difference_to_stable"):
        if getattr(check, field) is not None:
            yield from _limit(check, field, is_share=is_share)
    if _is_number(check.max) and _is_number(check.min) and check.min > check.max:  # type: ignore[operator]
        yield f"min {check.min!r} is above max {check.max!r}; nothing could pass"
    if is_share:
        yield from _limits_of_share(check)
    else:
        yield from _share_fields(check)


def _limit(check: Check, field: str, *, is_share: bool) -> Iterator[str]:
    limit = getattr(check, field)
    if not _is_number(limit):
        yield f"{field} is {limit!r}; write a finite number"
    elif is_share and field in {"min", "max_difference_to_stable"}:
        yield f"{field} belongs to kind promql, not to {check.kind}; use max_ratio_to_stable, or negligible"
    elif is_share and field == "max" and not _SMALLEST_SHARE <= limit <= 1 - _SMALLEST_SHARE:
        yield f"max is {limit!r}, but {check.kind} is a share between 0 and 1; write 5 % as 0.05"
    elif field == "max_ratio_to_stable" and limit < 1:
        yield f"max_ratio_to_stable is {limit!r}; below 1 no canary as good as stable could pass"
    elif field == "max_difference_to_stable" and limit < 0:
        yield f"max_difference_to_stable is {limit!r}; below 0 no canary as good as stable could pass"


def _limits_of_share(check: Check) -> Iterator[str]:
    if not _is_number(check.margin) or not 1 < check.margin <= 100:
        yield f"margin is {check.margin!r}; give a ratio above 1 and at most 100, such as {MARGIN}"
    elif _is_number(check.max_ratio) and check.margin <= check.max_ratio:
        yield (
            f"margin {check.margin:g} is not above the {check.max_ratio:g} of max_ratio_to_stable that is no harm; "
            "raise margin"
        )
    if not _is_number(check.negligible) or (
        check.negligible != 0 and not _SMALLEST_SHARE <= check.negligible <= 1 - _SMALLEST_SHARE
    ):
        yield f"negligible is {check.negligible!r}; give a bad rate from 0 to 1, such as {NEGLIGIBLE}"
    if check.dispersion is not None and not (_is_number(check.dispersion) and 1 <= check.dispersion <= 1000):
        yield f"dispersion is {check.dispersion!r}; give 1 (independent events) to 1000, or leave it out"


def _share_fields(check: Check) -> Iterator[str]:
    given = {"margin": check.margin != MARGIN, "negligible": check.negligible != NEGLIGIBLE}
    given["dispersion"] = check.dispersion is not None
    yield from (
        f"{field} belongs to shares, not to kind {check.kind}; remove it"
        for field, is_given in given.items()
        if is_given
    )


def _sizes(check: Check) -> Iterator[str]:
    for field in ("min_samples", "consecutive"):
        count = getattr(check, field)
        if not isinstance(count, int) or isinstance(count, bool) or count < 1:
            yield f"{field} is {count!r}; write a whole number of at least 1"
        elif count > _MOST_SAMPLES:
            yield f"{field} is above {_MOST_SAMPLES:,}, which would never be reached; write a smaller number"
    for field in ("window_seconds", "max_age_seconds"):
        seconds = getattr(check, field)
        if not _is_number(seconds) or not 1 <= seconds <= 86_400:
            yield f"{field} is {seconds!r}; write seconds from 1 to 86400"
    for field in ("muted", "critical"):
        if not isinstance(getattr(check, field), bool):
            yield f"{field} is {getattr(check, field)!r}; write true or false"


def _kind_fields(check: Check) -> Iterator[str]:
    bound = check.latency_bound_ms
    if check.kind is CheckKind.LATENCY:
        if not _is_number(bound) or bound <= 0:  # type: ignore[operator]
            yield f"latency_bound_ms is {bound!r}; write milliseconds above 0, an edge of the router's buckets such as 250"
    elif bound is not None:
        yield f"latency_bound_ms belongs to kind latency, not to {check.kind}; remove it"
    if check.kind is CheckKind.PROMQL:
        if not isinstance(check.query, str) or not check.query.strip():
            yield "a promql check needs a query"
    else:
        yield from (
            f"{field} belongs to kind promql, not to {check.kind}; remove it"
            for field in ("query", "selector")
            if getattr(check, field) is not None
        )


def _templates(check: Check) -> Iterator[str]:
    for field in ("query", "selector"):
        text = getattr(check, field)
        if text is None:
            continue
        if not isinstance(text, str) or not Template(text).is_valid():
            yield f"{field} {text!r} holds a lone '$'; write $$ for a dollar sign"
            continue
        unknown = sorted(set(Template(text).get_identifiers()) - set(PLACEHOLDERS))
        if unknown:
            known = ", ".join(f"${name}" for name in PLACEHOLDERS)
            yield f"{field} names {', '.join(f'${name}' for name in unknown)}; known are {known}, and $$ is a dollar sign"
