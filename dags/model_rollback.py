"""The way back by hand: ``model_rollback``, and ``model_pin_golden`` for the version it falls back to."""

from __future__ import annotations

from airflow_model_ops.configured_models import models_for_ways_back
from airflow_model_ops.dag_builders import build_golden_dag, build_rollback_dag

if _models := models_for_ways_back():
    model_rollback = build_rollback_dag(_models)
    model_pin_golden = build_golden_dag(_models)
