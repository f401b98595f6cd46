"""Wait for a metric of one version to be within its limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseSensorOperator, conf
from airflow.sdk.exceptions import AirflowFailException

from airflow_model_ops.config.model_file import ModelFile, load_model_file
from airflow_model_ops.config.release_parts import CheckPart
from airflow_model_ops.core.checks import Verdict
from airflow_model_ops.operators.base import told_to_airflow

if TYPE_CHECKING:
    from airflow.sdk import Context


class MetricSensor(BaseSensorOperator):
    """Wait until a check of one version is within its absolute limits; fail if it crosses them.

    No data, stale data and an unreachable Prometheus are neither: it goes on waiting.

    :param model: The model's YAML file: its path, or as loaded.
    :param version: Name of the version. (templated)
    :param check: One check as in the YAML file, with ``max`` or ``min``; limits relative to stable are not used.
    :param deferrable: Wait in the triggerer, without a worker slot.
    """

    template_fields: Sequence[str] = ("version",)

    def __init__(
        self,
        *,
        model: ModelFile | str | Path,
        version: str,
        check: CheckPart | Mapping[str, Any],
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.model = model
        self.version = version
        self.check = check
        self.deferrable = deferrable

    @property
    def model_file(self) -> ModelFile:
        """The loaded file."""
        return self.model if isinstance(self.model, ModelFile) else load_model_file(self.model)

    def poke(self, context: Context) -> bool:  # noqa: ARG002 (Airflow's signature)
        """Measure once."""
        from airflow_model_ops.hooks.wiring import open_source_of
        from airflow_model_ops.triggers.version import measure_once

        model = self.model_file
        with told_to_airflow():
            summary = measure_once(open_source_of(model), model, self._version(), self._check())
        self.log.info("verdict=%s reason=%s", summary.verdict, summary.reason)
        return self._judge(summary.verdict, summary.reason)

    def execute(self, context: Context) -> Any:
        """Wait in a worker, or in the triggerer."""
        if not self.deferrable:
            return super().execute(context)
        from airflow_model_ops.triggers.version import MetricTrigger

        return self.defer(
            trigger=MetricTrigger(
                model=self.model_file.model_dump(mode="json"),
                version=self._version(),
                check=self._check(),
                poll_seconds=self.poke_interval,
            ),
            method_name="execute_complete",
            timeout=timedelta(seconds=self.timeout),
        )

    def execute_complete(self, context: Context, event: Mapping[str, Any]) -> dict[str, Any]:  # noqa: ARG002
        """Return the verdict, or fail on a crossed limit."""
        if "error" in event:
            raise AirflowFailException(event["error"])
        self._judge(Verdict(event["verdict"]), event["reason"])
        return dict(event)

    def _judge(self, verdict: Verdict, reason: str) -> bool:
        if verdict is Verdict.BREACH:
            raise AirflowFailException(f"{verdict.value}: {reason}")
        return verdict is Verdict.SAFE

    def _version(self) -> dict[str, str]:
        return self.model_file.naming().parse(self.version).to_json()

    def _check(self) -> dict[str, Any]:
        part = self.check if isinstance(self.check, CheckPart) else CheckPart.model_validate(self.check)
        return part.model_dump(mode="json")
