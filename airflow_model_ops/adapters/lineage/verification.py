"""Whether the ledger still says what the log says: every entry, in its place, with its artifacts, events and contexts.

The log is projected again, page by page, and each page is compared with what is stored under its keys. What no log explains is
found by reading the ids of the store in order. Memory holds a page, the versions and the numbers of the entries.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TypeVar

from airflow_model_ops.adapters.lineage import schema
from airflow_model_ops.adapters.lineage.differences import Finding, FindingKind, artifact_findings, node_findings
from airflow_model_ops.adapters.lineage.head import RecordedHead
from airflow_model_ops.adapters.lineage.lookups import head_of
from airflow_model_ops.adapters.lineage.mlmd_store import LedgerStore
from airflow_model_ops.adapters.lineage.nodes import Node, Record
from airflow_model_ops.adapters.lineage.projected import Projected
from airflow_model_ops.adapters.lineage.protos import Stored, StoredEdge
from airflow_model_ops.adapters.lineage.settings import LedgerSettings
from airflow_model_ops.adapters.lineage.surplus import Explained, surplus
from airflow_model_ops.core.ports import Log, Manifest
from airflow_model_ops.core.versioning import Version

T = TypeVar("T")

_PAGE = 100
_MOST_ORDINALS = 10_000
_LARGEST_CONTEXT = 1000
"""Larger ones are not listed: it would take minutes."""


class LedgerVerification:
    """Compares a ledger with the logs; writes nothing.

    :param settings: Where the ledger is.
    """

    def __init__(self, settings: LedgerSettings) -> None:
        self._settings = settings

    def compare(self, model: str, log: Log, manifest_of: Callable[[Version], Manifest]) -> Iterator[Finding]:
        """Yield what differs between a model's log and the ledger, in the log's order; nothing if the ledger is its projection.

        Where log and ledger part for good (the log was cut or rewritten), the comparison ends with that finding.

        :param manifest_of: Gives a version's manifest; may raise VersionNotFound for one that has none.
        :raises LedgerUnavailable: if the store cannot be read, or nothing was ever recorded.
        :raises InvalidState: if the log's own chain is broken, or the ledger's Model artifact cannot be read.
        """
        store = LedgerStore(self._settings, create=False)
        yield from _Comparison(store=store, model=model, log=log, projected=Projected(model, manifest_of)).findings()


@dataclass(slots=True, kw_only=True)
class _Comparison:
    """One pass over one model's log.

    :param members: Numbers of the entries that belong to each release and DAG run.
    :param last_id: The id of the execution before, since ids rise with the log.
    :param reached: Ids of Upstream artifacts whose external ids are known to be found.
    """

    store: LedgerStore
    model: str
    log: Log
    projected: Projected
    last_id: int = 0
    explained: Explained = field(default_factory=Explained)
    members: dict[tuple[str, str], list[int]] = field(default_factory=dict)
    reached: set[int] = field(default_factory=set)

    def findings(self) -> Iterator[Finding]:
        recorded = head_of(self.store, self.model)
        newest = self.log.last()
        entries = iter(self.log.entries())
        parted = False
        for page in _pages(self.projected.records(islice(entries, recorded.sequence))):
            for finding in self._page(page, recorded):
                yield finding
                parted = parted or finding.kind is FindingKind.REWRITTEN
            if parted:
                return
        length = newest.sequence if newest else 0
        if recorded.sequence > length:
            yield self._truncated(length, recorded)
            return
        yield from self._beyond(recorded)
        if recorded.sequence:
            yield from self._head(recorded)
            yield from self._versions()
            yield from self._contexts()
        yield from surplus(
            self.store,
            self.model,
            explained=self.explained,
            newest=recorded.sequence,
            versions=self.projected.version_names,
        )
        missing = sum(1 for _ in entries)
        if missing:
            yield Finding(
                kind=FindingKind.BEHIND,
                what="entries that are not recorded yet",
                where=recorded.sequence + 1,
                expected=f"{missing} more; catch up",
                found=f"the ledger ends at entry {recorded.sequence}",
            )

    def _page(self, page: Sequence[Record], recorded: RecordedHead) -> Iterator[Finding]:
        keys = [record.execution.external_id or "" for record in page]
        after = schema.entry_key(self.model, page[-1].sequence + 1)
        stored = {each.external_id or "": each for each in self.store.executions_by_external_ids([*keys, after])}
        ids = [stored[key].id for key in keys if key in stored]
        edges: dict[int, list[StoredEdge]] = {number: [] for number in ids}
        for edge in self.store.edges_of_executions(ids):
            edges[edge.execution_id].append(edge)
        linked = sorted({edge.artifact_id for each in edges.values() for edge in each})
        self.explained.executions.update(ids)
        self.explained.artifacts.update(linked)
        artifacts = {each.id: each for each in self.store.artifacts_by_id(linked)}
        for record, key, following in zip(page, keys, [*keys[1:], after], strict=True):
            self._explain(record)
            found = stored.get(key)
            if found is None:
                yield _missing(f"execution {record.execution.name!r}", record.sequence)
                continue
            behind = stored.get(following)
            chained = behind.properties.get("previous_digest") if behind else recorded.digest
            rewritten = _rewritten(record, found, chained)
            if rewritten is not None:
                yield rewritten
                return
            yield from self._execution(record, found)
            yield from self._uses(record, edges[found.id], artifacts)
            first, last = recorded.pending or (0, 0)
            if not first <= record.sequence <= last:
                for context in record.contexts:
                    if context.type != schema.MODEL:
                        self.members.setdefault((context.type, context.name), []).append(record.sequence)

    def _explain(self, record: Record) -> None:
        for use in record.uses:
            if use.creates:
                is_state = use.node.type == schema.SERVING_STATE
                (self.explained.states if is_state else self.explained.verdicts).add(record.sequence)

    def _execution(self, record: Record, found: Stored) -> Iterator[Finding]:
        sequence = record.sequence
        if found.id < self.last_id:
            yield Finding(
                kind=FindingKind.SWAPPED,
                what="the order of recording",
                where=sequence,
                expected=f"an id above {self.last_id}, that of the entry before it",
                found=f"id {found.id}",
            )
        self.last_id = max(self.last_id, found.id)
        holds = found.properties.get("sequence")
        if holds is not None and holds != str(sequence):
            yield Finding(
                kind=FindingKind.SWAPPED,
                what=f"execution {record.execution.name!r}",
                where=sequence,
                expected=f"entry {sequence}",
                found=f"entry {holds}",
            )
            return
        yield from node_findings(record.execution, found, where=sequence, kind="execution")

    def _uses(self, record: Record, edges: Sequence[StoredEdge], artifacts: dict[int, Stored]) -> Iterator[Finding]:
        expected = Counter(
            (use.direction.value, use.key, use.index, use.node.type, use.node.name) for use in record.uses
        )
        found: Counter[tuple[str, str, int, str, str]] = Counter()
        for edge in edges:
            artifact = artifacts.get(edge.artifact_id)
            if artifact is None:
                yield _missing(f"artifact {edge.artifact_id}, which an event names", record.sequence)
            elif not _is_the_pushed_one(edge, artifact, record):
                found[edge.direction.value, edge.key, edge.index, artifact.type, artifact.name] += 1
        for event in (expected - found).elements():
            yield _missing(_event(event), record.sequence)
        for event in (found - expected).elements():
            yield Finding(
                kind=FindingKind.SURPLUS,
                what=_event(event),
                where=record.sequence,
                expected="no such event",
                found="one",
            )
        by_name = {(each.type, each.name): each for each in artifacts.values()}
        for use in record.uses:
            artifact = by_name.get((use.node.type, use.node.name))
            if artifact is not None and (use.creates or use.node.type in schema.SHARED):
                yield from artifact_findings(use.node, artifact, where=record.sequence)
                yield from self._unreachable(use.node, artifact, where=record.sequence)

    def _unreachable(self, node: Node, found: Stored, *, where: int) -> Iterator[Finding]:
        """Look whether an Upstream artifact is found by its ordinal: whoever asks begins at 1 and ends at a gap."""
        ordinal = _number((found.external_id or "").rpartition("/")[2])
        if node.type != schema.UPSTREAM or node.external_id is None or ordinal == 1 or found.id in self.reached:
            return
        below = schema.upstream_keys(node.external_id, first=1, count=min(ordinal, _MOST_ORDINALS) - 1)
        if ordinal > _MOST_ORDINALS or not below or len(self.store.artifacts_by_external_ids(below)) < len(below):
            yield Finding(
                kind=FindingKind.EDITED,
                what=f"external id of artifact {node.name!r}",
                where=where,
                expected="an ordinal that follows those of the other artifacts with the same id in the pipeline's store",
                found=repr(found.external_id),
            )
        else:
            self.reached.add(found.id)

    def _contexts(self) -> Iterator[Finding]:
        """Compare what belongs to each release and DAG run."""
        for (kind, name), sequences in self.members.items():
            if len(sequences) > _LARGEST_CONTEXT:
                continue
            keys = {schema.entry_key(self.model, sequence): sequence for sequence in sequences}
            mine = schema.entry_key(self.model, 0).rpartition("/")[0]
            stored = {
                each.external_id or "": each
                for each in self.store.executions_of_context(kind, name)
                if (each.external_id or "").rpartition("/")[0] == mine
            }
            for key in sorted(keys.keys() - stored.keys()):
                yield _missing(f"the execution in context {kind} {name!r}", keys[key])
            for key in sorted(stored.keys() - keys.keys()):
                yield Finding(
                    kind=FindingKind.SURPLUS,
                    what=f"an execution in context {kind} {name!r}",
                    where=_number(key.rpartition("/")[2]),
                    expected="that it does not belong there",
                    found="it does",
                )

    def _beyond(self, recorded: RecordedHead) -> Iterator[Finding]:
        """Entries behind the recorded head: it was set back."""
        keys = [schema.entry_key(self.model, recorded.sequence + place) for place in range(1, _PAGE + 1)]
        for stored in self.store.executions_by_external_ids(keys):
            yield Finding(
                kind=FindingKind.SURPLUS,
                what=f"execution {stored.name!r}",
                where=_number(stored.properties.get("sequence", "")),
                expected=f"nothing behind entry {recorded.sequence}, where the Model artifact says that the ledger ends",
                found="an entry",
            )

    def _truncated(self, length: int, recorded: RecordedHead) -> Finding:
        return Finding(
            kind=FindingKind.TRUNCATED,
            what="the log",
            where=length + 1,
            expected=f"entries {length + 1} to {recorded.sequence}, which the ledger recorded",
            found=f"a log that ends at entry {length}" if length else "an empty log",
        )

    def _head(self, recorded: RecordedHead) -> Iterator[Finding]:
        stored = self.store.artifact(schema.MODEL, self.model)
        expected = self.projected.head(pending=recorded.pending).node()
        if stored is not None:
            yield from node_findings(expected, stored, where=recorded.sequence, kind="artifact")

    def _versions(self) -> Iterator[Finding]:
        for page in _pages(self.projected.versions()):
            keys = {node.external_id or "" for _, node in page}
            stored = {each.external_id: each for each in self.store.artifacts_by_external_ids(sorted(keys))}
            for learned, node in page:
                found = stored.get(node.external_id)
                if found is None:
                    yield _missing(f"artifact {node.type} {node.name!r}", learned)
                else:
                    yield from node_findings(node, found, where=learned, kind="artifact")


def _rewritten(record: Record, found: Stored, chained: str | None) -> Finding | None:
    """Tell a log that was rewritten from a ledger that was edited: the ledger's own chain is whole then.

    :param chained: What the ledger names as this entry's digest where it goes on.
    """
    expected, digest = record.execution.properties["digest"], found.properties.get("digest")
    kept = hashlib.sha256(found.structs.get(schema.ENTRY, "").encode()).hexdigest()
    own = found.properties.get("sequence") == str(record.sequence)
    if expected == digest or not (digest == kept == chained) or not own:
        return None
    return Finding(
        kind=FindingKind.REWRITTEN,
        what="the log",
        where=record.sequence,
        expected=f"digest {digest}, which the ledger recorded",
        found=f"digest {expected}; from here on they are different logs",
    )


def _is_the_pushed_one(edge: StoredEdge, artifact: Stored, record: Record) -> bool:
    """Whether an event is the plain one on the pipeline's own artifact, in a store that both share."""
    root = record.upstream
    return (
        root is not None
        and edge.key == schema.FOREIGN_ROLE
        and not artifact.type.startswith(schema.PREFIX)
        and (str(artifact.id), artifact.type, artifact.uri) == (root.id, root.type, root.uri)
    )


def _number(text: str) -> int:
    """Return the number of an entry as the ledger tells it, which may be edited; 0 for none."""
    return int(text) if text.isdecimal() else 0


def _missing(what: str, where: int) -> Finding:
    return Finding(kind=FindingKind.MISSING, what=what, where=where, expected="it is there", found="nothing")


def _event(event: tuple[str, str, int, str, str]) -> str:
    direction, key, index, kind, name = event
    return f"event {direction} {key!r} {index} on {kind} {name!r}"


def _pages(items: Iterator[T]) -> Iterator[list[T]]:
    while page := list(islice(items, _PAGE)):
        yield page
