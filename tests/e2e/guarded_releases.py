"""A DAG file for the tests of the guards: releases of the same model whose canary stays live until something ends it."""

from __future__ import annotations

from datetime import timedelta

from airflow_model_ops.config.model_file import CanaryPart, StepPart
from airflow_model_ops.configured_models import usable_models
from airflow_model_ops.dag_builders import build_release_dag

_RAMP = CanaryPart(steps=(StepPart(percent=30, bake=1200),), interval=1, deadline=1500)
_DIGITS = usable_models()["digits"].model_copy(update={"canary": _RAMP})

patient = build_release_dag(_DIGITS, dag_id="patient_release_digits")
hurried = build_release_dag(_DIGITS, dag_id="hurried_release_digits", dagrun_timeout=timedelta(seconds=45))
