"""One release DAG per model: ``model_release_<model>``."""

from __future__ import annotations

from airflow_model_ops.configured_models import usable_models
from airflow_model_ops.dag_builders import build_release_dag

for _name, _model in usable_models().items():
    globals()[f"model_release_{_name}"] = build_release_dag(_model)
