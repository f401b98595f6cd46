"""A lineage graph while it is put together: nodes and arrows, each once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_model_ops.core.plain_text import plain_text
from airflow_model_ops.plugin.datamodels.base import RunLink
from airflow_model_ops.plugin.datamodels.versions import GraphEdge, GraphNode


class GraphParts:
    """Nodes and arrows in the order in which they were added."""

    def __init__(self) -> None:
        self._nodes: dict[str, GraphNode] = {}
        self._edges: dict[tuple[str, str], GraphEdge] = {}

    @property
    def nodes(self) -> list[GraphNode]:
        """All nodes."""
        return list(self._nodes.values())

    @property
    def edges(self) -> list[GraphEdge]:
        """All arrows."""
        return list(self._edges.values())

    def add(
        self,
        node: str,
        *,
        kind: str,
        label: str,
        column: int,
        detail: Mapping[str, Any] | None = None,
        run: RunLink | None = None,
        model: str | None = None,
    ) -> str:
        """Add a node unless it is there; return its id.

        :param detail: What else is known; what is ``None`` or empty is left out.
        """
        shown = {key: plain_text(str(value)) for key, value in (detail or {}).items() if value not in (None, "")}
        self._nodes.setdefault(
            node, GraphNode(id=node, kind=kind, label=label, detail=shown, column=column, run=run, model=model)
        )
        return node

    def link(self, source: str, target: str, label: str) -> None:
        """Draw an arrow, unless there is one or it would go nowhere."""
        if source != target:
            self._edges.setdefault((source, target), GraphEdge(source=source, target=target, label=label))

    def leads_on(self, node: str) -> bool:
        """Whether an arrow leaves a node."""
        return any(source == node for source, _ in self._edges)
