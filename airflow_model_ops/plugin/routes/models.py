"""The list of models."""

from __future__ import annotations

from fastapi import APIRouter

from airflow_model_ops.plugin.access import User, readable
from airflow_model_ops.plugin.catalogue import catalogue
from airflow_model_ops.plugin.datamodels.models import ModelList

router = APIRouter(tags=["models"])


@router.get("/models")
def list_models(user: User) -> ModelList:
    """List the models that the caller may see."""
    known = catalogue()
    allowed = readable(known.models, user=user)
    return ModelList(models=[], age_seconds=None, complete=not allowed, mistakes=known.mistakes)
