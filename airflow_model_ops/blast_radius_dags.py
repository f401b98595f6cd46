"""The DAG that takes every model off the versions that come from a bad artifact."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow.sdk import DAG, Param, TriggerRule

from airflow_model_ops.assets import ROLLBACK_ALIAS
from airflow_model_ops.config.model_file import ModelIdentity
from airflow_model_ops.dag_names import TAG
from airflow_model_ops.dag_parts import START, record_of
from airflow_model_ops.operators.base import TRAFFIC_RETRIES, TRAFFIC_RETRY_DELAY
from airflow_model_ops.operators.blast_radius import (
    CheckBlastRadiusOperator,
    FindBlastRadiusOperator,
    QuarantineVersionOperator,
)
from airflow_model_ops.operators.rollback import RollbackModelOperator

_RETRIED: dict[str, Any] = {"retries": TRAFFIC_RETRIES, "retry_delay": TRAFFIC_RETRY_DELAY}
"""Airflow reads these of a mapped task before its operators are made."""
_WHY = "{{ params.artifact }}: {{ params.reason }}"


def build_blast_radius_dag(
    models: Mapping[str, ModelIdentity], *, dag_id: str = "model_blast_radius", **dag_kwargs: Any
) -> DAG:
    """Return the DAG that takes models off a bad artifact: name it, say why, trigger; also by REST.

    It finds every version that comes from the artifact, takes each model whose stable version, canary or hold-back is one of
    them to the newest earlier stable version that is not, and bans them all. A model without a clean version fails by name,
    after all others went back.

    :param models: The models by name, as ``load_model_files`` or ``load_ways_back`` returns them.
    """
    with DAG(
        dag_id=dag_id,
        description="Take every model off the versions that come from a bad dataset, artifact or version.",
        schedule=None,
        start_date=START,
        is_paused_upon_creation=False,  # nobody should have to switch it on at 3 a.m.
        catchup=False,
        params=_params(),
        tags=[TAG],
        **dag_kwargs,
    ) as dag:
        find = FindBlastRadiusOperator(task_id="find", models=models, artifact="{{ params.artifact }}")
        # One mapped task per model: what fails for one of them stops none of the others.
        rollback = RollbackModelOperator.partial(
            task_id="rollback", model=models, reason=_WHY, outlets=[ROLLBACK_ALIAS], **_RETRIED
        ).expand_kwargs(find.output.map(_to_roll_back))
        quarantine = QuarantineVersionOperator.partial(
            task_id="quarantine",
            model=models,
            reason=_WHY,
            wanted="{{ params.quarantine }}",
            trigger_rule=TriggerRule.ALL_DONE,
            **_RETRIED,
        ).expand_kwargs(find.output.map(_to_quarantine))
        check = CheckBlastRadiusOperator(
            task_id="check",
            models=models,
            artifact="{{ params.artifact }}",
            found=find.output,
            trigger_rule=TriggerRule.ALL_DONE,
        )
        rollback >> quarantine >> check >> record_of(model=models)
    return dag


def _params() -> dict[str, Param]:
    return {
        "artifact": Param(
            type="string",
            minLength=3,
            title="Artifact",
            description="`dataset:NAME`, `uri:URI`, `upstream:CONNECTION/ID` (an artifact of a pipeline's store), or "
            "`version:MODEL/VERSION`. `airflow model-ops blast-radius` shows what comes from it, and changes nothing.",
            examples=["dataset:digits@7", "uri:/data/examples/7", "version:digits/v-20230601-120000"],
        ),
        "reason": Param(type="string", minLength=3, title="Reason", description="Kept in the logs and in ML Metadata."),
        "quarantine": Param(
            True,
            type="boolean",
            title="Quarantine",
            description="Ban all these versions, too, so that none is released or gone back to until a person lifts it.",
        ),
    }


def _to_roll_back(found: dict[str, Any]) -> dict[str, Any]:
    return {"choose": found["model"], "affected": found["versions"]}


def _to_quarantine(found: dict[str, Any]) -> dict[str, Any]:
    return {"choose": found["model"], "versions": found["versions"]}
