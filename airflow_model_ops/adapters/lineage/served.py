"""What served at a moment, from the ``applied`` facts: found by halving the model's numbered entries.

Times rise with the log unless its writers' clocks differ. The recorded head knows where they do not; between two such places
they rise, each stretch is halved, and the moment is put where the fewest entries' times speak against it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from airflow_model_ops.adapters.lineage import schema
from airflow_model_ops.adapters.lineage.head import RecordedHead
from airflow_model_ops.adapters.lineage.lookups import entry_at, head_of, transition_at
from airflow_model_ops.adapters.lineage.mlmd_store import LedgerStore
from airflow_model_ops.adapters.lineage.nodes import Direction
from airflow_model_ops.adapters.lineage.rows import ServedAt, Share, entry_of, history_row
from airflow_model_ops.core.errors import InvalidConfig
from airflow_model_ops.core.log import Entry, FactKind
from airflow_model_ops.core.state import ServingState

_APPLIED = schema.EXECUTION_TYPES[FactKind.APPLIED]
_AT_ONCE = 10
"""How many applications of one generation are read at once; there is one, as a rule."""


def served_at(store: LedgerStore, model: str, *, at: str) -> ServedAt:
    """Return what served at a moment; see :meth:`~airflow_model_ops.adapters.lineage.queries.LedgerQueries.served_at`.

    :raises InvalidConfig: if it is not a time.
    """
    moment = _moment(at)
    head = head_of(store, model)
    nothing = ServedAt(model=model, at=at, split=(), changing=False, recorded=head.sequence, recorded_at=head.at)
    number, contradicted = _cut(_stretches(store, head, moment))
    nothing = replace(nothing, contradicted=contradicted)
    if not number:
        return nothing
    last = entry_at(store, model, number)
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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stretch:
    """Entries whose times rise.

    :param until: The last of them that was written at or before the moment; the one before the first if none was.
    """

    first: int
    last: int
    until: int

    @property
    def before(self) -> int:
        """How many of them were written at or before the moment."""
        return self.until - self.first + 1

    @property
    def after(self) -> int:
        """How many of them were written after it."""
        return self.last - self.until


def _stretches(store: LedgerStore, head: RecordedHead, moment: datetime) -> list[_Stretch]:
    firsts = [1, *(turn for turn in head.turns if turn > 1)]
    lasts = [*(first - 1 for first in firsts[1:]), head.sequence]
    return [
        _Stretch(first=first, last=last, until=_last_until(store, head.model, moment, first=first, last=last))
        for first, last in zip(firsts, lasts, strict=True)
    ]


def _cut(stretches: Sequence[_Stretch]) -> tuple[int, int]:
    """Return the entry after which a moment lies, and how many entries' times say otherwise; the fewest, the later one of two."""
    too_late, too_early = 0, sum(stretch.before for stretch in stretches)
    found, fewest = 0, too_early
    for stretch in stretches:
        too_early -= stretch.before
        if too_late + too_early <= fewest:
            found, fewest = stretch.until, too_late + too_early
        too_late += stretch.after
    return found, fewest


def _last_until(store: LedgerStore, model: str, moment: datetime, *, first: int, last: int) -> int:
    """Return the last entry of a stretch that was written at or before a moment, found by halving; else the one before it."""
    low, high = first, last
    while low <= high:
        middle = (low + high) // 2
        if _moment(entry_at(store, model, middle).at) <= moment:
            low = middle + 1
        else:
            high = middle - 1
    return high


def _newest_applied(store: LedgerStore, model: str, last: Entry) -> Entry | None:
    """Return the newest ``applied`` up to an entry: of its generation, or else of the newest one before that has any.

    Found by what read the serving state: thousands of pushes may lie between, and few generations.
    """
    generation = last.generation
    while generation:
        for entry in _applications(store, model, generation):
            if entry.sequence <= last.sequence:
                return entry
        generation = entry_at(store, model, generation - 1).generation if generation > 1 else 0
    return None


def _applications(store: LedgerStore, model: str, generation: int) -> Iterator[Entry]:
    """Yield the ``applied`` of a generation, newest first."""
    state = store.artifact(schema.SERVING_STATE, schema.numbered_name(model, generation))
    edges = store.edges_of_artifacts([state.id]) if state else []
    ids = sorted({edge.execution_id for edge in edges if edge.direction is Direction.INPUT}, reverse=True)
    for start in range(0, len(ids), _AT_ONCE):
        page = store.executions_by_id(ids[start : start + _AT_ONCE])
        applied = [entry_of(each) for each in page if each.type == _APPLIED]
        yield from sorted(applied, key=lambda entry: entry.sequence, reverse=True)


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
