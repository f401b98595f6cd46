"""A lock for processes on several hosts that share a file system: a chain of numbered lease files.

Who wants the lock links its own file to the number after the newest one, once the newest is free; ``link`` lets one win.
``flock`` is not used: over NFS it depends on a daemon and on mount options, and it does not say who holds it.

- A lease is alive while its file's modification time is fresh. The holder touches it; a waiter touches its own file and
  compares. So one clock, the file server's, stamps both: clocks of hosts may differ.
- A released lease has the modification time 0. A dead process of the same kernel frees its lease at once.
- Old files are removed. A slow process may then link a number that others have used and left long ago; it lists the
  directory after linking, sees the higher numbers and has lost.
- Nothing is fsynced: a power cut kills the holders of this kernel with the lock, and other hosts see a lease that ages.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from airflow_model_ops.adapters.repository.posix_files import AtomicFiles, make_directory, reporting
from airflow_model_ops.adapters.repository.posix_owner import Owner
from airflow_model_ops.core.errors import FleetBusy

_LEASE_NAME = re.compile(r"(\d{20})\.json\Z", re.ASCII)
_KEPT = 4
"""How many of the newest lease files stay, for people to read who had the lock."""
_POLL_SECONDS = (0.01, 0.05)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Lease:
    """A lease file as a waiter found it; ``owner`` is ``None`` if a power cut left it unreadable."""

    number: int
    owner: Owner | None
    ttl: float
    touched: float


class LeaseChain:
    """The lock in a directory.

    :param aside: Where lease files lie until they have a number, on the same file system.
    :param what: What is locked, for messages.
    :param ttl: Seconds without a touch after which a lease is free.
    """

    def __init__(self, directory: Path, *, aside: Path, what: str, ttl: float = 8.0) -> None:
        self.what = what
        self.ttl = ttl
        self._directory = directory
        self._files = AtomicFiles(aside)
        self._held: dict[int, Holding] = {}

    @contextmanager
    def held(self, *, wait_seconds: float) -> Iterator[Holding]:
        """Hold the lock. Each thread is a holder of its own; one that holds it cannot take it again.

        :raises FleetBusy: if another holds it for longer than ``wait_seconds``.
        """
        if self.holding is not None:
            raise FleetBusy(f"{self.what} is already held by this thread; take it once around the whole work")
        with reporting(f"take {self.what}"):
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

    def newest(self) -> int:
        """Return the number of the newest lease, 0 if there is none."""
        return max(self._numbers(), default=0)

    def path(self, number: int) -> Path:
        """Return the file of a lease."""
        return self._directory / f"{number:020d}.json"

    def _acquire(self, wait_seconds: float) -> Holding:
        record = json.dumps({"owner": Owner.this_process().to_json(), "ttl": self.ttl}).encode()
        make_directory(self._directory)
        deadline = time.monotonic() + wait_seconds
        watch = _Watch(default_ttl=self.ttl)
        with self._files.written(record, durable=False) as aside:
            while True:
                number = self._free_number(watch, aside)
                if number and self._link(aside, number):
                    return Holding(chain=self, number=number)
                if time.monotonic() >= deadline:
                    raise FleetBusy(
                        f"{self.what} is held by {watch.owner} and did not come free within {wait_seconds:g} s; try again, "
                        "or end that process if it hangs"
                    )
                time.sleep(random.uniform(*_POLL_SECONDS))  # noqa: S311 - spreads the waiters, guards nothing

    def _free_number(self, watch: _Watch, aside: Path) -> int:
        """Return the number that may be taken now, 0 if the newest lease is alive."""
        newest = self.newest()
        if newest == 0:
            return 1
        try:
            lease = self._read(newest)
        except FileNotFoundError:  # removed since: there are newer ones
            return 0
        return newest + 1 if watch.is_free(lease, now=_touch(aside)) else 0

    def _link(self, aside: Path, number: int) -> bool:
        """Try to take a number; whoever sees a higher one afterwards came too late."""
        _touch(aside)
        path = self.path(number)
        try:
            os.link(aside, path)
        except FileExistsError:
            if not _is_same_file(aside, path):  # NFS may answer "exists" to its own repeated request
                return False
        if self.newest() != number:
            path.unlink(missing_ok=True)
            return False
        for old in self._numbers():
            if old <= number - _KEPT:
                self.path(old).unlink(missing_ok=True)
        return True

    def _numbers(self) -> list[int]:
        with os.scandir(self._directory) as items:
            return [int(found[1]) for item in items if (found := _LEASE_NAME.match(item.name))]

    def _read(self, number: int) -> _Lease:
        # Opening makes an NFS client ask the server; a bare stat may answer from its cache.
        with self.path(number).open("rb") as stream:
            content, touched = stream.read(), os.fstat(stream.fileno()).st_mtime
        try:
            data = json.loads(content)
            owner, ttl = Owner.from_json(data["owner"]), float(data["ttl"])
        except (KeyError, TypeError, ValueError):
            owner, ttl = None, self.ttl
        return _Lease(number=number, owner=owner, ttl=ttl, touched=touched)


class Holding:
    """One holder's time with the lock."""

    def __init__(self, *, chain: LeaseChain, number: int) -> None:
        self._chain = chain
        self._number = number
        self._pid = os.getpid()
        self._touched = time.monotonic()
        self._ended = threading.Event()

    @property
    def is_ours(self) -> bool:
        """Whether this process took it, and not the one it was forked from."""
        return self._pid == os.getpid()

    def check(self) -> None:
        """Check that the lock is still held.

        :raises FleetBusy: if another has it, or could have taken it.
        """
        with reporting(f"check {self._chain.what}"):
            newest = self._chain.newest()
        if newest != self._number or time.monotonic() - self._touched > self._chain.ttl:
            raise FleetBusy(
                f"{self._chain.what} was lost: this process was stopped for longer than {self._chain.ttl:g} s, or its lease "
                f"was removed (lease {self._number}, newest {newest}); start again from the present heads"
            )

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
            with contextlib.suppress(OSError):  # then it ages, or it is lost already
                os.utime(self._chain.path(self._number), (0, 0))

    def _renew(self) -> None:
        while not self._ended.wait(self._chain.ttl / 3):
            before = time.monotonic()
            with contextlib.suppress(OSError):  # `check` sees that it was not touched
                os.utime(self._chain.path(self._number))
                self._touched = before


class _Watch:
    """What one waiter remembers of the lease in its way."""

    def __init__(self, *, default_ttl: float) -> None:
        self.owner: Owner | str = "another process"
        self._ttl = default_ttl
        self._mark = (0, 0.0)
        self._since = 0.0

    def is_free(self, lease: _Lease, *, now: float) -> bool:
        """Whether a lease is released, run out or a dead process's.

        :param now: The file server's time.
        """
        if lease.owner is not None:
            self.owner = lease.owner
            if lease.owner.is_dead:
                return True
        if self._mark != (lease.number, lease.touched):
            self._mark, self._since = (lease.number, lease.touched), time.monotonic()
        unchanged = time.monotonic() - self._since  # catches a server's clock that was set back
        return max(now - lease.touched, unchanged) > lease.ttl


def _touch(path: Path) -> float:
    """Stamp a file with the file server's time and return that."""
    os.utime(path)
    return path.stat().st_mtime


def _is_same_file(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except FileNotFoundError:
        return False
