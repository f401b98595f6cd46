from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from airflow_model_ops.adapters.repository.manifests import StoredManifest
from airflow_model_ops.core.ports import Manifest
from airflow_model_ops.core.versioning import Version
from airflow_model_ops.model_server.model_list import All
from airflow_model_ops.model_server.performance import Performance
from airflow_model_ops.model_server.request_metrics import RequestMetrics
from airflow_model_ops.model_server.rest_api import RestApi

METRICS = "/monitoring/prometheus/metrics"
BODY = b'{"instances": [1, 2]}'


@pytest.fixture
def api(rig: Any) -> RestApi:
    rig.add("digits", 1, 2)
    rig.reload(rig.entry("digits", policy=All()))
    rig.reload(rig.entry("digits", policy=All(), labels={"stable": 1}))
    return RestApi(core=rig.core, metrics=RequestMetrics(), performance=Performance(), metrics_path=METRICS)


def ask(api: RestApi, method: str, path: str, body: bytes = b"") -> tuple[int, Any]:
    answer = api.handle(method, path, body)
    assert answer.content_type == "application/json"
    return answer.status, json.loads(answer.body)


@pytest.mark.parametrize(
    ("path", "first"),
    [
        ("/v1/models/digits:predict", 3.0),
        ("/v1/models/digits/versions/1:predict", 2.0),
        ("/v1/models/digits/labels/stable:predict", 2.0),
        ("/V1/Models/digits/labels/st%61ble:PREDICT", 2.0),
    ],
)
def test_predict_reaches_the_latest_a_numbered_or_a_labelled_version(api: RestApi, path: str, first: float) -> None:
    assert ask(api, "POST", path, BODY) == (200, {"predictions": [first, first + 1]})


def test_column_format_is_answered_in_column_format(api: RestApi) -> None:
    body = b'{"signature_name": "pair", "inputs": {"a": [1], "b": [2]}}'
    assert ask(api, "POST", "/v1/models/digits:predict", body) == (200, {"outputs": {"a": [3], "b": [4.0]}})


