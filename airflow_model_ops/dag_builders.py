"""The bundled DAGs as functions: a DAG file of yours is a few lines over these.

>>> from airflow_model_ops.dag_builders import build_release_dag  # doctest: +SKIP
>>> digits = build_release_dag("/etc/models/digits.yaml")  # doctest: +SKIP
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, Asset, Param, TaskGroup, TriggerRule
from airflow.sdk.exceptions import AirflowException

from airflow_model_ops.assets import pipeline_asset
from airflow_model_ops.blast_radius_dags import build_blast_radius_dag
from airflow_model_ops.callbacks import AbortReleaseOfRun
from airflow_model_ops.change_dags import (
    build_abort_dag,
    build_hold_dag,
    build_lift_dag,
    build_quarantine_dag,
    build_resume_dag,
)
from airflow_model_ops.config.model_file import ModelFile, ModelIdentity, load_model_file
from airflow_model_ops.core.errors import InvalidConfig
from airflow_model_ops.dag_names import TAG, release_dag_of
from airflow_model_ops.dag_parts import START, fleets_of, model_param, reason_param, record_of, unique
from airflow_model_ops.operators.check import CheckMetricsOperator
from airflow_model_ops.operators.promotion_watch import TellRollbackOperator, WatchPromotionOperator
from airflow_model_ops.operators.push import PushModelOperator
from airflow_model_ops.operators.rollback import PinGoldenOperator, RollbackModelOperator
from airflow_model_ops.operators.traffic import (
    AbortReleaseOperator,
    PromoteModelOperator,
    ReleaseGuardOperator,
    ShiftTrafficOperator,
    StartCanaryOperator,
)
from airflow_model_ops.operators.upkeep import CleanupVersionsOperator, ReconcileOperator
from airflow_model_ops.operators.validate import ValidateModelOperator
from airflow_model_ops.watch_dags import build_guard_dag, build_watch_dag

__all__ = [
    "build_abort_dag",
    "build_blast_radius_dag",
    "build_golden_dag",
    "build_guard_dag",
    "build_hold_dag",
    "build_housekeeping_dag",
    "build_lift_dag",
    "build_quarantine_dag",
    "build_release_dag",
    "build_release_dags",
    "build_resume_dag",
    "build_rollback_dag",
    "build_watch_dag",
]

_PRESETS = frozenset({"@hourly", "@daily", "@weekly", "@monthly", "@quarterly", "@yearly", "@once", "@continuous"})
_log = logging.getLogger(__name__)
_WAITING_RUNS = 16
"""How many releases of one model may wait for their turn at once."""


def build_release_dag(model: ModelFile | str | Path, *, dag_id: str | None = None, **dag_kwargs: Any) -> DAG:
    """Return the DAG ``model_release_<model>``: push, validate, load, ramp step by step, promote; or go back.

    However the run ends, traffic ends on a known-good version: the branch ``abort`` runs when a task fails, the teardown
    when the run is marked failed, the trigger when its task is killed or cleared, and the DAG's failure callback when the
    run times out; the watcher sees what none of them could.

    :param dag_kwargs: Passed on to the DAG, e.g. ``dagrun_timeout``.
    :raises InvalidConfig: if ``source.schedule`` is no cron expression or preset.
    """
    file = _loaded(model)
    _require_schedule(file)
    with DAG(
        dag_id=dag_id or release_dag_of(file.model),
        description=f"Release a version of {file.model}: canary, checks, promotion or rollback.",
        schedule=_schedule_of(file),
        start_date=START,
        catchup=False,
        max_active_runs=_WAITING_RUNS,
        render_template_as_native_obj=True,
        on_failure_callback=AbortReleaseOfRun(file),
        params=_release_params(),
        tags=[TAG, file.model, *file.tags],
        **dag_kwargs,
    ) as dag:
        # A template would turn a parameter such as "2024_06" into a number.
        given: dict[str, Any] = {name: dag.param(name) for name in _release_params()}
        push = PushModelOperator(task_id="push", model=file, **given)
        pushed: Any = push.output
        validate = ValidateModelOperator(task_id="validate", model=file, version=pushed["version_id"])
        load = StartCanaryOperator(task_id="load", model=file, version=pushed["version_id"])
        push >> validate >> load
        last = _ramp(file, load)
        promote = PromoteModelOperator(task_id="promote", model=file, release=load.output, proof=last.output)
        # By template: Airflow allows no task with another trigger rule right after a setup task, and load is one.
        abort = AbortReleaseOperator(
            task_id="abort",
            model=file,
            release="{{ ti.xcom_pull(task_ids='load') }}",
            trigger_rule=TriggerRule.ONE_FAILED,
        )
        guard = ReleaseGuardOperator(
            task_id="release_guard", model=file, release=load.output, reason="the run ended before the promotion"
        )
        cleanup = CleanupVersionsOperator(task_id="cleanup", model=file)
        record = record_of(model=file)
        last >> promote >> [abort, cleanup]  # cleanup is the leaf that makes a run fail whose release was not promoted
        [promote, abort] >> record
        guard.as_teardown(setups=load, on_failure_fail_dagrun=True)
        promote >> guard
        _watch(file, load, promote)
    return dag


def build_release_dags(models: Mapping[str, ModelFile]) -> dict[str, DAG]:
    """Return the release DAG of every model for which one can be built; the others are logged.

    What Airflow refuses of one model, such as its schedule, must not take away the DAGs of the others.
    """
    dags: dict[str, DAG] = {}
    for name, file in models.items():
        try:
            dags[name] = build_release_dag(file)
        except (InvalidConfig, AirflowException, ValueError, TypeError) as error:
            _log.warning("model %r has no release DAG: %s", name, error)
    return dags


def build_rollback_dag(
    models: Mapping[str, ModelIdentity], *, dag_id: str = "model_rollback", **dag_kwargs: Any
) -> DAG:
    """Return the DAG that takes a model back: pick the model and the target, say why, trigger; also by REST.

    :param models: The models by name, as ``load_model_files`` or ``load_ways_back`` returns them.
    """
    with DAG(
        dag_id=dag_id,
        description="Take a model back to its previous or golden version, or to one you name.",
        schedule=None,
        start_date=START,
        is_paused_upon_creation=False,  # nobody should have to switch it on at 3 a.m.
        catchup=False,
        max_active_runs=_WAITING_RUNS,
        params={
            "model": model_param(models),
            "target": Param(
                "previous",
                type="string",
                minLength=1,
                title="Back to",
                description="`previous`, `golden`, or the name of a version such as v-20230601-120000. A live canary is "
                "ended first: with `previous` that is all.",
                examples=["previous", "golden"],
            ),
            "reason": reason_param(),
            "seen": Param(
                None,
                type=["null", "integer"],
                minimum=1,
                title="Generation seen",
                description="The page fills it in: with `previous`, nothing is done if the model was taken back since. Empty: now.",
            ),
        },
        tags=[TAG],
        **dag_kwargs,
    ) as dag:
        back = RollbackModelOperator(
            task_id="rollback",
            model=models,
            choose="{{ params.model }}",
            target="{{ params.target }}",
            reason="{{ params.reason }}",
            seen="{{ params.seen or '' }}",
        )
        back >> record_of(model=models, choose="{{ params.model }}")
    return dag


def build_golden_dag(
    models: Mapping[str, ModelIdentity], *, dag_id: str = "model_pin_golden", **dag_kwargs: Any
) -> DAG:
    """Return the DAG that pins a model's known-good version."""
    with DAG(
        dag_id=dag_id,
        description="Pin the known-good version of a model.",
        schedule=None,
        start_date=START,
        is_paused_upon_creation=False,  # nobody should have to switch it on at 3 a.m.
        catchup=False,
        params={
            "model": model_param(models),
            "version": Param(
                None, type=["null", "string"], title="Version", description="Empty: the version that is stable now."
            ),
        },
        tags=[TAG],
        **dag_kwargs,
    ) as dag:
        pin = PinGoldenOperator(
            task_id="pin", model=models, choose="{{ params.model }}", version="{{ params.version or '' }}"
        )
        pin >> record_of(model=models, choose="{{ params.model }}")
    return dag


