"""Replays of kept evidence, held in memory: a chart that is looked at again takes in what is new and nothing else.

Taking in an interval of three checks takes half a millisecond, and a canary's page asks every few seconds. What is older than
:data:`FULL_PAGES` is told page by page at a first look: each page of evidence begins with the judge's state before it.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from airflow_model_ops.control.evidence_book import ENTRIES_PER_PAGE, WATCH, EvidenceBook, Page
from airflow_model_ops.core.judge.record import Entry
from airflow_model_ops.core.ports import Repository
from airflow_model_ops.core.state import Fence
from airflow_model_ops.plugin.backends.turns import turn_at
from airflow_model_ops.plugin.history.evidence_series import Replay

_MOST_REPLAYS = 32
"""Some 300 to 600 points of each check of each replay stay in memory."""
FULL_PAGES = 8
"""How many of the newest pages are taken in interval by interval when an attempt is looked at for the first time."""


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

    :param pages: How many pages were taken in whole.
    :param begun: What was taken in of the page after them: a watcher that wrote at the same time may have replaced it.
    """

    lock: threading.Lock = field(default_factory=threading.Lock)
    replay: Replay | None = None
    pages: int = 0
    begun: tuple[Entry, ...] = ()

    def catch_up(self, book: EvidenceBook, subject: str) -> Replay:
        """Take in what is new; all of it, if what was taken in is no longer what is kept."""
        known, replay = self.replay, None
        self.replay = None  # one that fails in the middle is begun anew
        if known is not None and known.subject == subject and known.opening.to_json() == book.opening.to_json():
            replay = self._gone_on(known, list(book.pages(skip=self.pages)))
        self.replay = replay or self._from_the_start(Replay(book.opening, subject), book)
        return self.replay

    def _gone_on(self, replay: Replay, pages: Sequence[Page]) -> Replay | None:
        """Take in what is new, which is little; return ``None`` if what was taken in has changed."""
        if not pages or pages[0].entries[: len(self.begun)] != self.begun:
            return None
        replay.take(pages[0].entries[len(self.begun) :])
        for page in pages[1:]:
            replay.take(page.entries)
        self.pages += len(pages) - 1
        self.begun = pages[-1].entries
        return replay

    def _from_the_start(self, replay: Replay, book: EvidenceBook) -> Replay:
        """Take in everything; of old pages on which nothing happened no more than their end."""
        old = book.taken_in // ENTRIES_PER_PAGE - FULL_PAGES
        before: Page | None = None
        self.pages = -1
        for page in book.pages():
            if before is not None and page.state is not None and self.pages < old and _is_uneventful(before):
                replay.skip(before.entries, state=page.state)
            elif before is not None:
                replay.take(before.entries)
            before = page
            self.pages += 1
        if before is not None:
            replay.take(before.entries)
            self.begun = before.entries
        return replay


def _is_uneventful(page: Page) -> bool:
    """Whether no share began on a page, and no arm of a check began or ceased to answer."""
    answering = {
        (each.check, each.canary.error is None, each.stable is None or each.stable.error is None)
        for entry in page.entries
        for each in entry.evidence
    }
    checks = {check for check, *_ in answering}
    return bool(page.entries) and all(entry.evidence for entry in page.entries) and len(answering) == len(checks)


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
        :raises StillReading: if another thread takes it in for the first time, and needs long.
        """
        book = EvidenceBook(repository, model=model, fence=fence)
        position = book.load()
        if position is None:
            yield None
            return
        place = self._place((repository.uri, model, fence))
        with turn_at(place.lock, what=f"the evidence of release {fence.release!r}"):
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
