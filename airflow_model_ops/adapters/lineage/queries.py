"""Questions to the ledger. Each answer costs a few look-ups by unique key, whatever the ledger's size.

Entries and versions are numbered per model, and their external ids hold the number. So a page is one look-up of a hundred
keys, and a moment is found by halving; no type and no context is ever listed.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from airflow_model_ops.adapters.lineage import schema
from airflow_model_ops.adapters.lineage.head import RecordedHead
from airflow_model_ops.adapters.lineage.mlmd_store import LedgerStore
from airflow_model_ops.adapters.lineage.rows import (
    HistoryRow,
    Latest,
    ServedAt,
    Share,
    VersionLineage,
    VersionRow,
    entry_of,
    history_row,
    version_row,
)
from airflow_model_ops.adapters.lineage.settings import LedgerSettings
from airflow_model_ops.adapters.lineage.text import stored_name
from airflow_model_ops.core.errors import InvalidConfig, InvalidState, VersionNotFound
from airflow_model_ops.core.log import Entry, FactKind
from airflow_model_ops.core.state import ServingState

_WALK = 50
"""How many entries are read at once on the way back to the newest ``applied``."""


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
        newest = _head(store, model).sequence
        above = newest + 1 if before_sequence is None else min(before_sequence, newest + 1)
        return [history_row(entry) for entry in _entries(store, model, above=above, limit=limit)]

    def latest(self, model: str) -> Latest:
        """Return a model's newest recorded serving state: one look-up."""
        head = _head(self._open(), model)
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
        newest = _head(store, model).versions - max(skip, 0)
        keys = [schema.version_key(model, ordinal) for ordinal in range(newest, max(newest - limit, 0), -1)]
        found = sorted(store.artifacts_by_external_ids(keys), key=lambda item: item.external_id or "", reverse=True)
        return [version_row(stored) for stored in found]

    def version_lineage(self, model: str, *, version: str, limit: int = 100) -> VersionLineage:
        """Return where a version comes from and the newest entries that touched it.

        :raises VersionNotFound: if the ledger knows no such version.
        """
        store = self._open()
        stored = store.artifact(schema.MODEL_VERSION, stored_name(f"{model}/{version}"))
        if stored is None:
            raise VersionNotFound(
                f"version {version!r} of model {model!r} is not in {self._settings.shown}; choose one that `versions` lists, or "
                "catch up from the log first"
            )
        executions = store.executions_of_artifact(stored.id, limit=limit)
        rows = tuple(history_row(entry_of(execution)) for execution in executions)
        return VersionLineage(model=model, version=version_row(stored), touched_by=rows)

    def served_at(self, model: str, *, at: str) -> ServedAt:
        """Return what served at a moment, from the ``applied`` facts.

        :param at: ISO 8601; without an offset it is UTC. Entries carry their writers' clocks.
        :raises InvalidConfig: if it is not a time.
        """
        moment = _moment(at)
        store = self._open()
        last = _last_until(store, model, moment, newest=_head(store, model).sequence)
        if last is None:
            return ServedAt(model=model, at=at, split=(), changing=False)
        applied = _newest_applied(store, model, last)
        wanted = _transition(store, model, last.generation)
        transition = _transition(store, model, _generation_of(applied)) if applied else None
        split = _confirmed(applied, transition)
        committed = _committed(wanted.state) if wanted and wanted.state else ()
        changing = _traffic(split) != _traffic(committed)
        return ServedAt(
            model=model,
            at=at,
            split=split,
            changing=changing,
            changing_to=committed if changing else (),
            because=history_row(transition) if transition else None,
            confirmed_at=applied.at if applied else None,
        )

    def _open(self) -> LedgerStore:
        return LedgerStore(self._settings, create=False)


def _head(store: LedgerStore, model: str) -> RecordedHead:
    stored = store.artifact(schema.MODEL, model)
    if stored is None:
        return RecordedHead(model=model)
    return RecordedHead.of(model, properties=stored.properties, structs=stored.structs)


def _entries(store: LedgerStore, model: str, *, above: int, limit: int) -> list[Entry]:
    """Return at most ``limit`` entries below the number ``above``, newest first.

    :raises InvalidState: if one that must be there is not.
    """
    numbers = range(above - 1, max(above - 1 - limit, 0), -1)
    keys = [schema.entry_key(model, number) for number in numbers]
    entries = [entry_of(stored) for stored in store.executions_by_external_ids(keys)]
    if len(entries) != len(keys):
        raise InvalidState(
            f"the ledger lacks {len(keys) - len(entries)} of the entries {numbers[-1]} to {numbers[0]} of model {model!r}: it "
            "was altered; record the log into an empty ledger"
        )
    return sorted(entries, key=lambda entry: entry.sequence, reverse=True)


def _entry(store: LedgerStore, model: str, sequence: int) -> Entry:
    return _entries(store, model, above=sequence + 1, limit=1)[0]


def _transition(store: LedgerStore, model: str, generation: int) -> Entry | None:
    return _entry(store, model, generation) if generation else None


def _last_until(store: LedgerStore, model: str, moment: datetime, *, newest: int) -> Entry | None:
    """Return the last entry that was written at or before a moment, found by halving."""
    found: Entry | None = None
    low, high = 1, newest
    while low <= high:
        middle = (low + high) // 2
        entry = _entry(store, model, middle)
        if datetime.fromisoformat(entry.at) <= moment:
            found, low = entry, middle + 1
        else:
            high = middle - 1
    return found


def _newest_applied(store: LedgerStore, model: str, last: Entry) -> Entry | None:
    """Return the newest ``applied`` up to an entry; it is near, since one follows each transition."""
    above = last.sequence + 1
    while above > 1:
        for entry in _entries(store, model, above=above, limit=_WALK):
            if entry.name == FactKind.APPLIED:
                return entry
        above -= _WALK
    return None


def _generation_of(applied: Entry) -> int:
    return int(applied.detail.get("generation", applied.generation))


def _confirmed(applied: Entry | None, transition: Entry | None) -> tuple[Share, ...]:
    if applied is None:
        return ()
    known = _names(transition.state) if transition and transition.state else {}
    split: Mapping[str, float] = applied.detail.get("split", {})
    return tuple(
        Share(version=known.get(number, number), serving_number=number, percent=float(percent))
        for number, percent in split.items()
    )


def _names(state: ServingState) -> dict[str, str]:
    versions = {*state.labels.values(), *state.promoted}
    return {str(version.number): version.name for version in versions}


def _committed(state: ServingState) -> tuple[Share, ...]:
    return tuple(
        Share(version=version.name, serving_number=str(version.number), percent=percent)
        for version, percent in state.split
    )


def _traffic(split: tuple[Share, ...]) -> dict[str, float]:
    return {share.serving_number: share.percent for share in split if share.percent}


def _moment(at: str) -> datetime:
    try:
        moment = datetime.fromisoformat(at)
    except ValueError as error:
        raise InvalidConfig(f"time {at!r} is not ISO 8601; write one such as '2026-03-03T14:00:00Z'") from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
