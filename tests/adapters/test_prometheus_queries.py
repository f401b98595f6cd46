"""The questions, as a person would see them behind a link."""

from __future__ import annotations

from dataclasses import replace

import pytest

from airflow_model_ops.adapters.metrics.prometheus_queries import (
    counted_arms,
    counters_query,
    duration,
    groups_of,
    promql_queries,
    role_of,
)
from airflow_model_ops.core.checks import Arm, Arms, Check

ARM = Arm(version_number="20230601120000", cluster="digits/20230601120000")
OTHER = Arm(version_number="1", cluster="digits/1")


def check(**fields: object) -> Check:
    return Check.from_json({"name": "c", "max": 0.1, **fields})


def test_one_question_fetches_the_counters_of_all_arms() -> None:
    asked = counters_query(check(kind="error_rate"), model="digits", arms=[ARM, OTHER], seconds=360)
    assert asked == (
        '{__name__=~"envoy_cluster_upstream_rq_completed|envoy_cluster_upstream_rq_retry|envoy_cluster_upstream_rq_xx",'
        'envoy_cluster_name=~"digits/1|digits/20230601120000"}[360s]'
    )


@pytest.mark.parametrize(
    ("labels", "of_all", "of_bad"),
    [
        ({"__name__": "envoy_cluster_upstream_rq_completed"}, 0, 0),
        ({"__name__": "envoy_cluster_upstream_rq_retry"}, 1, 1),
        ({"__name__": "envoy_cluster_upstream_rq_xx", "envoy_response_code_class": "2"}, 1, 0),
        ({"__name__": "envoy_cluster_upstream_rq_xx", "envoy_response_code_class": "4"}, 1, 0),
        ({"__name__": "envoy_cluster_upstream_rq_xx", "envoy_response_code_class": "5"}, 1, 1),
        ({"__name__": "envoy_cluster_upstream_rq_time_bucket", "le": "+Inf"}, 1, 1),
        ({"__name__": "envoy_cluster_upstream_rq_time_bucket", "le": "250"}, 0, -1),
        ({"__name__": "model_predictions_total", "outcome": "right"}, 1, 0),
        ({"__name__": "model_predictions_total", "outcome": "wrong"}, 1, 1),
        ({"__name__": "model_predictions_total", "outcome": "error"}, 0, 0),
    ],
)
def test_each_series_adds_to_all_events_and_to_the_bad_ones(labels: dict[str, str], of_all: int, of_bad: int) -> None:
    role = role_of({**labels, "envoy_cluster_name": "digits/1", "version": "digits/1"})
    assert role is not None
    assert (role.group, role.of_all, role.of_bad) == ("digits/1", of_all, of_bad)


def test_a_series_that_nobody_asked_for_has_no_role() -> None:
    assert role_of({"__name__": "up"}) is None


def test_predictions_are_found_under_the_versions_name_too() -> None:
    arm = Arm(version_number="100020003", cluster="c", version_name="seg-v1.2.3")
    wrong = check(kind="wrong_predictions")
    asked = counters_query(wrong, model="seg", arms=[arm], seconds=60)
    assert asked == '{__name__="model_predictions_total",model="seg",version=~"100020003|seg\\\\-v1\\\\.2\\\\.3"}[60s]'
    assert groups_of(wrong, arm) == {"100020003", "seg-v1.2.3"}
    assert groups_of(wrong, ARM) == {"20230601120000"}


def test_predictions_know_no_control_cluster() -> None:
    """They are counted by version, and control is stable's version: asking for it would count stable twice."""
    arms = Arms(canary=ARM, stable=OTHER, control=replace(OTHER, cluster="digits/1~control"))
    assert list(counted_arms(check(kind="wrong_predictions"), arms)) == ["canary", "stable"]
    assert list(counted_arms(check(kind="error_rate"), arms)) == ["canary", "stable", "control"]
    assert list(counted_arms(check(kind="error_rate"), Arms(canary=ARM))) == ["canary"]


@pytest.mark.parametrize(
    ("bound", "spelled"),
    [(250, "250|250\\\\.0"), (0.5, "0\\\\.5"), (3_600_000, "3\\\\.6e\\\\+06|3600000|3600000\\\\.0")],
)
def test_a_latency_bound_matches_one_bucket_edge_however_it_is_written(bound: float, spelled: str) -> None:
    asked = counters_query(check(kind="latency", latency_bound_ms=bound), model="digits", arms=[ARM], seconds=60)
    assert f'le=~"{spelled}|\\\\+Inf|"' in asked


def test_a_users_query_keeps_its_braces_and_dollars_and_gets_escaped_values() -> None:
    asked = check(
        kind="promql", query='x{m="$model",v="${version}",c="$cluster"}[$window] # a$$b', selector='x{m="$model"}'
    )
    queries = promql_queries(asked, model='di"gi\\ts', arm=ARM)
    assert queries["value"] == ('x{m="di\\"gi\\\\ts",v="20230601120000",c="digits/20230601120000"}[60s] # a$b')
    assert queries["total"] == 'sum(count_over_time(x{m="di\\"gi\\\\ts"}[60s]))'
    assert "age" in queries


def test_without_a_selector_a_users_query_is_asked_alone() -> None:
    assert promql_queries(check(kind="promql", query="up"), model="digits", arm=ARM) == {"value": "up"}


@pytest.mark.parametrize(("seconds", "text"), [(60, "60s"), (60.0, "60s"), (1.5, "1500ms"), (0.1, "100ms")])
def test_durations_are_written_as_promql_does(seconds: float, text: str) -> None:
    assert duration(seconds) == text
