"""The DAGs that no clock starts: streams in the triggerer see that something is wrong, and an event starts them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from airflow.sdk import DAG, Asset, AssetAny, AssetWatcher

from airflow_model_ops.config.model_file import ModelFile, ModelIdentity
from airflow_model_ops.dag_names import TAG
from airflow_model_ops.dag_parts import START, fleets_of, record_of
from airflow_model_ops.operators.guard import GuardRollbackOperator
from airflow_model_ops.operators.upkeep import ReconcileOperator
from airflow_model_ops.triggers.guard import StableGuardTrigger
from airflow_model_ops.triggers.watch import NeglectedModelsTrigger

_WATCH_SECONDS = 10.0
"""How long a run of the watch goes on with a model that does not follow: a newer finding must not wait for it."""
_WATCH_RUNS = 4
"""How many runs of the watch one fleet that cannot be mended may have at once, as the watcher's pauses and retries fall."""
_GUARD_RUNS = 16
"""How many runs of the guard may go on at once: a fleet that does not follow must not keep the others waiting."""


def build_watch_dag(models: Mapping[str, ModelIdentity], *, dag_id: str = "model_watch", **dag_kwargs: Any) -> DAG:
    """Return the DAG that finishes what a killed worker left: started by an event, not by a clock.

    A stream in the triggerer reads the logs of all models every two seconds; a head that nobody applies or a release that
    nobody looks after starts a run.
    """
    fleets = fleets_of(models)
    watched = [
        Asset(
            name=f"neglected_models_{fleet}",
            uri=f"model-ops://watch/{place.uri_path}",
            group=TAG,
            watchers=[
                AssetWatcher(
                    name=f"watch_{fleet}",
                    trigger=NeglectedModelsTrigger.of(place),
                )
            ],
        )
        for fleet, place in fleets.items()
    ]
    with DAG(
        dag_id=dag_id,
        description="Apply what is committed and not applied; end releases that nobody looks after.",
        schedule=AssetAny(*watched) if watched else None,
        start_date=START,
        catchup=False,
        is_paused_upon_creation=False,  # it is one of the four guards of every way back
        max_active_runs=_WATCH_RUNS * max(1, len(fleets)),  # a run for one fleet must not wait for another fleet's
        tags=[TAG],
        **dag_kwargs,
    ) as dag:
        for fleet, place in fleets.items():
            ReconcileOperator(
                task_id=f"reconcile_{fleet}",
                connections=place,
                models=models,
                apply_seconds=_WATCH_SECONDS,
                retries=3,
                retry_delay=timedelta(seconds=2),
            )
    return dag


def build_guard_dag(models: Mapping[str, ModelIdentity], *, dag_id: str = "model_guard", **dag_kwargs: Any) -> DAG:
    """Return the DAG that takes stable back when it rises above a ceiling: started by an event, not by a clock.

    A stream in the triggerer measures the stable versions of all models that have a guard; the others are left out.
    """
    guarded = guarded_models(models)
    watched = [_guarded(name, guarded) for name in fleets_of(guarded)]
    with DAG(
        dag_id=dag_id,
        description="Take a model back whose stable version is above a ceiling of its checks.",
        schedule=AssetAny(*watched) if watched else None,
        start_date=START,
        catchup=False,
        is_paused_upon_creation=False,  # a guard that somebody has to switch on guards nothing
        max_active_runs=_GUARD_RUNS,
        tags=[TAG],
        **dag_kwargs,
    ) as dag:
        back = GuardRollbackOperator(task_id="rollback", model=guarded)
        back >> record_of(model=guarded)
    return dag


def guarded_models(models: Mapping[str, ModelIdentity]) -> dict[str, ModelFile]:
    """Return the models whose file is right and has a guard."""
    return {
        name: file for name, file in models.items() if isinstance(file, ModelFile) and file.guard_policy() is not None
    }


def _guarded(fleet: str, models: Mapping[str, ModelFile]) -> Asset:
    """Return the asset of a fleet's alarms, with the stream that finds them."""
    place = fleets_of(models)[fleet]
    theirs = [file for file in models.values() if file.place == place]
    return Asset(
        name=f"stable_alarms_{fleet}",
        uri=f"model-ops://guard/{place.uri_path}",
        group=TAG,
        watchers=[AssetWatcher(name=f"guard_{fleet}", trigger=StableGuardTrigger.of(theirs))],
    )
