"""A store of ML Metadata as the ledger uses it: few calls, each retried within a bound, each error said in our words.

Only calls that newer ML Metadata keeps and that stay fast with the ledger's size: exact names, external ids, ids and
events of one artifact; no ``filter_query``, no listing of a type or a context. Source of the limits: ML Metadata 1.17.1,
measured.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, TypeVar

from airflow_model_ops.adapters.lineage import schema
from airflow_model_ops.adapters.lineage.mlmd_access import StoreAccess
from airflow_model_ops.adapters.lineage.nodes import Node
from airflow_model_ops.adapters.lineage.protos import (
    Edge,
    Stored,
    StoredEdge,
    fill_event,
    fill_node,
    fill_type,
    read_event,
    read_node,
)
from airflow_model_ops.adapters.lineage.settings import LedgerSettings, load_ml_metadata
from airflow_model_ops.core.errors import LedgerUnavailable

T = TypeVar("T")

_PAGE = 100
"""ML Metadata gives at most this many nodes at once."""
_TRIES = 4
"""How often contexts are put that others make at the same moment: a DAG run's are those of all its models."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactPut:
    """An artifact to create, or to give new properties if it has an id."""

    node: Node
    stored_id: int | None = None


@dataclass(frozen=True, slots=True)
class PutIds:
    """The ids that a put gave out, in the order of what was put."""

    executions: tuple[int, ...]
    artifacts: tuple[int, ...]
    contexts: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextLink:
    """That an execution and artifacts belong to contexts, too."""

    execution_id: int
    artifact_ids: tuple[int, ...]
    contexts: tuple[Node, ...]


