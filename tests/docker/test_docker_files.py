"""The files in docker/ are sound and agree with one another and with the package."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from airflow_model_ops import __version__
from airflow_model_ops.config.fleet import parse_fleet
from scripts import check_docker, render_envoy_bootstrap

_ROOT = Path(__file__).resolve().parents[2]
_DOCKER = _ROOT / "docker"


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    services: dict[str, Any] = yaml.safe_load((_DOCKER / "compose.yaml").read_text(encoding="utf-8"))["services"]
    return services


def _mounts(service: dict[str, Any]) -> dict[str, tuple[str, str]]:
    parts = (volume.split(":") for volume in service["volumes"])
    return {name: (path, mode[0] if mode else "rw") for name, path, *mode in parts}


def test_the_docker_files_pass_the_static_checks() -> None:
    assert check_docker.complaints(_DOCKER) == []


def test_the_committed_envoy_bootstrap_is_current() -> None:
    remedy = "run: python -m scripts.render_envoy_bootstrap"
    assert render_envoy_bootstrap.TARGET.read_bytes() == render_envoy_bootstrap.render(), remedy


def test_tf_serving_reads_the_repository_at_the_path_where_airflow_writes_it(services: dict[str, Any]) -> None:
    written = _mounts(services["airflow-scheduler"])["repository"]
    read = _mounts(services["tf-serving"])["repository"]
    assert written == (read[0], "rw")
    assert read[1] == "ro"


def test_envoy_watches_the_directory_that_airflow_writes_and_never_writes_it(services: dict[str, Any]) -> None:
    bootstrap = json.loads((_DOCKER / "envoy" / "bootstrap.json").read_text(encoding="utf-8"))
    source = bootstrap["dynamic_resources"]["cds_config"]["path_config_source"]
    path, mode = _mounts(services["envoy"])["envoy"]
    assert (source["watched_directory"]["path"], mode) == (path, "ro")
    assert _mounts(services["airflow-scheduler"])["envoy"] == (path, "rw")


def test_only_the_router_airflow_prometheus_and_grafana_are_published(services: dict[str, Any]) -> None:
    published = {
        name: [port.rpartition(":")[2] for port in service.get("ports", [])] for name, service in services.items()
    }
    assert {name: ports for name, ports in published.items() if ports} == {
        "airflow-api-server": ["8080"],
        "envoy": ["8080"],
        "prometheus": ["9090"],
        "grafana": ["3000"],
    }


def test_prometheus_scrapes_services_of_the_compose_file(services: dict[str, Any]) -> None:
    config = yaml.safe_load((_DOCKER / "prometheus" / "prometheus.yml").read_text(encoding="utf-8"))
    targets = [
        target for job in config["scrape_configs"] for entry in job["static_configs"] for target in entry["targets"]
    ]
    assert sorted(target.partition(":")[0] for target in targets) == ["envoy", "tf-serving"]
    assert {target.partition(":")[0] for target in targets} <= set(services)


def test_airflow_s_connections_name_the_services_and_volumes_of_the_compose_file(services: dict[str, Any]) -> None:
    environment = services["airflow-scheduler"]["environment"]
    mounts = {path for path, _ in _mounts(services["airflow-scheduler"]).values()}
    fleet = parse_fleet(json.loads(environment["AIRFLOW_CONN_TF_SERVING_DEFAULT"])["extra"], source="compose.yaml")
    assert {server.host for server in fleet.servers} <= set(services)
    assert {urlsplit(str(url)).hostname for url in fleet.router_admin} <= set(services)
    assert str(fleet.router_config_dir) in mounts
    assert json.loads(environment["AIRFLOW_CONN_MODEL_REPOSITORY_DEFAULT"])["extra"]["root"] in mounts
    assert urlsplit(json.loads(environment["AIRFLOW_CONN_PROMETHEUS_DEFAULT"])["host"]).hostname in services
    store = json.loads(environment["AIRFLOW_CONN_MLMD_DEFAULT"])["extra"]["path"]
    assert str(Path(store).parent) in mounts


def test_every_variable_of_the_compose_file_is_in_the_example(services: dict[str, Any]) -> None:
    used = set(re.findall(r"(?<!\$)\$\{(\w+)", (_DOCKER / "compose.yaml").read_text(encoding="utf-8")))
    described = set(re.findall(r"^(\w+)=", (_DOCKER / ".env.example").read_text(encoding="utf-8"), re.MULTILINE))
    assert used == described


def test_the_image_carries_the_package_s_version_and_the_airflow_that_is_tested(services: dict[str, Any]) -> None:
    assert services["airflow-init"]["image"] == f"airflow-model-ops:{__version__}"
    tested = re.search(
        r"^apache-airflow==(\S+)", (_ROOT / "requirements/dev.txt").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert tested
    assert f"FROM apache/airflow:{tested[1]}-python3.11\n" in (_DOCKER / "Dockerfile").read_text(encoding="utf-8")
