"""The questions, as a person would see them behind a link."""

from __future__ import annotations

import pytest

from airflow_model_ops.adapters.metrics.prometheus_queries import duration, queries_for
from airflow_model_ops.core.checks import Arm, Check

ARM = Arm(version_number="20230601120000", cluster="digits/20230601120000")


def check(**fields: object) -> Check:
    return Check.from_json({"name": "c", "max": 0.1, **fields})


def test_the_error_rate_counts_5xx_and_retried_attempts_over_all_attempts() -> None:
    queries = queries_for(check(kind="error_rate"), model="digits", arm=ARM)
    label = 'envoy_cluster_name="digits/20230601120000"'
    assert f'envoy_cluster_upstream_rq_xx{{{label},envoy_response_code_class="5"}}[60s]' in queries["bad"]
    assert f"envoy_cluster_upstream_rq_retry{{{label}}}[60s]" in queries["bad"]
    assert f"envoy_cluster_upstream_rq_completed{{{label}}}[60s]" in queries["total"]
    assert queries["total"].endswith("or vector(0))"), "retries may be absent, completed requests may not"
    assert not queries["total"].startswith("(sum")


def test_a_counter_that_was_born_in_the_window_counts_in_full() -> None:
    queries = queries_for(check(kind="wrong_predictions", window_seconds=30), model="digits", arm=ARM)
    series = 'model_predictions_total{model="digits",version=~"20230601120000",outcome="wrong"}'
    assert queries["bad"] == (
        f"(sum(({series} unless count_over_time({series}[1h] offset 30s)) or increase({series}[30s])) or vector(0))"
    )


def test_predictions_are_found_under_the_versions_name_too() -> None:
    arm = Arm(version_number="100020003", cluster="c", version_name="seg-v1.2.3")
    queries = queries_for(check(kind="wrong_predictions"), model="seg", arm=arm)
    assert 'version=~"100020003|seg\\\\-v1\\\\.2\\\\.3"' in queries["total"]


@pytest.mark.parametrize(
    ("bound", "spelled"),
    [(250, '"250|250\\\\.0"'), (0.5, '"0\\\\.5"'), (3_600_000, '"3\\\\.6e\\\\+06|3600000|3600000\\\\.0"')],
)
def test_a_latency_bound_matches_one_bucket_edge_however_it_is_written(bound: float, spelled: str) -> None:
    queries = queries_for(check(kind="latency", latency_bound_ms=bound), model="digits", arm=ARM)
    assert f"le=~{spelled}" in queries["good"]
    assert 'le="+Inf"' in queries["total"]


def test_a_users_query_keeps_its_braces_and_dollars_and_gets_escaped_values() -> None:
    asked = check(
        kind="promql", query='x{m="$model",v="${version}",c="$cluster"}[$window] # a$$b', selector='x{m="$model"}'
    )
    queries = queries_for(asked, model='di"gi\\ts', arm=ARM)
    assert queries["value"] == ('x{m="di\\"gi\\\\ts",v="20230601120000",c="digits/20230601120000"}[60s] # a$b')
    assert queries["total"] == 'sum(count_over_time(x{m="di\\"gi\\\\ts"}[60s]))'
    assert "age" in queries


def test_without_a_selector_a_users_query_is_asked_alone() -> None:
    assert queries_for(check(kind="promql", query="up"), model="digits", arm=ARM) == {"value": "up"}


@pytest.mark.parametrize(("seconds", "text"), [(60, "60s"), (60.0, "60s"), (1.5, "1500ms"), (0.1, "100ms")])
def test_durations_are_written_as_promql_does(seconds: float, text: str) -> None:
    assert duration(seconds) == text
