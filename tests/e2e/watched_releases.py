"""A DAG file for the tests of the watch: releases of the same model that are watched after their promotion."""

from __future__ import annotations

from datetime import datetime

from airflow.sdk import DAG

from airflow_model_ops.config.release_parts import GuardPart, WatchPart
from airflow_model_ops.configured_models import usable_models
from airflow_model_ops.dag_builders import build_release_dag
from airflow_model_ops.operators.promotion_watch import WatchPromotionOperator
from airflow_model_ops.operators.push import PushModelOperator
from airflow_model_ops.operators.traffic import PromoteModelOperator, ReleaseGuardOperator, StartCanaryOperator

_DIGITS = usable_models()["digits"].model_copy(update={"watch": WatchPart(duration=30, hold_back=20)})
# Without a ceiling only the comparison with stable can show that the version is bad: with few requests to stable a breach of
# the ceiling may be shown first, and that quarantines nothing. A guard needs a ceiling.
_PATIENT = _DIGITS.model_copy(
    update={
        "watch": WatchPart(duration=300, hold_back=20),
        "checks": tuple(check.model_copy(update={"max": None}) for check in _DIGITS.checks),
        "guard": GuardPart(enabled=False),
    }
)

watched = build_release_dag(_DIGITS, dag_id="watched_release_digits")

with DAG("unproven_release_digits", schedule=None, start_date=datetime(2024, 1, 1)) as unproven:  # noqa: DTZ001
    push = PushModelOperator(
        task_id="push", model=_PATIENT, saved_model="{{ dag_run.conf['saved_model'] }}", version=None
    )
    load = StartCanaryOperator(task_id="load", model=_PATIENT, version="{{ ti.xcom_pull('push', key='version_id') }}")
    promote = PromoteModelOperator(task_id="promote", model=_PATIENT, release=load.output, proof="I know better")
    watch = WatchPromotionOperator(task_id="watch", model=_PATIENT, release=load.output)
    guard = ReleaseGuardOperator(task_id="release_guard", model=_PATIENT, release=load.output)
    push >> load >> promote >> watch
    promote >> guard.as_teardown(setups=load, on_failure_fail_dagrun=True)
