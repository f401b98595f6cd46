"""The evidence of one attempt as it is kept in the repository, and the judge that has taken it in.

An interval is written before it is judged, so a watcher that is restarted, or runs twice, reads what is kept and goes on
from there; the metric source is never asked again about an interval that was judged. The intervals lie in pages; each page
begins with the judge's state before it, so that going on reads one page however long the release lasts.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from airflow_model_ops.core.checks import Evidence
from airflow_model_ops.core.errors import InvalidState, ModelOpsError, PreEmpted
from airflow_model_ops.core.judge.record import Entry, Opening
from airflow_model_ops.core.judge.release import ReleaseJudge
from airflow_model_ops.core.ports import Repository
from airflow_model_ops.core.state import Fence

ENTRIES_PER_PAGE = 40
WATCH = -1
"""Stands for the watch in a position: steps may be added to the YAML file meanwhile."""
_SCHEMA = 1
_LATEST = 1e11
"""Seconds since the epoch that no clock shows, some thousand years from now."""
_UNREADABLE = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""What reading and taking in something that this package did not write may raise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """Where the judging is.

    :param step: Index of the step; :data:`WATCH` for the watch after the promotion.
    :param started_at: When the share of traffic was applied, seconds since the epoch.
    :param deadline_from: Since when the step's deadline counts.
    :param held: Whether the model was on hold when last looked at.
    :param asked: Whether a person was asked at the deadline and nobody has answered or resumed since.
    :param approved_by: Who lets the step pass without proof.
    """

    step: int
    started_at: float
    deadline_from: float
    held: bool = False
    asked: bool = False
    approved_by: str | None = None

    def __post_init__(self) -> None:
        times = (self.started_at, self.deadline_from)
        flags = (self.held, self.asked)
        if not (
            isinstance(self.step, int)
            and all(isinstance(each, int | float) and -_LATEST <= each <= _LATEST for each in times)
            and all(isinstance(each, bool) for each in flags)
            and isinstance(self.approved_by, str | None)
        ):
            raise InvalidState(f"{self!r} is no place where a release can be judged; abort the release if it is live")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Head:
    opening: Opening
    position: Position
    page: int

    def to_bytes(self) -> bytes:
        position = {name: getattr(self.position, name) for name in Position.__dataclass_fields__}
        data = {"schema": _SCHEMA, "opening": self.opening.to_json(), "position": position, "page": self.page}
        return json.dumps(data, separators=(",", ":")).encode()

    @classmethod
    def from_bytes(cls, content: bytes) -> _Head:
        try:
            data = json.loads(content)
            return cls(
                opening=Opening.from_json(data["opening"]),
                position=Position(**data["position"]),
                page=int(data["page"]),
            )
        except _UNREADABLE as error:
            raise InvalidState(f"kept evidence cannot be read ({error!r}); abort the release if it is live") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Some entries, with the judge's state and the newest evidence's time of each check before them.

    :param state: ``None`` on the first page: the judge begins.
    """

    state: Mapping[str, Any] | None
    after: Mapping[str, str]
    entries: tuple[Entry, ...] = ()

    def to_bytes(self) -> bytes:
        """Return the form that is stored."""
        entries = [entry.to_json() for entry in self.entries]
        data = {"state": self.state, "after": dict(self.after), "entries": entries}
        return json.dumps(data, separators=(",", ":")).encode()

    @classmethod
    def from_bytes(cls, content: bytes) -> Page:
        """Read what :meth:`to_bytes` wrote.

        :raises InvalidState: if it is something else.
        """
        try:
            data = json.loads(content)
            entries = tuple(Entry.from_json(entry) for entry in data["entries"])
            return cls(state=data["state"], after=dict(data["after"]), entries=entries)
        except _UNREADABLE as error:
            raise InvalidState(f"kept evidence cannot be read ({error!r}); abort the release if it is live") from error


