"""The PromQL behind each kind of check, and what each series of its answer counts. Pure: a person can be shown what was asked.

A share is counted from raw samples: one range selector fetches the counters of all arms at once, so that they come from one
state of the storage, and :mod:`~airflow_model_ops.adapters.metrics.counting` takes the differences.

Envoy's names were read from ``/stats/prometheus`` of Envoy 1.36 and later: the response class is on ``..._rq_xx``; an attempt
that was retried is in ``..._rq_retry`` only, so retries are counted as failed attempts and cannot hide a version's errors; a
request that timed out is in no time histogram, but is an error. ``..._rq_completed`` starts at zero with its cluster, while a
class or a histogram is made at the first request: it shows the scrapes in which the others were not there yet. The classes,
and not it, are summed to all requests: bad ones are then a part of all, however a scrape tears the two apart.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from string import Template

from airflow_model_ops.core.checks import Arm, Arms, Check, CheckKind

VALUE, TOTAL, AGE = "value", "total", "age"
"""The parts of the answer to a ``promql`` check."""

COMPLETED = "envoy_cluster_upstream_rq_completed"
RETRIED = "envoy_cluster_upstream_rq_retry"
BY_CLASS = "envoy_cluster_upstream_rq_xx"
BUCKET = "envoy_cluster_upstream_rq_time_bucket"
PREDICTIONS = "model_predictions_total"
COUNTED_LABELS = frozenset(
    {"__name__", "envoy_cluster_name", "envoy_response_code_class", "le", "model", "version", "outcome"}
)
"""Labels that say what is counted; all others say who counted it."""

_AGE_STEPS, _AGE_REACH = 10, 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """What a series counts: see :class:`~airflow_model_ops.adapters.metrics.counting.Counter`."""

    group: str
    name: str
    of_all: int
    of_bad: int


def groups_of(check: Check, arm: Arm) -> frozenset[str]:
    """Give the groups whose events belong to an arm. Predictions may be counted under the version's number or its name."""
    if check.kind is CheckKind.WRONG_PREDICTIONS:
        return frozenset({arm.version_number, arm.version_name or arm.version_number})
    return frozenset({arm.cluster})


def counted_arms(check: Check, arms: Arms) -> dict[str, Arm]:
    """Give the arms that a share is counted for. Predictions do not know over which cluster they were asked: no control."""
    found = {"canary": arms.canary, "stable": arms.stable, "control": arms.control}
    if check.kind is CheckKind.WRONG_PREDICTIONS:
        del found["control"]
    return {name: arm for name, arm in found.items() if arm is not None}


def counters_query(check: Check, *, model: str, arms: Iterable[Arm], seconds: float) -> str:
    """Ask for the raw samples of the last seconds of everything a share is counted from."""
    groups = any_of(group for arm in arms for group in groups_of(check, arm))
    if check.kind is CheckKind.WRONG_PREDICTIONS:
        matchers = f'__name__="{PREDICTIONS}",model={quote(model)},version=~{groups}'
    elif check.kind is CheckKind.LATENCY:
        edges = f"{_spellings(check.latency_bound_ms or 0.0)}|\\+Inf|"
        matchers = f'__name__=~"{COMPLETED}|{BUCKET}",envoy_cluster_name=~{groups},le=~{quote(edges)}'
    else:
        matchers = f'__name__=~"{COMPLETED}|{RETRIED}|{BY_CLASS}",envoy_cluster_name=~{groups}'
    return f"{{{matchers}}}[{duration(seconds)}]"


def edges_query(check: Check, *, arms: Iterable[Arm], seconds: float) -> str:
    """Ask where the buckets of the router's histogram end."""
    groups = any_of(group for arm in arms for group in groups_of(check, arm))
    return f"count by (le) (count_over_time({BUCKET}{{envoy_cluster_name=~{groups}}}[{duration(seconds)}]))"


def role_of(labels: Mapping[str, str]) -> Role | None:
    """Tell what a series counts; ``None`` if it is none that :func:`counters_query` asks for."""
    cluster = labels.get("envoy_cluster_name", "")
    match labels.get("__name__"):
        case "envoy_cluster_upstream_rq_completed":
            return Role(group=cluster, name="completed", of_all=0, of_bad=0)
        case "envoy_cluster_upstream_rq_retry":
            return Role(group=cluster, name="retried", of_all=1, of_bad=1)
        case "envoy_cluster_upstream_rq_xx":
            code = labels.get("envoy_response_code_class", "")
            return Role(group=cluster, name=f"class {code}", of_all=1, of_bad=int(code == "5"))
        case "envoy_cluster_upstream_rq_time_bucket":
            everything = labels.get("le") == "+Inf"
            name = "all times" if everything else "within"
            return Role(group=cluster, name=name, of_all=int(everything), of_bad=1 if everything else -1)
        case "model_predictions_total":
            outcome = labels.get("outcome", "")
            labelled, wrong = outcome in {"right", "wrong"}, outcome == "wrong"
            return Role(group=labels.get("version", ""), name=outcome, of_all=int(labelled), of_bad=int(wrong))
        case _:
            return None


def promql_queries(check: Check, *, model: str, arm: Arm) -> dict[str, str]:
    """Give a user's own query for one arm as ``value``; with a selector also ``total`` (scraped samples) and ``age``."""
    values = {
        "model": model,
        "version": arm.version_number,
        "cluster": arm.cluster,
        "deployed_model": arm.cluster,
        "window": duration(check.window_seconds),
    }
    escaped = {name: _escape(value) for name, value in values.items()}
    queries = {VALUE: Template(check.query or "").substitute(escaped)}
    if check.selector is not None:
        selector = Template(check.selector).substitute(escaped)
        queries[TOTAL] = f"sum(count_over_time({selector}[{duration(check.window_seconds)}]))"
        queries[AGE] = _age(selector, check)
    return queries


def duration(seconds: float) -> str:
    """Write seconds as PromQL does: ``60s``, ``1500ms``."""
    return f"{int(seconds)}s" if seconds == int(seconds) else f"{max(1, round(seconds * 1000))}ms"


def quote(text: str) -> str:
    """Write text as a PromQL string literal."""
    return f'"{_escape(text)}"'


def any_of(names: Iterable[str]) -> str:
    """Write a regular expression, as a PromQL string literal, that matches some names and no other."""
    return quote("|".join(re.escape(name) for name in sorted(set(names))))


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
