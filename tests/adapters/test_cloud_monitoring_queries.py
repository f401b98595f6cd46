"""The questions to Cloud Monitoring, as a person would see them, and what their answers count."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_model_ops.adapters.metrics.cloud_monitoring_queries import EndpointLabels, events_query, read_events
from airflow_model_ops.adapters.metrics.prometheus_queries import promql_queries
from airflow_model_ops.core.checks import Check
from airflow_model_ops.core.errors import MetricsUnavailable
from tests.adapters.monitoring_rig import ARMS
from tests.adapters.prometheus_rig import check

PLACE = EndpointLabels(location="europe-west4", endpoint="digits")
ERRORS = check(kind="error_rate")
LATENCY = check(kind="latency", latency_bound_ms=250)


def series(value: object = "4", at: float = 60.0, **labels: str) -> dict[str, Any]:
    return {"metric": {"deployed_model_id": "7", **labels}, "values": [[at, value]]}


def test_errors_are_asked_by_deployed_model_and_response_code_over_one_sampling_period() -> None:
    assert ARMS.stable is not None
    asked = events_query(ERRORS, endpoint=PLACE, arms=[ARMS.canary, ARMS.stable], period_seconds=60)
    assert asked == (
        "sum by (deployed_model_id, response_code) (increase("
        "aiplatform_googleapis_com:prediction_online_response_count{"
        'endpoint_id="digits",location="europe-west4",deployed_model_id=~"1000000001|2000000002"}[60s]))'
    )


def test_latencies_are_asked_with_all_buckets_of_the_total_time() -> None:
    asked = events_query(LATENCY, endpoint=PLACE, arms=[ARMS.canary], period_seconds=60)
    assert asked == (
        "sum by (deployed_model_id, le) (increase("
        "aiplatform_googleapis_com:prediction_online_prediction_latencies_bucket{"
        'endpoint_id="digits",location="europe-west4",deployed_model_id=~"2000000002",latency_type="total"}[60s]))'
    )


@pytest.mark.parametrize(
    ("code", "bad"), [("5xx", True), ("503", True), ("2xx", False), ("200", False), ("4xx", False), ("", False)]
)
def test_a_response_is_bad_by_its_code_or_its_class(code: str, *, bad: bool) -> None:
    found = read_events([series(response_code=code)], ERRORS, source="it")["7"]
    assert (found.bad, found.good) == (({60_000: 4.0}, {}) if bad else ({}, {60_000: 4.0}))


def test_codes_of_one_class_add_up() -> None:
    found = read_events([series(response_code="500"), series(response_code="503")], ERRORS, source="it")["7"]
    assert found.bad == {60_000: 8.0}


@pytest.mark.parametrize("le", ["250", "250.0", "2.5e+02", "250.001"])
def test_an_edge_is_found_however_it_is_written(le: str) -> None:
    answer = [series("3", le=le), series("4", le="+Inf"), series("1", le="100")]
    found = read_events(answer, LATENCY, source="it")["7"]
    assert (found.good, found.bad) == ({60_000: 3.0}, {60_000: 1.0})


def test_a_period_with_one_of_the_two_buckets_only_is_not_told() -> None:
    answer = [series("3", le="250"), series("4", le="+Inf"), series("9", at=120, le="+Inf")]
    answer[1]["values"] += answer.pop()["values"]
    found = read_events(answer, LATENCY, source="it")["7"]
    assert (found.good, found.bad) == ({60_000: 3.0}, {60_000: 1.0})


def test_a_bound_that_is_no_edge_is_refused_with_those_that_are() -> None:
    answer = [series(le=le) for le in ("10.541350399999995", "14.757890559999993", "+Inf")]
    with pytest.raises(MetricsUnavailable, match=r"ends at 250 ms; set latency_bound_ms to an edge: 10.5414, 14.7579"):
        read_events(answer, LATENCY, source="it")
    named = check(kind="latency", latency_bound_ms=10.5414)
    assert read_events(answer, named, source="it")["7"].bad == {60_000: 0.0}, "what is named can be set"


@pytest.mark.parametrize("value", ["-1", "NaN", "1e300"])
def test_what_is_no_count_is_refused(value: str) -> None:
    with pytest.raises(MetricsUnavailable, match="which is no count"):
        read_events([series(value, response_code="2xx")], ERRORS, source="it")


@pytest.mark.parametrize("answer", [[{}], [3], [{"metric": {}, "values": []}], [series("many")]])
def test_nonsense_is_refused(answer: list[Any]) -> None:
    with pytest.raises(MetricsUnavailable, match="does not answer series of numbers"):
        read_events(answer, ERRORS, source="it")


def test_a_users_own_query_may_name_the_deployed_model() -> None:
    own = Check.from_json({"name": "c", "kind": "promql", "query": 'm{id="${deployed_model}",v="$version"}', "max": 1})
    assert promql_queries(own, model="digits", arm=ARMS.canary)["value"] == 'm{id="2000000002",v="2"}'
