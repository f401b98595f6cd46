"""The leases of a lock (:mod:`lease_chain`) as numbered objects in a bucket.

A waiter writes its lease under the next number, if absent; the store lets one win.

- The holder renews by writing its lease again, with another count of beats. A waiter compares what it reads with what it
  read before, on its own monotonic clock: no clock of another host, nor the store's, is asked. So a lease that its dead
  holder left falls only after a waiter has watched it for its time to live.
- A release is an object of its own beside the lease, as GCS allows one write a second to one object.
- The file named ``<number>.released`` makes a lock that is free cost one listing.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from airflow_model_ops.adapters.repository.lease_chain import KEPT, FoundLease, LeaseChain, read_record
from airflow_model_ops.adapters.repository.object_store import ObjectStore
from airflow_model_ops.adapters.repository.posix_owner import Owner

_NAME = re.compile(r"(?P<number>\d{20})\.(?P<kind>json|released)\Z", re.ASCII)
_POLL_SECONDS = (0.2, 0.4)


def object_lease_chain(
    store: ObjectStore, prefix: str, *, what: str, ttl: float, poll_seconds: tuple[float, float] = _POLL_SECONDS
) -> LeaseChain:
    """Return the lock below a prefix.

    :param prefix: Ends with ``/``.
    :param what: What is locked, for messages.
    :param ttl: Seconds without a renewal after which a lease is free; it is renewed three times as often.
    """
    return LeaseChain(ObjectLeases(store, prefix, ttl=ttl), what=what, ttl=ttl, poll_seconds=poll_seconds)


class ObjectLeases:
    """Lease objects below a prefix; see :func:`object_lease_chain`."""

    def __init__(self, store: ObjectStore, prefix: str, *, ttl: float) -> None:
        self.store = store
        self.ttl = ttl
        self._prefix = prefix
        self._beats = itertools.count(1)

    @contextmanager
    def trying(self, record: bytes) -> Iterator[_Attempt]:
        """Nothing has to be prepared."""
        yield _Attempt(self, record)

    def newest(self) -> int:
        """Return the number of the newest lease, 0 if there is none."""
        return newest_number(self.names())

    def renew(self, number: int) -> None:
        """Write a lease again."""
        record = json.dumps({"owner": Owner.this_process().to_json(), "ttl": self.ttl, "beat": next(self._beats)})
        self.store.put(self.key(number), record.encode())

    def release(self, number: int) -> None:
        """Put the sign of a release beside a lease."""
        self.store.put_if_absent(self.released_key(number), b"{}")

    def names(self) -> Sequence[str]:
        """Return the names of all objects of the chain."""
        return self.store.names(self._prefix)

    def key(self, number: int) -> str:
        """Return the key of a lease."""
        return f"{self._prefix}{number:020d}.json"

    def released_key(self, number: int) -> str:
        """Return the key that says that a lease is released."""
        return f"{self._prefix}{number:020d}.released"

    def remove_before(self, number: int, names: Sequence[str]) -> None:
        """Remove old leases."""
        old = [f"{self._prefix}{name}" for name in names if (found := _NAME.match(name)) and int(found[1]) < number]
        if old:
            self.store.delete(old)


class _Attempt:
    """A waiter."""

    def __init__(self, leases: ObjectLeases, record: bytes) -> None:
        self._leases = leases
        self._record = record

    def newest(self) -> FoundLease | None:
        """Return the newest lease, ``None`` if it was removed since: there are newer ones."""
        names = self._leases.names()
        number = newest_number(names)
        if number == 0 or f"{number:020d}.released" in names:
            return FoundLease(number=number, released=True)
        content = self._leases.store.get(self._leases.key(number))
        if content is None:
            return None
        owner, ttl = read_record(content, default_ttl=self._leases.ttl)
        return FoundLease(number=number, owner=owner, ttl=ttl, mark=content)

    def take(self, number: int) -> bool:
        """Write a number if absent; whoever sees a higher one afterwards came too late."""
        if not self._leases.store.put_if_absent(self._leases.key(number), self._record):
            return False
        names = self._leases.names()
        if newest_number(names) != number:
            self._leases.store.delete([self._leases.key(number)])
            return False
        self._leases.remove_before(number - KEPT + 1, names)
        return True


def newest_number(names: Sequence[str]) -> int:
    """Return the highest number among the names of a chain, 0 if there is none."""
    return max((int(found["number"]) for name in names if (found := _NAME.match(name))), default=0)
