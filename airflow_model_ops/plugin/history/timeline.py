"""The timeline of a model: the entries of its log as the page shows them. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from itertools import islice

from airflow_model_ops.core.log import Entry, FactKind
from airflow_model_ops.core.state import Fence
from airflow_model_ops.core.versioning import VersionNaming
from airflow_model_ops.plugin.datamodels.base import Share
from airflow_model_ops.plugin.datamodels.history import Timeline, TimelineEntry
from airflow_model_ops.plugin.history.entries import confirmed_split, event_of, run_of, split_of

IsKept = Callable[[Fence], bool]
"""Whether the evidence of an attempt is kept."""


def timeline_of(entries: Iterable[Entry], *, limit: int, naming: VersionNaming, is_kept: IsKept) -> Timeline:
    """Return a page of a log.

    :param entries: Newest first; no more than ``limit`` are taken.
    :param naming: How the model's versions are named, for facts that know only numbers.
    """
    is_kept = cache(is_kept)
    shown = [entry_of(entry, naming=naming, is_kept=is_kept) for entry in islice(entries, limit)]
    ended = len(shown) < limit or shown[-1].sequence == 1
    return Timeline(entries=shown, before=None if ended else shown[-1].sequence)


def entry_of(entry: Entry, *, naming: VersionNaming, is_kept: IsKept) -> TimelineEntry:
    """Return one entry, whole."""
    fence = entry.release
    return TimelineEntry(
        **event_of(entry).model_dump(),
        generation=entry.generation,
        kind=entry.kind.value,
        run=run_of(entry),
        release=fence.release if fence else None,
        attempt=fence.attempt if fence else None,
        split=_split(entry, naming),
        verdict=verdict_of(entry),
        has_evidence=fence is not None and is_kept(fence),
    )


def verdict_of(entry: Entry) -> str | None:
    """Return the verdict that an entry records; ``None`` if it records none."""
    if entry.name != FactKind.VERDICT.value:
        return None
    verdict = entry.detail.get("verdict")
    return verdict if isinstance(verdict, str) else None


def _split(entry: Entry, naming: VersionNaming) -> list[Share] | None:
    if entry.state is not None:
        return split_of(entry.state)
    return confirmed_split(entry.detail, naming) if entry.name == FactKind.APPLIED.value else None
