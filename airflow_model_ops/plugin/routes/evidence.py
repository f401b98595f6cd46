"""How a release was judged, and is."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, HTTPException, Query, status

from airflow_model_ops.plugin.access import Model
from airflow_model_ops.plugin.backends.openings import fleet_of
from airflow_model_ops.plugin.backends.reading import ask
from airflow_model_ops.plugin.datamodels.base import Backend
from airflow_model_ops.plugin.datamodels.history import EvidenceAnswer
from airflow_model_ops.plugin.history.release_evidence import ReleaseEvidence, UnknownRelease

router = APIRouter(tags=["history"])
_evidence = ReleaseEvidence()


@router.get("/models/{model}/evidence")
async def read_evidence(
    model: Model,
    release: Annotated[str | None, Query(min_length=1, max_length=500)] = None,
    attempt: Annotated[int | None, Query(ge=1, le=10**9)] = None,
) -> EvidenceAnswer:
    """Return the evidence of a release: the one that is asked for, or the live one, or the one that was judged last."""

    def read() -> EvidenceAnswer | UnknownRelease:
        fleet = fleet_of(model)
        try:
            return _evidence.answer(
                fleet.repository, model=model.model, now=fleet.clock.now(), release=release, attempt=attempt
            )
        except UnknownRelease as unknown:
            return unknown

    answer = await ask(Backend.REPOSITORY, read, of=model)
    if isinstance(answer, UnknownRelease):
        raise HTTPException(status.HTTP_404_NOT_FOUND, str(answer))
    return answer