def build_housekeeping_dag(
    models: Mapping[str, ModelIdentity],
    *,
    dag_id: str = "model_housekeeping",
    schedule: str | None = "@hourly",
    **dag_kwargs: Any,
) -> DAG:
    """Return the DAG that mends drift, retires old versions and brings the ledger up to date, for all models.

    A model whose YAML file has a mistake keeps its old versions until that is mended.
    """
    with DAG(
        dag_id=dag_id,
        description="Reconcile every fleet, retire old versions, record what is missing in ML Metadata.",
        schedule=schedule,
        start_date=START,
        catchup=False,
        max_active_runs=1,
        tags=[TAG],
        **dag_kwargs,
    ) as dag:
        taken: set[str] = set()
        for fleet, place in fleets_of(models).items():
            ReconcileOperator(task_id=unique(f"reconcile_{fleet}", taken), connections=place, models=models)
        for name, file in sorted(models.items()):
            with TaskGroup(group_id=unique(name.replace(".", "__"), taken), group_display_name=name):
                record = record_of(model=file)
                if isinstance(file, ModelFile):
                    CleanupVersionsOperator(task_id="cleanup", model=file) >> record
    return dag


def _ramp(file: ModelFile, load: StartCanaryOperator) -> CheckMetricsOperator:
    """Add a task group per step, each a shift and the check that watches it; return the last check."""
    before: Any = load
    steps = file.policy().steps
    for index, step in enumerate(steps):
        with TaskGroup(group_id=f"step_{index + 1}_{step.percent:g}_percent".replace(".", "_")) as group:
            shift = ShiftTrafficOperator(task_id="shift", model=file, release=load.output, percent=step.percent)
            check = CheckMetricsOperator(task_id="check", model=file, release=load.output, step=index)
            shift >> check
        before >> group
        before = group
    return check


