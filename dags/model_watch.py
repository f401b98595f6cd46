"""The watcher: ``model_watch``. In a file of its own: no other DAG's trouble may take away a guard of the way back."""

from __future__ import annotations

from airflow_model_ops.configured_models import models_for_ways_back
from airflow_model_ops.dag_builders import build_watch_dag

if _models := models_for_ways_back():
    model_watch = build_watch_dag(_models)
