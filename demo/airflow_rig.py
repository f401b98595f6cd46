"""The real Airflow on this machine: API server, scheduler, DAG processor and triggerer as four processes.

Used by the demo and by the end-to-end tests. Not ``airflow standalone``: that one orphans its children when it is
terminated, and its parts cannot be killed one by one. Own home, SQLite, LocalExecutor, loopback only, free ports.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
import shlex
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from demo.airflow_rest import AirflowRest, AirflowRestError, wait_until
from demo.ports import PAST_PROXIES, free_port
from demo.process_group import ProcessGroup, Watchdog

COMPONENTS = ("api-server", "scheduler", "dag-processor", "triggerer")
_HEALTH_NAMES = {"scheduler": "scheduler", "dag-processor": "dag_processor", "triggerer": "triggerer"}
_COMPONENT = Path(__file__).resolve().parent / "airflow_component.py"
USERS = {"admin": "admin", "viewer": "viewer"}
"""Names of the users and their roles; the passwords are drawn anew for each home."""


_STOP_SECONDS = 5.0
"""How long the parts may take to end by themselves; a scheduler with a running task would wait for its end."""


class AirflowRig:
    """A whole Airflow in one directory, started on entry and stopped on exit, whatever happens in between.

    :param home: becomes ``AIRFLOW_HOME``; kept afterwards, so that logs can be read. A second rig in the same home
        continues with its database.
    :param dags_folder: the DAG files to run.
    :param connections: connection id -> its fields, as Airflow's JSON form has them; set through the environment.
    :param env: further variables for all processes, for example ``AIRFLOW__MODEL_OPS__...``; they win over the rig's.
    :param preload: modules that scheduler and DAG processor import once, before they fork their children.
    :param start_timeout: seconds until all four must be healthy.
    """

    def __init__(
        self,
        home: Path,
        *,
        dags_folder: Path,
        connections: Mapping[str, Mapping[str, Any]] | None = None,
        env: Mapping[str, str] | None = None,
        preload: Sequence[str] = ("airflow_model_ops.dag_builders",),
        start_timeout: float = 240.0,
    ) -> None:
        self.home = home.resolve()
        self.port = free_port()
        self.base_url = f"http://127.0.0.1:{self.port}"
        self.start_seconds = 0.0
        self._preload = ",".join(preload)
        self._start_timeout = start_timeout
        self._passwords: dict[str, str] = {}
        self._groups: dict[str, ProcessGroup] = {}
        self._stack = ExitStack()
        self._watchdog: Watchdog | None = None
        self._env = (
            _inherited_environment()
            | _airflow_environment(home=self.home, dags_folder=dags_folder.resolve(), port=self.port)
            | {f"AIRFLOW_CONN_{name.upper()}": json.dumps(dict(fields)) for name, fields in (connections or {}).items()}
            | dict(env or {})
        )

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pids(self) -> dict[str, int]:
        """The process id of each component, so that a test can kill it."""
        return {name: group.pid for name, group in self._groups.items()}

    @property
    def rest(self) -> AirflowRest:
        """The REST client of the user ``admin``."""
        return self.rest_as("admin")

    def rest_as(self, username: str, /) -> AirflowRest:
        """Return a REST client of one of :data:`USERS`."""
        return AirflowRest(base_url=self.base_url, username=username, password=self.password(username))

    def password(self, username: str, /) -> str:
        """Return the password of one of :data:`USERS`, drawn at the first start of this home."""
        return self._passwords[username]

    def log_path(self, component: str, /) -> Path:
        """Return the file that a component writes to."""
        return self.home / "rig" / f"{component}.log"

    def start(self) -> None:
        """Migrate the database, start the four components and wait until all are healthy.

        :raises AirflowRestError: if one of them ends or is not healthy in time; the message carries its log's end.
        """
        began = time.monotonic()
        (self.home / "rig").mkdir(parents=True, exist_ok=True)
        self._passwords = _draw_passwords(self.home)
        self._watchdog = self._stack.enter_context(Watchdog())
        self._migrate()
        for component in COMPONENTS:
            self.start_component(component)
        self.wait_until_healthy(timeout=self._start_timeout)
        self.start_seconds = time.monotonic() - began

    def stop(self) -> None:
        """Stop all components, and whatever they started; safe to repeat."""
        groups, self._groups = list(self._groups.values()), {}
        ProcessGroup.stop_all(groups, grace=_STOP_SECONDS)
        self._stack.close()

    def start_component(self, component: str, /) -> int:
        """Start one component and return its process id; what a killed one left behind is ended first."""
        if old := self._groups.pop(component, None):
            ProcessGroup.stop_all([old])
        group = self._groups[component] = self._start(component, env=self._env, log=self.log_path(component))
        return group.pid

    def write_environment(self, path: Path, /) -> None:
        """Write what a shell sources to run Airflow's commands here; it holds this Airflow's keys, so only its user reads it."""
        path.touch(mode=0o600)
        names = sorted(name for name in self._env if name.startswith("AIRFLOW_"))
        path.write_text("".join(f"export {name}={shlex.quote(self._env[name])}\n" for name in names))

    @contextmanager
    def another_api_server(self, *, below: str) -> Iterator[str]:
        """Start one more API server over the same database, and yield its address.

        :param below: The path that its address has after the host, such as ``/airflow``: the UI of many installations
            is below one.
        :raises AirflowRestError: if it does not answer in time.
        """
        port = free_port()
        address = f"http://127.0.0.1:{port}{below}"
        env = {**self._env, "AIRFLOW__API__PORT": str(port), "AIRFLOW__API__BASE_URL": address}
        log = self.log_path(f"api-server-{port}")
        group = self._start("api-server", env=env, log=log)
        client = AirflowRest(base_url=address, username="", password="")
        try:
            wait_until(
                lambda: _health_or_nothing(client).get("metadatabase") == "healthy",
                timeout=self._start_timeout,
                otherwise=lambda: f"no API server answers at {address}:\n{_tail(log)}",
            )
            yield address
        finally:
            ProcessGroup.stop_all([group], grace=_STOP_SECONDS)

    def kill(self, component: str, /) -> None:
        """Kill a component's own process with SIGKILL, as the kernel would when memory runs out; its children live on."""
        self._groups[component].process.send_signal(signal.SIGKILL)
        self._groups[component].process.wait()

    def wait_until_healthy(self, *, timeout: float = 120.0) -> None:
        """Wait until the API server answers and says that all others are healthy.

        :raises AirflowRestError: if one has ended or is not healthy in time.
        """
        client = AirflowRest(base_url=self.base_url, username="", password="")
        health: dict[str, str | None] = {}

        def healthy() -> bool:
            self._assert_alive()
            health.clear()
            health.update(_health_or_nothing(client))
            return all(health.get(name) == "healthy" for name in ("metadatabase", *_HEALTH_NAMES.values()))

        wait_until(healthy, timeout=timeout, otherwise=lambda: f"Airflow is {health} after {timeout} s; {self._logs()}")

    def memory_mib(self) -> dict[str, float]:
        """Return each component's memory with its children, shared pages divided (PSS), in MiB."""
        return {name: group.memory_mib() for name, group in self._groups.items()}

    def cli(self, *words: str, timeout: float = 240.0) -> str:
        """Run one ``airflow`` command in this home and return what it prints.

        :raises AirflowRestError: if it fails.
        """
        command = [sys.executable, "-m", "airflow", *words]
        done = subprocess.run(
            command, env=self._env, cwd=self.home, capture_output=True, text=True, check=False, timeout=timeout
        )
        if done.returncode != 0:
            raise AirflowRestError(f"'airflow {' '.join(words)}' exits {done.returncode}: {done.stdout}{done.stderr}")
        return done.stdout

    def _start(self, component: str, *, env: Mapping[str, str], log: Path) -> ProcessGroup:
        if self._watchdog is None:
            raise AirflowRestError(f"component {component!r} cannot be started before the rig; enter the rig first")
        # -P: what lies beside the script is no top-level module.
        command = [sys.executable, "-P", str(_COMPONENT), self._preload, component]
        group = ProcessGroup.start(command, env=env, cwd=self.home, log=log)
        self._watchdog.watch(group.pid)
        return group

    def _migrate(self) -> None:
        database = self.home / "airflow.db"
        if not database.exists():
            self.cli("db", "migrate")
        # Readers and the one writer no longer block each other; the mode is kept in the file.
        connection = sqlite3.connect(database)
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        finally:
            connection.close()

    def _assert_alive(self) -> None:
        for name, group in self._groups.items():
            status = group.process.poll()
            if status is not None:
                raise AirflowRestError(f"{name} ended with status {status}; {self._logs(name)}")

    def _logs(self, *components: str) -> str:
        names = components or tuple(self._groups)
        return "".join(f"\n--- {self.log_path(name)}\n{_tail(self.log_path(name))}" for name in names)


