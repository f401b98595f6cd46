"""Starts the service, in this process or in one of its own, and makes the real clients that ask it."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import grpc
from google.api_core.client_options import ClientOptions
from google.auth.credentials import AnonymousCredentials, Credentials
from google.cloud import aiplatform_v1 as v1
from google.cloud.aiplatform_v1.services.endpoint_service.transports import EndpointServiceGrpcTransport
from google.cloud.aiplatform_v1.services.model_service.transports import ModelServiceGrpcTransport

from tests.vertex_fake.control import Control
from tests.vertex_fake.desk import Desk
from tests.vertex_fake.grpc_front import GrpcFront
from tests.vertex_fake.remote_control import RemoteControl
from tests.vertex_fake.rest import RestFront
from tests.vertex_fake.state import State
from tests.waits import until

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, kw_only=True)
class Address:
    """Where a service listens."""

    rest_url: str
    grpc_address: str

    def endpoint_client(self, transport: str, *, credentials: Credentials | None = None) -> v1.EndpointServiceClient:
        """Return the generated client, over ``rest`` or ``grpc``."""
        return self._client(v1.EndpointServiceClient, EndpointServiceGrpcTransport, transport, credentials)  # type: ignore[no-any-return]

    def model_client(self, transport: str, *, credentials: Credentials | None = None) -> v1.ModelServiceClient:
        return self._client(v1.ModelServiceClient, ModelServiceGrpcTransport, transport, credentials)  # type: ignore[no-any-return]

    def _client(self, client: Any, grpc_transport: Any, transport: str, credentials: Credentials | None) -> Any:
        if transport == "grpc":
            return client(transport=grpc_transport(channel=grpc.insecure_channel(self.grpc_address)))
        options = ClientOptions(api_endpoint=self.rest_url)
        return client(credentials=credentials or AnonymousCredentials(), transport="rest", client_options=options)


class VertexFake:
    """In threads of this process; a context manager."""

    def __init__(self, *, rest_port: int = 0, grpc_port: int = 0, seed: int | None = None) -> None:
        self.state = State(seed=seed)
        self.control = Control(self.state)
        desk = Desk(self.state)
        self._rest = RestFront(desk, self.control, port=rest_port)
        self._grpc = GrpcFront(desk, port=grpc_port)
        self.address = Address(rest_url=self._rest.url, grpc_address=self._grpc.address)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        self.state.faults.let_go()  # or a thread of ours waits for ever
        self._rest.stop()
        self._grpc.stop()


class VertexFakeProcess:
    """In a process of its own; a context manager. `control` speaks to it over HTTP."""

    def __init__(self, *options: str) -> None:
        self._folder = tempfile.TemporaryDirectory()
        ready = Path(self._folder.name) / "ready.json"
        arguments = [sys.executable, "-m", "tests.vertex_fake", "--ready-file", str(ready), *options]
        self._process = subprocess.Popen(arguments, cwd=ROOT)

        def is_ready() -> bool:
            assert self._process.poll() is None, f"it ended with {self._process.returncode} before it was ready"
            return ready.exists()

        try:
            until(is_ready, what="the fake is ready", within=120)
        except BaseException:
            self.stop()
            raise
        self.address = Address(**json.loads(ready.read_text()))
        self.control = RemoteControl(self.address.rest_url)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(timeout=60)
        finally:
            self._process.kill()
            self._folder.cleanup()
