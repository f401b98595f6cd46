"""The guard of stable: ``model_guard``, for the models whose YAML file has a ``guard``."""

from __future__ import annotations

from airflow_model_ops.configured_models import usable_models
from airflow_model_ops.watch_dags import build_guard_dag, guarded_models

if _models := guarded_models(usable_models()):
    model_guard = build_guard_dag(_models)
