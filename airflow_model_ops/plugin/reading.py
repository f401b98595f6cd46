"""Reading from backends that may be slow or dead: each with a time-out and threads of its own, so that one that hangs
neither blanks the page nor takes the threads of the others.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from airflow_model_ops.core.errors import ModelOpsError
from airflow_model_ops.plugin.datamodels.base import Backend, Part, Trouble

T = TypeVar("T")

SECONDS = {Backend.REPOSITORY: 5.0, Backend.FLEET: 2.0, Backend.LEDGER: 3.0, Backend.METRICS: 3.0}
"""How long a page waits for each backend."""
_THREADS = 8
"""How many reads of one backend may go on at once; those beyond are refused at once: they would only wait, too."""
_log = logging.getLogger(__name__)


class Unanswered(Exception):
    """A backend did not answer a question; carries the trouble. A route that cannot do without turns it into a 503."""

    def __init__(self, trouble: Trouble) -> None:
        super().__init__(trouble.reason)
        self.trouble = trouble


class _Lane:
    """The threads of one backend."""

    def __init__(self, backend: Backend) -> None:
        self._pool = ThreadPoolExecutor(max_workers=_THREADS, thread_name_prefix=f"model-ops-{backend}")
        self._free = threading.BoundedSemaphore(_THREADS)
        self._backend = backend

    async def run(self, function: Callable[[], T], *, seconds: float) -> T:
        if not self._free.acquire(blocking=False):
            raise _unanswered(self._backend, f"does not answer: {_THREADS} earlier questions to it still wait")

        def work() -> T:
            try:
                return function()
            finally:
                self._free.release()

        # Shielded: a thread cannot be stopped, and it frees its place when it ends, however late.
        future = asyncio.get_running_loop().run_in_executor(self._pool, work)
        try:
            return await asyncio.wait_for(asyncio.shield(future), timeout=seconds)
        except TimeoutError:
            future.add_done_callback(_forget)
            raise _unanswered(self._backend, f"did not answer within {seconds:g} s") from None


_lanes = {backend: _Lane(backend) for backend in Backend}


async def ask(backend: Backend, function: Callable[[], T], *, seconds: float | None = None) -> T:
    """Return what a function that reads from a backend returns; it runs in a thread.

    :param seconds: How long to wait; ``None``: as :data:`SECONDS` says.
    :raises Unanswered: if it takes longer, or fails.
    """
    try:
        return await _lanes[backend].run(function, seconds=SECONDS[backend] if seconds is None else seconds)
    except ModelOpsError as error:
        raise _unanswered(backend, str(error)) from error
    except Unanswered:
        raise
    except Exception as error:
        _log.exception("a read of the %s failed", backend)
        raise _unanswered(backend, f"failed ({type(error).__name__}); the API server's log has more") from error


async def part(backend: Backend, function: Callable[[], T], *, seconds: float | None = None) -> Part[T]:
    """Return what a function reads as a part of an answer, or the trouble in its place."""
    try:
        return Part(value=await ask(backend, function, seconds=seconds))
    except Unanswered as unanswered:
        return Part(trouble=unanswered.trouble)


def _unanswered(backend: Backend, reason: str) -> Unanswered:
    return Unanswered(Trouble(backend=backend, reason=reason))


def _forget(future: asyncio.Future[T]) -> None:
    """Take the late end of a read that nobody waits for any more, so that nothing complains about it."""
    if not future.cancelled():
        future.exception()
