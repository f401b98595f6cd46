"""Logs and what is kept of a fleet, in memory."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from airflow_model_ops.core.errors import FleetBusy, InvalidConfig, InvalidState
from airflow_model_ops.core.log import Entry, check_chain
from airflow_model_ops.core.versioning import MODEL_NAME

_LOCK_DOCUMENT = "lock"


class InMemoryLog:
    """The log of one model; keeps the bytes, as a real one does."""

    def __init__(self) -> None:
        self._stored: list[bytes] = []
        self._lock = threading.Lock()

    def last(self) -> Entry | None:
        """Return the newest entry, or ``None`` for an empty log."""
        with self._lock:
            content = self._stored[-1] if self._stored else None
        return Entry.from_bytes(content) if content is not None else None

    def read(self, sequence: int) -> Entry | None:
        """Return one entry, or ``None`` if there is none with that number."""
        with self._lock:
            content = self._stored[sequence - 1] if 1 <= sequence <= len(self._stored) else None
        return Entry.from_bytes(content) if content is not None else None

    def entries(self, *, after: int = 0) -> Iterator[Entry]:
        """Yield the entries with a higher number, oldest first, each checked to follow the one before it."""
        previous = self.read(after)
        while (entry := self.read(previous.sequence + 1 if previous else after + 1)) is not None:
            check_chain(entry, previous)
            yield entry
            previous = entry

    def put_if_absent(self, entry: Entry) -> bool:
        """Store an entry under its number unless there is one; return whether this write won.

        :raises InvalidState: if the entry before it is missing: a log has no gaps.
        """
        with self._lock:
            if not 1 <= entry.sequence <= len(self._stored) + 1:
                raise InvalidState(
                    f"the log has {len(self._stored)} entries, so entry {entry.sequence} cannot follow them; read the log "
                    "again and place the entry after its newest one"
                )
            if entry.sequence > len(self._stored):
                self._stored.append(entry.to_bytes())
                return True
            return Entry.from_bytes(self._stored[entry.sequence - 1]).write_id == entry.write_id


class InMemoryFleetStore:
    """What is kept of one fleet: its lock and its documents."""

    def __init__(self, *, fleet: str) -> None:
        self._fleet = fleet
        self._lock = threading.Lock()
        self._documents: dict[str, bytes] = {}

    @contextmanager
    def lock(self, *, wait_seconds: float) -> Iterator[None]:
        """Hold the fleet lock.

        :raises FleetBusy: if another thread holds it for longer than ``wait_seconds``.
        """
        if not self._lock.acquire(timeout=max(0.0, wait_seconds)):
            raise FleetBusy(
                f"the lock of fleet {self._fleet!r} is held by another worker for longer than {wait_seconds} s; try again"
            )
        try:
            yield
        finally:
            self._lock.release()

    def read(self, name: str) -> bytes | None:
        """Return a document, or ``None`` if it was never written."""
        return self._documents.get(_document_name(name))

    def write(self, name: str, content: bytes) -> None:
        """Replace a document."""
        self._documents[_document_name(name)] = bytes(content)


def _document_name(name: str) -> str:
    if name == _LOCK_DOCUMENT or not MODEL_NAME.match(name):
        raise InvalidConfig(
            f"document name {name!r} is not usable; use letters, digits, '_', '-' or '.', and not {_LOCK_DOCUMENT!r}"
        )
    return name
