"""A small client of Airflow's public REST API, for the demo and the end-to-end tests."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, TypeVar
from urllib.parse import quote

import requests

FINAL_RUN_STATES = frozenset({"success", "failed"})
T = TypeVar("T")

_POLL_SECONDS = 0.3
_REQUEST_SECONDS = 120.0


class AirflowRestError(RuntimeError):
    """Airflow refused a request, or a run did not end as awaited; the message carries Airflow's answer."""


class AirflowRest:
    """What the demo and the tests ask of a running Airflow.

    :param base_url: of the API server, without ``/api/v2``.
    :param username: one of the simple auth manager's users.
    """

    def __init__(self, *, base_url: str, username: str, password: str) -> None:
        self.base_url = base_url.rstrip("/")
        self._credentials = {"username": username, "password": password}
        self._session = requests.Session()
        self._session.trust_env = False  # a proxy of the environment must not see loopback requests
        self._token = ""

    def token(self) -> str:
        """Return a bearer token, asked for once and kept."""
        if not self._token:
            answer = self._session.post(
                f"{self.base_url}/auth/token", json=self._credentials, timeout=_REQUEST_SECONDS, allow_redirects=False
            )
            self._token = str(_checked(answer)["access_token"])
        return self._token

    def request(self, method: str, path: str, *, json: Any = None, params: Mapping[str, Any] | None = None) -> Any:
        """Send one authorised request below ``/api/v2`` and return the decoded answer, ``None`` if it is empty.

        :raises AirflowRestError: if Airflow answers with an error.
        """
        answer = self._session.request(
            method,
            f"{self.base_url}/api/v2/{path}",
            json=json,
            params=params,
            headers={"Authorization": f"Bearer {self.token()}", "Accept": "application/json"},
            timeout=_REQUEST_SECONDS,
        )
        return _checked(answer)

    def health(self) -> dict[str, str | None]:
        """Return each component's status; no token is needed."""
        answer = self._session.get(f"{self.base_url}/api/v2/monitor/health", timeout=_REQUEST_SECONDS)
        return {name: part["status"] for name, part in _checked(answer).items() if part}

    def import_errors(self) -> list[str]:
        """Return the stack traces of DAG files that do not import."""
        return [str(row["stack_trace"]) for row in self.request("GET", "importErrors")["import_errors"]]

    def wait_for_dag(self, dag_id: str, *, timeout: float = 240.0) -> None:
        """Wait until the DAG processor has made a DAG known.

        :raises AirflowRestError: if it is not known in time; the message carries the import errors.
        """

        def known() -> bool:
            rows = self.request("GET", "dags", params={"dag_id_pattern": dag_id, "exclude_stale": True})["dags"]
            return any(row["dag_id"] == dag_id for row in rows)

        wait_until(
            known,
            timeout=timeout,
            otherwise=lambda: f"DAG {dag_id!r} is not known after {timeout} s; import errors: {self.import_errors()}",
        )

    def parse_again(self, dag_id: str) -> None:
        """Have the DAG processor parse the file of a known DAG now."""
        token = self.request("GET", f"dags/{_q(dag_id)}")["file_token"]
        self.request("PUT", f"parseDagFile/{_q(token)}")

    def unpause(self, dag_id: str, *, paused: bool = False) -> None:
        """Let the scheduler run a DAG, or pause it again."""
        self.request("PATCH", f"dags/{_q(dag_id)}", json={"is_paused": paused})

    def trigger(self, dag_id: str, *, conf: Mapping[str, Any] | None = None) -> str:
        """Start a run and return its id."""
        body = {"logical_date": None, "conf": dict(conf or {})}
        return str(self.request("POST", f"dags/{_q(dag_id)}/dagRuns", json=body)["dag_run_id"])

    def run_ids(self, dag_id: str) -> list[str]:
        """Return the ids of a DAG's runs, newest first, at most 100."""
        params = {"order_by": "-run_after", "limit": 100}
        rows = self.request("GET", f"dags/{_q(dag_id)}/dagRuns", params=params)["dag_runs"]
        return [str(row["dag_run_id"]) for row in rows]

    def run_state(self, dag_id: str, run_id: str) -> str:
        """Return the state of a run."""
        return str(self.request("GET", _run(dag_id, run_id))["state"])

    def task_instances(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """Return Airflow's rows of a run's task instances."""
        rows: list[dict[str, Any]] = self.request("GET", f"{_run(dag_id, run_id)}/taskInstances")["task_instances"]
        return rows

    def task_states(self, dag_id: str, run_id: str) -> dict[str, str | None]:
        """Return the state of each task of a run; of mapped tasks under ``task[index]``."""
        return {
            row["task_id"] if row["map_index"] < 0 else f"{row['task_id']}[{row['map_index']}]": row["state"]
            for row in self.task_instances(dag_id, run_id)
        }

    def wait_for_run(
        self, dag_id: str, run_id: str, *, states: Iterable[str] = FINAL_RUN_STATES, timeout: float = 240.0
    ) -> str:
        """Wait until a run is in one of ``states`` and return that state.

        :raises AirflowRestError: if it is not in time; the message carries the tasks' states and failed tasks' logs.
        """
        wanted = frozenset(states)
        state = ""

        def reached() -> bool:
            nonlocal state
            state = self.run_state(dag_id, run_id)
            return state in wanted or state in FINAL_RUN_STATES

        wait_until(
            reached,
            timeout=timeout,
            otherwise=lambda: f"run {run_id!r} is {state!r} after {timeout} s; {self.describe(dag_id, run_id)}",
        )
        if state not in wanted:
            raise AirflowRestError(
                f"run {run_id!r} ended {state!r}, not in {sorted(wanted)}; {self.describe(dag_id, run_id)}"
            )
        return state

    def wait_for_task(
        self, dag_id: str, run_id: str, task_id: str, *, states: Iterable[str], timeout: float = 240.0
    ) -> str:
        """Wait until a task is in one of ``states`` and return that state.

        :raises AirflowRestError: if it is not in time.
        """
        wanted = frozenset(states)

        def reached() -> str | None:
            state = self.task_states(dag_id, run_id).get(task_id)
            return state if state in wanted else None

        return wait_until(
            reached,
            timeout=timeout,
            otherwise=lambda: (
                f"task {task_id!r} is not in {sorted(wanted)} after {timeout} s; " + self.describe(dag_id, run_id)
            ),
        )

    def describe(self, dag_id: str, run_id: str) -> str:
        """Say how a run stands: the tasks' states, and the end of the log of each failed one."""
        states = self.task_states(dag_id, run_id)
        failed = [task for task, state in states.items() if state in {"failed", "up_for_retry"} and "[" not in task]
        logs = "".join(f"\n--- {task}\n{self.task_log(dag_id, run_id, task, tail=40)}" for task in failed)
        return f"tasks: {states}{logs}"

    def task_log(
        self, dag_id: str, run_id: str, task_id: str, *, try_number: int | None = None, tail: int | None = None
    ) -> str:
        """Return a task's log, one event a line.

        :param try_number: ``None``: the latest try.
        :param tail: only the last so many lines.
        """
        path = f"{_run(dag_id, run_id)}/taskInstances/{_q(task_id)}"
        number = try_number or max(1, int(self.request("GET", path)["try_number"]))
        content = self.request("GET", f"{path}/logs/{number}", params={"full_content": True})["content"]
        lines = [_log_line(entry) for entry in content] if isinstance(content, list) else str(content).splitlines()
        return "\n".join(lines[-tail:] if tail else lines)

    def mark_task(
        self, dag_id: str, run_id: str, task_id: str, *, state: Literal["failed", "success", "skipped"]
    ) -> None:
        """Set a task's state, as a person does in the UI."""
        self.request("PATCH", f"{_run(dag_id, run_id)}/taskInstances/{_q(task_id)}", json={"new_state": state})

    def mark_run(self, dag_id: str, run_id: str, *, state: Literal["failed", "success", "queued"]) -> None:
        """Set a run's state, as a person does in the UI."""
        self.request("PATCH", _run(dag_id, run_id), json={"state": state})

    def clear(self, dag_id: str, run_id: str, *, task_ids: Iterable[str], downstream: bool = True) -> list[str]:
        """Clear tasks of a run, as a person does in the UI; return the ids of those cleared.

        :param downstream: clear the tasks after them, too.
        """
        body = {
            "dry_run": False,
            "dag_run_id": run_id,
            "task_ids": list(task_ids),
            "only_failed": False,
            "reset_dag_runs": True,
            "include_downstream": downstream,
        }
        rows = self.request("POST", f"dags/{_q(dag_id)}/clearTaskInstances", json=body)["task_instances"]
        return [str(row["task_id"]) for row in rows]

    def xcom(self, dag_id: str, run_id: str, task_id: str, *, key: str = "return_value") -> Any:
        """Return the value of an XCom entry."""
        path = f"{_run(dag_id, run_id)}/taskInstances/{_q(task_id)}/xcomEntries/{_q(key)}"
        return self.request("GET", path, params={"deserialize": True})["value"]


def wait_until(
    found: Callable[[], T | None], *, timeout: float, otherwise: Callable[[], str], every: float = _POLL_SECONDS
) -> T:
    """Poll until ``found`` returns something true, and return it.

    :param every: seconds between two looks.
    :raises AirflowRestError: after ``timeout`` seconds, with the sentence that ``otherwise`` gives.
    """
    deadline = time.monotonic() + timeout
    while True:
        value = found()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AirflowRestError(otherwise())
        time.sleep(every)


def _checked(answer: requests.Response) -> Any:
    if not answer.ok:
        raise AirflowRestError(
            f"{answer.request.method} {answer.request.url} answered {answer.status_code}: {answer.text[:2000]}"
        )
    return answer.json() if answer.content else None


def _log_line(entry: Any) -> str:
    if not isinstance(entry, Mapping):
        return str(entry)
    details = {key: value for key, value in entry.items() if key not in {"event", "timestamp", "level", "logger"}}
    parts = (entry.get("timestamp"), entry.get("level"), entry.get("event"), details or None)
    return " ".join(str(part) for part in parts if part)


def _q(part: str) -> str:
    return quote(part, safe="")


def _run(dag_id: str, run_id: str) -> str:
    return f"dags/{_q(dag_id)}/dagRuns/{_q(run_id)}"
