"""Where connections come from, when Airflow's API server is in trouble, and what their forms may hold."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException, ErrorType
from airflow.sdk.execution_time import supervisor, task_runner
from airflow.sdk.execution_time.comms import ConnectionResult, ErrorResponse, GetConnection
from airflow.sdk.execution_time.secrets.execution_api import ExecutionAPISecretsBackend

from airflow_model_ops.config.fleet_place import FleetPlace
from airflow_model_ops.config.model_file import parse_model_file
from airflow_model_ops.core.errors import ConnectionUnavailable, InvalidConfig
from airflow_model_ops.hooks import wiring
from airflow_model_ops.operators.rollback import RollbackModelOperator
from airflow_model_ops.triggers.canary import CanaryStepTrigger
from tests.airflow.release_story import YAML, context_of

IDS = FleetPlace()


class ApiServer:
    """What the worker's supervisor answers for Airflow's API server, which answers HTTP 500 until it is ``well``."""

    def __init__(self, extras: dict[str, dict[str, Any]]) -> None:
        self._extras = extras
        self.well = False
        self.asked = 0

    def send(self, message: GetConnection) -> Any:
        self.asked += 1
        if not self.well:
            return ErrorResponse(error=ErrorType.API_SERVER_ERROR, detail={"status_code": 500})
        given = {"conn_id": message.conn_id, "conn_type": "any", "extra": json.dumps(self._extras[message.conn_id])}
        return ConnectionResult(**dict.fromkeys(("host", "schema", "login", "password", "port")), **given)

    async def asend(self, message: GetConnection) -> Any:
        return self.send(message)


@pytest.fixture
def api_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ApiServer:
    fleet = {"servers": "127.0.0.1:9/9", "router_config_dir": str(tmp_path), "router_admin": "http://127.0.0.1:9"}
    server = ApiServer({IDS.repository: {"root": str(tmp_path)}, IDS.target: fleet})
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", server, raising=False)
    monkeypatch.setattr(supervisor, "ensure_secrets_backend_loaded", lambda: [ExecutionAPISecretsBackend()])
    return server


def fetched_in_a_trigger(ids: FleetPlace) -> wiring.FleetConnections:
    return asyncio.run(wiring.afetch_connections(ids))


@pytest.mark.parametrize("fetch", [wiring.fetch_connections, fetched_in_a_trigger])
def test_an_api_server_in_trouble_is_worth_another_try_and_may_be_well_again_by_then(
    api_server: ApiServer, fetch: Callable[[FleetPlace], wiring.FleetConnections]
) -> None:
    with pytest.raises(ConnectionUnavailable, match="is not defined, or Airflow's API server did not answer") as told:
        fetch(IDS)
    assert told.value.retryable

    api_server.well = True

    assert fetch(IDS).repository.conn_id == IDS.repository


@pytest.mark.usefixtures("api_server")
def test_a_rollback_keeps_its_retries_while_the_api_server_is_in_trouble() -> None:
    operator = RollbackModelOperator(task_id="rollback", model=parse_model_file(YAML), reason="it smells")

    with pytest.raises(AirflowException, match="API server did not answer") as failed:
        operator.execute(context_of(task_id="rollback"))

    assert not isinstance(failed.value, AirflowFailException)


def test_a_canary_is_not_given_up_while_the_api_server_is_in_trouble(api_server: ApiServer) -> None:
    trigger = CanaryStepTrigger(
        model=parse_model_file(YAML).model_dump(mode="json"),
        release="r",
        attempt=1,
        version="digits-v2.0.0",
        step=0,
        run={},
    )
    trigger.first_pause_seconds, trigger.look_seconds = 0.0, 0.01

    async def watch() -> bool:
        watching = asyncio.ensure_future(anext(trigger.run()))
        async with asyncio.timeout(60):
            while api_server.asked < 3 and not watching.done():  # noqa: ASYNC110 (the server is not of this loop)
                await asyncio.sleep(0.005)
        given_up = watching.done()
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        return given_up

    assert not asyncio.run(watch())


def prometheus(host: str, *, port: int | None = None, **extra: Any) -> Any:
    from airflow.sdk import Connection

    from airflow_model_ops.hooks.prometheus import source_of

    return source_of(Connection(conn_id="p", conn_type="prometheus", host=host, port=port, extra=json.dumps(extra)))


@pytest.mark.parametrize("timeout", ["soon", "-1", True])
def test_a_time_out_of_prometheus_that_is_no_duration_is_a_mistake_in_the_connection(timeout: Any) -> None:
    with pytest.raises(InvalidConfig, match=r"connection 'p': timeout: .* is not a duration"):
        prometheus("prometheus", timeout=timeout)


@pytest.mark.parametrize(
    ("host", "port", "url"),
    [
        ("prometheus", 9090, "http://prometheus:9090"),
        ("https://metrics.example/prometheus/", 8443, "https://metrics.example:8443/prometheus"),
        ("metrics.example/prometheus", 9090, "http://metrics.example:9090/prometheus"),
        ("http://prometheus:9091", 9090, "http://prometheus:9091"),
        ("prometheus:9091", None, "http://prometheus:9091"),
    ],
)
def test_the_port_of_the_form_goes_behind_the_host_and_before_the_path(host: str, port: int | None, url: str) -> None:
    with closing(prometheus(host, port=port).conversation()) as conversation:
        assert conversation.name == f"Prometheus at {url}"


def test_a_host_that_makes_no_url_is_told() -> None:
    with pytest.raises(InvalidConfig, match="is not usable"):
        prometheus("http://[half", port=9090)
