"""Shows mistakes in the models' YAML files as this file's import error, with file and line, and nothing else.

The other DAG files leave out a model whose file has a mistake, so that every other model can still be released and taken
back.
"""

from __future__ import annotations

from airflow_model_ops.configured_models import check_models
from airflow_model_ops.dag_builders import build_release_dag

for _model in check_models().values():
    # Builds and forgets it: what only Airflow can refuse, such as a schedule, shows here too.
    build_release_dag(_model, auto_register=False)
