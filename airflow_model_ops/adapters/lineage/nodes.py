"""The parts of a record: executions, artifacts, contexts and the links between them. Values only, without ML Metadata."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from airflow_model_ops.adapters.lineage.text import stored_string
from airflow_model_ops.core.upstream import UpstreamArtifact
from airflow_model_ops.core.versioning import Version


class Direction(StrEnum):
    """Whether an execution read or wrote an artifact."""

    INPUT = "input"
    OUTPUT = "output"


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """An execution, artifact or context to be stored.

    :param name: Unique within the type.
    :param uri: Of an artifact; ML Metadata finds artifacts by it.
    :param external_id: Unique within the store, or ``None``.
    :param structs: JSON text by property.
    """

    type: str
    name: str
    uri: str = ""
    external_id: str | None = None
    properties: Mapping[str, str] = field(default_factory=dict)
    structs: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """An artifact that an execution read or wrote; one that is stored already is linked, a missing one is created.

    :param key: Its role, the first step of the event's path; the second is ``index``.
    :param version: The version that a ModelVersion is.
    :param creates: Whether the entry is what makes the artifact, so that it is hardly stored yet.
    :param renews: Whether a stored artifact takes this node's properties.
    :param adds: What a stored artifact's STRUCT properties take up, by property; see
        :func:`~airflow_model_ops.adapters.lineage.shown.merged`.
    """

    node: Node
    direction: Direction
    key: str
    index: int = 0
    version: Version | None = None
    creates: bool = False
    renews: bool = False
    adds: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def writes(self) -> bool:
        """Whether a stored artifact is written, not only linked."""
        return self.creates or self.renews or bool(self.adds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """All of one entry.

    :param upstream: The artifact of a pipeline that was pushed, if there is one.
    """

    sequence: int
    execution: Node
    uses: tuple[Use, ...]
    contexts: tuple[Node, ...]
    upstream: UpstreamArtifact | None = None


def filled(**values: str | None) -> dict[str, str]:
    """Return the values that are there, as string properties."""
    return {key: stored_string(value) for key, value in values.items() if value is not None}


def json_text(value: Mapping[str, Any]) -> str:
    """Return JSON for a STRUCT property: ASCII, so that it holds lone surrogates too."""
    return json.dumps(dict(value), sort_keys=True, separators=(",", ":"))
