"""What operators share whose version may take minutes to load: they wait for it in the triggerer, without a worker slot."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.sdk.exceptions import AirflowFailException

from airflow_model_ops.core.errors import NotApplied
from airflow_model_ops.operators.base import APPLY_SECONDS, ModelOperator, origin_of, told_to_airflow

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_model_ops.config.model_file import ModelIdentity
    from airflow_model_ops.control.apply import Applied
    from airflow_model_ops.control.loading import Load
    from airflow_model_ops.control.model_control import ModelControl

FIRST_SECONDS = 3.0
"""How long the worker itself tries: long enough to tell the platform what to load, and to see what is quick."""
_SLACK = timedelta(minutes=2)
"""How much later Airflow's own time-out comes than the load's, which says what is missing."""


class LoadingOperator(ModelOperator):
    """Base of operators that may have to wait for a load."""

    def apply_or_defer(self, context: Context, control: ModelControl, load: Load) -> Applied:
        """Apply the head, or go on in the triggerer; see :meth:`apply_now`."""
        applied = self.apply_now(control, load)
        return self.wait_for_load(context, control, load) if applied is None else applied

    def apply_now(self, control: ModelControl, load: Load) -> Applied | None:
        """Apply the head. ``None``: the platform loads for minutes, and has been told what.

        Else it takes seconds, as where the version is warm, or is waited for here, as where servers run already.

        :raises NotApplied: if the fleet does not follow in time; the watcher goes on.
        """
        if not control.target.loads_slowly:
            return control.apply(deadline_seconds=load.longest_seconds)
        if control.target.is_loaded(control.model, load.version):
            return control.apply(deadline_seconds=APPLY_SECONDS)
        try:
            return control.apply(deadline_seconds=FIRST_SECONDS)
        except NotApplied as waits:
            self.log.info("model=%s goes on in the triggerer: %s", control.model, waits)
            return None

    def wait_for_load(
        self, context: Context, control: ModelControl, load: Load, *, identity: ModelIdentity | None = None
    ) -> NoReturn:
        """Let the triggerer drive the load.

        :param identity: Of the model, if the task acts on several; ``None``: the task's own.
        """
        from airflow_model_ops.control.loading import LoadWatch
        from airflow_model_ops.triggers.loading import LoadTrigger

        LoadWatch(control=control, load=load).hand_over()
        left = max(0.0, load.since + load.longest_seconds - control.clock.now())
        self.defer(
            trigger=LoadTrigger.of(identity or self.identity, load, run=dict(origin_of(context).run)),
            method_name="execute_loaded",
            kwargs={"load": load.to_json()},
            timeout=timedelta(seconds=left) + _SLACK,
        )

    def execute_loaded(self, context: Context, event: Mapping[str, Any], load: Mapping[str, Any] | None = None) -> Any:
        """Go on when the version is loaded: what was committed before is adopted. Fail in the trigger's words if it is not.

        :param load: What this task waits for; an event about another load is one of a cleared attempt's trigger (see
            :func:`~airflow_model_ops.operators.base.is_about`), so it waits on.
        :raises AirflowFailException: if the load failed, ran out of time, or is no longer wanted; no retry can mend that.
        """
        from airflow_model_ops.control.loading import LoadOutcome, LoadResult

        if load is not None and event.get("load", load) != load:
            self.log.warning("an event about another load came late: %s", event["load"])
            with told_to_airflow():
                return self.act(context)
        if "error" in event:
            raise AirflowFailException(event["error"])
        outcome = LoadOutcome.from_json(event)
        self.log.info("load=%s %s", outcome.result.value, outcome.reason)
        if outcome.result is not LoadResult.LOADED:
            raise AirflowFailException(f"{outcome.result.value}: {outcome.reason}")
        with told_to_airflow():
            return self.act(context)
