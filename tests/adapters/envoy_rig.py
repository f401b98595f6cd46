"""Tiny model servers that echo what reached them, a client that never stops asking, and a fleet with a real Envoy."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

import requests

from airflow_model_ops.adapters.serving.envoy_documents import (
    ClusterSpec,
    Endpoint,
    ModelRoute,
    RouterSettings,
    clusters_document,
    document_version,
    routes_document,
)
from airflow_model_ops.adapters.serving.envoy_process import EnvoyProcess
from airflow_model_ops.adapters.serving.envoy_router import EnvoyRouter

DEADLINE_SECONDS = 60.0
"""Of everything that is waited for: many times what a busy machine takes."""


class LoopbackServer(ThreadingHTTPServer):
    """Lets many connections wait to be accepted: the kernel drops those beyond, and their next try is a second later."""

    daemon_threads = True
    request_queue_size = 128


class EchoServer:
    """Answers every request with its path and its own port; ``delay`` makes it slow, ``gate`` makes it wait."""

    def __init__(self) -> None:
        self.delay_seconds = 0.0
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True
            wbufsize = -1  # head and body in one packet

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("content-length", 0)))
                server.entered.set()
                time.sleep(server.delay_seconds)
                server.gate.wait(DEADLINE_SECONDS)
                body = json.dumps({"path": self.path, "port": server.endpoint.port}).encode()
                self.send_response(200)
                self.send_header("content-length", str(len(body)))
                self.send_header("x-model-version", "what the server says")
                self.end_headers()
                self.wfile.write(body)

            def do_GET(self) -> None:
                self.do_POST()

            def log_message(self, *_: Any) -> None:
                """Keep the test's output to itself."""

        self._server = LoopbackServer(("127.0.0.1", 0), Handler)
        self.endpoint = Endpoint(host="127.0.0.1", port=self._server.server_port)
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def close(self) -> None:
        self.gate.set()
        self._server.shutdown()
        self._server.server_close()


@dataclass
class RoutedFleet:
    """A real Envoy, its router and three model servers; ``serve`` drives it up the way the design orders."""

    config_dir: Path
    envoy: EnvoyProcess
    router: EnvoyRouter
    servers: tuple[EchoServer, ...]
    settings: RouterSettings
    generation: int = 0
    present: frozenset[int] = field(default_factory=frozenset)
    documents_written: int = 0

    def serve(self, *split: tuple[int, float], model: str = "digits") -> None:
        """Clusters up, routes shifted, clusters no longer used removed; each confirmed before the next."""
        self.generation += 1
        numbers = frozenset(number for number, _ in split)
        self.clusters(self.present | numbers, model=model)
        self.routes(*split, model=model)
        self.clusters(numbers, model=model)

    def clusters(self, numbers: frozenset[int], *, model: str = "digits") -> None:
        specs = [
            ClusterSpec(model=model, number=number, endpoints=(self.server_of(number).endpoint,)) for number in numbers
        ]
        fleet = [server.endpoint for server in self.servers]
        document = clusters_document(specs, settings=self.settings, generations={model: self.generation}, fleet=fleet)
        self.documents_written += self.router.write_clusters(document)
        self.router.wait_clusters_active((spec.name for spec in specs), deadline_seconds=DEADLINE_SECONDS)
        self.present = numbers

    def routes(self, *split: tuple[int, float], model: str = "digits") -> str:
        route = ModelRoute(model=model, generation=self.generation, split=split)
        document = routes_document([route], settings=self.settings)
        self.documents_written += self.router.write_routes(document)
        self.router.wait_routes(document_version(document), deadline_seconds=DEADLINE_SECONDS)
        return document_version(document)

    def server_of(self, number: int) -> EchoServer:
        return self.servers[number % len(self.servers)]

    def post(self, path: str = "/v1/models/digits:predict", **options: Any) -> requests.Response:
        return requests.post(f"{self.envoy.listener_url}{path}", json={}, timeout=DEADLINE_SECONDS, **options)

    def get(self, path: str) -> requests.Response:
        return requests.get(f"{self.envoy.listener_url}{path}", timeout=DEADLINE_SECONDS)


@contextmanager
def routed_fleet(root: Path, *, settings: RouterSettings | None = None) -> Iterator[RoutedFleet]:
    settings = settings or RouterSettings()
    config_dir = root / "config"
    config_dir.mkdir()
    servers = tuple(EchoServer() for _ in range(3))
    envoy = EnvoyProcess(config_dir=config_dir, work_dir=root / "envoy", settings=settings)
    try:
        envoy.start()
        router = EnvoyRouter(
            config_dir=config_dir, admin_urls=[envoy.admin_url], settings=settings, log_paths=[envoy.log_path]
        )
        yield RoutedFleet(config_dir=config_dir, envoy=envoy, router=router, servers=servers, settings=settings)
    finally:
        envoy.stop()
        for server in servers:
            server.close()


class Traffic:
    """Clients that ask without pause over kept connections until told to stop, and remember every answer."""

    def __init__(self, url: str, *, clients: int = 3) -> None:
        self.answers: Counter[tuple[int, str]] = Counter()
        self.broken: list[str] = []
        self._url = url
        self._ending = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._ask, daemon=True) for _ in range(clients)]

    @property
    def failures(self) -> list[str]:
        """Everything that was not a 200."""
        return self.broken + [f"{count} x {answer}" for answer, count in self.answers.items() if answer[0] != 200]

    @property
    def total(self) -> int:
        with self._lock:
            return sum(self.answers.values())

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join(DEADLINE_SECONDS)

    def _ask(self) -> None:
        with requests.Session() as session:
            while not self._ending.is_set():
                try:
                    answer = session.post(self._url, json={}, timeout=DEADLINE_SECONDS)
                except requests.RequestException as error:
                    self.broken.append(repr(error))
                    continue
                with self._lock:
                    self.answers[answer.status_code, answer.headers.get("x-model-version", "")] += 1


def eventually(condition: Callable[[], bool], *, seconds: float = DEADLINE_SECONDS) -> bool:
    """Poll until it holds; false at the deadline."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.01)
    return condition()
