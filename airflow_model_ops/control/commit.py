"""The second move: append what was decided to the model's log, whoever else is writing.

Source of the protocol: the put-if-absent commit of table formats such as Delta Lake; the log is the truth and the lock
in one. A writer that loses the race reads the new head and decides again, so a rule is always checked against the state
it changes.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from airflow_model_ops.core.errors import CommitConflict, InvalidConfig, InvalidState
from airflow_model_ops.core.log import Entry, EntryKind, FactKind, Origin, fact, transition
from airflow_model_ops.core.ports import Clock, Log
from airflow_model_ops.core.state import Fence, ServingState
from airflow_model_ops.core.transitions import Action, Decision
from airflow_model_ops.core.versioning import Version

MOST_TRIES = 100
"""Lost races before a writer gives up; with jitter this outlasts 20 writers that never stop."""
REQUEST_LOOKBACK = 200
"""How many entries back a retry looks for its own request."""
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.002, 0.1


def iso_time(seconds: float) -> str:
    """Return seconds since the epoch as ISO 8601 in UTC, to the millisecond."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


def seconds_of(iso: str) -> float:
    """Return ISO 8601 as seconds since the epoch."""
    return datetime.fromisoformat(iso).timestamp()


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """What a commit left as the head.

    :param generation: The generation that is to be applied.
    :param changed: Whether this call appended it; ``False`` if it held already or a former try had committed it.
    :param former: The state before; ``None`` if a former try had committed it.
    """

    state: ServingState
    generation: int
    reason: str
    changed: bool
    version: Version | None = None
    former: ServingState | None = None


class Committer:
    """Reads and appends to the log of one model.

    :param initial: The state of a model whose log is empty.
    """

    def __init__(self, *, log: Log, initial: ServingState, clock: Clock) -> None:
        self.log = log
        self._initial = initial
        self._clock = clock

    def head(self) -> tuple[ServingState, int]:
        """Return the newest state and its generation (0: the model has none yet)."""
        state, generation, _ = self._read()
        return state, generation

    def commit(
        self,
        decide: Callable[[ServingState], Decision],
        *,
        origin: Origin,
        release: Fence | None = None,
        evidence: str | None = None,
    ) -> Commit:
        """Decide on the head and append the decision; if another writer was first, decide again on the new head.

        With a ``request`` in its origin, a try that finds a transition of the same request adopts it: also when two
        tries of one wish run at once, the wish is granted once.

        :raises TransitionRefused: whenever ``decide`` does; nothing is appended then.
        :raises InvalidConfig: if another fleet serves the model; only an abort, which that fleet's watcher applies, is
            committed nevertheless.
        :raises CommitConflict: if other writers won :data:`MOST_TRIES` times.
        """
        write_id = uuid.uuid4().hex
        searched = 0
        for attempt in range(MOST_TRIES):
            state, generation, last = self._read()
            earlier = self._find_request(origin.request, last=last, after=searched, kind=EntryKind.TRANSITION)
            if earlier is not None:
                return _adopted(earlier, state=state, generation=generation)
            searched = last.sequence if last else 0
            decision = decide(state)
            if decision.action is not Action.ABORT:
                self._require_own_fleet(state)
            if not decision.changed:
                return Commit(
                    state=state,
                    generation=generation,
                    reason=decision.reason,
                    changed=False,
                    version=decision.version,
                    former=state,
                )
            entry = transition(
                decision, origin=origin, at=self._now(), write_id=write_id, release=release, evidence=evidence
            ).after(last)
            if self.log.put_if_absent(entry):
                return Commit(
                    state=decision.state,
                    generation=entry.generation,
                    reason=decision.reason,
                    changed=True,
                    version=decision.version,
                    former=state,
                )
            self._pause(attempt)
        raise CommitConflict(f"other writers won the next log entry {MOST_TRIES} times in a row; try again")

    def record(
        self,
        kind: FactKind,
        *,
        reason: str,
        origin: Origin,
        version: Version | None = None,
        release: Fence | None = None,
        evidence: str | None = None,
        detail: Mapping[str, Any] | None = None,
    ) -> Entry:
        """Append a fact. With a ``request`` in its origin, a retry finds the fact of its first try and adopts it.

        :raises CommitConflict: if other writers won :data:`MOST_TRIES` times.
        """
        write_id = uuid.uuid4().hex
        searched = 0
        for attempt in range(MOST_TRIES):
            last = self.log.last()
            earlier = self._find_request(origin.request, last=last, after=searched, kind=EntryKind.FACT, name=kind)
            if earlier is not None:
                return earlier
            searched = last.sequence if last else 0
            entry = fact(
                kind,
                reason=reason,
                origin=origin,
                at=self._now(),
                write_id=write_id,
                version=version,
                release=release,
                evidence=evidence,
                detail=detail,
            ).after(last)
            if self.log.put_if_absent(entry):
                return entry
            self._pause(attempt)
        raise CommitConflict(f"other writers won the next log entry {MOST_TRIES} times in a row; try again")

    def _read(self) -> tuple[ServingState, int, Entry | None]:
        last = self.log.last()
        if last is None or last.generation == 0:
            return self._initial, 0, last
        return head_state(self.log, last), last.generation, last

    def _require_own_fleet(self, state: ServingState) -> None:
        ours = self._initial.fleet
        if state.fleet != ours:
            raise InvalidConfig(
                f"fleet {state.fleet!r} serves the model, but its connections.target is a connection of fleet {ours!r}; "
                f"nothing was changed: name the connection of fleet {state.fleet!r}, or give the model another name"
            )

    def _find_request(
        self, request: str | None, *, last: Entry | None, after: int, kind: EntryKind, name: str | None = None
    ) -> Entry | None:
        """Look for an entry of the same request from ``last`` back to ``after``, which was searched before."""
        if request is None or last is None:
            return None
        entry: Entry | None = last
        oldest = max(after, last.sequence - REQUEST_LOOKBACK)
        while entry is not None and entry.sequence > oldest:
            if entry.origin.request == request and entry.kind is kind and name in (None, entry.name):
                return entry
            entry = self.log.read(entry.sequence - 1)
        return None

    def _now(self) -> str:
        return iso_time(self._clock.now())

    def _pause(self, attempt: int) -> None:
        longest = min(_LONGEST_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS * 2**attempt)
        self._clock.sleep(random.uniform(0, longest))  # noqa: S311 (jitter, not a secret)


def _adopted(entry: Entry, *, state: ServingState, generation: int) -> Commit:
    return Commit(
        state=state,
        generation=generation,
        reason=f"already committed by an earlier try: {entry.reason}",
        changed=False,
        version=entry.version,
    )


def head_state(log: Log, last: Entry) -> ServingState:
    """Return the state of the newest transition up to ``last``.

    :raises InvalidState: if the log does not hold it.
    """
    head = last if last.is_transition else log.read(last.generation)
    if head is None or head.state is None:
        raise InvalidState(f"log entry {last.sequence} names generation {last.generation}, which the log does not hold")
    return head.state
