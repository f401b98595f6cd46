"""Reading what served when: a log only grows, so what was read of it is kept, and looking again costs what came since."""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import takewhile

from airflow_model_ops.core.log import Entry
from airflow_model_ops.core.ports import Log, Repository
from airflow_model_ops.core.versioning import VersionNaming
from airflow_model_ops.plugin.backends.turns import turn_at
from airflow_model_ops.plugin.datamodels.history import TrafficHistory
from airflow_model_ops.plugin.history.log_walk import newest_first
from airflow_model_ops.plugin.history.traffic_history import Noted, noted_of, traffic_of

_MOST_MODELS = 64


@dataclass(slots=True)
class _Known:
    """What was read of one log.

    :param noted: Newest first.
    :param newest: The newest entry's number and write id.
    :param oldest: The number down to which the log was read.
    """

    naming: VersionNaming
    lock: threading.Lock = field(default_factory=threading.Lock)
    noted: deque[Noted] = field(default_factory=deque)
    newest: tuple[int, str] = (0, "")
    oldest: int = 0

    def newest_first(self, log: Log) -> Iterator[Noted]:
        """Yield what the log tells of traffic; what is not known yet is read on the way."""
        self._catch_up(log)
        yield from self.noted
        if self.oldest <= 1:
            return
        for entry in newest_first(log, before=self.oldest):
            self.oldest = entry.sequence
            if (noted := noted_of(entry, self.naming)) is not None:
                self.noted.append(noted)
                yield noted

    def _catch_up(self, log: Log) -> None:
        last = log.last()
        known = None if last is None or not self.newest[0] else log.read(self.newest[0])
        if last is None or known is None or known.write_id != self.newest[1]:
            self._begin(last)
        if last is None or last.sequence == self.newest[0]:
            return
        newer = list(takewhile(lambda entry: entry.sequence > self.newest[0], newest_first(log)))
        self.noted.extendleft(noted for entry in reversed(newer) if (noted := noted_of(entry, self.naming)))
        self.newest = newer[0].sequence, newer[0].write_id

    def _begin(self, last: Entry | None) -> None:
        """Forget everything but the newest entry: nothing is known yet, or the log was restored from a backup."""
        self.noted.clear()
        self.newest, self.oldest = ((last.sequence, last.write_id), last.sequence) if last else ((0, ""), 0)
        if last is not None and (noted := noted_of(last, self.naming)) is not None:
            self.noted.append(noted)


class TrafficReader:
    """Reads what models served, and remembers it; safe for several threads."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, str, VersionNaming], _Known] = OrderedDict()
        self._lock = threading.Lock()

    def read(self, repository: Repository, *, model: str, naming: VersionNaming, since: datetime) -> TrafficHistory:
        """Return what served since a moment.

        :raises InvalidState: if an entry that tells of it is lost or unreadable.
        :raises StillReading: if another thread reads it for the first time, and needs long.
        """
        known = self._of((repository.uri, model, naming))
        with turn_at(known.lock, what=f"the log of model {model!r}"):
            return traffic_of(known.newest_first(repository.log(model)), since=since)

    def _of(self, key: tuple[str, str, VersionNaming]) -> _Known:
        with self._lock:
            known = self._known.setdefault(key, _Known(naming=key[2]))
            self._known.move_to_end(key)
            while len(self._known) > _MOST_MODELS:
                self._known.popitem(last=False)
            return known
