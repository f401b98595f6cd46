"""The DAGs by which a person holds and resumes a model, ends its release, bans a version and lifts that: pick, say why,
trigger; also by REST, and from the Model Ops page.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from airflow.sdk import DAG, Param

from airflow_model_ops.config.model_file import ModelIdentity
from airflow_model_ops.dag_names import TAG
from airflow_model_ops.dag_parts import START, model_param, reason_param, record_of
from airflow_model_ops.operators.changes import (
    AbortModelOperator,
    ChangeOperator,
    HoldModelOperator,
    LiftQuarantineOperator,
    QuarantineModelOperator,
    ResumeModelOperator,
)

_RUNS = 16
"""How many runs may go on at once: a fleet that does not follow must not keep the others waiting."""
_MODEL, _REASON, _VERSION = "{{ params.model }}", "{{ params.reason }}", "{{ params.version }}"


def build_hold_dag(models: Mapping[str, ModelIdentity], *, dag_id: str = "model_hold", **dag_kwargs: Any) -> DAG:
    """Return the DAG that stops a model's shifts and promotions.

    :param models: The models by name, as ``load_model_files`` or ``load_ways_back`` returns them.
    """
    return _build(
        models,
        lambda: HoldModelOperator(task_id="hold", model=models, choose=_MODEL, reason=_REASON),
        dag_id=dag_id,
        description="Stop shifts and promotions of a model until a person resumes; abort and rollback stay possible.",
        **dag_kwargs,
    )


def build_resume_dag(models: Mapping[str, ModelIdentity], *, dag_id: str = "model_resume", **dag_kwargs: Any) -> DAG:
    """Return the DAG that ends a model's hold."""
    return _build(
        models,
        lambda: ResumeModelOperator(task_id="resume", model=models, choose=_MODEL, reason=_REASON),
        dag_id=dag_id,
        description="End the hold of a model.",
        **dag_kwargs,
    )


def build_abort_dag(models: Mapping[str, ModelIdentity], *, dag_id: str = "model_abort", **dag_kwargs: Any) -> DAG:
    """Return the DAG that ends a model's live release; stable goes on."""
    return _build(
        models,
        lambda: AbortModelOperator(task_id="abort", model=models, choose=_MODEL, reason=_REASON),
        dag_id=dag_id,
        description="End the live release of a model; stable goes on.",
        **dag_kwargs,
    )


def build_quarantine_dag(
    models: Mapping[str, ModelIdentity], *, dag_id: str = "model_quarantine", **dag_kwargs: Any
) -> DAG:
    """Return the DAG that bans one version of a model."""
    force = Param(
        False,
        type="boolean",
        title="Force",
        description="Also ban the version that serves alone. It goes on serving until a rollback.",
    )
    return _build(
        models,
        lambda: QuarantineModelOperator(
            task_id="quarantine",
            model=models,
            choose=_MODEL,
            version=_VERSION,
            reason=_REASON,
            force="{{ params.force }}",
        ),
        dag_id=dag_id,
        description="Ban a version of a model until a person lifts it: it is neither released nor gone back to.",
        more={"version": _version(), "force": force},
        **dag_kwargs,
    )


def build_lift_dag(models: Mapping[str, ModelIdentity], *, dag_id: str = "model_lift", **dag_kwargs: Any) -> DAG:
    """Return the DAG that ends a version's quarantine."""
    return _build(
        models,
        lambda: LiftQuarantineOperator(task_id="lift", model=models, choose=_MODEL, version=_VERSION, reason=_REASON),
        dag_id=dag_id,
        description="End the quarantine of a version.",
        more={"version": _version()},
        **dag_kwargs,
    )


def _build(
    models: Mapping[str, ModelIdentity],
    change: Callable[[], ChangeOperator],
    *,
    more: Mapping[str, Param] | None = None,
    **dag_kwargs: Any,
) -> DAG:
    with DAG(
        schedule=None,
        start_date=START,
        is_paused_upon_creation=False,  # nobody should have to switch it on at 3 a.m.
        catchup=False,
        max_active_runs=_RUNS,
        params={
            "model": model_param(models),
            **(more or {}),
            "reason": reason_param(),
        },
        tags=[TAG],
        **dag_kwargs,
    ) as dag:
        change() >> record_of(model=models, choose=_MODEL)
    return dag


def _version() -> Param:
    return Param(type="string", minLength=1, title="Version", description="Its name, such as v-20230601-120000.")
