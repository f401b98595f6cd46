"""From an artifact back to everything that led to it, as the pipeline's events tell."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from airflow_model_ops.adapters.lineage.pipeline_candidates import MODEL, blessings_of
from airflow_model_ops.adapters.lineage.pipeline_rows import (
    MACHINERY_CONTEXTS,
    is_input,
    is_output,
    role_of,
    texts_of,
)
from airflow_model_ops.adapters.lineage.pipeline_store import PipelineStore
from airflow_model_ops.core.upstream import (
    BASELINE_ROLE,
    UpstreamArtifact,
    UpstreamContext,
    UpstreamEvent,
    UpstreamExecution,
    UpstreamLineage,
)

MOST_ARTIFACTS, MOST_EXECUTIONS, MOST_STEPS = 200, 200, 20


def upstream_lineage(store: PipelineStore, artifact: Any, *, connection: str) -> UpstreamLineage:
    """Return what led to an artifact, nearest first.

    * Who made an artifact is who wrote it first: a Resolver, an Importer or a cached run hands it on as its output, too.
    * A model's blessings come after it and belong to what led to its release, with all that led to them; of a pushed model
      they are ancestors anyway.
    * The model that an Evaluator compared with is named and not followed: its data did not go into this one.

    :param connection: Id of the connection of the store.
    """
    walk = _Walk(store)
    begin = [artifact, *(blessings_of(store, artifact) if artifact.type == MODEL else ())]
    walk.add_artifacts(begin)
    walk.follow([int(row.id) for row in begin])
    return UpstreamLineage(
        connection=connection,
        artifact=str(artifact.id),
        artifacts=tuple(_artifact(row) for row in walk.artifacts.values()),
        executions=tuple(_execution(row) for row in walk.executions.values()),
        contexts=_contexts(store, walk.executions),
        events=tuple(_event(event) for event in walk.events),
        complete=walk.complete,
    )


class _Walk:
    """Goes back step by step, breadth first, within bounds."""

    def __init__(self, store: PipelineStore) -> None:
        self._store = store
        self.artifacts: dict[int, Any] = {}
        self.executions: dict[int, Any] = {}
        self.events: list[Any] = []
        self.complete = True

    def follow(self, ids: Iterable[int]) -> None:
        frontier = list(ids)
        for _ in range(MOST_STEPS):
            if not frontier:
                return
            frontier = self._inputs_of(self._makers_of(frontier))
        self.complete = self.complete and not frontier

    def add_artifacts(self, rows: Iterable[Any]) -> list[int]:
        """Take in artifacts as far as there is room; return the ids of those that were."""
        added = []
        for row in rows:
            if len(self.artifacts) >= MOST_ARTIFACTS:
                self.complete = False
                break
            self.artifacts[int(row.id)] = row
            added.append(int(row.id))
        return added

    def _makers_of(self, artifacts: list[int]) -> list[int]:
        """Take in who made these artifacts; return those that are new."""
        first: dict[int, Any] = {}
        outputs = [event for event in self._store.events_of_artifacts(artifacts) if is_output(event)]
        for event in sorted(outputs, key=lambda event: (event.milliseconds_since_epoch, event.execution_id)):
            first.setdefault(int(event.artifact_id), event)
        wanted = {int(event.execution_id) for event in first.values()} - self.executions.keys()
        rows = sorted(self._store.executions(wanted), key=lambda row: int(row.id), reverse=True)
        room = MOST_EXECUTIONS - len(self.executions)
        self.complete = self.complete and len(rows) <= room
        new = {int(row.id): row for row in rows[:room]}
        self.executions |= new
        self.events += [
            first[artifact]
            for artifact in artifacts
            if artifact in first and int(first[artifact].execution_id) in self.executions
        ]
        return list(new)

    def _inputs_of(self, executions: list[int]) -> list[int]:
        """Take in what these executions read; return the artifacts that are new and to be followed."""
        inputs = [event for event in self._store.events_of_executions(executions) if is_input(event)]
        inputs.sort(key=lambda event: (event.execution_id, role_of(event), event.artifact_id), reverse=True)
        wanted = {int(event.artifact_id) for event in inputs} - self.artifacts.keys()
        rows = sorted(self._store.artifacts(wanted), key=lambda row: int(row.id), reverse=True)
        new = self.add_artifacts(rows)
        self.events += [event for event in inputs if int(event.artifact_id) in self.artifacts]
        entered = {int(event.artifact_id) for event in inputs if role_of(event) != BASELINE_ROLE}
        return [each for each in new if each in entered]


def _artifact(row: Any) -> UpstreamArtifact:
    return UpstreamArtifact(
        id=str(row.id),
        type=str(row.type),
        uri=str(row.uri),
        name=str(row.name),
        created=str(row.create_time_since_epoch),
        properties=texts_of(row),
    )


def _execution(row: Any) -> UpstreamExecution:
    facts = texts_of(row)
    state = type(row).State.Name(row.last_known_state) if row.HasField("last_known_state") else facts.get("state", "")
    return UpstreamExecution(id=str(row.id), type=str(row.type), name=str(row.name), state=state, properties=facts)


def _contexts(store: PipelineStore, executions: Iterable[int]) -> tuple[UpstreamContext, ...]:
    """Return the pipelines, runs and nodes of executions, those of the nearest one first."""
    found: dict[int, UpstreamContext] = {}
    for execution in executions:
        for row in store.contexts_of(execution):
            if row.type not in MACHINERY_CONTEXTS:
                found.setdefault(int(row.id), UpstreamContext(id=str(row.id), type=str(row.type), name=str(row.name)))
    return tuple(found.values())


def _event(event: Any) -> UpstreamEvent:
    return UpstreamEvent(
        execution=str(event.execution_id),
        artifact=str(event.artifact_id),
        output=is_output(event),
        role=role_of(event),
    )
