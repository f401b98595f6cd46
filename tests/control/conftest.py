"""A clock that a story moves, and logs in memory."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from airflow_model_ops.core.errors import InvalidState
from airflow_model_ops.core.log import Entry


class StoryClock:
    """Time that passes when somebody sleeps or the story says so."""

    def __init__(self) -> None:
        self.seconds = 1_700_000_000.0

    def now(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds


class MemoryLog:
    """A log in memory that keeps the bytes, as a real one does."""

    def __init__(self) -> None:
        self.stored: list[bytes] = []
        self._lock = threading.Lock()

    def last(self) -> Entry | None:
        return self.read(len(self.stored))

    def read(self, sequence: int) -> Entry | None:
        return Entry.from_bytes(self.stored[sequence - 1]) if 1 <= sequence <= len(self.stored) else None

    def entries(self, *, after: int = 0) -> Iterator[Entry]:
        yield from (Entry.from_bytes(content) for content in self.stored[after:])

    def put_if_absent(self, entry: Entry) -> bool:
        with self._lock:
            if entry.sequence > len(self.stored) + 1:
                raise InvalidState(f"entry {entry.sequence} would leave a gap")
            if entry.sequence <= len(self.stored):
                return Entry.from_bytes(self.stored[entry.sequence - 1]).write_id == entry.write_id
            self.stored.append(entry.to_bytes())
            return True


@pytest.fixture
def clock() -> StoryClock:
    return StoryClock()


@pytest.fixture
def log() -> MemoryLog:
    return MemoryLog()
