"""Starting and following the DAG runs that carry out actions, through Airflow's own API in the caller's name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx
from fastapi import HTTPException, status

from airflow_model_ops.plugin.runs.airflow_api import AirflowApi, detail_of

NOTE = "from the Model Ops page"
_LONGEST_REASON = 500
_MOST_RUNS = 50
"""The newest runs among which one that is on its way is looked for."""
_UNDER_WAY = frozenset({"queued", "running"})
_ERRORS = frozenset({"error", "critical"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A DAG run, and the task of it that acts.

    :param task_state: ``None``: Airflow has not yet looked at it.
    :param tries: How often it was tried so far.
    """

    dag_id: str
    run_id: str
    state: str
    conf: Mapping[str, Any]
    queued_at: datetime
    task_id: str
    task_state: str | None
    tries: int


async def start(api: AirflowApi, dag_id: str, *, conf: Mapping[str, Any]) -> str:
    """Start a run of a DAG; return its id.

    :raises HTTPException: with what is in the way: 403 if the caller may not, 409 if the DAG is missing, paused or broken, 400
        for parameters that it does not take.
    """
    await _require_ready(api, dag_id)
    answer = await api.post("dags", dag_id, "dagRuns", body={"logical_date": None, "conf": conf, "note": NOTE})
    if answer.is_success:
        return str(answer.json()["dag_run_id"])
    if answer.status_code in {400, 422}:
        raise HTTPException(status.HTTP_400_BAD_REQUEST, f"DAG {dag_id} does not take this: {detail_of(answer)}")
    raise _refusal(answer, dag_id)


async def require_none_on_its_way(api: AirflowApi, dag_id: str, *, conf: Mapping[str, Any]) -> None:
    """Refuse a wish that a run which has not ended has, too, as far as the caller may see the runs.

    Each run goes on from the state that it finds: two that take a model to the previous version take it back by two.

    :param conf: The parameters that make two wishes the same.
    :raises HTTPException: 409, naming the run.
    """
    answer = await api.get("dags", dag_id, "dagRuns", query={"order_by": "-id", "limit": str(_MOST_RUNS)})
    for run in answer.json()["dag_runs"] if answer.is_success else ():
        same = conf.items() <= (run.get("conf") or {}).items()
        if same and run["state"] in _UNDER_WAY:
            raise _conflict(
                f"run {run['dag_run_id']} of {dag_id} is on its way with the same wish, and a second one would go one version "
                "further; wait for it, or name the version to go to"
            )


async def look(api: AirflowApi, dag_id: str, run_id: str, *, task_id: str) -> Run:
    """Return how far a run and its acting task are.

    :raises HTTPException: 404 if there is no such run, 403 if the caller may not see it.
    """
    answer = await api.get("dags", dag_id, "dagRuns", run_id)
    if not answer.is_success:
        raise _refusal(answer, f"{dag_id}, run {run_id}")
    run = answer.json()
    task = await api.get("dags", dag_id, "dagRuns", run_id, "taskInstances", task_id)
    if not task.is_success and task.status_code != 404:  # 404: its tasks are not made yet
        raise _refusal(task, f"{dag_id}, run {run_id}")
    found = task.json() if task.is_success else {}
    return Run(
        dag_id=dag_id,
        run_id=run_id,
        state=str(run["state"]),
        conf=run.get("conf") or {},
        queued_at=_time(run.get("queued_at") or run["run_after"]),
        task_id=task_id,
        task_state=found.get("state"),
        tries=int(found.get("try_number") or 0),
    )


async def result_of(api: AirflowApi, run: Run) -> Mapping[str, Any]:
    """Return what the acting task returned; nothing where that cannot be had."""
    answer = await api.get(*_task_path(run), "xcomEntries", "return_value")
    value = answer.json().get("value") if answer.is_success else None
    return value if isinstance(value, dict) else {}


async def failure_of(api: AirflowApi, run: Run) -> str | None:
    """Return why the acting task failed, by the log of its last try; ``None`` where that cannot be read."""
    answer = await api.get(*_task_path(run), "logs", str(max(1, run.tries)))
    if not answer.is_success:
        return None
    content = answer.json().get("content")
    return last_error(content) if isinstance(content, list) else None


def last_error(content: list[Any]) -> str | None:
    """Return the last error that a task's log tells, its exception's own words if there is one."""
    for message in reversed(content):
        if not isinstance(message, dict):
            continue
        told = message.get("error_detail")
        if isinstance(told, list) and told and isinstance(told[0], dict) and told[0].get("exc_value"):
            return str(told[0]["exc_value"])[:_LONGEST_REASON]
        if message.get("level") in _ERRORS and message.get("event"):
            return str(message["event"])[:_LONGEST_REASON]
    return None


async def _require_ready(api: AirflowApi, dag_id: str) -> None:
    """Refuse what would start no run, or one that never begins."""
    answer = await api.get("dags", dag_id)
    if not answer.is_success:
        raise _refusal(answer, dag_id, missing=status.HTTP_409_CONFLICT)
    dag = answer.json()
    if dag["is_stale"]:
        raise _conflict(_missing(dag_id))
    if dag["is_paused"]:
        raise _conflict(f"DAG {dag_id} is paused, so a run of it would never begin; unpause it, then try again")
    if dag["has_import_errors"]:
        raise _conflict(f"the file of DAG {dag_id} has import errors; mend it, then try again")


def _refusal(answer: httpx.Response, what: str, *, missing: int = status.HTTP_404_NOT_FOUND) -> HTTPException:
    code = answer.status_code
    if code == status.HTTP_401_UNAUTHORIZED:
        return HTTPException(code, detail_of(answer))
    if code == status.HTTP_403_FORBIDDEN:
        return HTTPException(code, f"Airflow does not let you: DAG {what}: {detail_of(answer)}")
    if code == status.HTTP_404_NOT_FOUND:
        text = _missing(what) if missing == status.HTTP_409_CONFLICT else f"there is no DAG {what}: {detail_of(answer)}"
        return HTTPException(missing, text)
    if code == status.HTTP_409_CONFLICT:
        return _conflict(f"DAG {what}: {detail_of(answer)}")
    return HTTPException(
        status.HTTP_502_BAD_GATEWAY,
        f"Airflow's API failed ({code}); the API server's log has more: {detail_of(answer)}",
    )


def _missing(dag_id: str) -> str:
    return (
        f"Airflow has no DAG {dag_id}: it comes with this package, as a DAG bundle or as a file in dags/; install it, or wait "
        "until the DAG processor has read it"
    )


def _conflict(text: str) -> HTTPException:
    return HTTPException(status.HTTP_409_CONFLICT, text)


def _task_path(run: Run) -> tuple[str, ...]:
    return ("dags", run.dag_id, "dagRuns", run.run_id, "taskInstances", run.task_id)


def _time(text: str) -> datetime:
    at = datetime.fromisoformat(text)
    return at if at.tzinfo else at.replace(tzinfo=UTC)
