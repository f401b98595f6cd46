"""The ledger: projects models' logs into ML Metadata, every entry exactly once and in order.

A batch of entries is one transaction: their executions, artifacts, events, and the model's recorded head. Each entry's key
is unique in the store, so of several writers one wins and the others see that it is recorded. A writer takes up an entry only
when the one before it is recorded, so the ids that the store gives out follow the log's order. The head is written in the
same transaction: it never says more or less than is there, however a writer dies.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from airflow_model_ops.adapters.lineage import schema
from airflow_model_ops.adapters.lineage.batch import LARGEST_BATCH, LARGEST_BATCH_ON_A_SERVER, Planner, batches
from airflow_model_ops.adapters.lineage.head import RecordedHead
from airflow_model_ops.adapters.lineage.links import links_of
from airflow_model_ops.adapters.lineage.mlmd_store import ContextLink, LedgerStore
from airflow_model_ops.adapters.lineage.settings import LedgerKind, LedgerSettings
from airflow_model_ops.core.errors import InvalidState, LedgerUnavailable
from airflow_model_ops.core.log import Entry
from airflow_model_ops.core.ports import Log, Manifest
from airflow_model_ops.core.versioning import Version

_TRIES = 8
"""How often a put is planned anew because a name was taken meanwhile, before its entries go one by one."""


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
        projection = _Projection(store=store, model=model, log=log, manifest_of=manifest_of)
        _check_same_log(log, projection.head)
        projection.link_pending()
        largest = LARGEST_BATCH if self._settings.kind is LedgerKind.SQLITE else LARGEST_BATCH_ON_A_SERVER
        missing = log.entries(after=projection.head.sequence)
        parts = batches(missing, model=model, largest=largest, size_of=projection.size_of)
        return sum(projection.record(batch) for batch in parts)

    def ping(self) -> str:
        """Open the store, creating it if it is missing, and register the ledger's types; return what was found.

        :raises LedgerUnavailable: if it cannot be reached or written.
        """
        count = LedgerStore(self._settings, create=True).register_types()
        return f"{self._settings.shown} can be read and written; {count} own types are registered"


class _Projection:
    """One writer's work on one model."""

    def __init__(self, *, store: LedgerStore, model: str, log: Log, manifest_of: Callable[[Version], Manifest]) -> None:
        self._store = store
        self._log = log
        self._model = model
        self._planner = Planner(store=store, model=model, manifest_of=manifest_of)
        self.size_of = self._planner.size_of
        self._head_id: int | None = None
        self.head = RecordedHead(model=model)
        self._read_head()

    def record(self, entries: Sequence[Entry]) -> int:
        """Record entries in one transaction; return how many were recorded by this call and not by another writer.

        Where a name is taken, another writer was quicker: with these entries, or with an artifact that models share. Then all
        is looked up again, and after some tries the entries go one by one.

        :raises LedgerUnavailable: if a name stays taken that no entry of this log has.
        """
        self._planner.wary = False
        for _ in range(_TRIES):
            entries = [entry for entry in entries if entry.sequence > self.head.sequence]
            if not entries or self._put(entries):
                return len(entries)
            self._planner.wary = True
            self._read_head()
            self.link_pending()
        if len(entries) > 1:
            return sum(self.record([entry]) for entry in entries)
        raise LedgerUnavailable(
            f"entry {entries[0].sequence} of model {self._model!r} cannot be recorded: one of its names is taken in the ledger, "
            "but not by this entry; record the log into an empty ledger"
        )

    def link_pending(self) -> None:
        """Finish the second half of a batch whose writer died in between, or is about to do so itself. May be repeated.

        No head may be written over one that has something pending before this.
        """
        if self.head.pending is None or self._head_id is None:
            return
        first, last = self.head.pending
        found = (self._log.read(sequence) for sequence in range(first, last + 1))
        links = links_of(self._store, self._model, [entry for entry in found if entry], head_id=self._head_id)
        if links:
            self._store.link(links)

    def _put(self, entries: Sequence[Entry]) -> bool:
        batch = self._planner.plan(entries, head=self.head, head_id=self._head_id)
        written = self._store.put(
            executions=batch.executions, artifacts=batch.artifacts, contexts=batch.contexts, edges=batch.edges
        )
        if written is None:
            return False
        links = [
            ContextLink(
                execution_id=written.executions[place],
                artifact_ids=tuple(written.artifacts[each] for each in artifacts),
                contexts=contexts,
            )
            for place, (artifacts, contexts) in enumerate(batch.links)
            if contexts
        ]
        if links:
            self._store.link(links)
        self.head, self._head_id = batch.head, written.artifacts[0]
        return True

    def _read_head(self) -> None:
        stored = self._store.artifact(schema.MODEL, self._model)
        self._head_id = stored.id if stored else None
        if stored is None:
            self.head = RecordedHead(model=self._model)
        else:
            self.head = RecordedHead.of(self._model, properties=stored.properties, structs=stored.structs)


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
