"""A fleet of two fake model servers behind a real Envoy, with a real repository, driven through the controls of a model.

The servers' REST side answers for the versions that the gRPC side has available, and 404 for any other: a request that
the router sends to a version that is not there fails, and the traffic counts it.
"""

from __future__ import annotations

import itertools
import json
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import requests

from airflow_model_ops.adapters.repository.posix_repository import PosixRepository
from airflow_model_ops.adapters.serving.envoy_process import EnvoyProcess
from airflow_model_ops.adapters.serving.envoy_router import EnvoyRouter
from airflow_model_ops.adapters.serving.envoy_spec import Endpoint, RouterSettings
from airflow_model_ops.adapters.serving.tf_serving_client import LoadState
from airflow_model_ops.adapters.serving.tf_serving_routes import FleetRoutes
from airflow_model_ops.adapters.serving.tf_serving_servers import Replica, Servers, ServerSettings
from airflow_model_ops.adapters.serving.tf_serving_target import TfServingTarget
from airflow_model_ops.control.model_control import ModelControl
from airflow_model_ops.core.log import Origin
from airflow_model_ops.core.ports import PushRequest
from airflow_model_ops.core.state import Actor, ActorKind, Fence, ServingState
from airflow_model_ops.core.versioning import Scheme, Version, VersionNaming
from tests.adapters.envoy_rig import DEADLINE_SECONDS, LoopbackServer, Traffic
from tests.adapters.fake_model_service import FakeModelService

FLEET = "main"
NAMING = VersionNaming(scheme=Scheme.SEMANTIC, prefix="m")
PERSON = Actor(kind=ActorKind.PERSON, name="ada")
AUTOMATION = Actor(kind=ActorKind.AUTOMATION, name="model_release")
_VERSIONED = re.compile(r"/v1/models/(?P<model>[^/:]+)/versions/(?P<number>\d+)(:\w+|/metadata)?$")


def version(major: int) -> Version:
    return NAMING.parse(f"m-v{major}.0.0")


class RestSide:
    """The REST port of a fake model server."""

    def __init__(self, service: FakeModelService) -> None:
        self.service = service
        rest = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True
            wbufsize = -1  # head and body in one packet

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("content-length", 0)))
                body = json.dumps({"path": self.path}).encode()
                self.send_response(200 if rest.has(self.path) else 404)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_GET(self) -> None:
                self.do_POST()

            def log_message(self, *_: Any) -> None:
                """Keep the test's output to itself."""

        self._server = LoopbackServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def has(self, path: str) -> bool:
        found = _VERSIONED.match(path)
        states = self.service.models.get(found["model"], {}) if found else {}
        return bool(found) and states.get(int(found["number"])) is LoadState.AVAILABLE

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class QuickDrain(FleetRoutes):
    """Drains for a chosen time: requests take milliseconds here, but a busy machine may need a second for one of them."""

    def __init__(self, *, drain_seconds: float, **options: Any) -> None:
        super().__init__(**options)
        self._drain_seconds = drain_seconds

    @property
    def drain_seconds(self) -> float:
        return self._drain_seconds


@dataclass(frozen=True, kw_only=True)
class Addresses:
    """All that another process needs to work on the same fleet.

    :param drain_seconds: ``None``: the route's time-out, as ever.
    :param reload_seconds: How long a pass waits for the answer to a reload.
    """

    root: str
    config_dir: str
    admin_url: str
    replicas: list[tuple[str, int]]
    route_timeout_seconds: float
    declared_empty: bool = True
    drain_seconds: float | None = None
    reload_seconds: float = 1.0

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Addresses:
        return cls(**json.loads(text))

    def repository(self) -> PosixRepository:
        return PosixRepository(self.root)

    def router(self) -> EnvoyRouter:
        settings = RouterSettings(route_timeout_seconds=self.route_timeout_seconds)
        return EnvoyRouter(config_dir=Path(self.config_dir), admin_urls=[self.admin_url], settings=settings)

    def target(self, repository: PosixRepository) -> TfServingTarget:
        replicas = [Replica(grpc=grpc, rest=Endpoint("127.0.0.1", port)) for grpc, port in self.replicas]
        store = repository.fleet(FLEET)
        settings = ServerSettings(
            models_root=self.root,
            declared_empty=self.declared_empty,
            status_seconds=DEADLINE_SECONDS,  # none is silent here but for being unreachable, which shows at once
            reload_seconds=self.reload_seconds,
        )
        kind = FleetRoutes if self.drain_seconds is None else partial(QuickDrain, drain_seconds=self.drain_seconds)
        routes = kind(
            store=store,
            router=self.router(),
            rest={replica.grpc: replica.rest for replica in replicas},
            confirm_seconds=DEADLINE_SECONDS,
        )
        return TfServingTarget(servers=Servers(store=store, replicas=replicas, settings=settings), routes=routes)

    def control(
        self, model: str, *, actor: Actor = AUTOMATION, keep_warm: int = 1, request: str | None = None
    ) -> ModelControl:
        repository = self.repository()
        return ModelControl(
            model=model,
            naming=NAMING,
            repository=repository,
            target=self.target(repository),
            initial=ServingState(fleet=FLEET, keep_warm=keep_warm),
            origin=Origin(actor=actor, request=request),
        )


