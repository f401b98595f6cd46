"""The service's time, which a test may hold in its hand."""

from __future__ import annotations

import time
from datetime import UTC, datetime


class Clock:
    """The machine's."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()
