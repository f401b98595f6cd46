"""The ledger: projects models' logs into ML Metadata, every entry exactly once and in order.

An entry is one transaction: its execution, artifacts, events, contexts, and the model's recorded head. Its key is unique
in the store, so of several writers one wins and the others see that it is recorded. A writer takes up an entry only when
the one before it is recorded, so the ids that the store gives out follow the log's order. The head is written in the same
transaction: it never says more or less than is there, however a writer dies.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from airflow_model_ops.adapters.lineage import schema
from airflow_model_ops.adapters.lineage.head import RecordedHead
from airflow_model_ops.adapters.lineage.mlmd_store import ArtifactPut, LedgerStore
from airflow_model_ops.adapters.lineage.nodes import Node, Record, Use
from airflow_model_ops.adapters.lineage.protos import Edge, Stored
from airflow_model_ops.adapters.lineage.records import record_of, versions_named
from airflow_model_ops.adapters.lineage.settings import LedgerSettings
from airflow_model_ops.adapters.lineage.shown import merged
from airflow_model_ops.core.errors import InvalidState, LedgerUnavailable, VersionNotFound
from airflow_model_ops.core.log import Entry
from airflow_model_ops.core.ports import Log, Manifest
from airflow_model_ops.core.versioning import Version


class MlmdLedger:
    """ML Metadata as a projection of the logs; a :class:`~airflow_model_ops.core.ports.Ledger`.

    It holds nothing open between calls: safe across forks and for several processes at once.
    """

    def __init__(self, settings: LedgerSettings) -> None:
        self._settings = settings

    def catch_up(self, model: str, log: Log, manifest_of: Callable[[Version], Manifest]) -> int:
        """Record the entries that are missing, in order; return how many this call recorded. May touch the network.

        Repeating it, or running it in several processes, records nothing twice. An interrupted call leaves a prefix of the
        log recorded, and the next one goes on from there.

        :param manifest_of: Gives a version's manifest; may raise VersionNotFound for one that has none.
        :raises LedgerUnavailable: if the store cannot be reached or written.
        :raises InvalidState: if the ledger holds another log of the model than this one.
        """
        store = LedgerStore(self._settings, create=True)
        projection = _Projection(store=store, model=model, manifest_of=manifest_of)
        _check_same_log(log, projection.head)
        return sum(projection.record(entry) for entry in log.entries(after=projection.head.sequence))

    def ping(self) -> str:
        """Open the store, creating it if it is missing, and register the ledger's types; return what was found.

        :raises LedgerUnavailable: if it cannot be reached or written.
        """
        count = LedgerStore(self._settings, create=True).register_types()
        return f"{self._settings.shown} can be read and written; {count} own types are registered"


class _Projection:
    """One writer's work on one model."""

    def __init__(self, *, store: LedgerStore, model: str, manifest_of: Callable[[Version], Manifest]) -> None:
        self._store = store
        self._model = model
        self._manifest_of = manifest_of
        self.head = RecordedHead(model=model)
        self._head_id: int | None = None
        self._read_head()

    def record(self, entry: Entry) -> bool:
        """Record one entry; return ``False`` if another writer did."""
        if entry.sequence <= self.head.sequence:
            return False
        manifests = self._manifests(entry)
        record = record_of(
            entry, model=self._model, manifests=manifests, served_before=self.head.serving, pair=self.head.pair
        )
        head, artifacts, edges = self._placed(record, entry)
        won = self._store.put(execution=record.execution, artifacts=artifacts, contexts=record.contexts, edges=edges)
        if won and self._head_id is not None:
            self.head = head
            return True
        self._read_head()
        if self.head.sequence < entry.sequence:
            raise LedgerUnavailable(
                f"entry {entry.sequence} of model {self._model!r} cannot be recorded: one of its names is taken in the ledger, "
                "but not by this entry; record the log into an empty ledger"
            )
        return won

    def _read_head(self) -> None:
        stored = self._store.artifact(schema.MODEL, self._model)
        self._head_id = stored.id if stored else None
        if stored is None:
            self.head = RecordedHead(model=self._model)
        else:
            self.head = RecordedHead.of(self._model, properties=stored.properties, structs=stored.structs)

    def _manifests(self, entry: Entry) -> dict[Version, Manifest]:
        found = {}
        for version in versions_named(entry):
            try:
                found[version] = self._manifest_of(version)
            except VersionNotFound:  # adopted from a fleet: known by name only
                continue
        return found

    def _placed(self, record: Record, entry: Entry) -> tuple[RecordedHead, list[ArtifactPut], list[Edge]]:
        """Return the new head, the artifacts to put (the head's first) and the edges to them."""
        puts: list[ArtifactPut] = []
        edges: list[Edge] = []
        new_versions = 0
        for use in record.uses:
            stored = self._store.artifact(use.node.type, use.node.name)
            if stored is not None and not (use.renews or use.adds):
                edges.append(_edge(use, artifact_id=stored.id))
                continue
            key = stored.external_id if stored else None
            if stored is None and use.node.type == schema.MODEL_VERSION:
                new_versions += 1
                key = schema.version_key(self._model, self.head.versions + new_versions)
            puts.append(
                ArtifactPut(
                    node=replace(_renewed(use, stored), external_id=key), stored_id=stored.id if stored else None
                )
            )
            edges.append(_edge(use, place=len(puts)))
        head = self.head.after(entry, new_versions=new_versions)
        return head, [ArtifactPut(node=head.node(), stored_id=self._head_id), *puts], edges


def _renewed(use: Use, stored: Stored | None) -> Node:
    """Return an artifact as it is after an entry; what earlier entries told of a version stays."""
    node = use.node
    if stored is not None and not use.renews:
        node = replace(node, properties=stored.properties, structs=stored.structs)
    elif stored is not None:
        told = {name: text for name, text in stored.structs.items() if name in (schema.VALIDATION, schema.ONLINE)}
        node = replace(node, structs={**node.structs, **told})
    return replace(node, structs=merged(node.structs, use.adds))


def _edge(use: Use, *, place: int | None = None, artifact_id: int | None = None) -> Edge:
    return Edge(direction=use.direction, key=use.key, index=use.index, place=place, artifact_id=artifact_id)


def _check_same_log(log: Log, head: RecordedHead) -> None:
    """Check that what is recorded is a prefix of this log.

    :raises InvalidState: if it is not.
    """
    if not head.sequence:
        return
    entry = log.read(head.sequence)
    if entry is None or entry.digest != head.digest:
        found = f"has digest {entry.digest}" if entry else "is missing"
        raise InvalidState(
            f"the ledger holds another log of model {head.model!r}: it recorded entry {head.sequence} with digest "
            f"{head.digest}, but in the log that entry {found}; restore the log, or record it into an empty ledger"
        )
