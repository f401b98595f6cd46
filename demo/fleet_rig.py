"""One fleet on this machine: embedded model servers behind a real Envoy, and labelled traffic through it."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from airflow_model_ops.adapters.metrics.prometheus_process import ScrapeJob
from airflow_model_ops.adapters.serving.envoy_process import EnvoyProcess
from airflow_model_ops.adapters.serving.envoy_spec import RouterSettings
from demo.processes import Processes

ROUTE_TIMEOUT_SECONDS = 5.0
CLIENT_PATIENCE_SECONDS = 30.0
"""More than the router's: it tells of a server that does not answer; a client that was stalled itself has seen no failure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetSettings:
    """What to start.

    :param work: Where everything the fleet writes is kept.
    :param model: The model that the traffic asks for.
    :param images: ``.npz`` with the images and labels that the traffic sends.
    :param rate: Requests per second.
    :param server_env: What the model servers' environment has more, such as where a bucket's emulator listens.
    """

    work: Path
    model: str
    images: Path
    fleet: str = "default"
    rate: float = 40.0
    replicas: int = 2
    server_env: Mapping[str, str] = field(default_factory=dict)


class FleetRig:
    """Starts its parts among others' processes, which end them."""

    def __init__(self, settings: FleetSettings, processes: Processes) -> None:
        self._settings = settings
        self._processes = processes
        self._ports: list[dict[str, int]] = []

    def start_router(self) -> None:
        """Start the servers, which take their time, then Envoy and its traffic, which has nowhere to go yet."""
        settings = self._settings
        envoy_dir = settings.work / "envoy"
        self._dynamic = envoy_dir / "dynamic"
        self._dynamic.mkdir(parents=True, exist_ok=True)
        self._waiting = [self._start_server(index) for index in range(settings.replicas)]
        router = RouterSettings(route_timeout_seconds=ROUTE_TIMEOUT_SECONDS)
        self.envoy = self._processes.exits.enter_context(
            EnvoyProcess(config_dir=self._dynamic, work_dir=envoy_dir, settings=router)
        )
        self._processes.watch(self.envoy.pid)
        self._traffic_port = self._start_traffic()

    def wait_for_servers(self) -> None:
        """Wait until the servers answer; they serve nothing yet."""
        for path in self._waiting:
            self._processes.wait_for(path.name.removesuffix(".ports.json"), path.exists)
            self._ports.append(json.loads(path.read_text(encoding="utf-8")))

    @property
    def connection(self) -> dict[str, Any]:
        """The Airflow connection of this fleet."""
        servers = ",".join(f"127.0.0.1:{port['grpc']}/{port['rest']}" for port in self._ports)
        extra = {
            "fleet": self._settings.fleet,
            "servers": servers,
            "router_config_dir": str(self._dynamic),
            "router_admin": self.envoy.admin_url,
            "router_log": str(self.envoy.log_path),
            "route_timeout": f"{ROUTE_TIMEOUT_SECONDS:g}s",
            "initially": "empty",
        }
        return {"conn_type": "tf_serving", "extra": extra}

    def scrape_jobs(self, *, suffix: str = "") -> list[ScrapeJob]:
        """Return what Prometheus is to read.

        :param suffix: Of the jobs' names, to tell fleets apart.
        """
        rest = tuple(f"127.0.0.1:{port['rest']}" for port in self._ports)
        return [
            ScrapeJob(name=f"envoy{suffix}", targets=(_address(self.envoy.admin_url),), path="/stats/prometheus"),
            ScrapeJob(name=f"clients{suffix}", targets=(f"127.0.0.1:{self._traffic_port}",)),
            ScrapeJob(name=f"model_servers{suffix}", targets=rest, path="/monitoring/prometheus/metrics"),
        ]

    def traffic(self) -> dict[str, Any]:
        """Return the client's own account of its requests, at most half a second old."""
        account: dict[str, Any] = json.loads((self._settings.work / "traffic.json").read_text(encoding="utf-8"))
        return account

    def _start_server(self, index: int) -> Path:
        name = f"model-server-{index + 1}"
        monitoring = self._settings.work / "monitoring.config"
        monitoring.write_text('prometheus_config { enable: true path: "/monitoring/prometheus/metrics" }\n')
        ports = self._settings.work / f"{name}.ports.json"
        ports.unlink(missing_ok=True)
        command = [
            *(sys.executable, "-m", "airflow_model_ops.model_server", "--port", "0", "--rest_api_port", "0"),
            *("--port_file", str(ports), "--monitoring_config_file", str(monitoring)),
            *("--max_num_load_retries", "0", "--file_system_poll_wait_seconds", "1"),
        ]
        self._processes.run(name, command, env=self._settings.server_env)
        return ports

    def _start_traffic(self) -> int:
        settings = self._settings
        ports = settings.work / "traffic.port"
        ports.unlink(missing_ok=True)
        command = [
            *(sys.executable, "-m", "demo.load", "--url", self.envoy.listener_url, "--model", settings.model),
            *("--images", str(settings.images), "--rate", f"{settings.rate:g}", "--start-after-first-200"),
            *("--timeout", f"{CLIENT_PATIENCE_SECONDS:g}"),
            *("--status-file", str(settings.work / "traffic.json"), "--port-file", str(ports)),
        ]
        self._processes.run("traffic", command)
        self._processes.wait_for("traffic", ports.exists)
        return int(ports.read_text(encoding="utf-8"))


def _address(url: str) -> str:
    return url.split("://", 1)[1].rstrip("/")
