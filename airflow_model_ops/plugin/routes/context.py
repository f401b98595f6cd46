"""Which model a DAG, a run or a task of Airflow is about, for the tabs on their pages."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.concurrency import run_in_threadpool

from airflow_model_ops.dag_names import TAG, release_dag_of, release_id
from airflow_model_ops.plugin.access import User, readable
from airflow_model_ops.plugin.catalogue import catalogue
from airflow_model_ops.plugin.datamodels.actions import PageContext
from airflow_model_ops.plugin.runs.airflow_api import AirflowApi, Api

router = APIRouter(tags=["models"])

_Id = Annotated[str, Query(min_length=1, max_length=250)]


@router.get("/context")
async def get_context(user: User, api: Api, dag_id: _Id, run_id: _Id | None = None) -> PageContext:
    """Tell which model a DAG or one of its runs is about, if the caller may see both."""
    known = (await run_in_threadpool(catalogue)).models  # a thread: files and auth managers may be slow
    releases = {release_dag_of(model): model for model in known}
    model = releases.get(dag_id) or await _released_by(api, dag_id, known)
    released = model is not None
    if model is None and run_id is not None:
        model = await _model_of_run(api, dag_id, run_id, known)
    if model is None or not await run_in_threadpool(readable, [model], user=user):
        return PageContext(model=None, release=None)
    return PageContext(model=model, release=release_id(dag_id, run_id) if released and run_id else None)


async def _released_by(api: AirflowApi, dag_id: str, known: dict[str, Any]) -> str | None:
    """Return the one model that a DAG of another name releases: its tags name it, as ``build_release_dag`` has set them."""
    answer = await api.get("dags", dag_id)
    if not answer.is_success:
        return None
    tags = {tag["name"] for tag in answer.json().get("tags") or ()}
    named = tags & known.keys()
    return named.pop() if TAG in tags and len(named) == 1 else None


async def _model_of_run(api: AirflowApi, dag_id: str, run_id: str, known: dict[str, Any]) -> str | None:
    """Return the model that a run was asked to act on, such as a rollback by hand."""
    answer = await api.get("dags", dag_id, "dagRuns", run_id)
    model = (answer.json().get("conf") or {}).get("model") if answer.is_success else None
    return model if isinstance(model, str) and model in known else None
