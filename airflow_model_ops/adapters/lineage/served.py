"""What served at a moment, from the ``applied`` facts: found by halving the model's numbered entries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime

from airflow_model_ops.adapters.lineage.lookups import entries_below, entry_at, head_of, transition_at
from airflow_model_ops.adapters.lineage.mlmd_store import LedgerStore
from airflow_model_ops.adapters.lineage.rows import ServedAt, Share, history_row
from airflow_model_ops.core.errors import InvalidConfig
from airflow_model_ops.core.log import Entry, FactKind
from airflow_model_ops.core.state import ServingState

_WALK = 50
"""How many entries are read at once on the way back to the newest ``applied``."""


def served_at(store: LedgerStore, model: str, *, at: str) -> ServedAt:
    """Return what served at a moment; see :meth:`~airflow_model_ops.adapters.lineage.queries.LedgerQueries.served_at`.

    :raises InvalidConfig: if it is not a time.
    """
    moment = _moment(at)
    head = head_of(store, model)
    nothing = ServedAt(model=model, at=at, split=(), changing=False, recorded=head.sequence, recorded_at=head.at)
    last = _last_until(store, model, moment, newest=head.sequence)
    if last is None:
        return nothing
    applied = _newest_applied(store, model, last)
    wanted = transition_at(store, model, last.generation)
    transition = transition_at(store, model, _generation_of(applied)) if applied else None
    split = _confirmed(applied, transition)
    committed = _committed(wanted.state) if wanted and wanted.state else ()
    changing = _traffic(split) != _traffic(committed)
    return replace(
        nothing,
        split=split,
        changing=changing,
        changing_to=committed if changing else (),
        because=history_row(transition) if transition else None,
        confirmed_at=applied.at if applied else None,
    )


def _last_until(store: LedgerStore, model: str, moment: datetime, *, newest: int) -> Entry | None:
    """Return the last entry that was written at or before a moment, found by halving."""
    found: Entry | None = None
    low, high = 1, newest
    while low <= high:
        middle = (low + high) // 2
        entry = entry_at(store, model, middle)
        if datetime.fromisoformat(entry.at) <= moment:
            found, low = entry, middle + 1
        else:
            high = middle - 1
    return found


def _newest_applied(store: LedgerStore, model: str, last: Entry) -> Entry | None:
    """Return the newest ``applied`` up to an entry; it is near, since one follows each transition."""
    above = last.sequence + 1
    while above > 1:
        for entry in entries_below(store, model, above=above, limit=_WALK):
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