class EvidenceBook:
    """Reads and writes the evidence of one attempt. Two that write at once never count an event twice: the later one wins."""

    def __init__(self, repository: Repository, *, model: str, fence: Fence) -> None:
        self._repository = repository
        self._model = model
        self._fence = fence
        self._name = f"attempt-{fence.attempt}-judge"
        self._head: _Head | None = None
        self._page: Page | None = None
        self._judge: ReleaseJudge | None = None
        self._after: dict[str, str] = {}
        self._seen: tuple[bytes | None, bytes | None] = (None, None)
        self._reference = ""

    @property
    def judge(self) -> ReleaseJudge:
        """The judge, with everything taken in that is kept."""
        if self._judge is None:
            raise InvalidState(f"release {self._fence.release!r} has no evidence yet")
        return self._judge

    @property
    def opening(self) -> Opening:
        """What the release is judged by."""
        return self._known_head.opening

    @property
    def position(self) -> Position | None:
        """Where the judging is; ``None`` before it began."""
        return self._head.position if self._head else None

    @property
    def after(self) -> Mapping[str, str]:
        """The end of the newest interval of each check that was counted, by the check's name."""
        return self._after

    @property
    def taken_in(self) -> int:
        """How many entries the judge has taken in; a replay of that many gives its verdict."""
        return self._known_head.page * ENTRIES_PER_PAGE + (len(self._page.entries) if self._page else 0)

    @property
    def is_kept(self) -> bool:
        """Whether there is anything to load."""
        return self._read(self._name) is not None

    def load(self) -> Position | None:
        """Read what is kept, if it is not known already; return where the judging is."""
        content = self._read(self._name)
        if content is None:
            return None
        head = _Head.from_bytes(content)
        page = self._read(self._page_name(head.page))
        if (content, page) != self._seen:
            if (
                page is None
            ):  # It is written before the head that names it: it was lost, and must not be forgotten unnoticed.
                raise InvalidState(
                    f"page {head.page + 1} of the kept evidence is missing; abort the release if it is live"
                )
            kept = Page.from_bytes(page)
            try:
                self._take(head, kept)
            except ModelOpsError:
                raise
            except _UNREADABLE as error:
                raise InvalidState(
                    f"kept evidence cannot be taken in ({error!r}); abort the release if it is live"
                ) from error
            self._seen = (content, page)
        return head.position

    def begin(self, opening: Opening, position: Position, *, percent: float) -> None:
        """Begin the judging of a release with its first share of traffic."""
        self._take(_Head(opening=opening, position=position, page=0), Page(state=None, after={}))
        self._append(Entry(percent=percent))
        self._write_head()

    def enter(self, position: Position, *, percent: float) -> None:
        """Go on with the next share of traffic."""
        self._append(Entry(percent=percent))
        self._head = replace(self._known_head, position=position)
        self._write_head()

    def move(self, position: Position) -> None:
        """Keep where the judging is, if that changed."""
        if position != self._known_head.position:
            self._head = replace(self._known_head, position=position)
            self._write_head()

    def add(self, evidence: tuple[Evidence, ...]) -> str:
        """Keep the evidence of one interval, then judge it; return the reference of the evidence.

        While the source was asked, another watcher may have gone on. Then this evidence is what that one has counted already,
        and is left out.

        :raises PreEmpted: if it has even gone on to another share.
        """
        before, seen = self._known_head.position, self._seen
        now = self.load()
        if now is not None and now.step != before.step:
            raise PreEmpted(
                f"another watcher of release {self._fence.release!r} has gone on to another share of traffic"
            )
        if self._seen != seen:
            return self._write_head()
        self._append(Entry(evidence=evidence))
        return self._write_head()

    def entries(self) -> Iterator[Entry]:
        """Yield everything that was taken in since the release began, page by page."""
        for page in self.pages():
            yield from page.entries

    def pages(self, *, skip: int = 0) -> Iterator[Page]:
        """Yield the pages in order.

        :param skip: How many of the first to leave out.
        """
        for number in range(skip, self._known_head.page + 1):
            content = self._read(self._page_name(number))
            if content is None:
                raise InvalidState(f"page {number + 1} of the evidence of release {self._fence.release!r} is missing")
            yield Page.from_bytes(content)

    @property
    def _known_head(self) -> _Head:
        if self._head is None:
            raise InvalidState(f"release {self._fence.release!r} has no evidence yet")
        return self._head

    def _take(self, head: _Head, page: Page) -> None:
        self._head, self._page = head, page
        self._judge = head.opening.judge()
        if page.state is not None:
            self._judge.restore(page.state)
        self._after = dict(page.after)
        for entry in page.entries:
            self._judge_entry(entry)

    def _append(self, entry: Entry) -> None:
        """Write an entry, on a new page if this one is full, and only then let the judge take it in."""
        head, page = self._known_head, self._page
        if page is None or len(page.entries) >= ENTRIES_PER_PAGE:
            self._head = head = replace(head, page=head.page + 1)
            page = Page(state=self.judge.to_json(), after=dict(self._after))
        self._page = page = replace(page, entries=(*page.entries, entry))
        content, known = page.to_bytes(), self._seen[0]
        self._seen = (None, None)  # after a write that fails the next load reads everything again
        self._repository.write_evidence(self._model, self._fence.release, self._page_name(head.page), content)
        self._seen = (known, content)
        self._judge_entry(entry)

    def _judge_entry(self, entry: Entry) -> None:
        entry.apply(self.judge)
        for each in entry.evidence:
            if each.canary.error is None:
                self._after[each.check] = each.at

    def _write_head(self) -> str:
        content = self._known_head.to_bytes()
        if content == self._seen[0] and self._reference:
            return self._reference
        page = self._seen[1]
        self._seen = (None, None)
        self._reference = self._repository.write_evidence(self._model, self._fence.release, self._name, content)
        self._seen = (content, page)
        return self._reference

    def _read(self, name: str) -> bytes | None:
        return self._repository.read_evidence(self._model, self._fence.release, name)

    def _page_name(self, number: int) -> str:
        return f"attempt-{self._fence.attempt}-evidence-{number + 1}"
