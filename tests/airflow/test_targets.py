"""One file, two platforms: what opens, watches and measures a model follows its ``target:`` and nothing else differs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import Connection
from airflow.sdk.definitions.asset import AssetAny

from airflow_model_ops.adapters.metrics.cloud_monitoring import CloudMonitoringSource
from airflow_model_ops.adapters.metrics.prometheus import PrometheusSource
from airflow_model_ops.adapters.serving.envoy_spec import cluster_name
from airflow_model_ops.adapters.serving.vertex_names import deployed_model_id
from airflow_model_ops.cli_commands import session
from airflow_model_ops.config.fleet_place import FleetPlace
from airflow_model_ops.config.model_file import ModelFile, parse_model_file
from airflow_model_ops.core.errors import InvalidConfig
from airflow_model_ops.dag_builders import build_housekeeping_dag, build_release_dag, build_watch_dag
from airflow_model_ops.hooks import wiring
from airflow_model_ops.hooks.arms import arms_at
from airflow_model_ops.hooks.tf_serving import require_tf_serving
from airflow_model_ops.operators.upkeep import place_of
from tests.airflow.release_story import YAML

VERTEX = f"{YAML}target: {{vertex_ai: {{location: europe-west4, project: shop}}}}\n"


def file_of(text: str, model: str = "digits") -> ModelFile:
    return parse_model_file(text.replace("model: digits", f"model: {model}"))


ON_TF_SERVING, ON_VERTEX = file_of(YAML), file_of(VERTEX)


@pytest.fixture
def connections(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Define a connection of each kind, as environment variables."""
    (tmp_path / "live").mkdir()
    fleet = {
        "servers": "127.0.0.1:9/9",
        "router_config_dir": str(tmp_path / "live"),
        "router_admin": "http://127.0.0.1:9",
    }
    defined = {
        "MODEL_REPOSITORY_DEFAULT": {"conn_type": "model_repository", "extra": {"root": str(tmp_path)}},
        "TF_SERVING_DEFAULT": {"conn_type": "tf_serving", "extra": {**fleet, "fleet": "main"}},
        "GOOGLE_CLOUD_DEFAULT": {"conn_type": "google_cloud_platform", "extra": {"project": "shop"}},
        "PROMETHEUS_DEFAULT": {"conn_type": "prometheus", "host": "http://127.0.0.1:9"},
    }
    for name, fields in defined.items():
        monkeypatch.setenv(f"AIRFLOW_CONN_{name}", json.dumps(fields))


@pytest.mark.usefixtures("connections")
class TestOpening:
    @pytest.mark.parametrize(
        "opened",
        [
            wiring.open_fleet_of,
            session.fleet_at,
            lambda place: asyncio.run(wiring.aopen_fleet_of(place)),
        ],
    )
    def test_a_task_a_command_and_a_trigger_open_the_files_target(
        self, opened: Callable[[FleetPlace], wiring.Fleet]
    ) -> None:
        here, there = opened(ON_TF_SERVING.place), opened(ON_VERTEX.place)

        assert (here.name, there.name) == ("main", "vertex_shop_europe-west4_digits")
        assert (here.target.loads_slowly, there.target.loads_slowly) == (False, True)
        assert there.config is None

    def test_metrics_come_from_where_the_platform_keeps_them(self) -> None:
        assert isinstance(wiring.open_source_of(ON_TF_SERVING), PrometheusSource)
        assert isinstance(wiring.open_source_of(ON_VERTEX), CloudMonitoringSource)
        assert isinstance(asyncio.run(wiring.aopen_source_of(ON_VERTEX)), CloudMonitoringSource)

        named = file_of(f"{VERTEX}connections: {{metrics: prometheus_default}}\n")
        assert isinstance(wiring.open_source_of(named), PrometheusSource)

    def test_cloud_monitoring_knows_nothing_of_tf_serving(self) -> None:
        file = file_of(f"{YAML}connections: {{metrics: google_cloud_default}}\n")

        with pytest.raises(InvalidConfig, match="name a connection of type prometheus"):
            wiring.open_source_of(file)


class TestArms:
    def test_of_tf_serving_are_clusters_with_a_second_group_of_stable(self) -> None:
        one, two = (ON_TF_SERVING.naming().parse(f"digits-v{major}.0.0") for major in (1, 2))

        arms = arms_at(ON_TF_SERVING).compared("digits", two, one)

        assert arms.canary.cluster == cluster_name(model="digits", number=two.number)
        assert arms.control is not None
        assert arms.control.cluster == cluster_name(model="digits", number=one.number, control=True)

    def test_of_vertex_ai_are_deployed_models_without_one(self) -> None:
        one, two = (ON_VERTEX.naming().parse(f"digits-v{major}.0.0") for major in (1, 2))

        arms = arms_at(ON_VERTEX).compared("digits", two, one)

        assert arms.canary.cluster == deployed_model_id(two)
        assert arms.stable is not None
        assert arms.stable.cluster == deployed_model_id(one)
        assert arms.control is None
        assert arms_at(ON_VERTEX).guarded("digits", one).control is None


class TestDags:
    def test_a_release_has_the_same_shape_on_both(self) -> None:
        shapes = [
            {task.task_id: sorted(task.downstream_task_ids) for task in build_release_dag(file).tasks}
            for file in (ON_TF_SERVING, ON_VERTEX)
        ]

        assert shapes[0] == shapes[1]

    def test_each_model_of_vertex_ai_has_a_watcher_and_its_upkeep(self) -> None:
        models = {
            "digits": ON_VERTEX,
            "letters": file_of(VERTEX, "letters"),
            "faces": file_of(YAML, "faces"),
            "words": file_of(YAML, "words"),
        }

        watch, housekeeping = build_watch_dag(models), build_housekeeping_dag(models)

        names = ["tf_serving_default", "vertex_shop_europe-west4_digits", "vertex_shop_europe-west4_letters"]
        assert sorted(watch.task_ids) == [f"reconcile_{name}" for name in names]
        assert {f"reconcile_{name}" for name in names} <= set(housekeeping.task_ids)
        assert isinstance(watch.schedule, AssetAny)
        places = [
            FleetPlace.of(watcher.trigger.place) for asset in watch.schedule.objects for watcher in asset.watchers
        ]
        assert places == [models["faces"].place, ON_VERTEX.place, models["letters"].place]

    def test_an_upkeep_task_takes_a_place_or_the_ids_of_old(self) -> None:
        assert place_of(ON_VERTEX.place) == ON_VERTEX.place
        assert place_of(ON_VERTEX.place.model_dump(mode="json")) == ON_VERTEX.place
        assert place_of({"target": "fleet_eu"}) == FleetPlace(target="fleet_eu")
        assert place_of(None) == ON_TF_SERVING.place


def test_what_only_envoy_has_says_so_of_an_endpoint() -> None:
    google: Any = Connection(conn_id="google_cloud_default", conn_type="google_cloud_platform")

    with pytest.raises(
        InvalidConfig, match="'google_cloud_default' is of Google Cloud; this command is for TF Serving"
    ):
        require_tf_serving(google)
