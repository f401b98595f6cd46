"""The leases of a lock (:mod:`lease_chain`) as numbered files on a file system that hosts may share.

A waiter links its own file to the next number; ``link`` lets one win. ``flock`` is not used: over NFS it depends on a
daemon and on mount options, and it does not say who holds it.

- A lease is alive while its file's modification time is fresh. The holder touches it; a waiter touches its own file and
  compares. So one clock, the file server's, stamps both: clocks of hosts may differ.
- A released lease has the modification time 0. A dead process of the same kernel frees its lease at once.
- Nothing is fsynced: a power cut kills the holders of this kernel with the lock, and other hosts see a lease that ages.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from airflow_model_ops.adapters.repository.lease_chain import KEPT, FoundLease, LeaseChain, read_record
from airflow_model_ops.adapters.repository.posix_files import AtomicFiles, make_directory, reporting

_LEASE_NAME = re.compile(r"(\d{20})\.json\Z", re.ASCII)
_POLL_SECONDS = (0.01, 0.05)


def posix_lease_chain(directory: Path, *, aside: Path, what: str, ttl: float = 8.0) -> LeaseChain:
    """Return the lock in a directory.

    :param aside: Where lease files lie until they have a number, on the same file system.
    :param what: What is locked, for messages.
    :param ttl: Seconds without a touch after which a lease is free.
    """
    place = PosixLeases(directory, aside=aside, what=what, ttl=ttl)
    return LeaseChain(place, what=what, ttl=ttl, poll_seconds=_POLL_SECONDS)


class PosixLeases:
    """Lease files in a directory; see :func:`posix_lease_chain`."""

    def __init__(self, directory: Path, *, aside: Path, what: str, ttl: float) -> None:
        self.ttl = ttl
        self._directory = directory
        self._files = AtomicFiles(aside)
        self._what = what

    @contextmanager
    def trying(self, record: bytes) -> Iterator[_Attempt]:
        """Write a lease file aside, to be linked to a number."""
        with reporting(f"take {self._what}"):
            make_directory(self._directory)
            with self._files.written(record, durable=False) as aside:
                yield _Attempt(self, aside)

    def newest(self) -> int:
        """Return the number of the newest lease, 0 if there is none."""
        with reporting(f"check {self._what}"):
            return max(self.numbers(), default=0)

    def renew(self, number: int) -> None:
        """Touch a lease."""
        os.utime(self.path(number))

    def release(self, number: int) -> None:
        """Let a lease look as old as the epoch."""
        os.utime(self.path(number), (0, 0))

    def numbers(self) -> list[int]:
        """Return the numbers of all leases that are kept."""
        with os.scandir(self._directory) as items:
            return [int(found[1]) for item in items if (found := _LEASE_NAME.match(item.name))]

    def path(self, number: int) -> Path:
        """Return the file of a lease."""
        return self._directory / f"{number:020d}.json"


class _Attempt:
    """A waiter with its own file."""

    def __init__(self, leases: PosixLeases, aside: Path) -> None:
        self._leases = leases
        self._aside = aside

    def newest(self) -> FoundLease | None:
        """Return the newest lease, ``None`` if it was removed since: there are newer ones."""
        number = self._leases.newest()
        if number == 0:
            return FoundLease(number=0)
        try:
            # Opening makes an NFS client ask the server; a bare stat may answer from its cache.
            with self._leases.path(number).open("rb") as stream:
                content, touched = stream.read(), os.fstat(stream.fileno()).st_mtime
        except FileNotFoundError:
            return None
        owner, ttl = read_record(content, default_ttl=self._leases.ttl)
        return FoundLease(number=number, owner=owner, ttl=ttl, mark=touched, age=_touch(self._aside) - touched)

    def take(self, number: int) -> bool:
        """Link a number; whoever sees a higher one afterwards came too late."""
        _touch(self._aside)
        path = self._leases.path(number)
        try:
            os.link(self._aside, path)
        except FileExistsError:
            if not _is_same_file(self._aside, path):  # NFS may answer "exists" to its own repeated request
                return False
        if self._leases.newest() != number:
            path.unlink(missing_ok=True)
            return False
        for old in self._leases.numbers():
            if old <= number - KEPT:
                self._leases.path(old).unlink(missing_ok=True)
        return True


def _touch(path: Path) -> float:
    """Stamp a file with the file server's time and return that."""
    os.utime(path)
    return path.stat().st_mtime


def _is_same_file(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except FileNotFoundError:
        return False
