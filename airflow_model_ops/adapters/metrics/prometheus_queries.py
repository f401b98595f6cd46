"""The PromQL behind each kind of check. Pure, so that a person can be shown what was asked.

Counts within a window are ``increase`` plus the part that ``increase`` cannot see: a series that appears with the value 7
had seven events since it was born, but no earlier sample to subtract. Envoy makes a 5xx counter at the first 5xx and a
histogram at the first request, so for a fresh canary that part is the evidence. A series counts as newborn when there is no
sample of it in the hour before the window; while Prometheus itself is younger than the window, that is every series, and
the first windows then hold whole lifetimes.

Envoy's names were read from ``/stats/prometheus`` of Envoy 1.36 and later: the response class is on ``..._rq_xx``; an attempt
that was retried is in ``..._rq_retry`` only, so retries are counted as failed attempts and cannot hide a version's errors; a
request that timed out is in no time histogram, but is an error.
"""

from __future__ import annotations

import re
from string import Template

from airflow_model_ops.core.checks import Arm, Check, CheckKind

VALUE, BAD, GOOD, TOTAL, AGE, BUCKETS = "value", "bad", "good", "total", "age", "buckets"
"""The parts of a measurement. ``buckets`` is asked only when ``good`` has no answer."""

_BEFORE_WINDOW = "1h"
_AGE_STEPS, _AGE_REACH = 10, 10


def queries_for(check: Check, *, model: str, arm: Arm) -> dict[str, str]:
    """Give the queries of one arm by the part they answer.

    Shares answer ``bad`` (or ``good`` for a latency check: within the bound) and ``total``; a ``promql`` check answers
    ``value`` and, with a selector, ``total`` (scraped samples). ``age`` is there whenever the check knows its age.
    Predictions are found whether they were counted under the version's number or its name.
    """
    if check.kind is CheckKind.ERROR_RATE:
        return _error_rate(check, cluster=arm.cluster)
    if check.kind is CheckKind.LATENCY:
        return _latency(check, cluster=arm.cluster)
    if check.kind is CheckKind.WRONG_PREDICTIONS:
        versions = [version for version in (arm.version_number, arm.version_name) if version is not None]
        return _wrong_predictions(check, model=model, versions=versions)
    names = {"model": model, "version": arm.version_number, "cluster": arm.cluster}
    return _promql(check, values={**names, "window": duration(check.window_seconds)})


def duration(seconds: float) -> str:
    """Write seconds as PromQL does: ``60s``, ``1500ms``."""
    return f"{int(seconds)}s" if seconds == int(seconds) else f"{max(1, round(seconds * 1000))}ms"


def quote(text: str) -> str:
    """Write text as a PromQL string literal."""
    return f'"{_escape(text)}"'


def _error_rate(check: Check, *, cluster: str) -> dict[str, str]:
    label = f"envoy_cluster_name={quote(cluster)}"
    completed = f"envoy_cluster_upstream_rq_completed{{{label}}}"
    failed = f'envoy_cluster_upstream_rq_xx{{{label},envoy_response_code_class="5"}}'
    retried = _or_zero(_count(f"envoy_cluster_upstream_rq_retry{{{label}}}", check))
    return {
        BAD: f"{_or_zero(_count(failed, check))} + {retried}",
        TOTAL: f"{_count(completed, check)} + {retried}",
        AGE: _age(completed, check),
    }


def _latency(check: Check, *, cluster: str) -> dict[str, str]:
    histogram, label = "envoy_cluster_upstream_rq_time_bucket", f"envoy_cluster_name={quote(cluster)}"
    everything = f'{histogram}{{{label},le="+Inf"}}'
    within = f"{histogram}{{{label},le=~{quote(_spellings(check.latency_bound_ms or 0.0))}}}"
    return {
        GOOD: _count(within, check),
        TOTAL: _count(everything, check),
        AGE: _age(everything, check),
        BUCKETS: f"count by (le) ({histogram}{{{label}}})",
    }


def _wrong_predictions(check: Check, *, model: str, versions: list[str]) -> dict[str, str]:
    names = "|".join(re.escape(version) for version in versions)
    labels = f"model={quote(model)},version=~{quote(names)}"
    labelled = f'model_predictions_total{{{labels},outcome=~"right|wrong"}}'
    wrong = f'model_predictions_total{{{labels},outcome="wrong"}}'
    return {
        BAD: _or_zero(_count(wrong, check)),
        TOTAL: _count(labelled, check),
        AGE: _age(labelled, check),
    }


def _promql(check: Check, *, values: dict[str, str]) -> dict[str, str]:
    escaped = {name: _escape(value) for name, value in values.items()}
    queries = {VALUE: Template(check.query or "").substitute(escaped)}
    if check.selector is not None:
        selector = Template(check.selector).substitute(escaped)
        queries[TOTAL] = f"sum(count_over_time({selector}[{duration(check.window_seconds)}]))"
        queries[AGE] = _age(selector, check)
    return queries


def _count(selector: str, check: Check) -> str:
    window = duration(check.window_seconds)
    newborn = f"({selector} unless count_over_time({selector}[{_BEFORE_WINDOW}] offset {window}))"
    return f"sum({newborn} or increase({selector}[{window}]))"


def _or_zero(query: str) -> str:
    return f"({query} or vector(0))"


def _age(selector: str, check: Check) -> str:
    """Ask for the newest sample's age, also after the target is gone: then only the past knows its time stamps."""
    reach, step = duration(_AGE_REACH * check.max_age_seconds), duration(check.max_age_seconds / _AGE_STEPS)
    return f"time() - max(timestamp({selector}) or max_over_time(timestamp({selector})[{reach}:{step}]))"


def _spellings(bound_ms: float) -> str:
    """Match one bucket edge however it is written (250, 250.0, 2.5e+02), and no other."""
    spellings = {f"{bound_ms:g}", repr(float(bound_ms)), f"{bound_ms:.1f}"}
    if bound_ms == int(bound_ms):
        spellings.add(str(int(bound_ms)))
    same = {spelling for spelling in spellings if float(spelling) == bound_ms}
    return "|".join(re.escape(spelling) for spelling in sorted(same))


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
