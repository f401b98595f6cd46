"""Where a version comes from when a pipeline made it: the part of that pipeline's ML Metadata that leads to the artifact.

It is taken once, when the version is pushed, and kept in its manifest: the pipeline's own database may be cleaned up or lost,
and the answer must stay the same. Every number is a string, as everywhere in JSON and ML Metadata.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from airflow_model_ops.core.errors import InvalidState

SOURCE_KEY = "upstream"
"""The key of a manifest's ``source`` under which a lineage is kept."""
BASELINE_ROLE = "baseline_model"
"""The role of the model that a TFX Evaluator compares with."""
_MODEL_ROLE = "model"


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamArtifact:
    """An artifact of somebody else's pipeline.

    :param id: Its id in the store it was read from.
    :param type: Name of its type, e.g. ``Model`` or ``Examples``.
    :param created: When it was registered there, milliseconds since the epoch; with ``id`` it tells one store from another.
    :param properties: Its own and custom properties that are plain values, as strings.
    """

    id: str
    type: str
    uri: str = ""
    name: str = ""
    created: str = ""
    properties: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamExecution:
    """A run of one component, e.g. a Trainer."""

    id: str
    type: str
    name: str = ""
    state: str = ""
    properties: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamContext:
    """What executions belong to: a pipeline, a run of it, a node."""

    id: str
    type: str
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamEvent:
    """That an execution read or wrote an artifact.

    :param role: The first key of the event's path, e.g. ``examples``; empty if it has none.
    """

    execution: str
    artifact: str
    output: bool
    role: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamLineage:
    """Everything that leads to one artifact.

    :param connection: Id of the connection whose store it was read from.
    :param artifact: Id of the artifact that was pushed.
    :param artifacts: That artifact first, then its ancestors, nearest first.
    :param executions: What made them, nearest first.
    :param contexts: The pipelines and runs of these executions.
    :param complete: Whether nothing was left out for want of room.
    """

    connection: str
    artifact: str
    artifacts: tuple[UpstreamArtifact, ...]
    executions: tuple[UpstreamExecution, ...] = ()
    contexts: tuple[UpstreamContext, ...] = ()
    events: tuple[UpstreamEvent, ...] = ()
    complete: bool = True

    @property
    def root(self) -> UpstreamArtifact:
        """The artifact that was pushed."""
        return self.artifacts[0]

    @property
    def own(self) -> frozenset[str]:
        """The ids of what the version is: the artifact that was pushed, and the model that a TFX Pusher made that of.

        What is trained on from it later names one or the other.
        """
        pushers = {execution.id for execution in self.executions if execution.type.endswith("Pusher")}
        makers = {event.execution for event in self.events if event.output and event.artifact == self.artifact}
        models = {
            event.artifact
            for event in self.events
            if not event.output and event.role == _MODEL_ROLE and event.execution in pushers & makers
        }
        return frozenset({self.artifact, *models})

    @property
    def compared(self) -> frozenset[str]:
        """The ids of what it was only compared with: models whose data did not go into it."""
        roles: dict[str, set[str]] = {}
        for event in self.events:
            if not event.output:
                roles.setdefault(event.artifact, set()).add(event.role)
        return frozenset(each for each, read_as in roles.items() if read_as == {BASELINE_ROLE}) - self.own

    def to_json(self) -> dict[str, Any]:
        """Return the form that a manifest keeps."""
        return {
            "connection": self.connection,
            "artifact": self.artifact,
            "artifacts": [
                {"id": a.id, "type": a.type, "uri": a.uri, "name": a.name, "created": a.created}
                | {"properties": dict(a.properties)}
                for a in self.artifacts
            ],
            "executions": [
                {"id": e.id, "type": e.type, "name": e.name, "state": e.state, "properties": dict(e.properties)}
                for e in self.executions
            ],
            "contexts": [{"id": c.id, "type": c.type, "name": c.name} for c in self.contexts],
            "events": [
                {"execution": e.execution, "artifact": e.artifact, "output": e.output, "role": e.role}
                for e in self.events
            ],
            "complete": self.complete,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> UpstreamLineage:
        """Read what :meth:`to_json` gave.

        :raises InvalidState: if a part is missing or makes no sense.
        """
        try:
            lineage = cls(
                connection=str(data["connection"]),
                artifact=str(data["artifact"]),
                artifacts=tuple(UpstreamArtifact(**_texts(item)) for item in data["artifacts"]),
                executions=tuple(UpstreamExecution(**_texts(item)) for item in data["executions"]),
                contexts=tuple(UpstreamContext(**_texts(item)) for item in data["contexts"]),
                events=tuple(
                    UpstreamEvent(
                        execution=str(item["execution"]),
                        artifact=str(item["artifact"]),
                        output=bool(item["output"]),
                        role=str(item["role"]),
                    )
                    for item in data["events"]
                ),
                complete=bool(data["complete"]),
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise InvalidState(f"upstream lineage cannot be read ({error!r}): {str(data)[:200]!r}") from error
        if not lineage.artifacts or lineage.root.id != lineage.artifact:
            raise InvalidState(
                f"upstream lineage of artifact {lineage.artifact!r} does not begin with it; it was not written by this package"
            )
        return lineage


def upstream_of(source: Mapping[str, Any]) -> UpstreamLineage | None:
    """Return the lineage that a manifest's ``source`` keeps; ``None`` for a version that no pipeline's store knows.

    :raises InvalidState: if it cannot be read.
    """
    kept = source.get(SOURCE_KEY)
    return None if kept is None else UpstreamLineage.from_json(kept)


def _texts(item: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: {str(name): str(text) for name, text in value.items()} if isinstance(value, Mapping) else str(value)
        for key, value in item.items()
    }
