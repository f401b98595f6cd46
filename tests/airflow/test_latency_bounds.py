"""A latency check that no router could count for ends a release before it starts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from airflow.sdk.exceptions import AirflowFailException

from airflow_model_ops.config.model_file import parse_model_file
from airflow_model_ops.hooks.wiring import standing_in
from airflow_model_ops.operators.traffic import StartCanaryOperator
from tests.airflow.release_story import Story, context_of, on_stage

YAML = """
model: digits
versions: {scheme: semantic, prefix: digits}
checks:
  - {name: errors, kind: error_rate, max: 0.2}
"""


@pytest.fixture
def story() -> Iterator[Story]:
    with on_stage(model=parse_model_file(YAML)) as stage:
        yield stage


def slow(bound: float, *, more: str = "") -> str:
    return f"{YAML}  - {{name: slow, kind: latency, latency_bound_ms: {bound:g}, max: 0.05{more}}}\n"


def start(story: Story, yaml: str) -> None:
    StartCanaryOperator(task_id="load", model=parse_model_file(yaml), version="digits-v1.0.0").execute(context_of())


def test_a_bound_between_two_edges_is_refused_with_the_edges_and_nothing_is_committed(story: Story) -> None:
    story.v(1)
    with pytest.raises(
        AirflowFailException, match=r"'slow' \(60 ms\).*\(1, 2, 5, 10, 20, 50, 75, .*latency_buckets_ms"
    ):
        start(story, slow(60))
    assert story.control().state.release is None


def test_a_muted_check_may_ask_for_what_cannot_be_counted(story: Story) -> None:
    story.v(1)
    start(story, slow(60, more=", muted: true"))
    assert story.control().state.release is not None


def test_the_edges_are_those_of_the_fleets_connection(story: Story) -> None:
    story.v(1)
    edges = replace(story.fleet, config=story.fleet.config.model_copy(update={"latency_buckets_ms": (60.0, 5.0)}))
    with standing_in(edges):
        with pytest.raises(AirflowFailException, match=r"'slow' \(75 ms\).*\(5, 60\)"):
            start(story, slow(75))
        start(story, slow(60))
    assert story.control().state.release is not None
