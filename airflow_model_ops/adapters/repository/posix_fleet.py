"""What is kept of one fleet beside the logs: its lock and the documents last derived for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from airflow_model_ops.adapters.repository.file_names import LOCK, check_document_name
from airflow_model_ops.adapters.repository.posix_files import AtomicFiles, reporting
from airflow_model_ops.adapters.repository.posix_lease_chain import posix_lease_chain


class PosixFleetStore:
    """A fleet's directory.

    :param ttl: Seconds after which the lock of a worker on another host that died is free; of one on this host it is at once.
    """

    def __init__(self, directory: Path, *, ttl: float = 8.0) -> None:
        self._directory = directory
        aside = directory / ".aside"
        self._files = AtomicFiles(aside)
        self._chain = posix_lease_chain(
            directory / LOCK, aside=aside, what=f"the lock of fleet {directory.name!r}", ttl=ttl
        )

    @contextmanager
    def lock(self, *, wait_seconds: float) -> Iterator[None]:
        """Hold the fleet lock; it falls to the next one by itself when its holder dies.

        :raises FleetBusy: if another worker holds it for longer than ``wait_seconds``.
        """
        with self._chain.held(wait_seconds=wait_seconds):
            yield

    def read(self, name: str) -> bytes | None:
        """Return a document, or ``None`` if it was never written."""
        path = self._path(name)
        with reporting(f"read {path}"):
            try:
                return path.read_bytes()
            except FileNotFoundError:
                return None

    def write(self, name: str, content: bytes) -> None:
        """Replace a document atomically and durably.

        :raises FleetBusy: if the calling thread took the lock and has lost it since.
        """
        path = self._path(name)
        holding = self._chain.holding
        if holding is not None:
            holding.check()
        with reporting(f"write {path}"):
            self._files.write(path, content)

    def _path(self, name: str) -> Path:
        return self._directory / check_document_name(name)
