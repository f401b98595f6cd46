"""A DAG file for the tests of the guard: a release that judges nothing, neither before nor after its promotion."""

from __future__ import annotations

from datetime import datetime

from airflow.sdk import DAG

from airflow_model_ops.configured_models import usable_models
from airflow_model_ops.operators.push import PushModelOperator
from airflow_model_ops.operators.traffic import PromoteModelOperator, ReleaseGuardOperator, StartCanaryOperator

_DIGITS = usable_models()["digits"]

with DAG("unwatched_release_digits", schedule=None, start_date=datetime(2024, 1, 1)) as unwatched:  # noqa: DTZ001
    push = PushModelOperator(task_id="push", model=_DIGITS, saved_model="{{ dag_run.conf['saved_model'] }}")
    load = StartCanaryOperator(task_id="load", model=_DIGITS, version="{{ ti.xcom_pull('push', key='version_id') }}")
    promote = PromoteModelOperator(task_id="promote", model=_DIGITS, release=load.output, proof="I know better")
    guard = ReleaseGuardOperator(task_id="release_guard", model=_DIGITS, release=load.output)
    push >> load >> promote >> guard.as_teardown(setups=load, on_failure_fail_dagrun=True)
