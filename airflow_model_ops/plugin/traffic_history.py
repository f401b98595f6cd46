"""What served when: from the facts ``applied`` of a log to periods of one confirmed split. Pure.

Workers' clocks differ, and a log is in the order of what happened, not of what clocks showed. So the order of the log
holds: a period begins when the fact of its split was written, but never before one that came earlier.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice

from airflow_model_ops.core.log import Entry, FactKind
from airflow_model_ops.core.versioning import VersionNaming
from airflow_model_ops.plugin.datamodels.base import Share
from airflow_model_ops.plugin.datamodels.history import Period, TrafficHistory
from airflow_model_ops.plugin.entries import confirmed_split

MOST_ENTRIES = 20_000
"""How far back a log is read at most."""
CLOCKS_APART = timedelta(minutes=10)
"""By how much workers' clocks may differ: so much longer a log is read before a moment counts as covered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Confirmed:
    at: datetime
    generation: int
    split: list[Share]
    reason: str


def traffic_of(entries: Iterable[Entry], *, since: datetime, naming: VersionNaming) -> TrafficHistory:
    """Return the periods that reach beyond a moment, oldest first; the newest one is open.

    A change that was committed and never confirmed is in none.

    :param entries: Of the log, newest first; no more are taken than the moment needs.
    :param naming: How the model's versions are named; the facts know their numbers.
    """
    periods = _periods(_confirmed(entries, until=since - CLOCKS_APART, naming=naming))
    shown = [period for period in periods if period.end is None or period.end > since]
    return TrafficHistory(periods=shown, begin=shown[0].begin if shown else None)


def _confirmed(entries: Iterable[Entry], *, until: datetime, naming: VersionNaming) -> list[_Confirmed]:
    """Return the confirmed splits, oldest first, from the newest one that began before a moment."""
    found: list[_Confirmed] = []
    reasons: dict[int, str] = {}
    for entry in islice(entries, MOST_ENTRIES):
        if entry.is_transition:
            reasons[entry.sequence] = entry.reason
        elif (confirmed := _confirmed_by(entry, naming)) is not None:
            found.append(confirmed)
        if found and found[-1].at <= until and found[-1].generation in reasons:
            break
    found.reverse()
    return [
        _Confirmed(at=each.at, generation=each.generation, split=each.split, reason=reasons[each.generation])
        if each.generation in reasons
        else each
        for each in found
    ]


def _confirmed_by(entry: Entry, naming: VersionNaming) -> _Confirmed | None:
    if entry.name != FactKind.APPLIED.value:
        return None
    split = confirmed_split(entry.detail, naming)
    if split is None:
        return None
    return _Confirmed(
        at=datetime.fromisoformat(entry.at),
        generation=int(entry.detail.get("generation", entry.generation)),
        split=split,
        reason=entry.reason,
    )


def _periods(confirmed: Sequence[_Confirmed]) -> list[Period]:
    """Return the periods; a confirmation that only repeats the split before it begins none."""
    began: list[tuple[datetime, _Confirmed]] = []
    for each in confirmed:
        if not began:
            began.append((each.at, each))
        elif began[-1][1].split != each.split:
            began.append((max(each.at, began[-1][0]), each))
    ends = [*(begin for begin, _ in began[1:]), None]
    return [
        Period(begin=begin, end=end, split=each.split, generation=each.generation, reason=each.reason)
        for (begin, each), end in zip(began, ends, strict=False)
    ]
