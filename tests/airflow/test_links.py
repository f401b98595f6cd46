"""From a task to the model's page, to the query behind a verdict, to Google's console; also while the task waits."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowException, TaskDeferred

from airflow_model_ops.adapters.metrics.prometheus_queries import counted_arms, counters_query
from airflow_model_ops.config.model_file import parse_model_file
from airflow_model_ops.dag_builders import build_release_dag, build_watch_dag
from airflow_model_ops.get_provider_info import get_provider_info
from airflow_model_ops.hooks.arms import VersionArms
from airflow_model_ops.links import MetricsLink, ModelLink, VertexAILink
from airflow_model_ops.operators.check import CheckMetricsOperator
from airflow_model_ops.operators.guard import GuardRollbackOperator
from airflow_model_ops.operators.rollback import RollbackModelOperator
from airflow_model_ops.operators.traffic import AbortReleaseOperator, StartCanaryOperator
from airflow_model_ops.operators.upkeep import ReconcileOperator
from tests.airflow.release_story import YAML, Story, context_of, on_stage

MODEL, METRICS, VERTEX = (link().xcom_key for link in (ModelLink, MetricsLink, VertexAILink))
PROMQL = "  - {name: confidence, kind: promql, query: 'avg(confidence{version=\"$version\"})', min: 0.5}\n"
ON_VERTEX = "target: {vertex_ai: {location: europe-west4, project: shop}}\n"
GUARDED = "guard: {}\n"


@pytest.fixture(autouse=True)
def airflow_at_a_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://ada:pw@af.example/air")
    monkeypatch.setenv(
        "AIRFLOW_CONN_PROMETHEUS_DEFAULT",
        '{"conn_type": "prometheus", "host": "http://u:secret@prom:9090/p", "login": "u", "password": "secret"}',
    )


@pytest.fixture
def story() -> Iterator[Story]:
    with on_stage(model=parse_model_file(YAML + PROMQL + GUARDED)) as story:
        story.serve(1, 2)
        yield story


def addresses(context: Any) -> dict[str, str]:
    return dict(context["ti"].pushed)


def names(operator: Any) -> list[str]:
    return [link.name for link in operator.operator_extra_links]


def queries(address: str) -> list[str]:
    return [values[0] for name, values in parse_qs(urlsplit(address).query).items() if name.endswith(".expr")]


def waits(operator: Any, context: Any) -> None:
    with pytest.raises(TaskDeferred):
        operator.execute(context)


def splits_seen(context: Any, story: Story) -> list[dict[int, float]]:
    """Return a list that gets what serves at each moment when something is put into the task's XCom."""
    seen: list[dict[int, float]] = []
    put = context["ti"].xcom_push

    def push(*, key: str, value: str) -> None:
        seen.append(story.split)
        put(key=key, value=value)

    context["ti"].xcom_push = push
    return seen


