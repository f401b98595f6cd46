"""What people do from the page: each action is a run of a bundled DAG, started in the caller's name by Airflow itself."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from airflow.api_fastapi.core_api.security import get_user
from fastapi import APIRouter, Depends, HTTPException, Query, status
from starlette.concurrency import run_in_threadpool

from airflow_model_ops.core.state import Actor, ActorKind
from airflow_model_ops.plugin.access import Model, User, may_trigger
from airflow_model_ops.plugin.backends.openings import fleet_of
from airflow_model_ops.plugin.backends.reading import part
from airflow_model_ops.plugin.datamodels.actions import (
    AbortWish,
    HoldWish,
    LiftWish,
    PinWish,
    Preview,
    Progress,
    QuarantineWish,
    ResumeWish,
    RollbackWish,
    Started,
    VersionName,
)
from airflow_model_ops.plugin.datamodels.base import Backend
from airflow_model_ops.plugin.foresight import PREVIOUS, foresee_rollback
from airflow_model_ops.plugin.runs import dag_runs
from airflow_model_ops.plugin.runs.action_dags import (
    ABORT,
    DAG_OF,
    HOLD,
    LIFT,
    PIN,
    QUARANTINE,
    RESUME,
    ROLLBACK,
    TASK_OF,
)
from airflow_model_ops.plugin.runs.airflow_api import AirflowApi, Api
from airflow_model_ops.plugin.runs.progress import committed_by, has_succeeded, is_done, told
from airflow_model_ops.plugin.same_origin import require_same_origin

router = APIRouter(tags=["actions"])
_ACTS: dict[str, Any] = {
    "status_code": status.HTTP_202_ACCEPTED,
    "dependencies": [Depends(get_user), Depends(require_same_origin)],  # nobody is told 401, whatever page it is
}


@router.post("/models/{model}/rollback", **_ACTS)
async def roll_back(model: Model, user: User, api: Api, wish: RollbackWish) -> Started:
    """Take the model back."""
    aim = {"model": model.model, "target": wish.to}
    once = aim if wish.to == PREVIOUS else None
    return await _start(ROLLBACK, api, user, {**aim, "reason": wish.reason, "seen": wish.seen}, once=once)


@router.post("/models/{model}/pin", **_ACTS)
async def pin(model: Model, user: User, api: Api, wish: PinWish) -> Started:
    """Pin the golden version."""
    return await _start(PIN, api, user, {"model": model.model, "version": wish.version})


@router.post("/models/{model}/hold", **_ACTS)
async def hold(model: Model, user: User, api: Api, wish: HoldWish) -> Started:
    """Stop shifts and promotions."""
    return await _start(HOLD, api, user, {"model": model.model, **wish.model_dump()})


@router.post("/models/{model}/resume", **_ACTS)
async def resume(model: Model, user: User, api: Api, wish: ResumeWish) -> Started:
    """End a hold."""
    return await _start(RESUME, api, user, {"model": model.model, **wish.model_dump()})


@router.post("/models/{model}/abort", **_ACTS)
async def abort(model: Model, user: User, api: Api, wish: AbortWish) -> Started:
    """End the live release."""
    return await _start(ABORT, api, user, {"model": model.model, **wish.model_dump()})


@router.post("/models/{model}/lift", **_ACTS)
async def lift(model: Model, user: User, api: Api, wish: LiftWish) -> Started:
    """End a version's quarantine."""
    return await _start(LIFT, api, user, {"model": model.model, **wish.model_dump()})


@router.post("/models/{model}/quarantine", **_ACTS)
async def quarantine(model: Model, user: User, api: Api, wish: QuarantineWish) -> Started:
    """Ban a version."""
    return await _start(QUARANTINE, api, user, {"model": model.model, **wish.model_dump()})


@router.get("/models/{model}/rollback-preview")
async def preview_rollback(model: Model, user: User, to: Annotated[VersionName, Query()] = "previous") -> Preview:
    """Say what a rollback would do now; nothing is changed."""
    return await foresee_rollback(model, to=to, actor=Actor(kind=ActorKind.PERSON, name=user.get_name()))


@router.get("/models/{model}/actions/{dag_id}/{run_id}")
async def follow(model: Model, api: Api, dag_id: str, run_id: str) -> Progress:
    """Say how far an action is."""
    task_id = TASK_OF.get(dag_id)
    if task_id is None:
        raise HTTPException(
            status.HTTP_404_NOT_FOUND, f"DAG {dag_id!r} carries out no action of this page; look at its runs in Airflow"
        )
    run = await dag_runs.look(api, dag_id, run_id, task_id=task_id)
    if run.conf.get("model") != model.model:
        raise HTTPException(status.HTTP_404_NOT_FOUND, f"run {run_id!r} of {dag_id} is not about model {model.model!r}")
    log = await part(
        Backend.REPOSITORY, lambda: committed_by(fleet_of(model).repository.log(model.model), run), of=model
    )
    done, succeeded = is_done(run), has_succeeded(run)
    return told(
        run,
        committed=log.value,
        result=await dag_runs.result_of(api, run) if succeeded and log.value is None else {},
        failure=await dag_runs.failure_of(api, run) if done and not succeeded else None,
        now=datetime.now(UTC),
    )


async def _start(
    action: str, api: AirflowApi, user: BaseUser, conf: dict[str, Any], *, once: dict[str, Any] | None = None
) -> Started:
    """Start a run; with ``once`` only if none with these parameters is on its way."""
    dag_id = DAG_OF[action]
    # In a thread: an auth manager may ask its database, or another server.
    if not await run_in_threadpool(may_trigger, dag_id, user=user):
        raise HTTPException(status.HTTP_403_FORBIDDEN, f"you may not trigger the DAG {dag_id}, which this takes")
    if once is not None:
        await dag_runs.require_none_on_its_way(api, dag_id, conf=once)
    return Started(dag_id=dag_id, run_id=await dag_runs.start(api, dag_id, conf=conf))
