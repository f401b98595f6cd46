"""How far a model's log is recorded: kept on its Model artifact and written with each entry, in the same transaction."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from airflow_model_ops.adapters.lineage import schema
from airflow_model_ops.adapters.lineage.nodes import Node, Record, json_text
from airflow_model_ops.adapters.lineage.records import known_manifest, labels_of, record_of
from airflow_model_ops.adapters.lineage.shown import Pair, pair_of
from airflow_model_ops.core.errors import InvalidState
from airflow_model_ops.core.log import Entry, FactKind
from airflow_model_ops.core.ports import Manifest
from airflow_model_ops.core.state import CANARY, STABLE
from airflow_model_ops.core.versioning import Version

Pending = tuple[int, int]
"""Numbers of the first and the last entry."""
_HOLDBACK = "holdback"
_MOST_TURNS = 50
"""So that the head stays one row: see :data:`~airflow_model_ops.adapters.lineage.schema.LONGEST_STRUCT`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedHead:
    """The newest recorded entry of a model, and what follows from all recorded ones.

    :param versions: How many versions the ledger knows; the newest one has this ordinal.
    :param pair: Which versions the newest recorded state with a canary or a hold-back compares.
    :param pending: The first and the last entry of a batch whose releases and DAG runs are still to be linked; see
        :mod:`~airflow_model_ops.adapters.lineage.batch`.
    :param turns: The newest entries that are older than the one before them: their writers' clocks differ.
    :param labels: Fleet, labels and hold-back of the newest recorded serving state, as string properties.
    """

    model: str
    sequence: int = 0
    digest: str = ""
    generation: int = 0
    versions: int = 0
    at: str = ""
    pair: Pair | None = None
    pending: Pending | None = None
    turns: tuple[int, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def serving(self) -> tuple[Version, ...]:
        """Stable, canary and hold-back of the newest recorded serving state, if it has them."""
        return tuple(
            Version(name=self.labels[label], number=int(self.labels[f"{label}_number"]))
            for label in (STABLE, CANARY, _HOLDBACK)
            if label in self.labels
        )

    def after(self, entry: Entry, *, new_versions: int) -> RecordedHead:
        """Return the head once ``entry`` is recorded."""
        return RecordedHead(
            model=self.model,
            sequence=entry.sequence,
            digest=entry.digest,
            generation=entry.generation,
            versions=self.versions + new_versions,
            at=entry.at,
            pair=(pair_of(entry.state) if entry.state else None) or self.pair,
            turns=(*self.turns, entry.sequence)[-_MOST_TURNS:] if self._is_later_than(entry) else self.turns,
            labels=labels_of(entry.state) if entry.state else self.labels,
        )

    def node(self) -> Node:
        """Return the Model artifact that says so."""
        recorded: dict[str, Any] = {
            "sequence": self.sequence,
            "digest": self.digest,
            "generation": self.generation,
            "versions": self.versions,
            "at": self.at,
            "pair": self.pair.to_json() if self.pair else None,
        }
        if self.pending:
            recorded["pending"] = list(self.pending)
        if self.turns:
            recorded["turns"] = list(self.turns)
        structs = {schema.RECORDED: json_text(recorded)}
        return Node(type=schema.MODEL, name=self.model, properties=self.labels, structs=structs)

    def _is_later_than(self, entry: Entry) -> bool:
        """Whether the newest recorded entry has a later time than the one that follows it."""
        return (
            bool(self.at) and datetime.fromisoformat(entry.at).timestamp() < datetime.fromisoformat(self.at).timestamp()
        )

    @classmethod
    def of(cls, model: str, *, properties: Mapping[str, str], structs: Mapping[str, str]) -> RecordedHead:
        """Read a Model artifact.

        :raises InvalidState: if it is not what :meth:`node` writes.
        """
        try:
            recorded = json.loads(structs[schema.RECORDED])
            return cls(
                model=model,
                sequence=int(recorded["sequence"]),
                digest=str(recorded["digest"]),
                generation=int(recorded["generation"]),
                versions=int(recorded["versions"]),
                at=str(recorded["at"]),
                pair=Pair.from_json(recorded.get("pair")),  # the first ledgers lack it
                pending=_pending(recorded.get("pending")),
                turns=tuple(map(int, recorded.get("turns", ()))),
                labels=dict(properties),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidState(
                f"the ledger's artifact of model {model!r} was altered ({error!r}): {dict(structs)!r}; record the log into an "
                "empty ledger"
            ) from error


def next_record(head: RecordedHead, entry: Entry, *, manifest_of: Callable[[Version], Manifest]) -> Record:
    """Return the record of the entry that follows a head: the same for who records it and who verifies it.

    :param manifest_of: May raise VersionNotFound.
    """
    manifests: dict[Version, Manifest] = {}
    if entry.name == FactKind.PUSHED and entry.version is not None:
        manifest = known_manifest(entry.version, manifest_of)
        manifests = {entry.version: manifest} if manifest else {}
    return record_of(entry, model=head.model, manifests=manifests, served_before=head.serving, pair=head.pair)


def _pending(data: list[Any] | None) -> Pending | None:
    if data is None:
        return None
    first, last = data
    return int(first), int(last)
