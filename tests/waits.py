"""Waiting for other threads and processes: by condition, for seconds only, and with words when it was in vain."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

_PATIENCE_SECONDS = 60.0
_POLL_SECONDS = 0.002
T = TypeVar("T")


class Worker(Protocol):
    """A thread or a process."""

    @property
    def name(self) -> str: ...

    def join(self, timeout: float | None = None) -> None: ...

    def is_alive(self) -> bool: ...


def until(
    found: Callable[[], T | None], *, what: str, within: float = _PATIENCE_SECONDS, every: float = _POLL_SECONDS
) -> T:
    """Ask again and again until the answer is true, and return it.

    :param what: What is waited for, as the failed test says it.
    :param every: Seconds between two questions; more where each costs somebody else something.
    """
    deadline = time.monotonic() + within
    while not (answer := found()):
        assert time.monotonic() < deadline, f"in vain for {within:g} s: {what}"
        time.sleep(every)
    return answer


async def until_true(condition: Callable[[], Any]) -> None:
    """Wait in an event loop, which goes on meanwhile, for what threads or its other tasks do.

    :raises TimeoutError: if it was in vain.
    """
    async with asyncio.timeout(_PATIENCE_SECONDS):
        while not condition():  # noqa: ASYNC110 (what is looked at has no event)
            await asyncio.sleep(_POLL_SECONDS)


def all_ended(*workers: Worker, within: float = _PATIENCE_SECONDS) -> None:
    """Wait until each has ended. A thread that may hang is a daemon, or it keeps the test run from ending too."""
    deadline = time.monotonic() + within
    for worker in workers:
        worker.join(max(0.0, deadline - time.monotonic()))
    alive = [worker.name for worker in workers if worker.is_alive()]
    assert not alive, f"after {within:g} s these have not ended: {alive}"