@dataclass
class Fleet:
    """What a story acts on."""

    root: Path
    servers: tuple[FakeModelService, ...]
    envoy: EnvoyProcess
    addresses: Addresses
    controls: dict[tuple[str, Actor, int], ModelControl] = field(default_factory=dict)

    def control(self, model: str = "digits", *, actor: Actor = AUTOMATION, keep_warm: int = 1) -> ModelControl:
        key = (model, actor, keep_warm)
        if key not in self.controls:
            self.controls[key] = self.addresses.control(model, actor=actor, keep_warm=keep_warm)
        return self.controls[key]

    def push(self, major: int, *, model: str = "digits") -> Version:
        source = self.root / "exports" / f"{model}-{major}"
        source.mkdir(parents=True, exist_ok=True)
        (source / "saved_model.pb").write_text(f"{model} {major}")
        pushed = PushRequest(directory=source, created="2023-06-01T12:00:00+00:00")
        return self.control(model).push(pushed, name=version(major).name).version

    def start(self, major: int, *, model: str = "digits", percent: float = 0) -> Fence:
        """Push a version and put it on trial, applied."""
        self.push(major, model=model)
        fence = Fence(release=f"r{major}", attempt=1)
        self.control(model).start_canary(version(major), fence=fence, percent=percent)
        self.apply(model)
        return fence

    def release(self, *majors: int, model: str = "digits") -> None:
        """Make versions stable, one after the other, each start, shift and promotion applied."""
        for major in majors:
            fence = self.start(major, model=model)
            self.control(model).shift(fence=fence, percent=100)
            self.apply(model)
            self.control(model).promote(version(major), fence=fence, proof="it is good")
            self.apply(model)

    def serve_at_once(self, *models: str, major: int = 1) -> None:
        """Make a version stable in many models, all applied together."""
        fence = Fence(release=f"r{major}", attempt=1)
        for model in models:
            self.push(major, model=model)
            self.control(model).start_canary(version(major), fence=fence)
            self.control(model).promote(version(major), fence=fence, proof="it is good")
        for model in models:
            self.apply(model)

    def apply(self, model: str = "digits", *, seconds: float = DEADLINE_SECONDS) -> dict[str, float]:
        return self.control(model).apply(deadline_seconds=seconds).split

    def split(self, model: str = "digits") -> dict[int, float]:
        """What the router really does."""
        return dict(self.addresses.router().observed_split().get(model, ()))

    def traffic(self, model: str = "digits", *, clients: int = 2) -> Traffic:
        return Traffic(f"{self.envoy.listener_url}/v1/models/{model}:predict", clients=clients)

    def available(self, model: str = "digits") -> list[set[int]]:
        """What each server has available."""
        return [
            {number for number, state in server.models.get(model, {}).items() if state is LoadState.AVAILABLE}
            for server in self.servers
        ]

    def labels(self, model: str = "digits") -> list[dict[str, int]]:
        return [dict((server.labels or {}).get(model, {})) for server in self.servers]


@contextmanager
def serving_fleet(
    root: Path,
    *,
    declared_empty: bool = True,
    route_timeout_seconds: float = 1.0,
    drain_seconds: float | None = None,
    reload_seconds: float = 1.0,
    **options: Any,
) -> Iterator[Fleet]:
    """Start everything; ``options`` are :class:`FakeModelService`'s, the others are :class:`Addresses`'."""
    repository_root, config_dir = root / "models", root / "config"
    repository_root.mkdir()
    config_dir.mkdir()
    settings = RouterSettings(route_timeout_seconds=route_timeout_seconds)
    with ExitStack() as stack:
        servers = tuple(stack.enter_context(FakeModelService(**options).start()) for _ in range(2))
        rests = [RestSide(server) for server in servers]
        for rest in rests:
            stack.callback(rest.close)
        envoy = stack.enter_context(EnvoyProcess(config_dir=config_dir, work_dir=root / "envoy", settings=settings))
        addresses = Addresses(
            root=str(repository_root),
            config_dir=str(config_dir),
            admin_url=envoy.admin_url,
            replicas=[(server.address, rest.port) for server, rest in zip(servers, rests, strict=True)],
            route_timeout_seconds=route_timeout_seconds,
            declared_empty=declared_empty,
            drain_seconds=drain_seconds,
            reload_seconds=reload_seconds,
        )
        fleet = Fleet(root=root, servers=servers, envoy=envoy, addresses=addresses)
        stack.callback(lambda: [control.target.close() for control in fleet.controls.values()])  # type: ignore[attr-defined]
        yield fleet


class FleetTraffic(Traffic):
    """A few clients that ask many models in turn, with a breath in between: load on all of them, not on this machine."""

    def __init__(self, listener_url: str, *, models: Sequence[str], clients: int = 2) -> None:
        super().__init__(listener_url, clients=clients)
        self._urls = [f"{listener_url}/v1/models/{model}:predict" for model in models]

    def _ask(self) -> None:
        with requests.Session() as session:
            for url in itertools.cycle(self._urls):
                if self._ending.wait(0.01):
                    return
                try:
                    answer = session.post(url, json={}, timeout=DEADLINE_SECONDS)
                except requests.RequestException as error:
                    self.broken.append(f"{url}: {error!r}")
                    continue
                with self._lock:
                    version = answer.headers.get("x-model-version", "")
                    failed = "" if answer.ok else f" of {url}"
                    self.answers[answer.status_code, version + failed] += 1
