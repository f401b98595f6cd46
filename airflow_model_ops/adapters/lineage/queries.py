"""Questions to the ledger. Each answer costs a few look-ups by unique key, whatever the ledger's size.

Entries and versions are numbered per model, and their external ids hold the number. So a page is one look-up of a hundred
keys, and a moment is found by halving; no type and no context is ever listed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from airflow_model_ops.adapters.lineage import schema
from airflow_model_ops.adapters.lineage.ancestry import Ancestry, Descendants, ancestry_of, led_to
from airflow_model_ops.adapters.lineage.blast_radius import BlastRadius, blast_radius_of
from airflow_model_ops.adapters.lineage.comparison import Comparison, compare
from airflow_model_ops.adapters.lineage.lookups import entries_below, head_of
from airflow_model_ops.adapters.lineage.mlmd_store import LedgerStore
from airflow_model_ops.adapters.lineage.rows import (
    HistoryRow,
    Latest,
    ServedAt,
    VersionRow,
    history_row,
    version_row,
)
from airflow_model_ops.adapters.lineage.served import served_at
from airflow_model_ops.adapters.lineage.settings import LedgerSettings
from airflow_model_ops.adapters.lineage.told import ToldVersion, told_of
from airflow_model_ops.core.blast_radius import ArtifactRef


class LedgerQueries:
    """Reads the ledger; writes nothing and creates nothing.

    Each call opens the store: it may touch the network, and raises LedgerUnavailable if that fails or nothing is recorded.
    """

    def __init__(self, settings: LedgerSettings) -> None:
        self._settings = settings

    def history(self, model: str, *, limit: int = 50, before_sequence: int | None = None) -> list[HistoryRow]:
        """Return a page of a model's entries, newest first; empty for a model that is not recorded.

        :param before_sequence: Only entries below this number: the last one of the page before.
        """
        store = self._open()
        newest = head_of(store, model).sequence
        above = newest + 1 if before_sequence is None else min(before_sequence, newest + 1)
        return [history_row(entry) for entry in entries_below(store, model, above=above, limit=limit)]

    def latest(self, model: str) -> Latest:
        """Return a model's newest recorded serving state: one look-up."""
        head = head_of(self._open(), model)
        named = {label: head.labels.get(label) for label in ("stable", "canary", "golden", "holdback")}
        return Latest(
            model=model,
            sequence=head.sequence,
            generation=head.generation,
            at=head.at,
            versions=head.versions,
            **named,
        )

    def versions(self, model: str, *, limit: int = 100, skip: int = 0) -> list[VersionRow]:
        """Return a page of a model's versions, the one learned of last first; deleted ones too.

        :param skip: How many newer ones earlier pages had.
        """
        store = self._open()
        newest = head_of(store, model).versions - max(skip, 0)
        keys = [schema.version_key(model, ordinal) for ordinal in range(newest, max(newest - limit, 0), -1)]
        found = sorted(store.artifacts_by_external_ids(keys), key=lambda item: item.external_id or "", reverse=True)
        return [version_row(stored) for stored in found]

    def told(self, model: str, versions: Sequence[str]) -> Mapping[str, ToldVersion]:
        """Return what is known of some versions, by name; one that is not recorded is missing."""
        return told_of(self._open(), model, versions)

    def served_at(self, model: str, *, at: str) -> ServedAt:
        """Return what served at a moment, from the ``applied`` facts.

        :param at: ISO 8601; without an offset it is UTC. Entries carry their writers' clocks.
        :raises InvalidConfig: if it is not a time.
        """
        return served_at(self._open(), model, at=at)

    def ancestry(self, model: str, *, version: str) -> Ancestry:
        """Return where a version comes from: its data, hyperparameters, pipeline, run, trainer and examples.

        :raises VersionNotFound: if the ledger knows no such version.
        """
        return ancestry_of(self._open(), model, version=version)

    def descendants(
        self, model: str, *, version: str, limit: int = 100, before_sequence: int | None = None
    ) -> Descendants:
        """Return what a version led to: versions made from it, and the newest entries that touched it.

        :param limit: Most versions, and most entries.
        :param before_sequence: Only entries below this number: the last one of the page before.
        :raises VersionNotFound: if the ledger knows no such version.
        """
        return led_to(self._open(), model, version=version, limit=limit, before_sequence=before_sequence)

    def blast_radius(self, ref: ArtifactRef, *, by_person: bool = True) -> BlastRadius:
        """Return every version of any model that comes from an artifact, which of them are live, and each model's way out.

        :param by_person: Whether a person would take the models back, who may go past a person's pin.
        :raises ArtifactNotFound: if the ledger knows no such artifact.
        :raises VersionNotFound: if it knows no such version.
        """
        return blast_radius_of(self._open(), ref, by_person=by_person)

    def compare(self, model: str, versions: Sequence[str], *, recorded_only: bool = False) -> Comparison:
        """Return versions of a model side by side: offline metrics, validation, and what they showed on real traffic.

        :param recorded_only: Leave out those that the ledger does not know (yet).
        :raises VersionNotFound: if the ledger does not know one of them, unless ``recorded_only``.
        """
        return compare(self._open(), model, versions, recorded_only=recorded_only)

    def _open(self) -> LedgerStore:
        return LedgerStore(self._settings, create=False)
