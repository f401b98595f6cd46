"""The real process: TensorFlow, gRPC with the real stubs, REST over keep-alive connections."""

from __future__ import annotations

import functools
import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.waits import until

pytestmark = pytest.mark.integration

START_S = 120.0
SETTLE_S = 60.0
"""Both are many times what a busy machine takes; nothing waits longer than it must."""
IMAGE = [[[1, 2], [3, 4]]]
DAY = 20230601120000


wait_until = functools.partial(until, within=SETTLE_S, every=0.02)


@dataclass
class Server:
    """A running server and its REST client."""

    process: subprocess.Popen[bytes]
    grpc: int
    rest: int
    models: Path

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.rest, timeout=SETTLE_S)

    def ask(self, method: str, path: str, document: Any = None) -> tuple[int, Any]:
        connection = self.connect()
        connection.request(method, path, None if document is None else json.dumps(document))
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        return answer.status, json.loads(text) if answer.headers[
            "content-type"
        ] == "application/json" else text.decode()

    def states(self, model: str) -> dict[int, str]:
        status, document = self.ask("GET", f"/v1/models/{model}")
        if status != 200:
            return {}
        return {int(v["version"]): v["state"] for v in document["model_version_status"]}


def start(directory: Path, *arguments: str) -> Server:
    ports = directory / "ports.json"
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "airflow_model_ops.model_server", "--port", "0", "--rest_api_port", "0"),
                *("--port_file", str(ports), "--file_system_poll_wait_seconds", "0.1", *arguments),
            ],
            stderr=log,
        )
    try:
        wait_until(lambda: ports.exists() or process.poll() is not None, what="the start", within=START_S)
        assert process.poll() is None, (directory / "log").read_text()
        document = json.loads(ports.read_text())
    except BaseException:
        process.kill()
        process.wait()
        raise
    assert document["pid"] == process.pid
    return Server(process=process, grpc=document["grpc"], rest=document["rest"], models=directory / "models")


def put(saved_models: Path, *, factor: int, at: Path) -> None:
    """Push a version as a repository does: copied aside, then renamed."""
    aside = at.with_name(f".tmp-{at.name}")
    shutil.copytree(saved_models / str(factor), aside)
    aside.rename(at)


