"""A clock for tests."""

from __future__ import annotations

import threading


class ManualClock:
    """A clock that moves when told to, and by as much as anybody sleeps.

    :param start: Seconds since the epoch.
    """

    def __init__(self, *, start: float = 1_700_000_000.0) -> None:
        self._seconds = start
        self._lock = threading.Lock()

    def now(self) -> float:
        """Return seconds since the epoch."""
        with self._lock:
            return self._seconds

    def sleep(self, seconds: float) -> None:
        """Let the time pass at once."""
        self.advance(seconds)

    def advance(self, seconds: float) -> None:
        """Move on.

        :raises ValueError: for a negative number: time does not go back.
        """
        if seconds < 0:
            raise ValueError(f"cannot advance by {seconds!r} seconds; time does not go back: give 0 or more")
        with self._lock:
            self._seconds += seconds
