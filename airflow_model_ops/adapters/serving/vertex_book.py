"""What is under way on Vertex AI, as the fleet's document ``vertex_operations`` keeps it. Pure.

An entry is written before its call is made, without the operation's name, and again with it before anything waits. So
whoever comes after a killed worker finds the operation's name, or an intent without one, and then looks for what came of it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace

from airflow_model_ops.adapters.serving.vertex_seen import Fault, Kind
from airflow_model_ops.core.errors import InvalidState
from airflow_model_ops.core.versioning import Version

DOCUMENT = "vertex_operations"
_REMEMBERED = 40
"""How many names of finished operations are kept, so that none of them is taken for a lost one."""
_FIRST_WAIT_SECONDS, _LONGEST_WAIT_SECONDS = 15.0, 600.0

Key = tuple[Kind, str]
"""What is done, and the name of the version it is done with (``""``: with the endpoint itself)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """An operation that was begun.

    :param begun: When its call was about to be made, seconds since the epoch.
    :param operation: Its name; ``None``: the call's answer was never seen.
    :param cancelled: Whether we asked to cancel it.
    """

    kind: Kind
    version: str
    begun: float
    operation: str | None = None
    cancelled: bool = False

    @property
    def key(self) -> Key:
        """What tells it from others: at most one runs of each."""
        return self.kind, self.version


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """What went wrong the last time.

    :param generation: Of the plan it was tried for: a later one tries at once, and what is permanent waits for one.
    :param tries: How often it went wrong in a row.
    :param until: When it may be tried again, seconds since the epoch.
    """

    kind: Kind
    version: str
    generation: int
    tries: int
    until: float
    fault: Fault

    @property
    def key(self) -> Key:
        """What went wrong."""
        return self.kind, self.version


@dataclass(frozen=True, slots=True, kw_only=True)
class Book:
    """All that is under way, and what later looks could not know.

    :param uploaded: Version name to its id in the registry, of uploads that are done.
    :param numbers: Version name to serving number, of every version that was ever uploaded or deployed here.
    :param finished: Names of operations that have ended, the last ones.
    """

    running: Mapping[Key, Running] = field(default_factory=dict)
    troubles: Mapping[Key, Trouble] = field(default_factory=dict)
    uploaded: Mapping[str, str] = field(default_factory=dict)
    numbers: Mapping[str, int] = field(default_factory=dict)
    finished: tuple[str, ...] = ()

    @property
    def unanswered(self) -> Running | None:
        """The call whose answer was never seen: there is at most one, because no other is made before it is cleared up."""
        return next((entry for entry in self.running.values() if entry.operation is None), None)

    @property
    def known(self) -> frozenset[str]:
        """The names of all operations that the book has heard of."""
        names = (entry.operation for entry in self.running.values() if entry.operation is not None)
        return frozenset({*names, *self.finished})

    def runs(self, kind: Kind, version: str) -> bool:
        """Whether such an operation is under way."""
        return (kind, version) in self.running

    def begun(self, kind: Kind, version: Version | None, *, at: float) -> Book:
        """Return the book with an intent."""
        name = version.name if version else ""
        numbers = {**self.numbers, version.name: version.number} if version and version.number else self.numbers
        running = {**self.running, (kind, name): Running(kind=kind, version=name, begun=at)}
        return replace(self, running=running, numbers=numbers)

    def named(self, key: Key, operation: str) -> Book:
        """Return the book with the operation's name."""
        return replace(self, running={**self.running, key: replace(self.running[key], operation=operation)})

    def cancelling(self, key: Key) -> Book:
        """Return the book with the note that we asked to cancel it."""
        return replace(self, running={**self.running, key: replace(self.running[key], cancelled=True)})

    def ended(self, key: Key, *, registry_version: str | None = None) -> Book:
        """Return the book without an operation that has ended well, or was never begun."""
        uploaded = {**self.uploaded, key[1]: registry_version} if registry_version else self.uploaded
        troubles = {other: trouble for other, trouble in self.troubles.items() if other != key}
        return replace(self._without(key), uploaded=uploaded, troubles=troubles)

    def failed(self, key: Key, fault: Fault, *, generation: int, at: float) -> Book:
        """Return the book without an operation that has failed, and with the time of the next try."""
        kind, version = key
        before = self.troubles.get(key)
        tries = 1 + (before.tries if before else 0)
        wait = min(_FIRST_WAIT_SECONDS * 2 ** min(tries - 1, 10), _LONGEST_WAIT_SECONDS)
        trouble = Trouble(kind=kind, version=version, generation=generation, tries=tries, until=at + wait, fault=fault)
        # The registry's id may be what was not found: it is looked up again.
        uploaded = {name: id_ for name, id_ in self.uploaded.items() if name != version or fault.status != "NOT_FOUND"}
        return replace(self._without(key), troubles={**self.troubles, key: trouble}, uploaded=uploaded)

    def hindrance(self, key: Key, *, generation: int, now: float) -> Trouble | None:
        """Return the trouble that forbids a try now; ``None`` if it may be made, as it always may for a later generation."""
        trouble = self.troubles.get(key)
        if trouble is None or trouble.generation < generation:
            return None
        # What is later than the longest wait was written by a clock that was wrong.
        waits = trouble.until - _LONGEST_WAIT_SECONDS <= now < trouble.until
        return trouble if trouble.fault.permanent or waits else None

    def to_bytes(self) -> bytes:
        """Return the stored form."""
        data = {
            "running": [asdict(entry) for entry in self.running.values()],
            "troubles": [asdict(trouble) for trouble in self.troubles.values()],
            "uploaded": dict(self.uploaded),
            "numbers": {name: str(number) for name, number in self.numbers.items()},
            "finished": self.finished,
        }
        return json.dumps(data, indent=1, sort_keys=True).encode()

    @classmethod
    def from_bytes(cls, content: bytes | None) -> Book:
        """Read the stored form; nothing stored is an empty book.

        :raises InvalidState: if it cannot be read.
        """
        if content is None:
            return cls()
        try:
            data = json.loads(content)
            running = [Running(**{**entry, "kind": Kind(entry["kind"])}) for entry in data["running"]]
            troubles = [
                Trouble(**{**entry, "kind": Kind(entry["kind"]), "fault": Fault(**entry["fault"])})
                for entry in data["troubles"]
            ]
            return cls(
                running={entry.key: entry for entry in running},
                troubles={trouble.key: trouble for trouble in troubles},
                uploaded={str(name): str(id_) for name, id_ in data["uploaded"].items()},
                numbers={str(name): int(number) for name, number in data["numbers"].items()},
                finished=tuple(data["finished"]),
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise InvalidState(
                f"the fleet's document {DOCUMENT!r} cannot be read ({error!r}); it is made anew from what Vertex AI says"
            ) from error

    def _without(self, key: Key) -> Book:
        entry = self.running.get(key)
        running = {other: kept for other, kept in self.running.items() if other != key}
        finished = (*self.finished, entry.operation) if entry and entry.operation else self.finished
        return replace(self, running=running, finished=finished[-_REMEMBERED:])
