"""The last guard of a release: what Airflow calls when a whole run fails or times out."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow_model_ops.config.model_file import ModelFile
from airflow_model_ops.core.log import Origin
from airflow_model_ops.core.state import Actor, ActorKind
from airflow_model_ops.dag_names import release_id
from airflow_model_ops.notifications import tell_news
from airflow_model_ops.operators.base import APPLY_SECONDS

if TYPE_CHECKING:
    from airflow.sdk import Context

_log = logging.getLogger(__name__)


class AbortReleaseOfRun:
    """Aborts the live release of a run that failed.

    Airflow may call it late, after the run was cleared and its release started anew; so it leaves alone what started after
    the run had ended.
    """

    def __init__(self, model: ModelFile) -> None:
        self._model = model

    def __call__(self, context: Context) -> None:
        """Abort and apply; the watcher goes on if this process cannot."""
        from airflow_model_ops.hooks.wiring import open_fleet_of

        fields: dict[str, Any] = dict(context)
        dag_id, run_id, reason = fields["dag"].dag_id, fields["run_id"], fields.get("reason", "failed")
        origin = Origin(
            actor=Actor(kind=ActorKind.AUTOMATION, name=dag_id),
            run={"dag_id": dag_id, "run_id": run_id, "task_id": "on_failure_callback"},
        )
        control = open_fleet_of(self._model.place).control(self._model, origin=origin)
        live = control.state.release
        if live is None or live.id != release_id(dag_id, run_id) or live.started_at > _ended_at(fields):
            _log.info("run %s/%s has no live release to abort", dag_id, run_id)
            return
        commit = control.abort(reason=f"the DAG run ended: {reason}", fence=live.fence)
        _log.warning("%s", commit.reason)
        control.apply(deadline_seconds=APPLY_SECONDS / 2)
        tell_news(self._model, repository=control.repository, clock=control.clock, context={**context})


def _ended_at(fields: dict[str, Any]) -> str:
    run = fields.get("dag_run")
    ended = run.end_date if run is not None and run.end_date is not None else datetime.now(UTC)
    return ended.astimezone(UTC).isoformat(timespec="milliseconds")
