"""Reading from backends that may be slow or dead: each with a time-out and threads of its own, so that one that hangs
neither blanks the page nor takes the threads of the others.

Each connection is a backend of its own, and no model has all of its threads: a log that hangs leaves the other models of
its repository alone.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from airflow_model_ops.config.model_file import ModelIdentity
from airflow_model_ops.core.errors import ModelOpsError
from airflow_model_ops.plugin.backends.crew import Crew
from airflow_model_ops.plugin.datamodels.base import Backend, Part, Trouble

T = TypeVar("T")

SECONDS = {Backend.REPOSITORY: 5.0, Backend.FLEET: 2.0, Backend.LEDGER: 3.0, Backend.METRICS: 3.0}
"""How long a page waits for each backend, also for its turn."""
_THREADS = 8
"""How many reads of one backend go on at once; those beyond wait for their turn."""
_THREADS_OF_A_MODEL = 4
_log = logging.getLogger(__name__)


class Unanswered(Exception):
    """A backend did not answer a question; carries the trouble. A route that cannot do without turns it into a 503."""

    def __init__(self, trouble: Trouble) -> None:
        super().__init__(trouble.reason)
        self.trouble = trouble


@dataclass(slots=True, eq=False)
class _Question(Generic[T]):
    """A read that has a thread, or waits for one.

    :param late_at: When nobody waits for its answer any more.
    """

    function: Callable[[], T]
    model: str
    late_at: float
    answer: Future[T] = field(default_factory=Future)

    @property
    def is_late(self) -> bool:
        """Whether it holds a thread for nobody."""
        return self.answer.running() and time.monotonic() > self.late_at

    def work(self) -> None:
        if not self.answer.set_running_or_notify_cancel():
            return
        try:
            result = self.function()
        except BaseException as error:  # noqa: BLE001 (it is raised where the answer is waited for)
            self.answer.set_exception(error)
        else:
            self.answer.set_result(result)


class _Lane:
    """The threads of one backend."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._crew = Crew(size=_THREADS, name=f"model-ops-{backend}")
        self._lock = threading.Lock()
        self._taken: list[_Question[Any]] = []
        self._waiting: list[_Question[Any]] = []
        """Those whose model has its share of the threads."""

    async def run(self, function: Callable[[], T], *, model: str, seconds: float) -> T:
        question = _Question(function=function, model=model, late_at=time.monotonic() + seconds)
        with self._lock:
            late = [each for each in self._taken if each.is_late]
            if len(late) >= _THREADS or self._has_its_share(model, late):
                raise _unanswered(self._backend, f"does not answer: {len(late)} earlier questions to it still wait")
            self._waiting.append(question)
        self._begin()
        # Shielded: a thread cannot be stopped, and it frees its place when it ends, however late.
        answer = asyncio.wrap_future(question.answer)
        try:
            return await asyncio.wait_for(asyncio.shield(answer), timeout=seconds)
        except TimeoutError:
            answer.add_done_callback(_forget)
            raise _unanswered(self._backend, f"did not answer within {seconds:g} s") from None
        finally:
            question.answer.cancel()  # what has not begun is not worth beginning any more

    def _begin(self) -> None:
        """Give the crew what may be begun."""
        with self._lock:
            self._waiting = [each for each in self._waiting if not each.answer.cancelled()]
            begun = []
            for question in self._waiting:
                if not self._has_its_share(question.model, self._taken):
                    self._taken.append(question)
                    begun.append(question)
            self._waiting = [each for each in self._waiting if each not in begun]
        for question in begun:
            self._crew.submit(lambda question=question: self._answer(question))  # type: ignore[misc]

    def _answer(self, question: _Question[Any]) -> None:
        try:
            question.work()
        finally:
            with self._lock:
                self._taken.remove(question)
            self._begin()

    @staticmethod
    def _has_its_share(model: str, questions: list[_Question[Any]]) -> bool:
        return sum(each.model == model for each in questions) >= _THREADS_OF_A_MODEL


_lanes: dict[tuple[Backend, Hashable], _Lane] = {}
_lock = threading.Lock()


async def ask(backend: Backend, function: Callable[[], T], *, of: ModelIdentity, seconds: float | None = None) -> T:
    """Return what a function that reads from a backend returns; it runs in a thread.

    :param of: Whose connection it uses.
    :param seconds: How long to wait; ``None``: as :data:`SECONDS` says.
    :raises Unanswered: if it takes longer, or fails.
    """
    try:
        wait = SECONDS[backend] if seconds is None else seconds
        return await _lane_of(backend, of).run(function, model=of.model, seconds=wait)
    except ModelOpsError as error:
        raise _unanswered(backend, str(error)) from error
    except Unanswered:
        raise
    except Exception as error:
        _log.exception("a read of the %s failed", backend)
        raise _unanswered(backend, f"failed ({type(error).__name__}); the API server's log has more") from error


async def part(
    backend: Backend, function: Callable[[], T], *, of: ModelIdentity, seconds: float | None = None
) -> Part[T]:
    """Return what a function reads as a part of an answer, or the trouble in its place."""
    try:
        return Part(value=await ask(backend, function, of=of, seconds=seconds))
    except Unanswered as unanswered:
        return Part(trouble=unanswered.trouble)


def forget() -> None:
    """Leave what hangs to itself: the next questions have threads of their own."""
    with _lock:
        _lanes.clear()


def _lane_of(backend: Backend, model: ModelIdentity) -> _Lane:
    connections: dict[Backend, Hashable] = {
        Backend.REPOSITORY: model.connections.repository,
        Backend.FLEET: model.place,
        Backend.LEDGER: model.connections.ledger,
        Backend.METRICS: model.metrics_connection,
    }
    with _lock:
        return _lanes.setdefault((backend, connections[backend]), _Lane(backend))


def _unanswered(backend: Backend, reason: str) -> Unanswered:
    return Unanswered(Trouble(backend=backend, reason=reason))


def _forget(future: asyncio.Future[T]) -> None:
    """Take the late end of a read that nobody waits for any more, so that nothing complains about it."""
    if not future.cancelled():
        future.exception()
