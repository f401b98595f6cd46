"""Where a version comes from, and what it led to."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Path
from fastapi.concurrency import run_in_threadpool

from airflow_model_ops.config.model_file import ModelIdentity
from airflow_model_ops.core.errors import VersionNotFound
from airflow_model_ops.plugin.access import Model, User, readable
from airflow_model_ops.plugin.backends.openings import fleet_of, ledger_of
from airflow_model_ops.plugin.backends.reading import Unanswered, part
from airflow_model_ops.plugin.catalogue import catalogue
from airflow_model_ops.plugin.datamodels.base import Backend, Part
from airflow_model_ops.plugin.datamodels.versions import LineageGraph
from airflow_model_ops.plugin.lineage.lineage_graph import LedgerLineage, RepositoryLineage, graph_of
from airflow_model_ops.plugin.versions.named_versions import VersionName, named, unknown
from airflow_model_ops.plugin.versions.version_table import read_pushes, read_state

router = APIRouter(tags=["versions"])
_MOST_ASKED = 100
"""Versions, and entries, that the ledger is asked for; it gives so many in one look-up."""


@router.get("/models/{model}/versions/{version}/lineage")
async def show_lineage(model: Model, version: Annotated[VersionName, Path()], user: User) -> LineageGraph:
    """Return the lineage graph of a version; other models have a name in it only if the caller may see them."""
    name = named(model, version).name
    told, ledger = await asyncio.gather(
        part(Backend.REPOSITORY, lambda: _read(model, name), of=model),
        part(Backend.LEDGER, lambda: _ask(model, name), of=model),
    )
    repository = told.value
    recorded = ledger.value is not None and ledger.value.ancestry is not None
    if not recorded:
        if repository is None and told.trouble is not None:
            raise Unanswered(told.trouble)
        if repository is None or not repository.is_there:
            raise unknown(model, name)
        repository = await _with_push(model, name, repository)
    return graph_of(
        model.model, name, repository=repository, ledger=ledger, readable=await _readable(model, ledger, user=user)
    )


def _read(model: ModelIdentity, version: str) -> RepositoryLineage:
    repository = fleet_of(model).repository
    known = repository.known_versions(model.model, [version]).get(version)
    log = repository.log(model.model)
    last = log.last()
    return RepositoryLineage(
        manifest=known.manifest if known else None,
        is_there=known is not None,
        state=read_state(log),
        newest=last.sequence if last else 0,
    )


def _ask(model: ModelIdentity, version: str) -> LedgerLineage:
    ledger = ledger_of(model)
    try:
        ancestry = ledger.ancestry(model.model, version=version)
        led_to = ledger.descendants(model.model, version=version, limit=_MOST_ASKED)
    except VersionNotFound:
        return LedgerLineage(ancestry=None, descendants=None, recorded=ledger.latest(model.model).sequence)
    return LedgerLineage(ancestry=ancestry, descendants=led_to, recorded=ancestry.recorded)


async def _with_push(model: ModelIdentity, version: str, repository: RepositoryLineage) -> RepositoryLineage:
    """Look in the newest log entries for who pushed it, since the ledger does not tell."""
    found = await part(
        Backend.REPOSITORY, lambda: read_pushes(fleet_of(model).repository.log(model.model), [version]), of=model
    )
    return replace(repository, pushed=(found.value or {}).get(version))


async def _readable(model: ModelIdentity, ledger: Part[LedgerLineage], *, user: User) -> set[str]:
    """Return which models of the graph the caller may see; its own is one, or there would be no graph."""
    descendants = ledger.value.descendants if ledger.value else None
    made = {each.model for each in descendants.versions} if descendants else set()
    others = made - {model.model}

    def seen() -> set[str]:
        return readable(others.intersection(catalogue().models), user=user)

    return {model.model, *(await run_in_threadpool(seen) if others else ())}
