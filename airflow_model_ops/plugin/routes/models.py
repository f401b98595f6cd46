"""The list of models."""

from __future__ import annotations

from fastapi import APIRouter

from airflow_model_ops.plugin.access import User, readable
from airflow_model_ops.plugin.catalogue import catalogue
from airflow_model_ops.plugin.datamodels.models import ModelList
from airflow_model_ops.plugin.overview import projection

router = APIRouter(tags=["models"])


@router.get("/models")
def list_models(user: User) -> ModelList:
    """List the models that the caller may see, as a projection in memory knows them: no log is read for it."""
    known = catalogue()
    seen = projection().rows(readable(known.models, user=user))
    return ModelList(models=seen.rows, age_seconds=seen.age_seconds, complete=seen.complete, mistakes=known.mistakes)
