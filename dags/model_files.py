"""Shows mistakes in the models' YAML files as this file's import error, with file and line, and nothing else.

The other DAG files leave out a model whose file has a mistake, so that every other model can still be released and taken
back.
"""

from __future__ import annotations

from airflow_model_ops.configured_models import check_models

check_models()
