"""A log as the ledger must hold it, entry by entry; what grows with the log is kept per version."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace

from airflow_model_ops.adapters.lineage import schema
from airflow_model_ops.adapters.lineage.head import Pending, RecordedHead, next_record
from airflow_model_ops.adapters.lineage.nodes import Node, Record
from airflow_model_ops.adapters.lineage.records import known_manifest, version_node
from airflow_model_ops.adapters.lineage.shown import merged
from airflow_model_ops.core.log import Entry
from airflow_model_ops.core.ports import Manifest
from airflow_model_ops.core.versioning import Version


@dataclass(slots=True, kw_only=True)
class _Learned:
    """A version as the log told of it so far.

    :param at: The entry that named it first.
    """

    version: Version
    at: int
    structs: dict[str, str] = field(default_factory=dict)


class Projected:
    """What the entries that were taken in so far must have left in the ledger.

    :param manifest_of: May raise VersionNotFound.
    """

    def __init__(self, model: str, manifest_of: Callable[[Version], Manifest]) -> None:
        self._model = model
        self._manifest_of = manifest_of
        self._head = RecordedHead(model=model)
        self._versions: dict[str, _Learned] = {}

    def records(self, entries: Iterable[Entry]) -> Iterator[Record]:
        """Take entries in and yield their records."""
        for entry in entries:
            record = next_record(self._head, entry, manifest_of=self._manifest_of)
            known = len(self._versions)
            for use in record.uses:
                if use.version is not None:
                    learned = self._versions.setdefault(use.node.name, _Learned(version=use.version, at=entry.sequence))
                    learned.structs = merged(learned.structs, use.adds)
            self._head = self._head.after(entry, new_versions=len(self._versions) - known)
            yield record

    def head(self, *, pending: Pending | None) -> RecordedHead:
        """Return the recorded head.

        :param pending: What the stored one has pending, which depends on the writers.
        """
        return replace(self._head, pending=pending)

    @property
    def version_names(self) -> AbstractSet[str]:
        """Names of the ModelVersion artifacts."""
        return self._versions.keys()

    def versions(self) -> Iterator[tuple[int, Node]]:
        """Yield every version as it must be stored by now, and the entry that named it first."""
        for ordinal, learned in enumerate(self._versions.values(), start=1):
            node = version_node(self._model, learned.version, known_manifest(learned.version, self._manifest_of))
            key = schema.version_key(self._model, ordinal)
            yield learned.at, replace(node, external_id=key, structs={**node.structs, **learned.structs})
