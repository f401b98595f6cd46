"""The PromQL behind each kind of check on a Vertex AI endpoint, and what each series of its answer counts. Pure.

From Google's pages, read in stored copies; none of it was checked against the service itself:

- cloud.google.com/monitoring/api/metrics_gcp_a_b, section aiplatform: ``prediction/online/response_count`` is DELTA INT64 with the
  labels ``deployed_model_id`` and ``response_code``, of which the page says "1xx, 2xx, 3xx, 4xx, 5xx"; of the private endpoints'
  one, that it is the code itself. Both are read. ``prediction/online/prediction_latencies`` is a DELTA DISTRIBUTION in ms whose
  ``latency_type`` "total" is always there. ``error_count`` has no codes, so a client's mistakes may be in it: not used. Their
  resource is ``aiplatform.googleapis.com/Endpoint`` alone, with ``endpoint_id`` and ``location``.
- cloud.google.com/monitoring/promql/promql-mapping: the first ``/`` becomes ``:``, other special characters ``_``; a distribution
  has ``_bucket``, ``_sum`` and ``_count``.
- cloud.google.com/stackdriver/docs/managed-prometheus/promql-differences: a query names one metric exactly, with no regular
  expression; counters are kept "with a time range rather than the single timestamp"; ``rate`` and ``increase`` interpolate.

So DELTA metrics are asked with ``increase`` over one sampling period, as Google's own pages do; what a raw selector answers for
them is written nowhere. All buckets come at once: how ``le`` is spelled is not told either, and an edge that is missing is then
named beside those that exist.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from airflow_model_ops.adapters.metrics.prometheus_queries import any_of, duration, groups_of, quote
from airflow_model_ops.core.checks import Arm, Check, CheckKind
from airflow_model_ops.core.errors import MetricsUnavailable

RESPONSES = "aiplatform_googleapis_com:prediction_online_response_count"
LATENCIES = "aiplatform_googleapis_com:prediction_online_prediction_latencies_bucket"
_SAME_EDGE = 1e-5
"""How far the bound may be from an edge, relatively: errors and people give edges with six digits."""
_MOST_EVENTS = 2**53


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointLabels:
    """How Cloud Monitoring knows an endpoint: its resource labels."""

    location: str
    endpoint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Events:
    """Events of one deployed model: end of a sampling period, in milliseconds, to what happened in it. May be fractions."""

    good: dict[int, float] = field(default_factory=dict)
    bad: dict[int, float] = field(default_factory=dict)


def events_query(check: Check, *, endpoint: EndpointLabels, arms: Iterable[Arm], period_seconds: float) -> str:
    """Ask how much everything that a share is counted from grew in the sampling period before an instant."""
    groups = any_of(group for arm in arms for group in groups_of(check, arm))
    labels = f"endpoint_id={quote(endpoint.endpoint)},location={quote(endpoint.location)},deployed_model_id=~{groups}"
    if check.kind is CheckKind.LATENCY:
        metric, by, labels = LATENCIES, "le", f'{labels},latency_type="total"'
    else:
        metric, by = RESPONSES, "response_code"
    return f"sum by (deployed_model_id, {by}) (increase({metric}{{{labels}}}[{duration(period_seconds)}]))"


def read_events(answer: Sequence[Any], check: Check, *, source: str) -> dict[str, Events]:
    """Read the answer to :func:`events_query`, by deployed model id.

    :param source: How the metric source is called in an error.
    :raises MetricsUnavailable: if it is no such answer, or no bucket of a histogram ends at the check's bound.
    """
    try:
        series = [_Series.read(each) for each in answer]
    except (AttributeError, KeyError, TypeError, ValueError) as fault:
        raise MetricsUnavailable(
            f"{source} does not answer series of numbers ({fault!r}); check the connection's monitoring_endpoint"
        ) from fault
    wrong = next((value for each in series for value in each.values.values() if not 0 <= value <= _MOST_EVENTS), None)
    if wrong is not None:
        raise MetricsUnavailable(f"{source}: the increase of a counter is {wrong:g}, which is no count; ask again")
    if check.kind is CheckKind.LATENCY:
        return _latencies(series, check.latency_bound_ms or 0.0, source=source)
    found: dict[str, Events] = {}
    for each in series:
        events = found.setdefault(each.group, Events())
        _add(events.bad if each.labels.get("response_code", "").startswith("5") else events.good, each.values)
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class _Series:
    labels: Mapping[str, str]
    values: Mapping[int, float]

    @classmethod
    def read(cls, answered: Any) -> _Series:
        labels = {str(name): str(value) for name, value in answered["metric"].items()}
        if "deployed_model_id" not in labels:
            raise ValueError(f"nobody asked for {labels}")
        return cls(labels=labels, values={round(float(at) * 1000): float(value) for at, value in answered["values"]})

    @property
    def group(self) -> str:
        return self.labels["deployed_model_id"]


def _latencies(series: Sequence[_Series], bound_ms: float, *, source: str) -> dict[str, Events]:
    edges: dict[str, dict[float, Mapping[int, float]]] = {}
    for each in series:
        edges.setdefault(each.group, {})[float(each.labels.get("le", "nan"))] = each.values
    found: dict[str, Events] = {}
    for group, buckets in edges.items():
        edge = next((edge for edge in buckets if math.isclose(edge, bound_ms, rel_tol=_SAME_EDGE)), None)
        if edge is None or math.inf not in buckets:
            known = ", ".join(f"{known:g}" for known in sorted(buckets) if math.isfinite(known)) or "nowhere"
            raise MetricsUnavailable(
                f"no bucket of the endpoint's histogram in {source} ends at {bound_ms:g} ms; "
                f"set latency_bound_ms to an edge: {known}"
            )
        within = buckets[edge]
        # Without the one bucket, or without the other, a period cannot be told; no request takes less than none.
        both = {at: (everything, within[at]) for at, everything in buckets[math.inf].items() if at in within}
        found[group] = Events(
            good={at: min(good, everything) for at, (everything, good) in both.items()},
            bad={at: max(0.0, everything - good) for at, (everything, good) in both.items()},
        )
    return found


def _add(sums: dict[int, float], values: Mapping[int, float]) -> None:
    for at, value in values.items():
        sums[at] = sums.get(at, 0.0) + value
