"""The names our queries use are the names a real Envoy shows."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests

from airflow_model_ops.adapters.metrics.prometheus import PrometheusSource
from airflow_model_ops.adapters.metrics.prometheus_process import PrometheusProcess, ScrapeJob
from airflow_model_ops.adapters.serving.envoy_process import find_envoy
from airflow_model_ops.core.checks import Arm, Arms, Check, Measurement
from tests.waits import until

CLUSTER = "digits~x/2"
BOUND_MS = 1000
"""The other answers take a millisecond or two; a busy machine may make a tenth of a second of that."""
_ASK_SECONDS = 0.2
"""Each question is several queries."""


class Server(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/slow":
            time.sleep(1.1)
        self.send_response(503 if self.path == "/bad" else 200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *args: object) -> None:
        """Keep the test's output clean."""


@pytest.fixture
def upstream() -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


def socket_address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def bootstrap(upstream: int) -> dict[str, Any]:
    """One route to one cluster, with one retry on 5xx."""
    extensions = "type.googleapis.com/envoy.extensions.filters"
    route = {"cluster": CLUSTER, "retry_policy": {"retry_on": "5xx", "num_retries": 1}}
    manager = {
        "@type": f"{extensions}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "in",
        "http_filters": [{"name": "router", "typed_config": {"@type": f"{extensions}.http.router.v3.Router"}}],
        "route_config": {
            "virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": route}]}]
        },
    }
    endpoint = {"endpoint": {"address": socket_address(upstream)}}
    return {
        "admin": {"address": socket_address(0)},
        "stats_flush_interval": "0.2s",
        "static_resources": {
            "listeners": [
                {
                    "address": socket_address(0),
                    "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
                }
            ],
            "clusters": [
                {
                    "name": CLUSTER,
                    "type": "STATIC",
                    "load_assignment": {"cluster_name": CLUSTER, "endpoints": [{"lb_endpoints": [endpoint]}]},
                }
            ],
        },
    }


@pytest.fixture
def envoy(tmp_path: Path, upstream: int) -> Iterator[tuple[str, str]]:
    """A running Envoy as (where clients connect, its admin address)."""
    config, admin = tmp_path / "envoy.json", tmp_path / "admin"
    config.write_text(json.dumps(bootstrap(upstream)))
    command = [find_envoy(), "-c", str(config), "--concurrency", "1", "--disable-hot-restart", "-l", "error"]
    process = subprocess.Popen([*command, "--admin-address-path", str(admin)])
    try:
        deadline = time.monotonic() + 60
        while not (admin.exists() and admin.read_text() and (listener := listener_of(admin.read_text()))):
            assert time.monotonic() < deadline, "Envoy did not start in time"
            time.sleep(0.05)
        yield listener, admin.read_text()
    finally:
        process.kill()
        process.wait()


def listener_of(admin: str) -> str:
    try:
        found = requests.get(f"http://{admin}/listeners?format=json", timeout=2).json()["listener_statuses"]
    except (requests.RequestException, KeyError):
        return ""
    return f"http://127.0.0.1:{found[0]['local_address']['socket_address']['port_value']}"


class Sum:
    """What was counted so far."""

    def __init__(self, source: PrometheusSource, check: Check) -> None:
        self._source, self._check = source, check
        self._begin = time.time()
        self._after: str | None = None
        self.bad = self.samples = 0.0
        self.newest = Measurement()

    def ask(self) -> bool:
        """Count what is new; say whether the cluster is scraped."""
        arms = Arms(canary=Arm(version_number="2", cluster=CLUSTER))
        found = self._source.gather(self._check, model="digits.x", arms=arms, begin=self._begin, after=self._after)
        self._after, self.newest = found.at, found.canary
        self.bad += found.canary.bad or 0
        self.samples += found.canary.samples or 0
        return found.canary.samples is not None and found.instant.timestamp() > self._begin


@pytest.mark.integration
def test_errors_and_hidden_retries_and_slow_answers_are_read_from_a_real_envoy(envoy: tuple[str, str]) -> None:
    listener, admin = envoy
    errors = Check.from_json({"name": "errors", "kind": "error_rate"})
    latency = Check.from_json({"name": "slow", "kind": "latency", "latency_bound_ms": BOUND_MS})
    with PrometheusProcess([ScrapeJob(name="router", targets=(admin,), path="/stats/prometheus")]) as prometheus:
        source = PrometheusSource(prometheus.url)
        counted, slow = Sum(source, errors), Sum(source, latency)
        until(counted.ask, what="errors are counted", every=_ASK_SECONDS)
        until(slow.ask, what="slow answers are counted", every=_ASK_SECONDS)
        for path in ("/ok", "/ok", "/ok", "/ok", "/bad", "/slow"):
            requests.get(listener + path, timeout=60)
        until(lambda: counted.ask() and counted.samples >= 7, what="all answers are counted", every=_ASK_SECONDS)
        until(lambda: slow.ask() and slow.samples >= 6, what="all times are counted", every=_ASK_SECONDS)
        assert (counted.bad, counted.samples) == (2, 7), "six requests; the bad one was tried twice"
        assert (slow.bad, slow.samples) == (1, 6)
        wrong_edge = Sum(source, Check.from_json({**latency.to_json(), "latency_bound_ms": 60}))
        wrong_edge.ask()
        assert "set latency_bound_ms to an edge: 0.5, 1, 5, 10, 25, 50, 100" in str(wrong_edge.newest.error)
