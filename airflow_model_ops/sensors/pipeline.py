"""Wait for a model of a TFX pipeline to be blessed, or pushed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import BaseSensorOperator, conf
from airflow.sdk.exceptions import AirflowFailException

from airflow_model_ops.core.candidates import CandidateKind
from airflow_model_ops.core.errors import ModelOpsError
from airflow_model_ops.operators.base import told_to_airflow

if TYPE_CHECKING:
    from airflow.sdk import Context


class _CandidateSensor(BaseSensorOperator):
    """Wait for a model of a pipeline.

    Returns what ``PushModelOperator`` takes as ``upstream``: the artifact's id, its connection, and what the store says of it.

    :param mlmd_conn_id: Connection of type ``mlmd`` to the pipeline's store. (templated)
    :param pipeline: Name of the pipeline; empty: any of the store. (templated)
    :param after: Only a model that became ready after this moment, ISO 8601, such as ``"{{ dag_run.run_after }}"``; empty: the
        newest there is, at once. (templated)
    :param deferrable: Wait in the triggerer, without a worker slot.
    """

    kind: ClassVar[CandidateKind]
    template_fields: Sequence[str] = ("mlmd_conn_id", "pipeline", "after")

    def __init__(
        self,
        *,
        mlmd_conn_id: str = "mlmd_default",
        pipeline: str = "",
        after: str | datetime | None = None,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.mlmd_conn_id = mlmd_conn_id
        self.pipeline = pipeline
        self.after = after
        self.deferrable = deferrable

    def poke(self, context: Context) -> Any:  # noqa: ARG002 (Airflow's signature)
        """Look once; a store that is away is looked at again."""
        from airflow.sdk import PokeReturnValue

        from airflow_model_ops.hooks.pipeline import look_at

        with told_to_airflow():
            try:
                look = look_at(self.mlmd_conn_id, kind=self.kind, pipeline=self.pipeline, limit=1, after=self._after())
            except ModelOpsError as error:
                if not error.retryable:
                    raise
                self.log.warning("looks again: %s", error)
                return PokeReturnValue(is_done=False)
        if look.note:
            self.log.info("%s", look.note)
        if not look.candidates:
            return PokeReturnValue(is_done=False)
        return PokeReturnValue(is_done=True, xcom_value=look.candidates[0].to_json())

    def execute(self, context: Context) -> Any:
        """Wait in a worker, or in the triggerer."""
        if not self.deferrable:
            return super().execute(context)
        found = self.poke(context)
        if found.is_done:
            return found.xcom_value
        from airflow_model_ops.triggers.pipeline import CandidateTrigger

        return self.defer(
            trigger=CandidateTrigger(
                mlmd_conn_id=self.mlmd_conn_id,
                kind=self.kind.value,
                pipeline=self.pipeline,
                after=self._after(),
                poll_seconds=self.poke_interval,
            ),
            method_name="execute_complete",
            timeout=timedelta(seconds=self.timeout),
        )

    def execute_complete(self, context: Context, event: Mapping[str, Any]) -> dict[str, Any]:  # noqa: ARG002
        """Return the model that the trigger saw."""
        if "error" in event:
            raise AirflowFailException(event["error"])
        return dict(event)

    def _after(self) -> str:
        """Return the moment in milliseconds since the epoch; empty if there is none."""
        if self.after in (None, "", "None"):
            return ""
        try:
            moment = self.after if isinstance(self.after, datetime) else datetime.fromisoformat(str(self.after))
        except ValueError as error:
            raise AirflowFailException(
                f"after is {self.after!r}; give a moment in ISO 8601, such as 2023-06-01T12:00:00+00:00"
            ) from error
        aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return str(int(aware.timestamp() * 1000))


class BlessedModelSensor(_CandidateSensor):
    """Wait for a model that its Evaluator, and its InfraValidator if it has one, gave their blessing."""

    kind = CandidateKind.BLESSED


class PushedModelSensor(_CandidateSensor):
    """Wait for a model that its Pusher pushed; a Pusher that ended without pushing does not count."""

    kind = CandidateKind.PUSHED