class TestModel:
    def test_the_page_below_airflows_own_path_is_linked_before_the_work_begins(self, story: Story) -> None:
        context = context_of()
        story.target.unavailable_servers.add("server-1")
        with pytest.raises(AirflowException):
            StartCanaryOperator(task_id="load", model=story.model, version=story.v(3).name).execute(context)
        assert addresses(context) == {MODEL: "https://af.example/air/plugin/model-ops/models/digits"}

    def test_a_task_that_chooses_its_model_links_to_that(self, story: Story) -> None:
        context = context_of()
        operator = RollbackModelOperator(
            task_id="rollback", model={"digits": story.model}, choose="digits", reason="it smells"
        )
        operator.execute(context)
        assert addresses(context)[MODEL].endswith("/models/digits")

    def test_a_task_on_a_fleet_links_to_the_list(self) -> None:
        operator = ReconcileOperator(task_id="reconcile")
        assert ModelLink().get_link(operator, ti_key=None) == "https://af.example/air/plugin/model-ops"  # type: ignore[arg-type]

    def test_without_a_base_url_the_link_is_a_path(self, story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("AIRFLOW__API__BASE_URL")
        context = context_of()
        RollbackModelOperator(task_id="rollback", model=story.model, reason="it smells").execute(context)
        assert addresses(context)[MODEL] == "/plugin/model-ops/models/digits"


class TestMetrics:
    def test_a_check_that_waits_links_to_the_very_queries_it_asks(self, story: Story) -> None:
        release, context = story.start(3), context_of()
        waits(CheckMetricsOperator(task_id="check", model=story.model, release=release, step=0), context)

        address = addresses(context)[METRICS]
        assert address.startswith("http://prom:9090/p/graph?")
        assert "secret" not in address
        arms = VersionArms().compared("digits", story.v(3), story.v(2))
        errors, confidence = story.model.policy().checks
        assert queries(address) == [
            counters_query(errors, model="digits", arms=counted_arms(errors, arms).values(), seconds=310),
            'avg(confidence{version="300000000"})',
            'avg(confidence{version="200000000"})',
        ]
        assert confidence.query is not None
        assert "g0.tab=1" in address, "raw samples are a table"
        assert "g1.tab=0" in address

    def test_people_are_sent_where_their_browsers_find_prometheus(
        self, story: Story, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        extra = '{"external_url": "https://prom.example/team/"}'
        monkeypatch.setenv(
            "AIRFLOW_CONN_PROMETHEUS_DEFAULT",
            f'{{"conn_type": "prometheus", "host": "http://prom:9090", "extra": {extra}}}',
        )
        context = context_of()
        waits(CheckMetricsOperator(task_id="check", model=story.model, release=story.start(3), step=0), context)
        assert addresses(context)[METRICS].startswith("https://prom.example/team/graph?")

    def test_a_missing_connection_costs_the_link_and_not_the_watch(
        self, story: Story, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("AIRFLOW_CONN_PROMETHEUS_DEFAULT")
        context = context_of()
        waits(CheckMetricsOperator(task_id="check", model=story.model, release=story.start(3), step=0), context)
        assert set(addresses(context)) == {MODEL}

    def test_the_guard_links_to_what_it_asked_of_stable_alone(self, story: Story) -> None:
        alarm = {"model": "digits", "version": "digits-v2.0.0", "reason": "errors above 20 %", "evidence": None}
        context = context_of(dag_id="model_guard")
        context["triggering_asset_events"] = {"alarms": [SimpleNamespace(timestamp=1, extra={"payload": alarm})]}
        GuardRollbackOperator(task_id="rollback", model={"digits": story.model}).execute(context)

        assert addresses(context)[MODEL].endswith("/models/digits")
        (query,) = queries(addresses(context)[METRICS])
        assert "200000000" in query
        assert "100000000" not in query


class TestWaysBack:
    """What takes traffic from a version needs the repository and the fleet alone: nothing is noted before it is done."""

    def test_a_rollback_has_moved_the_traffic_before_anything_is_noted(self, story: Story) -> None:
        seen = splits_seen(context := context_of(), story)
        RollbackModelOperator(task_id="rollback", model=story.model, reason="it smells").execute(context)
        assert seen == [{1: 100}]

    def test_an_abort_has_moved_the_traffic_before_anything_is_noted(self, story: Story) -> None:
        release = story.start(3)
        seen = splits_seen(context := context_of(), story)
        AbortReleaseOperator(task_id="abort", model=story.model, release=release).execute(context)
        assert seen == [{2: 100}]

    def test_the_guard_has_moved_the_traffic_before_the_metrics_connection_is_asked_for(self, story: Story) -> None:
        alarm = {"model": "digits", "version": "digits-v2.0.0", "reason": "errors above 20 %", "evidence": None}
        seen = splits_seen(context := context_of(dag_id="model_guard"), story)
        context["triggering_asset_events"] = {"alarms": [SimpleNamespace(timestamp=1, extra={"payload": alarm})]}
        GuardRollbackOperator(task_id="rollback", model={"digits": story.model}).execute(context)
        assert seen == [{1: 100}, {1: 100}]

    def test_one_that_fails_links_to_the_page_as_well(self, story: Story) -> None:
        context = context_of()
        story.target.unavailable_servers.add("server-1")
        with pytest.raises(AirflowException):
            RollbackModelOperator(task_id="rollback", model=story.model, reason="it smells").execute(context)
        assert addresses(context)[MODEL].endswith("/models/digits")


class TestVertex:
    def test_a_task_links_to_the_endpoint_and_not_to_cloud_monitoring(self) -> None:
        file = parse_model_file("model: digits\n" + ON_VERTEX + "checks:\n  - {name: e, kind: error_rate, max: 0.1}\n")
        operator, context = StartCanaryOperator(task_id="load", model=file, version="v"), context_of()
        operator.link_model(context)

        assert addresses(context)[VERTEX] == (
            "https://console.cloud.google.com/vertex-ai/locations/europe-west4/endpoints/digits?project=shop"
        )
        check = CheckMetricsOperator(task_id="check", model=file, release={}, step=0)
        assert names(check) == ["Model", "Vertex AI"]

    def test_the_project_may_be_the_connections(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(
            "AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT",
            '{"conn_type": "google_cloud_platform", "extra": {"project": "theirs"}}',
        )
        text = "model: digits\ntarget: {vertex_ai: {location: europe-west4}}\n"
        file = parse_model_file(text + "checks:\n  - {name: e, kind: error_rate, max: 0.1}\n")
        context = context_of()
        StartCanaryOperator(task_id="load", model=file, version="v").link_model(context)
        assert addresses(context)[VERTEX].endswith("?project=theirs")


class TestAirflow:
    def test_each_task_of_the_bundled_dags_links_to_what_it_has(self, story: Story) -> None:
        dag = build_release_dag(story.model)
        linked = {task.task_id: names(task) for task in dag.tasks}
        assert linked["step_1_10_percent.check"] == ["Model", "Metrics"]
        assert all("Model" in each for each in linked.values())
        assert not any("Vertex AI" in each for each in linked.values())
        assert names(build_watch_dag({"digits": story.model}).tasks[0]) == ["Model"]

    def test_they_survive_airflows_serialization(self, story: Story) -> None:
        """The API server knows a link by its name and by the XCom it is in."""
        from airflow.serialization.serialized_objects import DagSerialization

        read = DagSerialization.from_dict(DagSerialization.to_dict(build_release_dag(story.model)))
        check = read.get_task("step_1_10_percent.check")
        assert {link.name: link.xcom_key for link in check.operator_extra_links} == {"Model": MODEL, "Metrics": METRICS}

    def test_a_mapped_task_keeps_the_link_to_the_page(self, story: Story) -> None:
        with DAG("many", schedule=None):
            mapped = RollbackModelOperator.partial(task_id="back", model={"digits": story.model}, reason="x").expand(
                choose=["digits"]
            )
        assert names(mapped) == ["Model"]

    def test_a_task_that_comes_back_keeps_what_it_had(self, story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
        """At the end of each pass Airflow asks again, of an operator that has noted nothing in this process."""
        from airflow.sdk.execution_time.xcom import XCom

        kept = {MODEL: "https://af.example/air/plugin/model-ops/models/digits"}
        monkeypatch.setattr(XCom, "get_value", lambda *, ti_key, key: kept.get(key))
        operator = CheckMetricsOperator(task_id="check", model=story.model, release={}, step=0)
        assert ModelLink().get_link(operator, ti_key=None) == kept[MODEL]  # type: ignore[arg-type]
        assert MetricsLink().get_link(operator, ti_key=None) == ""  # type: ignore[arg-type]

    def test_the_provider_names_them(self) -> None:
        assert get_provider_info()["extra-links"] == [
            f"airflow_model_ops.links.{name}" for name in ("ModelLink", "MetricsLink", "VertexAILink")
        ]
