"""ML Metadata's protos and the ledger's own values, each way. Takes the proto module; imports nothing heavy itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from airflow_model_ops.adapters.lineage.nodes import Direction, Node
from airflow_model_ops.adapters.lineage.schema import LONGEST_STRUCT, STRUCT_KEY, TypeSpec

_PART_MARK = "~"
"""Between the name of a STRUCT property and the number of a further part, a custom property."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """An execution or artifact as the store has it; strings as stored, that is escaped.

    :param type: Name of its type.
    :param uri: Of an artifact.
    :param created: When it was stored, milliseconds since the epoch.
    :param structs: JSON text by property.
    """

    id: int
    name: str
    type: str = ""
    uri: str = ""
    created: int = 0
    external_id: str | None = None
    properties: Mapping[str, str] = field(default_factory=dict)
    structs: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """That an execution of a put read or wrote an artifact.

    :param execution: The execution's place in the put.
    :param place: The artifact's place in the put, or ``None`` if it is only linked by its id.
    """

    direction: Direction
    key: str
    index: int
    execution: int = 0
    place: int | None = None
    artifact_id: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredEdge:
    """That an execution read or wrote an artifact, as the store has it.

    :param key: The first step of the event's path, empty if it has none; others' events may have it.
    :param index: The second step; 0 if it has none.
    """

    execution_id: int
    artifact_id: int
    direction: Direction
    key: str = ""
    index: int = 0


def fill_type(pb2: Any, message: Any, spec: TypeSpec) -> Any:
    """Fill an ArtifactType, ExecutionType or ContextType.

    The external id keeps two writers from making a type twice: on servers only that is unique, a type's name is not.
    """
    message.name = spec.name
    message.external_id = f"{spec.name}/{message.DESCRIPTOR.name}"
    for name in spec.strings:
        message.properties[name] = pb2.STRING
    for name in spec.structs:
        message.properties[name] = pb2.STRUCT
    return message


def fill_node(message: Any, node: Node, *, type_id: int, stored_id: int | None = None) -> Any:
    """Fill an Artifact, Execution or Context."""
    message.type_id = type_id
    message.name = node.name
    if stored_id is not None:
        message.id = stored_id
    if node.uri:
        message.uri = node.uri
    if node.external_id is not None:
        message.external_id = node.external_id
    for name, text in node.properties.items():
        message.properties[name].string_value = text
    for name, text in node.structs.items():
        first, *more = _parts(text)
        message.properties[name].struct_value[STRUCT_KEY] = first
        for place, part in enumerate(more, start=1):
            message.custom_properties[f"{name}{_PART_MARK}{place}"].struct_value[STRUCT_KEY] = part
    return message


def _parts(text: str) -> Iterator[str]:
    """Yield a text in parts that fit, no character parted."""
    left = text.encode()
    while len(left) > LONGEST_STRUCT:
        part = left[:LONGEST_STRUCT].decode(errors="ignore")
        left = left[len(part.encode()) :]
        yield part
    yield left.decode()


def _whole(message: Any, name: str) -> str:
    """Return the text of a STRUCT property, with its further parts."""
    parts = [message.properties[name]]
    while (further := f"{name}{_PART_MARK}{len(parts)}") in message.custom_properties:
        parts.append(message.custom_properties[further])
    return "".join(str(part.struct_value.fields[STRUCT_KEY].string_value) for part in parts)


def fill_event(pb2: Any, edge: Edge) -> Any:
    """Return the Event of an edge, with the two-step path ``[key, index]`` that TFX and Kubeflow Pipelines read."""
    message = pb2.Event(type=pb2.Event.INPUT if edge.direction is Direction.INPUT else pb2.Event.OUTPUT)
    if edge.artifact_id is not None:
        message.artifact_id = edge.artifact_id
    message.path.steps.add().key = edge.key
    message.path.steps.add().index = edge.index
    return message


def read_node(message: Any) -> Stored:
    """Return an Artifact or Execution of the ledger's own types."""
    strings: dict[str, str] = {}
    structs: dict[str, str] = {}
    for name, value in message.properties.items():
        if value.HasField("struct_value"):
            structs[name] = _whole(message, name)
        else:
            strings[name] = str(value.string_value)
    return Stored(
        id=int(message.id),
        name=str(message.name),
        type=str(message.type),
        uri=str(getattr(message, "uri", "")),  # executions have none
        created=int(message.create_time_since_epoch),
        external_id=str(message.external_id) or None,
        properties=strings,
        structs=structs,
    )


def read_event(pb2: Any, message: Any) -> StoredEdge:
    """Return an Event; what is declared or pending counts as read or written."""
    steps = message.path.steps
    wrote = (pb2.Event.OUTPUT, pb2.Event.DECLARED_OUTPUT, pb2.Event.INTERNAL_OUTPUT, pb2.Event.PENDING_OUTPUT)
    return StoredEdge(
        execution_id=int(message.execution_id),
        artifact_id=int(message.artifact_id),
        direction=Direction.OUTPUT if message.type in wrote else Direction.INPUT,
        key=next((str(step.key) for step in steps if step.HasField("key")), ""),
        index=next((int(step.index) for step in steps if step.HasField("index")), 0),
    )
