"""The list of models."""

from __future__ import annotations

from fastapi import APIRouter, Response

from airflow_model_ops.plugin.access import User, readable
from airflow_model_ops.plugin.catalogue import catalogue
from airflow_model_ops.plugin.datamodels.models import ModelList
from airflow_model_ops.plugin.discretion import discreet_row
from airflow_model_ops.plugin.overview import projection

router = APIRouter(tags=["models"])


@router.get("/models", response_model=ModelList)
def list_models(user: User) -> Response:
    """List the models that the caller may see, as a projection in memory knows them: no log is read for it."""
    known = catalogue()
    shown = readable(known.models, user=user)
    seen = projection().rows(shown)
    rows = [discreet_row(row, hidden=known.models.keys() - shown) for row in seen.rows]
    answer = ModelList(models=rows, age_seconds=seen.age_seconds, complete=seen.complete, mistakes=known.mistakes)
    # FastAPI goes to JSON by way of plain objects, which takes several times as long for hundreds of rows.
    return Response(answer.model_dump_json(), media_type="application/json")
