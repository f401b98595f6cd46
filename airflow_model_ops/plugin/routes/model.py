"""One model: what it should serve, what really serves, and what may be done."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter
from fastapi.concurrency import run_in_threadpool

from airflow_model_ops.config.model_file import ModelIdentity
from airflow_model_ops.plugin.access import Model, User, hidden_from, may_trigger
from airflow_model_ops.plugin.backends.openings import fleet_of
from airflow_model_ops.plugin.backends.reading import Unanswered, ask, part
from airflow_model_ops.plugin.datamodels.base import Backend
from airflow_model_ops.plugin.datamodels.models import ModelAnswer, ModelRow, ObservedRow
from airflow_model_ops.plugin.discretion import discreet_look, discreet_row
from airflow_model_ops.plugin.model_answer import answer_of, observed_row
from airflow_model_ops.plugin.model_reading import Reading
from airflow_model_ops.plugin.overview import projection
from airflow_model_ops.plugin.runs.action_dags import DAG_OF

router = APIRouter(tags=["models"])


@router.get("/models/{model}")
async def show_model(model: Model, user: User) -> ModelAnswer:
    """Show one model: its log is read now, and its fleet is asked what really serves."""
    (row, reading), observed, allowed, hidden = await asyncio.gather(
        _read(model),
        part(Backend.FLEET, lambda: _observe(model), of=model),
        run_in_threadpool(lambda: {action: may_trigger(dag_id, user=user) for action, dag_id in DAG_OF.items()}),
        run_in_threadpool(hidden_from, user),
    )
    row, observed = discreet_row(row, hidden=hidden), discreet_look(observed, hidden=hidden)
    return answer_of(model, row, reading, observed=observed, allowed=allowed, user=user.get_name())


async def _read(model: ModelIdentity) -> tuple[ModelRow, Reading | None]:
    """Read the log; if it does not answer, what was read before has to do, and says so."""
    try:
        return await ask(Backend.REPOSITORY, lambda: projection().read_now(model), of=model)
    except Unanswered as unanswered:
        return projection().last_known(model, trouble=unanswered.trouble.reason)


def _observe(model: ModelIdentity) -> ObservedRow:
    return observed_row(fleet_of(model).target.observe(model.model), model.naming())
