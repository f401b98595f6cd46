"""Threads that take work off a queue, for reads that may hang for ever."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable

_IDLE_SECONDS = 60.0
"""After how long without work a thread ends."""
_log = logging.getLogger(__name__)


class Crew:
    """Some daemon threads, started when there is work: a process may end while one of them hangs, say on a dead mount.

    The pools of the standard library wait for their threads at the end of the process.

    :param size: How many threads there are at most.
    """

    def __init__(self, *, size: int, name: str) -> None:
        self._size = size
        self._name = name
        self._work: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._threads = 0
        self._lock = threading.Lock()

    def submit(self, work: Callable[[], None]) -> None:
        """Let a thread do this when one is free; what it raises is logged."""
        self._work.put(work)
        self.start_missing()

    def start_missing(self) -> None:
        """Start a thread if there is work and not all of them are there: when the work came, the process may have had none."""
        with self._lock:
            if self._threads >= self._size or self._work.empty():
                return
            try:
                threading.Thread(target=self._run, name=self._name, daemon=True).start()
            except RuntimeError:  # the process, or its host, has as many as it may have
                _log.exception("%s has no thread for its work now", self._name)
            else:
                self._threads += 1

    def _run(self) -> None:
        while True:
            try:
                work = self._work.get(timeout=_IDLE_SECONDS)
            except queue.Empty:
                with self._lock:  # what is put after this finds that a thread is missing
                    if self._work.empty():
                        self._threads -= 1
                        return
                continue
            try:
                work()
            except Exception:  # noqa: BLE001 (the next piece of work must be done all the same)
                _log.exception("%s failed at some work", self._name)
