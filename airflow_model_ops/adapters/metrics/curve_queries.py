"""The PromQL behind curves: what versions did over time, one query for all of them. Pure.

Rates are interpolated at the edges of their windows, which is good enough to look at; what judges counts whole events, see
:mod:`~airflow_model_ops.adapters.metrics.counting`. What is asked is what counts in the checks of the same kinds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from airflow_model_ops.adapters.metrics.cloud_monitoring_queries import LATENCIES, RESPONSES, EndpointLabels
from airflow_model_ops.adapters.metrics.prometheus_queries import (
    BUCKET,
    BY_CLASS,
    COMPLETED,
    PREDICTIONS,
    RETRIED,
    any_of,
    duration,
    quote,
)
from airflow_model_ops.core.checks import Arms
from airflow_model_ops.core.curves import Curve
from airflow_model_ops.core.errors import MetricsUnavailable

MOST_POINTS = 120
"""Of one line; Prometheus computes each of them anew."""
MOST_GAUGES = 12
"""Metrics of ``model_version_performance`` that are shown; the first ones by name."""
_SHORTEST_WINDOW_SECONDS = 180.0
"""A rate takes two scrapes, which are a minute apart at most places that scrape seldom."""
_PERFORMANCE = "model_version_performance"
_VERSION = "model_ops_version"
"""The label that an answer's series are told apart by; nobody else's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CurveQuery:
    """One query and how its answer is called.

    :param metric: ``None``: each series names its own in the label ``metric``.
    """

    metric: str | None
    unit: str
    query: str


def step_of(seconds: float, *, points: int = MOST_POINTS) -> float:
    """Return how far apart the points of a span are, in whole seconds, so that there are at most so many of them."""
    return float(max(1, math.ceil(seconds / (points - 1))))


def router_queries(model: str, versions: Mapping[str, Arms], *, step_seconds: float) -> tuple[CurveQuery, ...]:
    """Ask Envoy's counters, and what applications report, for versions by name; a version's control cluster is part of it."""
    window = _window(step_seconds)
    clusters = {name: [arm.cluster for arm in (arms.canary, arms.control) if arm] for name, arms in versions.items()}
    every = f"envoy_cluster_name=~{any_of(one for each in clusters.values() for one in each)}"

    def rate(metric: str, more: str = "") -> str:
        return _named(f"rate({metric}{{{every}{more}}}[{window}])", "envoy_cluster_name", clusters)

    answers, failed = _sum(rate(BY_CLASS)), _sum(rate(BY_CLASS, ',envoy_response_code_class="5"'))
    retried = _sum(rate(RETRIED))
    return (
        CurveQuery(metric="requests", unit="1/s", query=_sum(rate(COMPLETED))),
        CurveQuery(metric="error rate", unit="share", query=_share([failed, retried], [answers, retried])),
        CurveQuery(metric="latency p95", unit="ms", query=_quantile(_sum(rate(BUCKET), "le"))),
        *reported_queries(model, versions, step_seconds=step_seconds),
    )


def endpoint_queries(
    model: str, versions: Mapping[str, Arms], *, endpoint: EndpointLabels, step_seconds: float
) -> tuple[CurveQuery, ...]:
    """Ask the metrics of a Vertex AI endpoint, and what applications report, for versions by name."""
    window = _window(step_seconds)
    deployed = {name: [arms.canary.cluster] for name, arms in versions.items()}
    every = f"endpoint_id={quote(endpoint.endpoint)},location={quote(endpoint.location)}"
    every += f",deployed_model_id=~{any_of(one for each in deployed.values() for one in each)}"

    def rate(metric: str, more: str = "") -> str:
        return _named(f"rate({metric}{{{every}{more}}}[{window}])", "deployed_model_id", deployed)

    answers, failed = _sum(rate(RESPONSES)), _sum(rate(RESPONSES, ',response_code=~"5.*"'))
    buckets = _sum(rate(LATENCIES, ',latency_type="total"'), "le")
    return (
        CurveQuery(metric="requests", unit="1/s", query=answers),
        CurveQuery(metric="error rate", unit="share", query=_share([failed], [answers])),
        CurveQuery(metric="latency p95", unit="ms", query=_quantile(buckets)),
        *reported_queries(model, versions, step_seconds=step_seconds),
    )


def reported_queries(model: str, versions: Mapping[str, Arms], *, step_seconds: float) -> tuple[CurveQuery, ...]:
    """Ask what applications report of versions, under their serving numbers or their names."""
    known_as = {name: sorted({name, arms.canary.version_number}) for name, arms in versions.items()}
    every = f"model={quote(model)},version=~{any_of(one for each in known_as.values() for one in each)}"

    def rate(outcomes: str) -> str:
        return _sum(
            _named(
                f"rate({PREDICTIONS}{{{every},outcome=~{quote(outcomes)}}}[{_window(step_seconds)}])",
                "version",
                known_as,
            )
        )

    gauges = _named(f"{_PERFORMANCE}{{{every}}}", "version", known_as)
    return (
        CurveQuery(metric="wrong predictions", unit="share", query=_share([rate("wrong")], [rate("right|wrong")])),
        CurveQuery(metric=None, unit="", query=f"avg by ({_VERSION}, metric) ({gauges})"),
    )


def read_curves(
    answer: Sequence[Any], query: CurveQuery, *, versions: Sequence[str], step_seconds: float, source: str
) -> list[Curve]:
    """Read the answer to a query as curves, one for each metric; a version without a point has no line.

    :param source: How the metric source is called in an error.
    :raises MetricsUnavailable: if it is no such answer.
    """
    found: dict[str, dict[str, tuple[tuple[float, float], ...]]] = {}
    try:
        for series in answer:
            labels = series["metric"]
            metric = str(labels.get("metric", "")) if query.metric is None else query.metric
            values = ((float(at), float(value)) for at, value in series["values"])
            points = tuple((at, value) for at, value in values if math.isfinite(value))
            if metric and points and labels.get(_VERSION) in versions:
                found.setdefault(metric, {})[labels[_VERSION]] = points
    except (AttributeError, KeyError, TypeError, ValueError) as fault:
        raise MetricsUnavailable(
            f"{source} does not answer series of numbers ({fault!r}); check that the connection's URL is a Prometheus's"
        ) from fault
    return [
        Curve(metric=metric, unit=query.unit, step_seconds=step_seconds, lines=found[metric])
        for metric in sorted(found)[:MOST_GAUGES]
    ]


def _window(step_seconds: float) -> str:
    return duration(max(step_seconds, _SHORTEST_WINDOW_SECONDS))


def _named(expression: str, label: str, known_as: Mapping[str, Sequence[str]]) -> str:
    """Give each series the label of the version that one of its names stands for."""
    for version, names in known_as.items():
        expression = f"label_replace({expression}, {quote(_VERSION)}, {quote(_literal(version))}, {quote(label)}, {any_of(names)})"
    return expression


def _literal(version: str) -> str:
    """Write a version as a replacement of ``label_replace``, in which a dollar would name a group."""
    return version.replace("$", "$$")


def _sum(expression: str, *more: str) -> str:
    return f"sum by ({', '.join((_VERSION, *more))}) ({expression})"


def _quantile(buckets: str) -> str:
    return f"histogram_quantile(0.95, {buckets})"


def _share(bad: Sequence[str], everything: Sequence[str]) -> str:
    """Divide sums; what has no series yet is none of many, not unknown."""
    nothing = f"0 * {everything[0]}"
    return " / ".join(f"({' + '.join(f'({each} or {nothing})' for each in parts)})" for parts in (bad, everything))
