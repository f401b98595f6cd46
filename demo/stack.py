"""Everything that serves and judges, on this machine: model servers, Envoy, traffic, Prometheus and Airflow.

The demo and the end-to-end tests stand on it. Real parts only; the model servers are the embedded ones, because TF
Serving's own binary comes in a container image.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from airflow_model_ops.adapters.metrics.prometheus_process import PrometheusProcess, ScrapeJob
from airflow_model_ops.adapters.serving.envoy_process import EnvoyProcess
from airflow_model_ops.adapters.serving.envoy_spec import RouterSettings
from demo.airflow_rest import wait_until
from demo.airflow_rig import AirflowRig
from demo.process_group import ProcessGroup, Watchdog

ROOT = Path(__file__).resolve().parent.parent
ROUTE_TIMEOUT_SECONDS = 5.0
_READY_SECONDS = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class StackSettings:
    """What to start.

    :param work: A directory of its own; everything the stack writes is below it.
    :param models_dir: Directory of the models' YAML files.
    :param images: ``.npz`` with the images and labels that the traffic sends.
    :param rate: Requests per second.
    :param dags_folder: The DAG files that Airflow runs.
    """

    work: Path
    models_dir: Path
    images: Path
    model: str = "digits"
    rate: float = 40.0
    replicas: int = 2
    dags_folder: Path = ROOT / "dags"
    airflow_env: dict[str, str] = field(default_factory=dict)


class Stack:
    """Starts all parts on entry and stops them on exit, whatever happens in between.

    :param tell: Called with a short sentence whenever a part is up.
    """

    def __init__(self, settings: StackSettings, *, tell: Callable[[str], None] | None = None) -> None:
        self._settings = settings
        self._tell = tell or _say_nothing
        self._exits = ExitStack()
        self.work = settings.work.resolve()
        self.repository = self.work / "models"
        self.ledger = self.work / "mlmd" / "metadata.sqlite"
        self.servers: list[ProcessGroup] = []

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._exits.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._exits.close()

    def traffic(self) -> dict[str, Any]:
        """Return the client's own account of its requests, at most half a second old."""
        account: dict[str, Any] = json.loads((self.work / "traffic.json").read_text(encoding="utf-8"))
        return account

    def log_tail(self, name: str, *, lines: int = 20) -> str:
        """Return the end of a part's log."""
        text = (self.work / "logs" / f"{name}.log").read_text(encoding="utf-8", errors="replace")
        return "\n".join(text.splitlines()[-lines:])

    @property
    def connections(self) -> dict[str, dict[str, Any]]:
        """The Airflow connections of this stack, by id."""
        servers = ",".join(f"127.0.0.1:{port['grpc']}/{port['rest']}" for port in self._ports)
        return {
            "model_repository_default": {"conn_type": "model_repository", "extra": {"root": str(self.repository)}},
            "tf_serving_default": {
                "conn_type": "tf_serving",
                "extra": {
                    "fleet": "default",
                    "servers": servers,
                    "router_config_dir": str(self._envoy_dir),
                    "router_admin": self.envoy.admin_url,
                    "router_log": str(self.envoy.log_path),
                    "route_timeout": f"{ROUTE_TIMEOUT_SECONDS:g}s",
                    "initially": "empty",
                },
            },
            "prometheus_default": {"conn_type": "prometheus", "host": self.prometheus.url},
            "mlmd_default": {"conn_type": "mlmd", "extra": {"path": str(self.ledger)}},
        }

    def _start(self) -> None:
        for directory in (self.repository, self.work / "logs", self.work / "envoy"):
            directory.mkdir(parents=True, exist_ok=True)
        self._watchdog = self._exits.enter_context(Watchdog())
        waiting = [self._start_server(index) for index in range(self._settings.replicas)]
        self._envoy_dir = self.work / "envoy" / "dynamic"
        self._envoy_dir.mkdir(exist_ok=True)
        settings = RouterSettings(route_timeout_seconds=ROUTE_TIMEOUT_SECONDS)
        self.envoy = self._exits.enter_context(
            EnvoyProcess(config_dir=self._envoy_dir, work_dir=self.work / "envoy", settings=settings)
        )
        self._watch(self.envoy.pid)
        traffic_port = self._start_traffic()
        self._tell(f"Envoy and its traffic are up: {self._settings.rate:g} requests per second")
        self._ports = [self._wait_for_ports(path) for path in waiting]
        self._tell(f"{len(waiting)} model servers are up, with nothing to serve yet")
        jobs = [
            ScrapeJob(name="envoy", targets=(_address(self.envoy.admin_url),), path="/stats/prometheus"),
            ScrapeJob(name="clients", targets=(f"127.0.0.1:{traffic_port}",)),
            ScrapeJob(
                name="model_servers",
                targets=tuple(f"127.0.0.1:{port['rest']}" for port in self._ports),
                path="/monitoring/prometheus/metrics",
            ),
        ]
        self.prometheus = self._exits.enter_context(PrometheusProcess(jobs, work_dir=self.work / "prometheus"))
        self._watch(self.prometheus.pid)
        self._tell("Prometheus is up")
        self.airflow = self._exits.enter_context(
            AirflowRig(
                self.work / "airflow",
                dags_folder=self._settings.dags_folder,
                connections=self.connections,
                env={"AIRFLOW__MODEL_OPS__MODELS_DIR": str(self._settings.models_dir), **self._settings.airflow_env},
            )
        )
        self._tell("Airflow is up: API server, scheduler, DAG processor and triggerer")

    def _start_server(self, index: int) -> Path:
        name = f"model-server-{index + 1}"
        monitoring = self.work / "monitoring.config"
        monitoring.write_text('prometheus_config { enable: true path: "/monitoring/prometheus/metrics" }\n')
        ports = self.work / f"{name}.ports.json"
        ports.unlink(missing_ok=True)
        command = [
            *(sys.executable, "-m", "airflow_model_ops.model_server", "--port", "0", "--rest_api_port", "0"),
            *("--port_file", str(ports), "--monitoring_config_file", str(monitoring)),
            *("--max_num_load_retries", "0", "--file_system_poll_wait_seconds", "1"),
        ]
        self.servers.append(self._run(name, command))
        return ports

    def _wait_for_ports(self, path: Path) -> dict[str, int]:
        name = path.name.removesuffix(".ports.json")
        wait_until(
            path.exists, timeout=_READY_SECONDS, otherwise=lambda: f"{name} is not ready:\n{self.log_tail(name)}"
        )
        ports: dict[str, int] = json.loads(path.read_text(encoding="utf-8"))
        return ports

    def _start_traffic(self) -> int:
        ports = self.work / "traffic.port"
        ports.unlink(missing_ok=True)
        settings = self._settings
        command = [
            *(sys.executable, "-m", "demo.load", "--url", self.envoy.listener_url, "--model", settings.model),
            *("--images", str(settings.images), "--rate", f"{settings.rate:g}", "--start-after-first-200"),
            *("--status-file", str(self.work / "traffic.json"), "--port-file", str(ports)),
        ]
        self._run("traffic", command)
        wait_until(ports.exists, timeout=_READY_SECONDS, otherwise=lambda: f"no traffic:\n{self.log_tail('traffic')}")
        return int(ports.read_text(encoding="utf-8"))

    def _run(self, name: str, command: list[str]) -> ProcessGroup:
        env = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "2", "CUDA_VISIBLE_DEVICES": "", "NO_PROXY": "127.0.0.1"}
        group = ProcessGroup.start(command, env=env, cwd=ROOT, log=self.work / "logs" / f"{name}.log")
        self._watch(group.pid)
        self._exits.callback(ProcessGroup.stop_all, [group])
        return group

    def _watch(self, pid: int | None) -> None:
        if pid is not None:
            self._watchdog.watch(pid)


def _say_nothing(_: str) -> None:
    """Leave out the progress: tests have their own."""


def _address(url: str) -> str:
    return url.split("://", 1)[1].rstrip("/")
