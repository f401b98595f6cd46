"""What is kept of one fleet beside the logs, in a bucket: its lock and the documents last derived for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from airflow_model_ops.adapters.repository.file_names import LOCK, check_document_name
from airflow_model_ops.adapters.repository.object_lease_chain import object_lease_chain
from airflow_model_ops.adapters.repository.object_store import ObjectStore


class ObjectFleetStore:
    """What is below a fleet's prefix.

    :param prefix: Ends with ``/``.
    :param ttl: Seconds after which the lock of a worker on another host that died is free; of one on this host it is at once.
    """

    def __init__(self, store: ObjectStore, prefix: str, *, ttl: float = 10.0) -> None:
        self._store = store
        self._prefix = prefix
        fleet = prefix.rstrip("/").rpartition("/")[2]
        self._chain = object_lease_chain(store, f"{prefix}{LOCK}/", what=f"the lock of fleet {fleet!r}", ttl=ttl)

    @contextmanager
    def lock(self, *, wait_seconds: float) -> Iterator[None]:
        """Hold the fleet lock; it falls to the next one by itself when its holder dies.

        :raises FleetBusy: if another worker holds it for longer than ``wait_seconds``.
        """
        with self._chain.held(wait_seconds=wait_seconds):
            yield

    def read(self, name: str) -> bytes | None:
        """Return a document, or ``None`` if it was never written."""
        return self._store.get(self._key(name))

    def write(self, name: str, content: bytes) -> None:
        """Replace a document.

        A holder of the lock stops trying before anybody could take it: a store that was in trouble, and answers again, would
        get an old document over the next holder's.

        :raises FleetBusy: if the calling thread took the lock and has lost it since.
        """
        key = self._key(name)
        holding = self._chain.holding
        if holding is None:
            self._store.put(key, content)
            return
        holding.check()
        self._store.put(key, content, within=holding.seconds_left)

    def _key(self, name: str) -> str:
        return self._prefix + check_document_name(name)
