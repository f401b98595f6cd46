"""Time, so that tests have their own."""

from __future__ import annotations

from typing import Protocol


class Clock(Protocol):
    """Time as control sees it; tests use their own."""

    def now(self) -> float:
        """Return seconds since the epoch."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait."""
        ...
