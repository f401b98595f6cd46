"""What a batch whose writer died had still to put into its releases and DAG runs, told from what it stored."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from airflow_model_ops.adapters.lineage import schema
from airflow_model_ops.adapters.lineage.mlmd_store import ContextLink, LedgerStore
from airflow_model_ops.adapters.lineage.nodes import Direction
from airflow_model_ops.adapters.lineage.protos import StoredEdge
from airflow_model_ops.adapters.lineage.records import contexts_of, record_of
from airflow_model_ops.core.log import Entry
from airflow_model_ops.core.state import STABLE

_NEVER_PUT = frozenset({*schema.SOURCE_ROLES, schema.FOREIGN_ROLE})
"""Roles whose artifacts belong to no context of ours: models share them, or they are a pipeline's."""


def links_of(store: LedgerStore, model: str, entries: Sequence[Entry], *, head_id: int) -> list[ContextLink]:
    """Return the links of recorded entries: each execution and what it put, the Model artifact included, to its contexts."""
    keys = [schema.entry_key(model, entry.sequence) for entry in entries]
    executions = {each.external_id: each.id for each in store.executions_by_external_ids(keys)}
    edges: dict[int, list[StoredEdge]] = {number: [] for number in executions.values()}
    for edge in store.edges_of_executions(list(edges)):
        edges[edge.execution_id].append(edge)
    return [
        ContextLink(
            execution_id=executions[key],
            artifact_ids=(head_id, *_put(store, model, entry, edges[executions[key]])),
            contexts=contexts_of(entry, model),
        )
        for key, entry in zip(keys, entries, strict=True)
        if key in executions
    ]


def _put(store: LedgerStore, model: str, entry: Entry, edges: Sequence[StoredEdge]) -> Iterator[int]:
    """Yield the artifacts that an entry wrote, or made because it was the first to name them."""
    uses = record_of(entry, model=model, manifests={}).uses
    written = {(use.direction, use.key, use.index) for use in uses if use.writes}
    for edge in edges:
        if edge.direction is Direction.INPUT and edge.key in _NEVER_PUT:
            continue
        puts = edge.direction is Direction.OUTPUT or edge.key == STABLE
        if puts or (edge.direction, edge.key, edge.index) in written or _is_first(store, edge):
            yield edge.artifact_id


def _is_first(store: LedgerStore, edge: StoredEdge) -> bool:
    return min(other.execution_id for other in store.edges_of_artifacts([edge.artifact_id])) == edge.execution_id
