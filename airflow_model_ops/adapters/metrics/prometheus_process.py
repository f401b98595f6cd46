"""A real Prometheus as a child process, for the demo, for tests and for a laptop."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import requests

from airflow_model_ops.adapters.metrics.prometheus_queries import duration
from airflow_model_ops.core.errors import InvalidConfig, MetricsUnavailable

_POLL_SECONDS = 0.05
_STARTS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class ScrapeJob:
    """Targets that Prometheus reads.

    :param targets: Addresses as ``host:port``.
    :param path: Where they show their metrics; Envoy's admin interface shows them at ``/stats/prometheus``.
    """

    name: str
    targets: tuple[str, ...]
    path: str = "/metrics"


def find_prometheus() -> str:
    """Path of the ``prometheus`` binary on ``PATH``.

    :raises InvalidConfig: if there is none.
    """
    found = shutil.which("prometheus")
    if found is None:
        raise InvalidConfig("no 'prometheus' binary on PATH; install one, on Debian with apt-get install prometheus")
    return found


class PrometheusProcess:
    """One Prometheus on a free loopback port with a data directory of its own; a context manager that starts and stops it.

    Prometheus finds its targets five seconds after its start, whatever ``scrape_seconds`` says.

    :param jobs: What it scrapes.
    :param scrape_seconds: How often.
    :param work_dir: Where its configuration, its data and its log are kept; ``None`` is a temporary directory that is
        removed when it stops.
    """

    def __init__(self, jobs: Sequence[ScrapeJob], *, scrape_seconds: float = 1.0, work_dir: Path | None = None) -> None:
        self._jobs = tuple(jobs)
        self._scrape_seconds = scrape_seconds
        self._given_dir = work_dir
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._work_dir = work_dir or Path()
        self.url = ""

    def start(self, *, timeout_seconds: float = 30.0) -> Self:
        """Start it and wait until it answers queries; afterwards ``url`` is known.

        :raises MetricsUnavailable: if it ends or is not ready in time; the message holds the end of its log.
        """
        self._prepare_directory()
        try:
            self._start_on_a_free_port(deadline=time.monotonic() + timeout_seconds)
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self, *, timeout_seconds: float = 5.0) -> None:
        """End it, politely and then by force, and remove its temporary directory. Does nothing when it does not run."""
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            try:
                process.wait(timeout=timeout_seconds)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        temporary, self._temporary = self._temporary, None
        if temporary is not None:
            temporary.cleanup()

    def scrape_too(self, jobs: Sequence[ScrapeJob], /) -> None:
        """Scrape more while it runs; it finds the new targets five seconds later, and keeps what it has."""
        self._jobs = (*self._jobs, *jobs)
        self._write_configuration()
        if self._process is not None:
            self._process.send_signal(signal.SIGHUP)

    @property
    def pid(self) -> int | None:
        """Its process id; ``None`` when it was not started or was stopped."""
        return self._process.pid if self._process else None

    def log_tail(self, *, lines: int = 15) -> str:
        """Return the last lines of its log."""
        path = self._log_path
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:]) if path.exists() else ""

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def _log_path(self) -> Path:
        return self._work_dir / "prometheus.log"

    def _prepare_directory(self) -> None:
        if self._given_dir is None:
            self._temporary = tempfile.TemporaryDirectory(prefix="model-ops-prometheus-")
            self._work_dir = Path(self._temporary.name)
        self._work_dir.mkdir(parents=True, exist_ok=True)
        self._write_configuration()

    def _write_configuration(self) -> None:
        # JSON is YAML without YAML's traps (an unquoted `on` or `n`).
        (self._work_dir / "prometheus.json").write_text(json.dumps(self._configuration(), indent=1))

    def _configuration(self) -> dict[str, Any]:
        interval = duration(self._scrape_seconds)
        jobs = [
            {"job_name": job.name, "metrics_path": job.path, "static_configs": [{"targets": list(job.targets)}]}
            for job in self._jobs
        ]
        return {"global": {"scrape_interval": interval, "scrape_timeout": interval}, "scrape_configs": jobs}

    def _start_on_a_free_port(self, *, deadline: float) -> None:
        # Another process may take the port before Prometheus does; then Prometheus ends at once, and another is tried.
        for _ in range(_STARTS):
            self._spawn()
            if self._becomes_ready(deadline=deadline):
                return
        raise MetricsUnavailable(f"Prometheus ended while it started; its log:\n{self.log_tail()}")

    def _spawn(self) -> None:
        address = f"127.0.0.1:{_free_port()}"
        self.url = f"http://{address}"
        command = [
            find_prometheus(),
            f"--config.file={self._work_dir / 'prometheus.json'}",
            f"--storage.tsdb.path={self._work_dir / 'data'}",
            f"--web.listen-address={address}",
            "--log.level=warn",
        ]
        with self._log_path.open("ab") as log:
            # In a session of its own: a Ctrl-C at the terminal is for whoever started it, who then stops things in order.
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    def _becomes_ready(self, *, deadline: float) -> bool:
        """Wait until it is ready; ``False`` if it ended instead."""
        while self._process is not None and self._process.poll() is None:
            if time.monotonic() > deadline:
                raise MetricsUnavailable(f"Prometheus was not ready in time; its log:\n{self.log_tail()}")
            if self._is_ready():
                return True
            time.sleep(_POLL_SECONDS)
        return False

    def _is_ready(self) -> bool:
        try:
            return requests.get(f"{self.url}/-/ready", timeout=2).ok
        except requests.RequestException:
            return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