@pytest.fixture(scope="module")
def server(saved_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    directory = tmp_path_factory.mktemp("server")
    base = directory / "models" / "digits" / "versions"
    base.mkdir(parents=True)
    put(saved_models, factor=1, at=base / str(DAY))
    manifests = base.parent / "manifests"
    manifests.mkdir()
    manifest = {"version": {"number": str(DAY)}, "metrics": {"accuracy": 0.97}}
    (manifests / "v-20230601-120000.json").write_text(json.dumps(manifest))
    config = directory / "models.config"
    config.write_text(
        f'model_config_list {{ config {{ name: "digits" base_path: "{base}" model_platform: "tensorflow" }} }}'
    )
    monitoring = directory / "monitoring.config"
    monitoring.write_text("prometheus_config { enable: true }")
    running = start(
        directory,
        *("--model_config_file", str(config), "--monitoring_config_file", str(monitoring)),
        *("--max_num_load_retries", "0"),
    )
    yield running
    running.process.terminate()
    assert running.process.wait(timeout=SETTLE_S) == 0


CLIENT = Path(__file__).with_name("grpc_client.py")


Call = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def grpc_call() -> Iterator[Call]:
    """Calls with TF Serving's own stubs, from one process of its own: the stubs import TensorFlow."""
    with subprocess.Popen(
        [sys.executable, str(CLIENT)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin
        assert process.stdout

        def call(
            server: Server, method: str, request: dict[str, Any], *, timeout_s: float = SETTLE_S
        ) -> dict[str, Any]:
            address = f"127.0.0.1:{server.grpc}"
            line = json.dumps({"address": address, "method": method, "request": request, "timeout_s": timeout_s})
            process.stdin.write(line + "\n")
            process.stdin.flush()
            answer: dict[str, Any] = json.loads(process.stdout.readline())
            return answer

        yield call
        process.stdin.close()


@pytest.fixture
def grpc_client(server: Server, grpc_call: Call) -> Call:
    return functools.partial(grpc_call, server)


def model_list(server: Server, *models: dict[str, Any]) -> dict[str, Any]:
    """A reload request in proto3 JSON; versions become a specific policy."""
    entries = []
    for model in models:
        name = model["name"]
        entry: dict[str, Any] = {"name": name, "model_platform": "tensorflow"}
        entry["base_path"] = model.get("base_path", str(server.models / name / "versions"))
        if "versions" in model:
            entry["model_version_policy"] = {"specific": {"versions": model["versions"]}}
        entry["version_labels"] = model.get("labels", {})
        entries.append(entry)
    return {"config": {"model_config_list": {"config": entries}}}


def tensor(values: list[float], *shape: int) -> dict[str, Any]:
    return {"dtype": "DT_FLOAT", "tensor_shape": {"dim": [{"size": n} for n in shape]}, "float_val": values}


def predict_request(**spec: Any) -> dict[str, Any]:
    return {"model_spec": {"name": "digits", **spec}, "inputs": {"image": tensor([1, 2, 3, 4], 1, 2, 2)}}


class TestRest:
    def test_predict_in_rows_and_in_columns(self, server: Server) -> None:
        assert server.ask("POST", "/v1/models/digits:predict", {"instances": IMAGE}) == (
            200,
            {"predictions": [[1.0, 2.0, 3.0, 4.0]]},
        )
        assert server.ask("POST", "/v1/models/digits:predict", {"inputs": {"image": IMAGE}}) == (
            200,
            {"outputs": [[1.0, 2.0, 3.0, 4.0]]},
        )

    def test_strings_bytes_and_many_outputs(self, server: Server) -> None:
        body = {
            "signature_name": "echo",
            "instances": [{"number": 41, "word": "é"}, {"number": 1, "word": {"b64": "YQ=="}}],
        }
        assert server.ask("POST", "/v1/models/digits:predict", body) == (
            200,
            {
                "predictions": [
                    {"number": 42, "raw_bytes": {"b64": "w6k="}, "word": "é"},
                    {"number": 2, "raw_bytes": {"b64": "YQ=="}, "word": "a"},
                ]
            },
        )

    def test_metadata_shows_the_signatures(self, server: Server) -> None:
        status, document = server.ask("GET", f"/v1/models/digits/versions/{DAY}/metadata")
        assert status == 200
        assert document["model_spec"] == {"name": "digits", "signature_name": "", "version": str(DAY)}
        signature = document["metadata"]["signature_def"]["signature_def"]["serving_default"]
        assert signature["method_name"] == "tensorflow/serving/predict"
        image = signature["inputs"]["image"]
        assert (image["dtype"], [dim["size"] for dim in image["tensor_shape"]["dim"]]) == ("DT_FLOAT", ["-1", "2", "2"])

    def test_an_error_of_the_graph_is_a_bad_request_with_its_words(self, server: Server) -> None:
        status, document = server.ask("POST", "/v1/models/digits:predict", {"instances": [[1, 2, 3]]})
        assert status == 400
        assert "Input to reshape is a tensor with 3 values" in document["error"]

    def test_many_keep_alive_connections_are_served_side_by_side(self, server: Server) -> None:
        body = json.dumps({"instances": IMAGE})

        def client(_: int) -> set[int]:
            connection = server.connect()
            statuses = set()
            for _ in range(20):
                connection.request("POST", "/v1/models/digits:predict", body)
                answer = connection.getresponse()
                answer.read()
                assert not answer.will_close
                statuses.add(answer.status)
            connection.close()
            return statuses

        with ThreadPoolExecutor(max_workers=50) as pool:
            assert set().union(*pool.map(client, range(50))) == {200}

    def test_metrics_hold_tf_servings_counters_and_the_versions_performance(self, server: Server) -> None:
        server.ask("POST", "/v1/models/digits:predict", {"instances": IMAGE})
        status, text = server.ask("GET", "/monitoring/prometheus/metrics")
        assert status == 200
        assert ':tensorflow:serving:request_count{model_name="digits",status="OK"} ' in text
        assert (
            ':tensorflow:serving:request_latency_bucket{model_name="digits",API="predict",entrypoint="REST",le=' in text
        )
        line = 'model_version_performance{model="digits",version="v-20230601-120000",metric="accuracy"} 0.97'
        assert line in text.splitlines()


class TestGrpc:
    def test_predict_says_which_version_answered(self, grpc_client: Call) -> None:
        answer = grpc_client("Predict", predict_request())
        assert answer["model_spec"] == {"name": "digits", "version": str(DAY), "signature_name": "serving_default"}
        assert answer["outputs"]["scores"]["float_val"] == [1.0, 2.0, 3.0, 4.0]

    def test_metadata_says_which_version_a_request_resolves_to(self, grpc_client: Call) -> None:
        answer = grpc_client(
            "GetModelMetadata", {"model_spec": {"name": "digits"}, "metadata_field": ["signature_def"]}
        )
        assert answer["model_spec"] == {"name": "digits", "version": str(DAY)}
        assert "serving_default" in answer["metadata"]["signature_def"]["signature_def"]

    @pytest.mark.parametrize(
        ("method", "fields", "code", "message"),
        [
            ("Predict", {"model_spec": {"name": ""}}, "INVALID_ARGUMENT", "ModelSpec has no name specified."),
            (
                "Predict",
                {"model_spec": {"name": "faces"}},
                "NOT_FOUND",
                "Servable not found for request: Latest(faces)",
            ),
            (
                "Predict",
                predict_request(version=5),
                "NOT_FOUND",
                "Servable not found for request: Specific(digits, 5)",
            ),
            (
                "Predict",
                predict_request(version_label="nope"),
                "INVALID_ARGUMENT",
                "Unrecognized servable version label: nope",
            ),
            (
                "Predict",
                predict_request(signature_name="x"),
                "FAILED_PRECONDITION",
                'Serving signature key "x" not found.',
            ),
            (
                "Predict",
                {"model_spec": {"name": "digits"}},
                "INVALID_ARGUMENT",
                (
                    "input size does not match signature: 0!=1 len({}) != len({image}). "
                    "Sent extra: {}. Missing but required: {image}."
                ),
            ),
            (
                "Predict",
                {**predict_request(), "output_filter": ["nope"]},
                "INVALID_ARGUMENT",
                "output tensor alias not found in signature: nope Outputs expected to be in the set {scores}.",
            ),
            (
                "GetModelStatus",
                {"model_spec": {"name": "faces"}},
                "NOT_FOUND",
                "Could not find any versions of model faces",
            ),
            ("GetModelStatus", {}, "INVALID_ARGUMENT", "Missing ModelSpec"),
            (
                "GetModelMetadata",
                {"model_spec": {"name": "digits"}, "metadata_field": ["x"]},
                "INVALID_ARGUMENT",
                "Metadata field x is not supported",
            ),
            (
                "HandleReloadConfigRequest",
                {},
                "INVALID_ARGUMENT",
                (
                    "ServerModelConfig type not supported by HandleReloadConfigRequest. "
                    "Only ModelConfigList is currently supported"
                ),
            ),
        ],
    )
    def test_errors_have_tf_servings_code_and_words(
        self, grpc_client: Call, method: str, fields: dict[str, Any], code: str, message: str
    ) -> None:
        assert grpc_client(method, fields) == {"error": code, "message": message}


class TestReload:
    def test_a_version_is_brought_up_labelled_and_the_old_one_taken_down_while_requests_flow(
        self, server: Server, grpc_client: Call, saved_models: Path
    ) -> None:
        model = {"name": "shift"}
        base = server.models / "shift" / "versions"
        base.mkdir(parents=True)
        put(saved_models, factor=1, at=base / "1")
        digits = {"name": "digits"}
        assert grpc_client("HandleReloadConfigRequest", model_list(server, digits, {**model, "versions": [1]})) == {
            "status": {}
        }
        assert server.states("shift") == {1: "AVAILABLE"}, "a new model is waited for"
        put(saved_models, factor=2, at=base / "2")

        def reload(**options: Any) -> dict[str, Any]:
            return grpc_client("HandleReloadConfigRequest", model_list(server, digits, {**model, **options}))

        assert reload(versions=[1], labels={"stable": 1}) == {"status": {}}
        assert reload(versions=[1, 2], labels={"stable": 2}) == {
            "error": "FAILED_PRECONDITION",
            "message": "Request to assign label to version 2 of model shift, which is not currently available for inference",
        }
        assert reload(versions=[1, 2], labels={"stable": 1}) == {"status": {}}
        wait_until(lambda: server.states("shift") == {2: "AVAILABLE", 1: "AVAILABLE"}, what="version 2")
        assert reload(versions=[1, 2], labels={"stable": 2}) == {"status": {}}
        path = "/v1/models/shift/labels/stable:predict"
        assert server.ask("POST", path, {"instances": IMAGE})[1] == {"predictions": [[2.0, 4.0, 6.0, 8.0]]}
        assert reload(versions=[2], labels={"stable": 2}) == {"status": {}}
        wait_until(lambda: server.states("shift") == {2: "AVAILABLE", 1: "END"}, what="the unload of version 1")
        assert server.ask("POST", "/v1/models/shift/versions/1:predict", {"instances": IMAGE}) == (
            404,
            {"error": "Servable not found for request: Specific(shift, 1)"},
        )
        assert server.states("digits") == {DAY: "AVAILABLE"}

    def test_a_version_that_cannot_be_loaded_ends_with_its_error(
        self, server: Server, grpc_client: Call, saved_models: Path
    ) -> None:
        base = server.models / "broken" / "versions"
        (base / "1").mkdir(parents=True)
        answer = grpc_client("HandleReloadConfigRequest", model_list(server, {"name": "digits"}, {"name": "broken"}))
        assert answer["error"] == "UNKNOWN"
        assert answer["message"].startswith(
            "1 model(s) did not become available: {{{name: broken version: 1} due to error: NOT_FOUND: "
        )
        (status,) = server.ask("GET", "/v1/models/broken")[1]["model_version_status"]
        assert (status["state"], status["status"]["error_code"]) == ("END", "NOT_FOUND")
        assert "Could not find SavedModel" in status["status"]["error_message"]
        put(saved_models, factor=3, at=base / "2")
        wait_until(lambda: server.states("broken").get(2) == "AVAILABLE", what="the next version")

    def test_no_request_fails_while_versions_come_and_go(
        self, server: Server, grpc_client: Call, saved_models: Path
    ) -> None:
        base = server.models / "busy" / "versions"
        base.mkdir(parents=True)
        put(saved_models, factor=1, at=base / "1")
        busy = {"name": "busy"}
        assert grpc_client("HandleReloadConfigRequest", model_list(server, {"name": "digits"}, busy)) == {"status": {}}
        going = [True]

        def client(_: int) -> list[int]:
            connection = server.connect()
            statuses = []
            while going[0]:
                connection.request("POST", "/v1/models/busy:predict", json.dumps({"instances": IMAGE}))
                answer = connection.getresponse()
                answer.read()
                statuses.append(answer.status)
            return statuses

        with ThreadPoolExecutor(max_workers=4) as pool:
            clients = [pool.submit(client, number) for number in range(4)]
            try:
                for version in (2, 3):
                    put(saved_models, factor=version, at=base / str(version))
                    wait_until(
                        lambda v=version: server.states("busy").get(v - 1) == "END", what=f"the move to {version}"
                    )
            finally:
                going[0] = False
            statuses = [status for client_ in clients for status in client_.result(timeout=SETTLE_S)]
        assert len(statuses) > 10
        assert set(statuses) == {200}


def slow_request(connection: http.client.HTTPConnection, steps: int) -> None:
    body = json.dumps({"signature_name": "slow", "inputs": [steps]})
    connection.request("POST", "/v1/models/digits:predict", body)


def test_sigterm_lets_requests_finish_even_while_a_reload_hangs(
    saved_models: Path, tmp_path: Path, grpc_call: Call
) -> None:
    base = tmp_path / "models" / "digits" / "versions"
    base.mkdir(parents=True)
    put(saved_models, factor=1, at=base / "1")
    server = start(tmp_path, "--model_name", "digits", "--model_base_path", str(base))
    try:
        wrong = model_list(server, {"name": "digits"}, {"name": "nowhere", "base_path": "/does/not/exist"})
        assert grpc_call(server, "HandleReloadConfigRequest", wrong, timeout_s=0.5)["error"] == "DEADLINE_EXCEEDED"

        connection = server.connect()
        slow_request(connection, 50)
        began = time.monotonic()
        connection.getresponse().read()
        steps = int(50 * 1.5 / (time.monotonic() - began))
        slow_request(connection, steps)
        quick = server.connect()
        quick.request("GET", "/v1/models/digits")
        quick.getresponse().read()  # the server has certainly read the slow request by now
        os.kill(server.process.pid, signal.SIGTERM)
        answer = connection.getresponse()
        assert (answer.status, json.loads(answer.read())) == (200, {"outputs": [float(steps)]})
        assert server.process.wait(timeout=SETTLE_S) == 0
    finally:
        server.process.kill()
        server.process.wait()


def test_a_config_that_does_not_parse_ends_the_start_with_tf_servings_words(tmp_path: Path) -> None:
    config = tmp_path / "bad.config"
    config.write_text("improper model_config_list {}")
    command = [sys.executable, "-m", "airflow_model_ops.model_server", "--model_config_file", str(config)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=START_S)
    assert ended.returncode == 1
    assert "Error parsing text-format tensorflow.serving.ModelServerConfig" in ended.stderr
    assert "Traceback" not in ended.stderr
