"""A lock for processes on several hosts: a chain of numbered leases, each made by an operation that lets one win.

Who wants the lock takes the number after the newest one, once the newest is free: released, its holder dead on this
kernel, or not renewed for its time to live. Old leases are removed. A slow process may then take a number that others
have used and left long ago; it looks again afterwards, sees a higher number and has lost.

What a lease is made of is the place's affair: a file (:mod:`posix_lease_chain`) or an object (:mod:`object_lease_chain`).
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import secrets
import threading
import time
from collections.abc import Hashable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Protocol

from airflow_model_ops.adapters.repository.posix_owner import Owner
from airflow_model_ops.core.errors import FleetBusy, RepositoryUnavailable

KEPT = 4
"""How many of the newest leases stay, for people to read who had the lock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundLease:
    """The newest lease as a waiter found it.

    :param number: 0 if there is none.
    :param owner: ``None`` if a power cut left it unreadable.
    :param mark: Another one after each renewal.
    :param age: Seconds since the last renewal by the place's own clock; 0 where it does not tell.
    """

    number: int
    owner: Owner | None = None
    ttl: float = 0.0
    mark: Hashable = None
    age: float = 0.0
    released: bool = False


class Attempt(Protocol):
    """One waiter's try to take the lock."""

    def newest(self) -> FoundLease | None:
        """Return the newest lease, or ``None`` if it went away meanwhile: look again."""
        ...

    def take(self, number: int) -> bool:
        """Take a number; return whether this call got it and it is the newest."""
        ...


class LeasePlace(Protocol):
    """Where the leases of one lock are kept."""

    def trying(self, record: bytes) -> AbstractContextManager[Attempt]:
        """Prepare to take the lock.

        :param record: What a lease says of its holder.
        """
        ...

    def newest(self) -> int:
        """Return the number of the newest lease, 0 if there is none."""
        ...

    def renew(self, number: int) -> None:
        """Show that the holder is alive.

        :raises OSError: or RepositoryUnavailable, if that was not possible.
        """
        ...

    def release(self, number: int) -> None:
        """Mark a lease as free; raises as :meth:`renew`."""
        ...


def read_record(content: bytes, *, default_ttl: float) -> tuple[Owner | None, float]:
    """Return whose a lease is and how long it lasts; nobody's if it cannot be read."""
    try:
        data = json.loads(content)
        return Owner.from_json(data["owner"]), float(data["ttl"])
    except (KeyError, TypeError, ValueError):
        return None, default_ttl


class LeaseChain:
    """The lock in a place.

    :param what: What is locked, for messages.
    :param ttl: Seconds without a renewal after which a lease is free.
    :param poll_seconds: Between which bounds a waiter sleeps before it looks again.
    """

    def __init__(self, place: LeasePlace, *, what: str, ttl: float, poll_seconds: tuple[float, float]) -> None:
        self.place = place
        self.what = what
        self.ttl = ttl
        self._poll_seconds = poll_seconds
        self._held: dict[int, Holding] = {}

    @contextmanager
    def held(self, *, wait_seconds: float) -> Iterator[Holding]:
        """Hold the lock. Each thread is a holder of its own; one that holds it cannot take it again.

        :raises FleetBusy: if another holds it for longer than ``wait_seconds``.
        """
        if self.holding is not None:
            raise FleetBusy(f"{self.what} is already held by this thread; take it once around the whole work")
        holding = self._acquire(wait_seconds)
        thread = threading.get_ident()
        self._held[thread] = holding
        try:
            with holding.renewed():
                yield holding
        finally:
            del self._held[thread]
            holding.release()

    @property
    def holding(self) -> Holding | None:
        """What the calling thread holds. A forked child has its parent's thread number, but holds nothing."""
        holding = self._held.get(threading.get_ident())
        return holding if holding is not None and holding.is_ours else None

    def _acquire(self, wait_seconds: float) -> Holding:
        # The nonce tells threads apart where "exists" is answered by a comparison with what is there.
        record = json.dumps(
            {"owner": Owner.this_process().to_json(), "ttl": self.ttl, "nonce": secrets.token_hex(8)}
        ).encode()
        deadline = time.monotonic() + wait_seconds
        watch = Watch()
        with self.place.trying(record) as attempt:
            while True:
                lease = attempt.newest()
                began = time.monotonic()
                if lease is not None and watch.is_free(lease) and attempt.take(lease.number + 1):
                    return Holding(chain=self, number=lease.number + 1, renewed=began)
                if time.monotonic() >= deadline:
                    raise FleetBusy(
                        f"{self.what} is held by {watch.owner} and did not come free within {wait_seconds:g} s; try again, "
                        "or end that process if it hangs"
                    )
                time.sleep(random.uniform(*self._poll_seconds))  # noqa: S311 - spreads the waiters, guards nothing


class Holding:
    """One holder's time with the lock.

    :param renewed: A moment before the lease was written, on this process's monotonic clock.
    """

    def __init__(self, *, chain: LeaseChain, number: int, renewed: float) -> None:
        self._chain = chain
        self._number = number
        self._pid = os.getpid()
        self._renewed = renewed
        self._ended = threading.Event()

    @property
    def is_ours(self) -> bool:
        """Whether this process took it, and not the one it was forked from."""
        return self._pid == os.getpid()

    def check(self) -> None:
        """Check that the lock is still held; see :meth:`seconds_left` for how long it is at least.

        :raises FleetBusy: if another has it, or could have taken it.
        """
        newest = self._chain.place.newest()
        if newest != self._number or self.seconds_left <= 0:
            raise FleetBusy(
                f"{self._chain.what} was lost: this process was stopped for longer than {self._chain.ttl:g} s, or its lease "
                f"was removed (lease {self._number}, newest {newest}); start again from the present heads"
            )

    @property
    def seconds_left(self) -> float:
        """How long nobody else can take the lock if it is not renewed any more; negative: somebody could have."""
        return self._chain.ttl - (time.monotonic() - self._renewed)

    @contextmanager
    def renewed(self) -> Iterator[None]:
        """Keep the lease fresh from a thread meanwhile."""
        thread = threading.Thread(target=self._renew, name=f"renew {self._chain.what}", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._ended.set()
            if self.is_ours:
                thread.join()

    def release(self) -> None:
        """Let the next one in."""
        if self.is_ours:
            with contextlib.suppress(OSError, RepositoryUnavailable):  # then it ages, or it is lost already
                self._chain.place.release(self._number)

    def _renew(self) -> None:
        while not self._ended.wait(self._chain.ttl / 3):
            before = time.monotonic()
            with contextlib.suppress(OSError, RepositoryUnavailable):  # `check` sees that it was not renewed
                self._chain.place.renew(self._number)
                self._renewed = before


class Watch:
    """What one waiter remembers of the lease in its way."""

    def __init__(self) -> None:
        self.owner: Owner | str = "another process"
        self._mark: Hashable = None
        self._since = 0.0

    def is_free(self, lease: FoundLease) -> bool:
        """Whether a lease is released, run out or a dead process's."""
        if lease.number == 0 or lease.released:
            return True
        if lease.owner is not None:
            self.owner = lease.owner
            if lease.owner.is_dead:
                return True
        unchanged = self.unchanged_seconds((lease.number, lease.mark))  # catches a server's clock that was set back
        return max(lease.age, unchanged) > lease.ttl

    def unchanged_seconds(self, mark: Hashable) -> float:
        """Return for how long a mark has been the same, on this process's monotonic clock."""
        if self._mark != mark:
            self._mark, self._since = mark, time.monotonic()
        return time.monotonic() - self._since