def _watch(file: ModelFile, load: StartCanaryOperator, promote: PromoteModelOperator) -> None:
    """Add the watch after the promotion, if the model has one; neither record nor clean-up of the release waits for it."""
    if not file.policy().watch.seconds:
        return
    watch = WatchPromotionOperator(task_id="watch", model=file, release=load.output)
    tell = TellRollbackOperator(task_id="tell_rollback", model=file, release="{{ ti.xcom_pull(task_ids='load') }}")
    promote >> watch >> [tell.as_teardown(), record_of(task_id="record_watch", model=file)]


def _release_params() -> dict[str, Param]:
    return {
        "saved_model": Param(
            None,
            type=["null", "string"],
            title="SavedModel",
            description="Directory to release. Empty: the newest of the model's source that is still to be released.",
        ),
        "upstream": Param(
            None,
            type=["null", "string", "object"],
            title="Model of a pipeline",
            description="Instead: CONNECTION/ID of a TFX pipeline's artifact, or what a sensor returned.",
        ),
        "version": Param(
            None,
            type=["null", "string"],
            title="Version",
            description="Name of the version. Empty: after the run's time; semantic versions need one.",
        ),
        "dataset_version": Param(None, type=["null", "string"], title="Dataset version"),
        "hyperparameters": Param({}, type="object", title="Hyperparameters"),
        "metrics": Param({}, type="object", title="Offline metrics", description="Name to number."),
    }


def _schedule_of(file: ModelFile) -> str | Asset | None:
    return pipeline_asset(file) or (file.source.schedule if file.source else None)


def _require_schedule(file: ModelFile) -> None:
    """Airflow finds a wrong schedule only after the whole file was read, and then drops all DAGs of that file."""
    schedule = file.source.schedule if file.source else None
    if schedule is None or schedule in _PRESETS:
        return
    from croniter import croniter  # type: ignore[import-untyped]

    if schedule.startswith("@") or not croniter.is_valid(schedule):
        raise InvalidConfig(
            f"model {file.model!r}: source.schedule {schedule!r} is not a schedule; write a cron expression such as "
            f"'0 6 * * *', or one of {', '.join(sorted(_PRESETS))}"
        )


def _loaded(model: ModelFile | str | Path) -> ModelFile:
    return model if isinstance(model, ModelFile) else load_model_file(model)