class LedgerStore:
    """An open store. Not for use across a fork or by several threads: open one for each piece of work.

    :param create: Whether a store that is missing is made.
    :raises LedgerUnavailable: if it cannot be opened.
    :raises LedgerUnsuitable: if ML Metadata is not installed, or the store is of another version of it.
    """

    def __init__(self, settings: LedgerSettings, *, create: bool) -> None:
        access = StoreAccess(settings)
        self._errors, self._pb2 = access.errors, access.pb2
        self._insist, self._writing = access.insist, access.writing
        self._mixed_up = access.mixed_up
        self._store = access.open(create=create)

    def artifact(self, type_name: str, name: str) -> Stored | None:
        """Return the artifact of a type and name, or ``None``."""
        found = self._insist(f"read {name!r}", lambda: self._store.get_artifact_by_type_and_name(type_name, name))
        if found is not None and str(found.name) != name:
            raise self._mixed_up(name, str(found.name))
        return read_node(found) if found is not None else None

    def artifacts_by_uri(self, uri: str) -> list[Stored]:
        """Return the artifacts of any type, others' too, with this uri as it is stored, oldest first."""
        found = self._insist("read by uri", lambda: self._store.get_artifacts_by_uri(uri))
        return sorted((read_node(row) for row in found), key=lambda stored: stored.id)

    def artifacts_by_id(self, ids: Sequence[int]) -> list[Stored]:
        """Return the artifacts of any type with these ids, in no order."""
        return self._by_ids(self._store.get_artifacts_by_id, ids)

    def executions_by_id(self, ids: Sequence[int]) -> list[Stored]:
        """Return the executions of any type with these ids, in no order."""
        return self._by_ids(self._store.get_executions_by_id, ids)

    def edges_of_executions(self, ids: Sequence[int]) -> list[StoredEdge]:
        """Return what executions read and wrote, in the order of the events' paths."""
        return self._edges(self._store.get_events_by_execution_ids, ids)

    def edges_of_artifacts(self, ids: Sequence[int]) -> list[StoredEdge]:
        """Return which executions read and wrote artifacts; as many as there are events."""
        return self._edges(self._store.get_events_by_artifact_ids, ids)

    def executions_of_context(self, type_name: str, name: str) -> list[Stored]:
        """Return the executions of a context, in no order; only for a small one, since the time grows with its square.

        The other way, from an execution to its contexts, reads a table that has no index for it.
        """
        found = self._insist(f"read {name!r}", lambda: self._store.get_context_by_type_and_name(type_name, name))
        if found is None:
            return []
        rows = self._insist(f"read {name!r}", lambda: self._store.get_executions_by_context(found.id))
        return [read_node(row) for row in rows]

    def newest_ids(self) -> tuple[int, int]:
        """Return the ids of the newest artifact and the newest execution of any type; 0 if there is none."""
        module = load_ml_metadata()
        newest = module.ListOptions(limit=1, order_by=module.OrderByField.ID, is_asc=False)
        artifacts = self._insist("read the newest artifact", lambda: self._store.get_artifacts(newest))
        executions = self._insist("read the newest execution", lambda: self._store.get_executions(newest))
        return sum(int(each.id) for each in artifacts), sum(int(each.id) for each in executions)

    def artifacts_by_external_ids(self, external_ids: Sequence[str]) -> list[Stored]:
        """Return the artifacts there are of these, in no order."""
        return self._by_external_ids(self._store.get_artifacts_by_external_ids, external_ids)

    def executions_by_external_ids(self, external_ids: Sequence[str]) -> list[Stored]:
        """Return the executions there are of these, in no order."""
        return self._by_external_ids(self._store.get_executions_by_external_ids, external_ids)

    def put(
        self,
        *,
        executions: Sequence[Node],
        artifacts: Sequence[ArtifactPut],
        contexts: Sequence[Node],
        edges: Sequence[Edge],
    ) -> PutIds | None:
        """Store all of it in one transaction; return ``None``, with nothing stored, if a name is taken."""
        pb2 = self._pb2
        types = self._types
        sent = {
            "executions": [
                fill_node(
                    pb2.Execution(last_known_state=pb2.Execution.COMPLETE), node, type_id=types["execution", node.type]
                )
                for node in executions
            ],
            "artifacts": [
                fill_node(
                    pb2.Artifact(state=pb2.Artifact.LIVE),
                    item.node,
                    type_id=types["artifact", item.node.type],
                    stored_id=item.stored_id,
                )
                for item in artifacts
            ],
            "contexts": [fill_node(pb2.Context(), node, type_id=types["context", node.type]) for node in contexts],
            "event_edges": [(edge.execution, edge.place, fill_event(pb2, edge)) for edge in edges],
        }

        def put() -> PutIds | None:
            try:
                written = self._store.put_lineage_subgraph(**sent, reuse_context_if_already_exist=True)
            except self._errors.AlreadyExistsError:
                return None
            return PutIds(*(tuple(int(each) for each in ids) for ids in written))

        with self._writing():
            return self._insist(f"write {executions[0].name!r}" if executions else "write contexts", put)

    def link(self, links: Sequence[ContextLink]) -> None:
        """Put what is stored into more contexts, which are made if they are missing. Repeating it changes nothing.

        :raises LedgerUnavailable: if others keep making the contexts at the same moment.
        """
        nodes = list({(node.type, node.name): node for link in links for node in link.contexts}.values())
        tries = (self.put(executions=(), artifacts=(), contexts=nodes, edges=()) for _ in range(_TRIES))
        written = next((ids for ids in tries if ids is not None), None)
        if written is None:
            raise LedgerUnavailable(f"{len(nodes)} contexts could not be written: others make them now; try again")
        ids = {(node.type, node.name): stored for node, stored in zip(nodes, written.contexts, strict=True)}
        pairs = [(ids[node.type, node.name], link) for link in links for node in link.contexts]
        associations = {(context, link.execution_id) for context, link in pairs}
        attributions = {(context, artifact) for context, link in pairs for artifact in link.artifact_ids}
        sent = (
            [self._pb2.Attribution(context_id=context, artifact_id=one) for context, one in sorted(attributions)],
            [self._pb2.Association(context_id=context, execution_id=one) for context, one in sorted(associations)],
        )
        with self._writing():
            self._insist("link contexts", lambda: self._store.put_attributions_and_associations(*sent))

    def register_types(self) -> int:
        """Register the ledger's own types if they are missing; return how many it has. Other types are left alone."""
        return len(self._types)

    @cached_property
    def _types(self) -> dict[tuple[str, str], int]:
        """Kind and name to the id of each own type; an older or newer package's extra properties are kept."""
        pb2 = self._pb2
        kinds: tuple[tuple[str, tuple[schema.TypeSpec, ...], Any, Any], ...] = (
            ("artifact", schema.ARTIFACTS, pb2.ArtifactType, self._store.put_artifact_type),
            ("execution", schema.EXECUTIONS, pb2.ExecutionType, self._store.put_execution_type),
            ("context", schema.CONTEXTS, pb2.ContextType, self._store.put_context_type),
        )

        def register() -> dict[tuple[str, str], int]:
            return {
                (kind, spec.name): int(put(fill_type(pb2, message(), spec), can_add_fields=True, can_omit_fields=True))
                for kind, specs, message, put in kinds
                for spec in specs
            }

        with self._writing():
            # A type that another writer makes between ML Metadata's look by name and by external id: the next look finds it.
            return self._insist("register its types", register, passing=(self._errors.AlreadyExistsError,))

    def _by_ids(self, get: Callable[[Sequence[int]], Sequence[Any]], ids: Sequence[int]) -> list[Stored]:
        return [read_node(row) for page in _pages(ids) for row in self._insist("read by id", partial(get, page))]

    def _edges(self, get: Callable[[Sequence[int]], Sequence[Any]], ids: Sequence[int]) -> list[StoredEdge]:
        rows = [row for page in _pages(ids) for row in self._insist("read events", partial(get, page))]
        edges = [read_event(self._pb2, row) for row in rows]
        return sorted(edges, key=lambda edge: (edge.execution_id, edge.key, edge.index, edge.artifact_id))

    def _by_external_ids(self, get: Callable[[Sequence[str]], Sequence[Any]], ids: Sequence[str]) -> list[Stored]:
        def page_of(page: Sequence[str]) -> Sequence[Any]:
            try:
                return get(page)
            except self._errors.NotFoundError:  # none of them is there
                return ()

        found: list[Stored] = []
        for page in _pages(ids):
            found += [read_node(row) for row in self._insist("read by external id", partial(page_of, page))]
        return found


def _pages(items: Sequence[T]) -> Iterator[Sequence[T]]:
    return (items[start : start + _PAGE] for start in range(0, len(items), _PAGE))
