"""What served when: from the facts ``applied`` of a log to periods of one confirmed split. Pure.

Workers' clocks differ, and a log is in the order of what happened, not of what clocks showed. So the order of the log
holds: a period begins when the fact of its split was written, but never before one that came earlier.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import islice

from airflow_model_ops.core.log import Entry, FactKind
from airflow_model_ops.core.versioning import VersionNaming
from airflow_model_ops.plugin.datamodels.base import Share
from airflow_model_ops.plugin.datamodels.history import Period, TrafficHistory
from airflow_model_ops.plugin.history.entries import confirmed_split

MOST_NOTED = 10_000
"""How many changes and confirmations are told at most: some years of a release a day."""
CLOCKS_APART = timedelta(minutes=10)
"""By how much workers' clocks may differ: so much longer a log is read before a moment counts as covered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Noted:
    """What an entry tells of traffic.

    :param generation: The one that a split belongs to.
    :param split: What serves by a fact ``applied``; ``None`` for a transition, which only says why.
    """

    at: datetime
    generation: int
    reason: str
    split: list[Share] | None


def noted_of(entry: Entry, naming: VersionNaming) -> Noted | None:
    """Return what an entry tells of traffic; ``None``: nothing.

    :param naming: How the model's versions are named; the facts know their numbers.
    """
    if entry.is_transition:
        generation, split = entry.sequence, None
    elif entry.name == FactKind.APPLIED.value and (confirmed := confirmed_split(entry.detail, naming)) is not None:
        generation, split = int(entry.detail.get("generation", entry.generation)), confirmed
    else:
        return None
    return Noted(at=datetime.fromisoformat(entry.at), generation=generation, reason=entry.reason, split=split)


def traffic_of(noted: Iterable[Noted], *, since: datetime) -> TrafficHistory:
    """Return the periods that reach beyond a moment, oldest first; the newest one is open.

    A change that was committed and never confirmed is in none.

    :param noted: Of the log, newest first; no more is taken than the moment needs.
    """
    periods = _periods(_confirmed(noted, until=since - CLOCKS_APART))
    shown = [period for period in periods if period.end is None or period.end > since]
    return TrafficHistory(periods=shown, begin=shown[0].begin if shown else None)


def _confirmed(noted: Iterable[Noted], *, until: datetime) -> list[tuple[Noted, list[Share]]]:
    """Return the confirmed splits, oldest first, from the newest one that began before a moment; each with its change's reason."""
    found: list[tuple[Noted, list[Share]]] = []
    reasons: dict[int, str] = {}
    for each in islice(noted, MOST_NOTED):
        if each.split is None:
            reasons[each.generation] = each.reason
        else:
            found.append((each, each.split))
        if found and found[-1][0].at <= until and found[-1][0].generation in reasons:
            break
    return [(replace(each, reason=reasons.get(each.generation, each.reason)), split) for each, split in reversed(found)]


def _periods(confirmed: Sequence[tuple[Noted, list[Share]]]) -> list[Period]:
    """Return the periods; a confirmation that only repeats the split before it begins none."""
    began: list[tuple[datetime, Noted, list[Share]]] = []
    for each, split in confirmed:
        if not began:
            began.append((each.at, each, split))
        elif began[-1][2] != split:
            began.append((max(each.at, began[-1][0]), each, split))
    ends = [*(begin for begin, *_ in began[1:]), None]
    return [
        Period(begin=begin, end=end, split=split, generation=each.generation, reason=each.reason)
        for (begin, each, split), end in zip(began, ends, strict=False)
    ]
