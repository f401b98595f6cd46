"""Replays of kept evidence, held in memory: a chart that is looked at again takes in what is new and nothing else.

Taking in a day of intervals takes most of a second (see docs/page.md), and a canary's page asks every few seconds.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from airflow_model_ops.control.evidence_book import ENTRIES_PER_PAGE, WATCH, EvidenceBook
from airflow_model_ops.core.judge.record import Entry
from airflow_model_ops.core.ports import Repository
from airflow_model_ops.core.state import Fence
from airflow_model_ops.plugin.evidence_series import Replay

_MOST_REPLAYS = 32
"""Some 300 to 600 points of each check of each replay stay in memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """A replay with all that is kept.

    :param watching: Whether its newest step is the watch after the promotion.
    :param step_began: When the newest step's share was applied, seconds since the epoch.
    """

    replay: Replay
    watching: bool
    step_began: float


@dataclass(slots=True)
class _Place:
    """What is known of one attempt.

    :param tail: The entries taken in since the page began: a watcher that wrote at the same time may have replaced them.
    """

    lock: threading.Lock = field(default_factory=threading.Lock)
    replay: Replay | None = None
    taken: int = 0
    tail: list[Entry] = field(default_factory=list)

    def catch_up(self, book: EvidenceBook, subject: str) -> Replay:
        """Take in what is new; all of it, if what was taken in is no longer what is kept."""
        replay = self.replay
        if replay is not None and replay.subject == subject and replay.opening.to_json() == book.opening.to_json():
            page_began = self.taken - len(self.tail)
            kept = list(book.entries(after=page_began))
            if kept[: len(self.tail)] == self.tail:
                return self._take(replay, kept[len(self.tail) :])
        self.taken, self.tail, self.replay = 0, [], None
        return self._take(Replay(book.opening, subject), book.entries())

    def _take(self, replay: Replay, entries: Iterator[Entry] | list[Entry]) -> Replay:
        self.replay = None  # one that failed in the middle is begun anew
        for entry in entries:
            replay.take((entry,))
            self.taken += 1
            if (self.taken - 1) % ENTRIES_PER_PAGE == 0:
                self.tail.clear()
            self.tail.append(entry)
        self.replay = replay
        return replay


class EvidenceReplays:
    """Replays by where their evidence is kept; safe for several threads."""

    def __init__(self) -> None:
        self._places: OrderedDict[tuple[str, str, Fence], _Place] = OrderedDict()
        self._lock = threading.Lock()

    @contextmanager
    def up_to_now(self, repository: Repository, *, model: str, fence: Fence, subject: str) -> Iterator[Replayed | None]:
        """Give the replay of an attempt with everything that is kept, for as long as the context lasts; ``None``: nothing is.

        :param subject: How its sentences call the canary.
        :raises InvalidState: if what is kept cannot be read.
        """
        book = EvidenceBook(repository, model=model, fence=fence)
        position = book.load()
        if position is None:
            yield None
            return
        place = self._place((repository.uri, model, fence))
        with place.lock:
            yield Replayed(
                replay=place.catch_up(book, subject),
                watching=position.step == WATCH,
                step_began=position.started_at,
            )

    def _place(self, key: tuple[str, str, Fence]) -> _Place:
        with self._lock:
            place = self._places.setdefault(key, _Place())
            self._places.move_to_end(key)
            while len(self._places) > _MOST_REPLAYS:
                self._places.popitem(last=False)
            return place