def _health_or_nothing(client: AirflowRest) -> dict[str, str | None]:
    """Ask for the health; an API server that does not listen yet has none."""
    try:
        return client.health()
    except (OSError, AirflowRestError) as error:
        return {"api-server": f"no answer yet: {error}"}


def _inherited_environment() -> dict[str, str]:
    """The caller's environment without another Airflow's settings, loopback kept away from proxies."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    return kept | PAST_PROXIES | {"PYTHONUNBUFFERED": "1"}


def _airflow_environment(*, home: Path, dags_folder: Path, port: int) -> dict[str, str]:
    settings: dict[str, dict[str, object]] = {
        "core": _core_settings(home=home, dags_folder=dags_folder, port=port),
        # Four processes and each task write to it: where the disk is slow one waits for another, and does not fail.
        "database": {"sql_alchemy_conn": f"sqlite:///{home}/airflow.db?timeout=60"},
        "api": {
            "host": "127.0.0.1",
            "port": port,
            "base_url": f"http://127.0.0.1:{port}",
            "secret_key": secrets.token_hex(32),
        },
        "api_auth": {"jwt_secret": secrets.token_hex(32)},
        "logging": {
            "base_log_folder": home / "logs",
            "colored_console_log": False,
            "worker_log_server_port": free_port(),
            "trigger_log_server_port": free_port(),
        },
        # A killed part must be noticed within seconds: the defaults are made for clusters.
        "scheduler": {
            "job_heartbeat_sec": 2,
            "scheduler_heartbeat_sec": 2,
            "scheduler_health_check_threshold": 10,
            "orphaned_tasks_check_interval": 10,
            "task_instance_heartbeat_timeout": 15,
            "task_instance_heartbeat_timeout_detection_interval": 3,
            "trigger_timeout_check_interval": 3,
            "scheduler_idle_sleep_time": 0.5,
        },
        "workers": {"min_heartbeat_interval": 2},
        "triggerer": {
            "job_heartbeat_sec": 2,
            "triggerer_health_check_threshold": 10,
            "capacity": 200,
        },
        "dag_processor": {
            "refresh_interval": 5,
            "bundle_refresh_check_interval": 1,
            "min_file_process_interval": 10,
            "parsing_processes": 1,
        },
        "usage_data_collection": {"enabled": False},
    }
    flat = {
        f"AIRFLOW__{section.upper()}__{option.upper()}": str(value)
        for section, options in settings.items()
        for option, value in options.items()
    }
    return {"AIRFLOW_HOME": str(home), **flat}


def _core_settings(*, home: Path, dags_folder: Path, port: int) -> dict[str, object]:
    return {
        "dags_folder": dags_folder,
        "load_examples": False,
        "executor": "LocalExecutor",
        "parallelism": 4,
        "execution_api_server_url": f"http://127.0.0.1:{port}/execution/",
        "fernet_key": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        "auth_manager": "airflow.api_fastapi.auth.managers.simple.simple_auth_manager.SimpleAuthManager",
        "simple_auth_manager_users": ",".join(f"{name}:{role}" for name, role in USERS.items()),
        "simple_auth_manager_passwords_file": home / "rig" / "passwords.json",
        "test_connection": "Enabled",
        "hostname_callable": "socket.gethostname",
    }


def _draw_passwords(home: Path) -> dict[str, str]:
    file = home / "rig" / "passwords.json"
    if not file.exists():
        file.touch(mode=0o600)
        file.write_text(json.dumps({name: secrets.token_urlsafe(12) for name in USERS}), encoding="utf-8")
    passwords: dict[str, str] = json.loads(file.read_text(encoding="utf-8"))
    return passwords


def _tail(path: Path, *, lines: int = 30) -> str:
    return "\n".join(path.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:]) if path.exists() else ""
