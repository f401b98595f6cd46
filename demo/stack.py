"""Everything that serves and judges, on this machine: model servers, Envoy, traffic, Prometheus and Airflow.

The demo and the end-to-end tests stand on it. Real parts only; the model servers are the embedded ones, because TF
Serving's own binary comes in a container image.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from airflow_model_ops.adapters.metrics.prometheus_process import PrometheusProcess
from airflow_model_ops.adapters.serving.envoy_process import EnvoyProcess
from demo.airflow_rig import AirflowRig
from demo.fleet_rig import FleetRig, FleetSettings
from demo.processes import ROOT, Processes


@dataclass(frozen=True, slots=True, kw_only=True)
class StackSettings:
    """What to start.

    :param work: A directory of its own; everything the stack writes is below it.
    :param models_dir: Directory of the models' YAML files.
    :param images: ``.npz`` with the images and labels that the traffic sends.
    :param rate: Requests per second.
    :param dags_folder: The DAG files that Airflow runs.
    :param preload: What Airflow imports once for all its tasks; see :mod:`demo.airflow_component`.
    """

    work: Path
    models_dir: Path
    images: Path
    model: str = "digits"
    rate: float = 40.0
    replicas: int = 2
    dags_folder: Path = ROOT / "dags"
    airflow_env: dict[str, str] = field(default_factory=dict)
    preload: tuple[str, ...] = ("airflow_model_ops.dag_builders",)


class Stack:
    """Starts all parts on entry and stops them on exit, whatever happens in between.

    :param tell: Called with a short sentence whenever a part is up.
    """

    def __init__(self, settings: StackSettings, *, tell: Callable[[str], None] | None = None) -> None:
        self.settings = settings
        self._tell = tell or _say_nothing
        self.work = settings.work.resolve()
        self.repository = self.work / "models"
        self.ledger = self.work / "mlmd" / "metadata.sqlite"
        self.environment = self.work / "airflow.env"
        self._exits = ExitStack()
        self._processes = Processes(self.work / "logs")
        self._fleet = FleetRig(
            FleetSettings(
                work=self.work,
                model=settings.model,
                images=settings.images,
                rate=settings.rate,
                replicas=settings.replicas,
            ),
            self._processes,
        )

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

    @property
    def envoy(self) -> EnvoyProcess:
        """The router of the fleet."""
        return self._fleet.envoy

    def traffic(self) -> dict[str, Any]:
        """Return the client's own account of its requests, at most half a second old."""
        return self._fleet.traffic()

    def log_tail(self, name: str, *, lines: int = 20) -> str:
        """Return the end of a part's log."""
        return self._processes.log_tail(name, lines=lines)

    @property
    def connections(self) -> dict[str, dict[str, Any]]:
        """The Airflow connections of this stack, by id."""
        return {
            "model_repository_default": {"conn_type": "model_repository", "extra": {"root": str(self.repository)}},
            "tf_serving_default": self._fleet.connection,
            "prometheus_default": {"conn_type": "prometheus", "host": self.prometheus.url},
            "mlmd_default": {"conn_type": "mlmd", "extra": {"path": str(self.ledger)}},
        }

    def _start(self) -> None:
        self.repository.mkdir(parents=True, exist_ok=True)
        processes, fleet = self._exits.enter_context(self._processes), self._fleet
        fleet.start_router()
        self._tell(f"Envoy and its traffic are up: {self.settings.rate:g} requests per second")
        fleet.wait_for_servers()
        self._tell(f"{self.settings.replicas} model servers are up, with nothing to serve yet")
        self.prometheus = self._exits.enter_context(
            PrometheusProcess(fleet.scrape_jobs(), work_dir=self.work / "prometheus")
        )
        processes.watch(self.prometheus.pid)
        self._tell("Prometheus is up")
        self.airflow = self._exits.enter_context(
            AirflowRig(
                self.work / "airflow",
                dags_folder=self.settings.dags_folder,
                connections=self.connections,
                env={"AIRFLOW__MODEL_OPS__MODELS_DIR": str(self.settings.models_dir), **self.settings.airflow_env},
                preload=self.settings.preload,
            )
        )
        self.airflow.write_environment(self.environment)
        self._tell("Airflow is up: API server, scheduler, DAG processor and triggerer")


def _say_nothing(_: str) -> None:
    """Leave out the progress: tests have their own."""
