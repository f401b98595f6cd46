"""What Airflow's OpenLineage provider asks of every operator on a model, in one place.

Its listener asks when a task is over, in a fork of the task's process. A fork must not talk to Airflow over the connection
it shares with the task, so the models that the task opened are noted while it runs, and nothing is fetched later.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from airflow.sdk import BaseOperator

from airflow_model_ops.hooks.saved_models import shown_place
from airflow_model_ops.openlineage.datasets import TaskLineage, directory_read
from airflow_model_ops.openlineage.task_lineage import TaskTries, existing, lineage_of

if TYPE_CHECKING:
    from airflow.providers.openlineage.extractors import OperatorLineage
    from airflow.sdk import Context

    from airflow_model_ops.control.model_control import ModelControl
    from airflow_model_ops.core.versioning import Version

_WHO_ASKS = "airflow.providers.openlineage.extractors"
"""The module that is loaded in a task's process if, and only if, somebody will ask."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Noted:
    control: ModelControl
    pushed: Version | None


class LineageNotes(BaseOperator):
    """Base of operators that tell what they read and wrote."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._noted: dict[str, _Noted] = {}

    def note(self, control: ModelControl, *, pushed: Version | None = None) -> None:
        """Note a model that the task acts on.

        :param pushed: The version that the task has stored, or adopted from an earlier try.
        """
        before = self._noted.get(control.model)
        self._noted[control.model] = _Noted(control=control, pushed=pushed or (before.pushed if before else None))

    @property
    def noted_controls(self) -> tuple[ModelControl, ...]:
        """The controls of the models that the task has opened."""
        return tuple(noted.control for noted in self._noted.values())

    def note_resumed(self, context: Context) -> None:
        """Note the model of a task that came back from the triggerer and had no need to open it."""
        if self._noted or _WHO_ASKS not in sys.modules:
            return
        try:
            self.opened(context)
        except Exception:  # whatever went wrong: lineage must not fail a task
            self.log.warning("the model cannot be opened, so no lineage is told", exc_info=True)

    def opened(self, context: Context) -> None:
        """Open the model that the task acts on, which notes it."""
        raise NotImplementedError(f"{type(self).__name__} must implement opened")

    def get_openlineage_facets_on_start(self) -> OperatorLineage[Any, Any]:
        """Return what can be told without asking anybody: a task that takes a model back must not wait for this."""
        from airflow_model_ops.openlineage.facets import operator_lineage

        return operator_lineage(self._directory_read())

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> OperatorLineage[Any, Any]:
        """Return what the task read and wrote, as the models' logs have it."""
        from airflow_model_ops.openlineage.facets import operator_lineage

        lineage = self._directory_read()
        for noted in self._noted.values():
            try:
                lineage = self._lineage(noted, task_instance) + lineage
            except Exception:  # whatever went wrong: the task is done, and the other models are told of
                self.log.warning("model=%s tells no lineage", noted.control.model, exc_info=True)
        return operator_lineage(lineage)

    def get_openlineage_facets_on_failure(self, task_instance: Any) -> OperatorLineage[Any, Any]:
        """Return the same: what a task changed before it failed is changed."""
        return self.get_openlineage_facets_on_complete(task_instance)

    def _lineage(self, noted: _Noted, task_instance: Any) -> TaskLineage:
        from airflow_model_ops.operators.base import attempt_of

        control = noted.control
        # An attempt is numbered after its first try, so it tells the tries that a person's clear has made void. When the DAG's
        # retries were changed since the run began the number is a guess, but this try belongs to it in any case.
        attempt = attempt_of(cast("Context", {"ti": task_instance}), retries=self.retries)
        return lineage_of(
            control.repository,
            model=control.model,
            tries=TaskTries(run=control.origin.run, first=min(attempt, task_instance.try_number)),
            named=self._named_version(control),
            pushed=noted.pushed,
        )

    def _named_version(self, control: ModelControl) -> Version | None:
        """Return the version that the task's parameters name, by the names that all operators here give them."""
        release = getattr(self, "release", None)
        name = release.get("version") if isinstance(release, Mapping) else getattr(self, "version", None)
        if not name or hasattr(self, "saved_model"):  # what a push names is what it makes
            return None
        return existing(control.repository, model=control.model, naming=control.naming, name=str(name))

    def _directory_read(self) -> TaskLineage:
        directory = getattr(self, "saved_model", None)
        return TaskLineage(inputs=(directory_read(shown_place(str(directory))),)) if directory else TaskLineage()
