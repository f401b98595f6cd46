"""The append-only log of one model as a directory of numbered files.

An entry is created under its number by ``link``, which refuses a number that is taken: the commit protocol of table
formats such as Delta Lake. A hint file names a recent number, so that finding the newest entry does not list the
directory; it is never trusted alone.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from airflow_model_ops.adapters.repository.file_names import entry_name, entry_sequence
from airflow_model_ops.adapters.repository.posix_files import AtomicFiles, reporting
from airflow_model_ops.core.errors import InvalidState
from airflow_model_ops.core.log import Entry, check_chain

_HINT = ".newest"
_MAX_PROBES = 64
"""How far to walk on from a hint before one listing is cheaper."""
_WORTH_A_HINT = 8
"""How long a walk must be for a reader to write the hint anew; writers do it each time."""


class PosixLog:
    """The log in a directory; made with the first entry.

    :param aside: Where entries lie until they are complete, on the same file system.
    """

    def __init__(self, directory: Path, *, aside: Path | None = None) -> None:
        self._directory = directory
        self._files = AtomicFiles(aside or directory.parent / ".aside")

    def last(self) -> Entry | None:
        """Return the newest entry, or ``None`` for an empty log.

        :raises InvalidState: if it cannot be read as an entry.
        """
        newest = self.newest()
        return self.read(newest) if newest else None

    def newest(self) -> int:
        """Return the number of the newest entry, 0 for an empty log, without reading it."""
        with reporting(f"read log {self._directory}"):
            return self._newest()

    def read(self, sequence: int) -> Entry | None:
        """Return one entry, or ``None`` if there is none with that number.

        :raises InvalidState: if it cannot be read as an entry.
        """
        with reporting(f"read log {self._directory}"):
            try:
                content = self._path(sequence).read_bytes()
            except FileNotFoundError:
                return None
        entry = Entry.from_bytes(content)
        if entry.sequence != sequence:
            raise InvalidState(
                f"log {self._directory} holds entry {entry.sequence} under the number {sequence}; restore the file from a backup"
            )
        return entry

    def entries(self, *, after: int = 0) -> Iterator[Entry]:
        """Yield the entries with a higher number, oldest first, each checked to follow the one before it.

        :raises InvalidState: if one is lost, edited or unreadable.
        """
        previous = self.read(after) if after else None
        sequence = after + 1
        while (entry := self._entry_or_end(sequence)) is not None:
            check_chain(entry, previous)
            yield entry
            previous, sequence = entry, sequence + 1

    def put_if_absent(self, entry: Entry) -> bool:
        """Store an entry under its number unless there is one; return whether this write won.

        NFS may send a request twice and report the second answer, "exists", of a write that succeeded; and a caller may
        repeat a write whose answer it missed. The write id tells both from a lost race.

        :raises InvalidState: if the entry before it is missing: a log has no gaps.
        """
        with reporting(f"write log {self._directory}"):
            if entry.sequence < 1 or (entry.sequence > 1 and not self._path(entry.sequence - 1).exists()):
                raise InvalidState(
                    f"log {self._directory} has no entry {entry.sequence - 1}, so entry {entry.sequence} cannot follow it; "
                    "read the log again and place the entry after its newest one"
                )
            won = self._files.put_if_absent(self._path(entry.sequence), entry.to_bytes())
        if not won:
            winner = self.read(entry.sequence)
            won = winner is not None and winner.write_id == entry.write_id
        if won:
            self._write_hint(entry.sequence)
        return won

    def _path(self, sequence: int) -> Path:
        return self._directory / entry_name(sequence)

    def _entry_or_end(self, sequence: int) -> Entry | None:
        entry = self.read(sequence)
        if entry is not None:
            return entry
        newest = self.newest()
        if newest < sequence:
            return None
        entry = self.read(sequence)  # it was appended meanwhile, or it is lost
        if entry is None:
            raise InvalidState(
                f"log {self._directory} has no entry {sequence} but goes on to {newest}; restore the file from a backup"
            )
        return entry

    def _newest(self) -> int:
        hinted = self._hint()
        if hinted and self._path(hinted).exists():
            for number in range(hinted, hinted + _MAX_PROBES):
                if not self._path(number + 1).exists():
                    if number > hinted + _WORTH_A_HINT:
                        self._write_hint(number)
                    return number
        newest = self._list_newest()
        if newest != hinted:
            self._write_hint(newest)
        return newest

    def _list_newest(self) -> int:
        try:
            with os.scandir(self._directory) as items:
                return max((entry_sequence(item.name) for item in items), default=0)
        except FileNotFoundError:
            return 0

    def _hint(self) -> int:
        try:
            return int((self._directory / _HINT).read_bytes())
        except (FileNotFoundError, ValueError):  # never written, or cut short by a power cut
            return 0

    def _write_hint(self, sequence: int) -> None:
        if sequence == 0:
            return
        # A reader may lack the right to write, and a full disc must not undo a committed entry: the hint is a convenience.
        with contextlib.suppress(OSError):
            self._files.write(self._directory / _HINT, str(sequence).encode(), durable=False)
