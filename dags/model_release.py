"""One release DAG per model: ``model_release_<model>``."""

from __future__ import annotations

from airflow_model_ops.configured_models import usable_models
from airflow_model_ops.dag_builders import build_release_dags

globals().update({f"model_release_{name}": dag for name, dag in build_release_dags(usable_models()).items()})
