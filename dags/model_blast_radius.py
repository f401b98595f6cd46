"""A bad dataset, artifact or version: ``model_blast_radius`` takes every model off what was made from it."""

from __future__ import annotations

from airflow_model_ops.configured_models import models_for_ways_back
from airflow_model_ops.dag_builders import build_blast_radius_dag

if _models := models_for_ways_back():
    model_blast_radius = build_blast_radius_dag(_models)
