"""The versions of a model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Query

from airflow_model_ops.plugin.access import Model
from airflow_model_ops.plugin.backends.openings import fleet_of, ledger_of
from airflow_model_ops.plugin.backends.reading import Unanswered, ask
from airflow_model_ops.plugin.datamodels.base import Backend, Part
from airflow_model_ops.plugin.datamodels.versions import VersionList
from airflow_model_ops.plugin.versions.version_table import Pushed, pushed_of, read_page, read_pushes, rows_of

if TYPE_CHECKING:
    from airflow_model_ops.adapters.lineage.told import ToldVersion

router = APIRouter(tags=["versions"])


@router.get("/models/{model}/versions")
async def list_versions(
    model: Model,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    skip: Annotated[int, Query(ge=0, le=10**9)] = 0,
) -> VersionList:
    """Return a page of all versions that were ever pushed, newest first; deleted ones are `retired`."""
    page = await ask(
        Backend.REPOSITORY, lambda: read_page(fleet_of(model).repository, model, limit=limit, skip=skip), of=model
    )
    told: Mapping[str, ToldVersion] = {}
    ledger = Part[bool](value=True)
    try:
        told = await ask(Backend.LEDGER, lambda: ledger_of(model).told(model.model, page.names), of=model)
    except Unanswered as unanswered:
        ledger = Part(trouble=unanswered.trouble)
    pushes = {name: pushed_of(each.pushed) for name, each in told.items() if each.pushed}
    pushes |= await _from_log(model, [name for name in page.names if name not in told])
    rows = rows_of(page, told=told, pushes=pushes, naming=model.naming())
    return VersionList(versions=rows, total=page.total, skip=skip, ledger=ledger)


async def _from_log(model: Model, versions: list[str]) -> Mapping[str, Pushed]:
    """Look for pushes that the ledger does not tell; a table without them is better than none."""
    if not versions:
        return {}
    try:
        return await ask(
            Backend.REPOSITORY, lambda: read_pushes(fleet_of(model).repository.log(model.model), versions), of=model
        )
    except Unanswered:
        return {}