def test_status_lists_versions_as_strings_and_codes_by_name(api: RestApi) -> None:
    status, document = ask(api, "GET", "/v1/models/digits/versions/2")
    assert (status, document) == (
        200,
        {
            "model_version_status": [
                {"version": "2", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
            ]
        },
    )
    assert [v["version"] for v in ask(api, "GET", "/v1/models/digits")[1]["model_version_status"]] == ["2", "1"]


@pytest.mark.parametrize(
    ("request_line", "body", "status", "message"),
    [
        ("GET /v1/foo", b"", 400, "Malformed request: GET /v1/foo"),
        ("PUT /v1/models/digits", b"", 400, "Malformed request: PUT /v1/models/digits"),
        ("POST /v1/models/digits", BODY, 400, "Malformed request: POST /v1/models/digits"),
        ("POST /v1/models/digits:explain", BODY, 400, "Malformed request: POST /v1/models/digits:explain"),
        ("GET /v1/models", b"", 400, "Missing model name in request."),
        (
            "GET /v1/models/digits/versions/9223372036854775808",
            b"",
            400,
            "Failed to convert version: 9223372036854775808 to numeric.",
        ),
        ("GET /v1/models/faces", b"", 404, "Could not find any versions of model faces"),
        ("GET /v1/models/digits/versions/9", b"", 404, "Could not find version 9 of model digits"),
        ("POST /v1/models/faces:predict", BODY, 404, "Servable not found for request: Latest(faces)"),
        (
            "POST /v1/models/digits/versions/9:predict",
            BODY,
            404,
            "Servable not found for request: Specific(digits, 9)",
        ),
        (
            "POST /v1/models/digits/labels/nope:predict",
            BODY,
            400,
            "Unrecognized servable version label: nope",
        ),
        (
            "POST /v1/models/digits:predict",
            b'{"signature_name": "x", "instances": [1]}',
            400,
            'Serving signature name: "x" not found in signature def',
        ),
        ("POST /v1/models/digits:predict", b"{}", 400, "Missing 'inputs' or 'instances' key"),
        (
            "POST /v1/models/digits:classify",
            BODY,
            501,
            "The embedded model server does not classify; use predict.",
        ),
    ],
)
def test_errors_have_tf_servings_code_and_words(
    api: RestApi, request_line: str, body: bytes, status: int, message: str
) -> None:
    assert ask(api, *request_line.split(), body) == (status, {"error": message})


def test_paths_outside_the_api_are_not_found(api: RestApi) -> None:
    assert api.handle("GET", "/", b"").status == 404
    assert api.handle("GET", "/v1", b"").status == 404


def metrics(api: RestApi) -> list[str]:
    answer = api.handle("GET", METRICS, b"")
    assert (answer.status, answer.content_type) == (200, "text/plain")
    return answer.body.decode().splitlines()


def test_metrics_count_answers_by_status_and_time_only_good_ones(api: RestApi) -> None:
    assert metrics(api) == []
    api.handle("POST", "/v1/models/digits:predict", BODY)
    api.handle("POST", "/v1/models/digits:predict", b"{}")
    api.handle("POST", "/v1/models/faces:predict", BODY)
    lines = metrics(api)
    count = ":tensorflow:serving:request_count"
    assert f"# TYPE {count} counter" in lines
    assert f'{count}{{model_name="digits",status="OK"}} 1' in lines
    assert f'{count}{{model_name="digits",status="INVALID_ARGUMENT"}} 1' in lines
    assert f'{count}{{model_name="faces",status="NOT_FOUND"}} 1' in lines
    latency = ':tensorflow:serving:request_latency_count{model_name="digits",API="predict",entrypoint="REST"} 1'
    assert latency in lines
    assert not any("faces" in line and "latency" in line for line in lines)


def test_latency_buckets_are_tf_servings_and_cumulative() -> None:
    metrics_ = RequestMetrics()
    for micros in (5, 10, 11, 30, 10_000_000_000):
        metrics_.observe("m", api="predict", entrypoint="REST", seconds=micros / 1e6)
    buckets = [line.split('le="')[1] for line in metrics_.page() if "_bucket" in line]
    assert buckets[:3] == ['10"} 2', '18"} 3', '32.4"} 4']
    assert buckets[-2:] == ['1.47476e+09"} 4', '+Inf"} 5']
    assert len(buckets) == 34


def write_manifest(rig: Any, name: str, text: str) -> Path:
    folder = rig.base_path("digits").parent / "manifests"
    folder.mkdir(exist_ok=True)
    path: Path = folder / f"{name}.json"
    path.write_text(text)
    return path


def performance_lines(api: RestApi) -> list[str]:
    return [line for line in metrics(api) if line.startswith("model_version_performance")]


def test_metrics_of_a_loaded_version_come_from_its_manifest(api: RestApi, rig: Any) -> None:
    write_manifest(rig, "v-1", '{"version": {"number": "1"}, "metrics": {"accuracy": 0.97, "loss": 2, "note": "good"}}')
    write_manifest(rig, "v-7", '{"version": {"number": "7"}, "metrics": {"accuracy": 0.5}}')
    assert performance_lines(api) == [
        'model_version_performance{model="digits",version="v-1",metric="accuracy"} 0.97',
        'model_version_performance{model="digits",version="v-1",metric="loss"} 2.0',
    ]


def test_a_manifest_is_read_as_a_repository_writes_it(api: RestApi, rig: Any) -> None:
    version = Version(name="v-1", number=1)
    manifest = Manifest(
        version=version, digest="", files={}, size=0, created="2023-06-01T12:00:00+00:00", metrics={"accuracy": 0.97}
    )
    write_manifest(rig, "v-1", StoredManifest(manifest=manifest, staged="").to_bytes().decode())
    assert performance_lines(api) == ['model_version_performance{model="digits",version="v-1",metric="accuracy"} 0.97']


def test_a_manifest_that_is_missing_broken_or_without_metrics_exports_nothing(api: RestApi, rig: Any) -> None:
    assert performance_lines(api) == []
    write_manifest(rig, "v-1", "{")
    write_manifest(rig, "v-2", '{"version": {"number": "2"}}')
    write_manifest(rig, "list", "[]")
    write_manifest(rig, "odd", '{"version": {"number": "1"}, "metrics": [1]}')
    assert performance_lines(api) == []


def test_a_manifest_that_comes_later_is_seen_at_the_next_scrape(api: RestApi, rig: Any) -> None:
    assert performance_lines(api) == []
    write_manifest(rig, "v-1", '{"version": {"number": "1"}, "metrics": {"a": 1}}')
    assert len(performance_lines(api)) == 1


def test_the_metrics_page_is_off_unless_it_is_configured(rig: Any) -> None:
    api = RestApi(core=rig.core, metrics=RequestMetrics(), performance=Performance())
    assert api.handle("GET", METRICS, b"").status == 404
