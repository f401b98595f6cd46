"""Wait for a version to serve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseSensorOperator, conf

from airflow_model_ops.config.model_file import ModelFile, load_model_file
from airflow_model_ops.core.state import STABLE
from airflow_model_ops.operators.base import told_to_airflow

if TYPE_CHECKING:
    from airflow.sdk import Context


class ModelVersionSensor(BaseSensorOperator):
    """Wait until a version serves under a label and the fleet has confirmed it.

    Returns the version's ``name`` and ``number``.

    :param model: The model's YAML file: its path, or as loaded.
    :param version: Name of the version; empty: any. (templated)
    :param version_label: ``stable``, ``canary`` or ``golden``.
    :param deferrable: Wait in the triggerer, without a worker slot.
    """

    template_fields: Sequence[str] = ("version",)

    def __init__(
        self,
        *,
        model: ModelFile | str | Path,
        version: str | None = None,
        version_label: str = STABLE,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.model = model
        self.version = version
        self.version_label = version_label
        self.deferrable = deferrable

    @property
    def model_file(self) -> ModelFile:
        """The loaded file."""
        return self.model if isinstance(self.model, ModelFile) else load_model_file(self.model)

    def poke(self, context: Context) -> Any:  # noqa: ARG002 (Airflow's signature)
        """Look once."""
        from airflow.sdk import PokeReturnValue

        from airflow_model_ops.hooks.wiring import open_repository_of
        from airflow_model_ops.triggers.version import serving_version

        with told_to_airflow():
            repository = open_repository_of(self.model_file.connections)
            found = serving_version(repository, self.model_file.model, self.version_label)
        done = found is not None and (not self.version or found.name == self.version)
        return PokeReturnValue(is_done=done, xcom_value=found.to_json() if found and done else None)

    def execute(self, context: Context) -> Any:
        """Wait in a worker, or in the triggerer."""
        if not self.deferrable:
            return super().execute(context)
        found = self.poke(context)
        if found.is_done:
            return found.xcom_value
        from airflow_model_ops.triggers.version import VersionServesTrigger

        return self.defer(
            trigger=VersionServesTrigger(
                model=self.model_file.model_dump(mode="json"),
                version=self.version or None,
                label=self.version_label,
                poll_seconds=self.poke_interval,
            ),
            method_name="execute_complete",
            timeout=timedelta(seconds=self.timeout),
        )

    def execute_complete(self, context: Context, event: Mapping[str, str]) -> dict[str, str]:  # noqa: ARG002
        """Return the version that the trigger saw."""
        return dict(event)
