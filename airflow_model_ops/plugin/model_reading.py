"""Reading of one model what the page shows of it: its head and what led to it, from its log and the kept evidence.

A log only grows, so what was read of it is kept: looking again costs the newest entry, and what came since.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from airflow_model_ops.control.evidence_book import EvidenceBook
from airflow_model_ops.control.heads import Head, read_head
from airflow_model_ops.core.checks import Assessment
from airflow_model_ops.core.errors import ModelOpsError
from airflow_model_ops.core.log import Entry, FactKind
from airflow_model_ops.core.ports import Log, Repository
from airflow_model_ops.core.state import Fence, ServingState
from airflow_model_ops.core.transitions import Action
from airflow_model_ops.hooks.wiring import Fleet
from airflow_model_ops.plugin.datamodels.base import RunLink
from airflow_model_ops.plugin.history.entries import assessments_of, run_of
from airflow_model_ops.plugin.history.log_walk import newest_first

_FIRST_BATCH = 8
_FURTHEST_BACK = 5_000
"""How many entries are looked through for the moment at which stable became it; further back it is left unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What the judge says of a live canary.

    :param verdict: ``None``: the kept evidence cannot be read; ``reason`` says why.
    :param at: The end of the newest interval behind it.
    :param assessments: What each check says.
    """

    verdict: str | None
    reason: str
    at: datetime | None
    assessments: tuple[Assessment, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a model's log said when it was read.

    :param fleet: The fleet that its YAML file names.
    :param last: Its newest entry; ``None``: the log is empty.
    :param head: Its newest transition; ``None`` before the first.
    :param stable_since: When its stable version became that.
    :param release_run: The run that is the live release.
    :param judged: What is known of the live release's canary.
    """

    fleet: str
    last: Entry | None = None
    head: Head | None = None
    stable_since: datetime | None = None
    release_run: RunLink | None = None
    judged: Judged | None = None

    @property
    def state(self) -> ServingState | None:
        """The state that the head wants."""
        return self.head.state if self.head else None


class ModelReader:
    """Reads one model again and again. For one thread at a time."""

    def __init__(self, model: str) -> None:
        self._model = model
        self._known: Reading | None = None
        self._book: tuple[Repository, Fence, EvidenceBook] | None = None

    def read(self, fleet: Fleet) -> Reading:
        """Return what the log says now.

        :raises InvalidState: if its newest entries cannot be read.
        :raises RepositoryUnavailable: if the repository does not answer.
        """
        log = fleet.repository.log(self._model)
        last, known = log.last(), self._known
        if known is None or not _goes_on(known, last):
            known = None
        if known is None or known.fleet != fleet.name or known.last is None or _newer(last, known.last):
            known = _read(log, fleet=fleet.name, known=known)
        self._known = replace(known, judged=self._judged(fleet.repository, known))
        return self._known

    def _judged(self, repository: Repository, reading: Reading) -> Judged | None:
        """Ask the kept evidence: the log tells a step's verdict only when the step is over."""
        release = reading.state.release if reading.state else None
        if release is None:
            self._book = None
            return None
        try:
            book = self._book_of(repository, release.fence)
            if book.load() is None:
                return reading.judged
            summary = book.judge.summary(subject=release.version.name)
        except ModelOpsError as error:
            return Judged(verdict=None, reason=str(error), at=None)
        newest = max(map(datetime.fromisoformat, book.after.values()), default=None)
        return Judged(verdict=summary.verdict.value, reason=summary.reason, at=newest, assessments=summary.assessments)

    def _book_of(self, repository: Repository, fence: Fence) -> EvidenceBook:
        if self._book is None or self._book[:2] != (repository, fence):
            self._book = repository, fence, EvidenceBook(repository, model=self._model, fence=fence)
        return self._book[2]


@dataclass(slots=True, kw_only=True)
class _Past:
    """What led to a state, as far as it was found on the way back."""

    stable_since: datetime | None = None
    release_run: RunLink | None = None
    judged: Judged | None = None


def _goes_on(known: Reading, last: Entry | None) -> bool:
    """Whether a log is the one that was read before, longer perhaps, and was not restored from a backup."""
    if known.last is None or last is None:
        return known.last is last
    same = last.sequence == known.last.sequence
    return last.sequence > known.last.sequence or (same and last.write_id == known.last.write_id)


def _newer(last: Entry | None, known: Entry) -> bool:
    return last is not None and last.sequence > known.sequence


def _read(log: Log, *, fleet: str, known: Reading | None) -> Reading:
    last, head = log.last(), read_head(log)
    if head is None:
        return Reading(fleet=fleet, last=last)
    past = _past_of(log, head.state, known=known)
    return Reading(
        fleet=fleet,
        last=last,
        head=head,
        stable_since=past.stable_since,
        release_run=past.release_run,
        judged=past.judged,
    )


def _past_of(log: Log, state: ServingState, *, known: Reading | None) -> _Past:
    """Walk back until everything is found, or to what was read before."""
    past = _Past()
    fence = state.release.fence if state.release else None
    oldest_with_it: datetime | None = None
    looking_for_stable, looking_for_release = state.stable is not None, fence is not None
    for count, entry in enumerate(newest_first(log, batch=_FIRST_BATCH)):
        if known is not None and known.last is not None and entry.sequence <= known.last.sequence:
            return _merged(past, known, state, since=oldest_with_it, stable_found=not looking_for_stable)
        if looking_for_stable and entry.state is not None:
            if entry.state.stable != state.stable:
                past.stable_since, looking_for_stable = oldest_with_it, False
            oldest_with_it = datetime.fromisoformat(entry.at)
        if looking_for_release:
            past.judged = past.judged or _told(entry, fence)
            if entry.release == fence and entry.action is Action.START_CANARY:
                past.release_run, looking_for_release = run_of(entry), False
        if not (looking_for_stable or looking_for_release):
            return past
        if count >= _FURTHEST_BACK:
            return past
    if looking_for_stable:
        past.stable_since = oldest_with_it
    return past


def _merged(past: _Past, known: Reading, state: ServingState, *, since: datetime | None, stable_found: bool) -> _Past:
    """Add what was read before to what was found since."""
    former = known.state
    if not stable_found:
        unchanged = former is not None and former.stable == state.stable
        past.stable_since = known.stable_since if unchanged else since
    if former is not None and former.release and state.release and former.release.fence == state.release.fence:
        past.release_run = past.release_run or known.release_run
        past.judged = past.judged or known.judged
    return past


def _told(entry: Entry, fence: Fence | None) -> Judged | None:
    """Return what a fact of this attempt says."""
    verdict = entry.detail.get("verdict")
    if entry.name != FactKind.VERDICT.value or entry.release != fence or not isinstance(verdict, str):
        return None
    assessments = tuple(assessments_of(entry))
    return Judged(verdict=verdict, reason=entry.reason, at=datetime.fromisoformat(entry.at), assessments=assessments)
