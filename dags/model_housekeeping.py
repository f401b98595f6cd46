"""Retention, reconciliation and records, hourly: ``model_housekeeping``."""

from __future__ import annotations

from airflow_model_ops.configured_models import models_for_ways_back
from airflow_model_ops.dag_builders import build_housekeeping_dag

if _models := models_for_ways_back():
    model_housekeeping = build_housekeeping_dag(_models)
