"""Walking a log from its newest entry back, as far as somebody wants to know and no further."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from airflow_model_ops.core.errors import InvalidState
from airflow_model_ops.core.log import Entry
from airflow_model_ops.core.ports import Log

BATCH = 64
"""How many entries are read at once: a bucket gives so many in about the time of one."""


def newest_first(log: Log, *, before: int | None = None, batch: int = BATCH) -> Iterator[Entry]:
    """Yield a log's entries, the newest first.

    :param before: Only those with a lower number; ``None``: all.
    :param batch: How many are wanted at first; later batches hold :data:`BATCH`.
    :raises InvalidState: if one is lost or unreadable.
    """
    last = log.last()
    if last is None:
        return
    if before is None or before > last.sequence:
        yield last
    before = min(before or last.sequence, last.sequence)
    while before > 1:
        low = max(0, before - 1 - batch)
        yield from reversed(_between(log, low, before))
        before, batch = low + 1, BATCH


def _between(log: Log, low: int, before: int) -> list[Entry]:
    """Return the entries above ``low`` and below ``before``, oldest first.

    An entry that does not follow the one before it was edited, which is no reason to hide it: ``verify`` finds it out.
    """
    wanted = before - 1 - low
    try:
        found = list(islice(log.entries(after=low), wanted))
    except InvalidState:
        found = [entry for number in range(low + 1, before) if (entry := log.read(number)) is not None]
    if len(found) < wanted:
        raise InvalidState(
            f"the log has {len(found)} of the {wanted} entries from {low + 1} to {before - 1}; restore it from a backup"
        )
    return found
