"""A DAG file for the test of pipelines: releases of the same model that a TFX pipeline's blessed models start."""

from __future__ import annotations

from airflow_model_ops.config.release_parts import CanaryPart, StepPart
from airflow_model_ops.config.source_part import PipelinePart, SourcePart
from airflow_model_ops.configured_models import usable_models
from airflow_model_ops.dag_builders import build_release_dag

_SOURCE = SourcePart(pipeline=PipelinePart(connection="tfx_mlmd", name="taxi", poll=1))
_SHORT = CanaryPart(steps=(StepPart(percent=50, bake=2),), interval=1, deadline=120)
_DIGITS = usable_models()["digits"].model_copy(update={"source": _SOURCE, "canary": _SHORT})

piped = build_release_dag(_DIGITS, dag_id="pipeline_release_digits")
