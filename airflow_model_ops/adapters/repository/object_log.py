"""The append-only log of one model as numbered objects in a bucket.

An entry is written under its number if absent, and never again: so what was read once is kept in memory and read from
there. Finding the newest entry of a log that was read before takes one round trip, as the next numbers are asked for at
once. The first time, a hint object names a recent number, so that the log is not listed; it is written with every eighth
entry only, since GCS allows one write a second to one object, and it is never trusted alone.
"""

from __future__ import annotations

import contextlib
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence

from airflow_model_ops.adapters.repository.file_names import entry_name, entry_sequence
from airflow_model_ops.adapters.repository.object_store import ObjectStore
from airflow_model_ops.core.errors import InvalidState, RepositoryUnavailable
from airflow_model_ops.core.log import Entry, check_chain

_HINT = ".newest"
_HINT_EVERY = 8
_WARM_WINDOW, _COLD_WINDOW, _FAR_WINDOW = 2, 16, 64
"""How many numbers are asked for at once: after the newest known one, from a hint, and if those were all there."""
_BATCH = 64
"""How many entries are fetched at once."""
_KEPT_BYTES = 16 * 1024 * 1024
"""How much of the log stays in memory."""


class ObjectLog:
    """The log below a prefix; safe for several threads.

    :param prefix: Ends with ``/``.
    """

    def __init__(self, store: ObjectStore, prefix: str) -> None:
        self._store = store
        self._prefix = prefix
        self._kept = _Kept()
        self._known = 0
        """The highest number that this instance has seen."""

    def last(self) -> Entry | None:
        """Return the newest entry, or ``None`` for an empty log.

        :raises InvalidState: if it cannot be read as an entry, or one before it is lost.
        """
        newest = self.newest()
        return self.read(newest) if newest else None

    def newest(self) -> int:
        """Return the number of the newest entry, 0 for an empty log."""
        newest = self._walk(self._known, _WARM_WINDOW) if self._known else self._first_look()
        self._known = max(self._known, newest)
        return self._known

    def read(self, sequence: int) -> Entry | None:
        """Return one entry, or ``None`` if there is none with that number.

        :raises InvalidState: if it cannot be read as an entry.
        """
        if sequence < 1:
            return None
        content = self._contents([sequence]).get(sequence)
        return None if content is None else self._entry(sequence, content)

    def entries(self, *, after: int = 0) -> Iterator[Entry]:
        """Yield the entries with a higher number that are there now, oldest first, each checked to follow the one before it.

        :raises InvalidState: if one is lost, edited or unreadable.
        """
        newest = self.newest()
        previous = self.read(after) if after else None
        for start in range(after + 1, newest + 1, _BATCH):
            numbers = range(start, min(start + _BATCH, newest + 1))
            contents = self._contents(numbers)
            for sequence in numbers:
                if sequence not in contents:
                    raise self._lost(sequence, newest)
                entry = self._entry(sequence, contents[sequence])
                check_chain(entry, previous)
                yield entry
                previous = entry

    def put_if_absent(self, entry: Entry) -> bool:
        """Store an entry under its number unless there is one; return whether this write won.

        A request that is sent again because its answer was lost finds its own entry; so does a caller that repeats a write.
        The write id tells both from a lost race.

        :raises InvalidState: if the entry before it is missing: a log has no gaps.
        """
        sequence = entry.sequence
        if sequence < 1 or (sequence > 1 and self.read(sequence - 1) is None):
            raise InvalidState(
                f"log {self._prefix} has no entry {sequence - 1}, so entry {sequence} cannot follow it; read the log again and "
                "place the entry after its newest one"
            )
        content = entry.to_bytes()
        won = self._store.put_if_absent(self._key(sequence), content)
        if won:
            self._kept.add({sequence: content})
        else:
            winner = self.read(sequence)
            won = winner is not None and winner.write_id == entry.write_id
        if won and sequence % _HINT_EVERY == 0:
            self._write_hint(sequence)
        return won

    def _first_look(self) -> int:
        hinted = self._hint()
        newest = self._walk(hinted, _COLD_WINDOW) if hinted else 0
        return newest or self._list_newest()

    def _walk(self, start: int, window: int) -> int:
        """Return the newest number from one that is expected to be there; 0 if it is not."""
        first = start
        while first - start <= _FAR_WINDOW:
            numbers = range(first, first + window + 1)
            contents = self._contents(numbers)
            missing = next((sequence for sequence in numbers if sequence not in contents), 0)
            if missing == start:
                return 0
            if missing:
                return self._checked_end(missing, contents)
            first, window = numbers[-1] + 1, _FAR_WINDOW
        return self._list_newest()

    def _checked_end(self, missing: int, contents: Mapping[int, bytes]) -> int:
        """Return the newest number, given the first one that was not there; those after it were asked for at the same time."""
        newest = max((sequence for sequence in contents if sequence > missing), default=0)
        if not newest:
            return missing - 1
        if missing not in self._contents([missing]):  # else it was appended while they were read
            raise self._lost(missing, newest)
        return newest

    def _contents(self, sequences: Sequence[int]) -> dict[int, bytes]:
        """Return the entries that are there, from memory or the store."""
        contents = self._kept.of(sequences)
        asked = {self._key(sequence): sequence for sequence in sequences if sequence not in contents}
        if asked:
            fetched = {asked[key]: content for key, content in self._store.get_many(list(asked)).items()}
            self._kept.add(fetched)
            contents |= fetched
        return contents

    def _entry(self, sequence: int, content: bytes) -> Entry:
        entry = Entry.from_bytes(content)
        if entry.sequence != sequence:
            raise InvalidState(
                f"log {self._prefix} holds entry {entry.sequence} under the number {sequence}; restore the object from a backup"
            )
        return entry

    def _list_newest(self) -> int:
        newest = max((entry_sequence(name) for name in self._store.names(self._prefix)), default=0)
        if newest >= _HINT_EVERY:
            self._write_hint(newest)
        return newest

    def _hint(self) -> int:
        content = self._store.get(self._prefix + _HINT)
        try:
            return max(int(content), 0) if content else 0
        except ValueError:
            return 0

    def _write_hint(self, sequence: int) -> None:
        # A reader may lack the right to write, or the store may ask for patience: the hint is a convenience.
        with contextlib.suppress(RepositoryUnavailable):
            self._store.put(self._prefix + _HINT, str(sequence).encode())

    def _lost(self, sequence: int, newest: int) -> InvalidState:
        return InvalidState(
            f"log {self._prefix} has no entry {sequence} but goes on to {newest}; restore the object from a backup"
        )

    def _key(self, sequence: int) -> str:
        return self._prefix + entry_name(sequence)


class _Kept:
    """Entries in memory, the oldest used forgotten first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._contents: OrderedDict[int, bytes] = OrderedDict()
        self._size = 0

    def of(self, sequences: Sequence[int]) -> dict[int, bytes]:
        """Return those that are here."""
        with self._lock:
            found = {sequence: self._contents[sequence] for sequence in sequences if sequence in self._contents}
            for sequence in found:
                self._contents.move_to_end(sequence)
            return found

    def add(self, contents: Mapping[int, bytes]) -> None:
        """Keep some more."""
        with self._lock:
            for sequence, content in contents.items():
                if sequence not in self._contents:
                    self._contents[sequence] = content
                    self._size += len(content)
            while self._size > _KEPT_BYTES:
                self._size -= len(self._contents.popitem(last=False)[1])
