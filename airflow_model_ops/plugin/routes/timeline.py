"""What happened to a model, entry by entry."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from airflow_model_ops.control.evidence_book import EvidenceBook
from airflow_model_ops.core.state import Fence
from airflow_model_ops.plugin.access import Model
from airflow_model_ops.plugin.backends.openings import fleet_of
from airflow_model_ops.plugin.backends.reading import ask
from airflow_model_ops.plugin.datamodels.base import Backend
from airflow_model_ops.plugin.datamodels.history import Timeline
from airflow_model_ops.plugin.history.log_walk import newest_first
from airflow_model_ops.plugin.history.timeline import timeline_of

router = APIRouter(tags=["history"])


@router.get("/models/{model}/timeline")
async def read_timeline(
    model: Model,
    before: Annotated[int | None, Query(ge=1, le=10**18)] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> Timeline:
    """Return a page of the model's log, newest first."""

    def read() -> Timeline:
        repository = fleet_of(model).repository

        def is_kept(fence: Fence) -> bool:
            return EvidenceBook(repository, model=model.model, fence=fence).is_kept

        entries = newest_first(repository.log(model.model), before=before, batch=limit)
        return timeline_of(entries, limit=limit, naming=model.naming(), is_kept=is_kept)

    return await ask(Backend.REPOSITORY, read, of=model)
