"""Entries of a model's append-only log: the form that is stored, hash-chained and projected into ML Metadata.

A transition changes the serving state; a fact records what happened (pushed, applied, ...). Both take the next sequence
number, so the log has one order. Each carries the digest of the entry before it, so that an edit, a gap or a swap shows.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from airflow_model_ops.core.errors import InvalidState
from airflow_model_ops.core.plain_text import plain_text
from airflow_model_ops.core.state import Actor, ActorKind, Fence, ServingState
from airflow_model_ops.core.transitions import Action, Decision
from airflow_model_ops.core.versioning import Version

SCHEMA_VERSION = 1
FIRST_DIGEST = "0" * 64
"""What the first entry names as the digest of the entry before it."""


class FactKind(StrEnum):
    """What a fact records."""

    PUSHED = "pushed"
    VALIDATED = "validated"
    VERDICT = "verdict"
    APPLIED = "applied"
    RETIRED = "retired"


class EntryKind(StrEnum):
    """The two kinds of log entries."""

    TRANSITION = "transition"
    FACT = "fact"


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where an entry comes from.

    :param run: The DAG run, task and try that wrote it, as ``dag_id``, ``run_id``, ``task_id``, ``try``; empty outside Airflow.
    :param request: Names the wish behind the entry: a retry that finds its own request in the log adopts that entry.
    """

    actor: Actor
    run: Mapping[str, str] = field(default_factory=dict)
    request: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One entry of a model's log.

    :param sequence: Its number, from 1 without gaps.
    :param generation: The sequence of the newest transition up to and including this entry; 0 before the first.
    :param write_id: Random; tells a writer whether the entry it finds is its own retransmitted write.
    :param name: The action of a transition or the kind of a fact.
    :param at: When it was written, ISO 8601 in UTC.
    :param state: The state after a transition; ``None`` for a fact.
    :param evidence: Where the evidence behind it is kept, if there is any.
    :param detail: What else belongs to it; JSON.
    :param stored: The bytes it was read from; ``None`` for an entry made in this process. Digests are over these, so that
        they hold even when a later version of this package writes more keys.
    :raises InvalidState: for a transition without a state, or a fact with one.
    """

    kind: EntryKind
    name: str
    at: str
    reason: str
    origin: Origin
    write_id: str
    version: Version | None = None
    release: Fence | None = None
    evidence: str | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)
    state: ServingState | None = None
    sequence: int = 0
    generation: int = 0
    previous_digest: str = FIRST_DIGEST
    stored: bytes | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.is_transition == (self.state is None):
            raise InvalidState(
                f"log entry {self.sequence} ({self.kind} {self.name!r}) has {'no' if self.state is None else 'a'} serving "
                "state; transitions carry the state after them, facts carry none"
            )

    @property
    def is_transition(self) -> bool:
        """Whether the entry changed the serving state."""
        return self.kind is EntryKind.TRANSITION

    @property
    def action(self) -> Action | None:
        """The action of a transition; ``None`` for a fact."""
        return Action(self.name) if self.is_transition else None

    def after(self, previous: Entry | None) -> Entry:
        """Return this entry as the one that follows ``previous`` in the log."""
        sequence = previous.sequence + 1 if previous else 1
        generation = sequence if self.is_transition else (previous.generation if previous else 0)
        digest = previous.digest if previous else FIRST_DIGEST
        return replace(self, sequence=sequence, generation=generation, previous_digest=digest)

    @property
    def digest(self) -> str:
        """SHA-256 of the stored bytes, in hex."""
        return hashlib.sha256(self.to_bytes()).hexdigest()

    def to_bytes(self) -> bytes:
        """Return the bytes to store: JSON with sorted keys, so that equal entries have equal digests."""
        if self.stored is not None:
            return self.stored
        data = {
            "schema": SCHEMA_VERSION,
            "sequence": self.sequence,
            "generation": self.generation,
            "previous_digest": self.previous_digest,
            "write_id": self.write_id,
            "kind": self.kind.value,
            "name": self.name,
            "at": self.at,
            "reason": self.reason,
            "actor": {"kind": self.origin.actor.kind.value, "name": self.origin.actor.name},
            "run": dict(self.origin.run),
            "request": self.origin.request,
            "version": self.version.to_json() if self.version else None,
            "release": {"id": self.release.release, "attempt": self.release.attempt} if self.release else None,
            "evidence": self.evidence,
            "detail": dict(self.detail),
            "state": self.state.to_json() if self.state else None,
        }
        text = json.dumps(data, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        # A file name in an error's words may hold lone surrogates; an abort must not fail for that. JSON reads \\udcXX back.
        return text.encode(errors="backslashreplace")

    @classmethod
    def from_bytes(cls, content: bytes) -> Entry:
        """Read a stored entry.

        :raises InvalidState: if it is not one, or of a newer schema than this version of the package knows.
        """
        try:
            data = json.loads(content)
            if data["schema"] != SCHEMA_VERSION:
                raise InvalidState(
                    f"log entry {data.get('sequence')} has schema {data['schema']}; this package reads {SCHEMA_VERSION}: upgrade it"
                )
            entry = _entry(data)
        except (AttributeError, KeyError, OverflowError, RecursionError, TypeError, ValueError) as error:
            if isinstance(error, InvalidState):
                raise
            raise InvalidState(f"log entry cannot be read ({error!r}): {content[:200]!r}") from error
        object.__setattr__(entry, "stored", content)  # not an argument: a changed copy must not keep the old bytes
        return entry


def transition(
    decision: Decision,
    *,
    origin: Origin,
    at: str,
    write_id: str,
    release: Fence | None = None,
    evidence: str | None = None,
) -> Entry:
    """Return the entry that commits a decision; it gets its place in the log from :meth:`Entry.after`."""
    return Entry(
        kind=EntryKind.TRANSITION,
        name=decision.action.value,
        at=at,
        reason=plain_text(decision.reason),
        origin=origin,
        write_id=write_id,
        version=decision.version,
        release=release,
        evidence=evidence,
        state=decision.state,
    )


def fact(
    kind: FactKind,
    *,
    reason: str,
    origin: Origin,
    at: str,
    write_id: str,
    version: Version | None = None,
    release: Fence | None = None,
    evidence: str | None = None,
    detail: Mapping[str, Any] | None = None,
) -> Entry:
    """Return an entry that records a fact."""
    return Entry(
        kind=EntryKind.FACT,
        name=kind.value,
        at=at,
        reason=plain_text(reason),
        origin=origin,
        write_id=write_id,
        version=version,
        release=release,
        evidence=evidence,
        detail=detail or {},
    )


def check_chain(entry: Entry, previous: Entry | None) -> None:
    """Check that an entry follows another one.

    :raises InvalidState: naming the first thing that does not fit.
    """
    expected = replace(entry).after(previous)
    for part in ("sequence", "generation", "previous_digest"):
        if getattr(entry, part) != getattr(expected, part):
            raise InvalidState(
                f"log entry {entry.sequence} does not follow entry {previous.sequence if previous else 0}: its {part} is "
                f"{getattr(entry, part)!r}, not {getattr(expected, part)!r}; the log was edited, or an entry is lost"
            )


def _entry(data: dict[str, Any]) -> Entry:
    _check_types(data)
    actor = Actor(kind=ActorKind(data["actor"]["kind"]), name=data["actor"]["name"])
    release = data["release"]
    return Entry(
        kind=EntryKind(data["kind"]),
        name=data["name"],
        at=data["at"],
        reason=data["reason"],
        origin=Origin(actor=actor, run=data["run"], request=data["request"]),
        write_id=data["write_id"],
        version=Version.from_json(data["version"]) if data["version"] else None,
        release=Fence(release=release["id"], attempt=release["attempt"]) if release else None,
        evidence=data["evidence"],
        detail=data["detail"],
        state=ServingState.from_json(data["state"]) if data["state"] else None,
        sequence=data["sequence"],
        generation=data["generation"],
        previous_digest=data["previous_digest"],
    )


def _check_types(data: dict[str, Any]) -> None:
    """Check what nothing else would: a wrong type must show here, not where a fleet is served from it.

    :raises ValueError: or TypeError, OverflowError, naming the part.
    """
    texts = {part: data[part] for part in ("name", "at", "reason", "write_id", "previous_digest")}
    texts["actor"] = data["actor"]["name"]
    texts |= {part: data[part] for part in ("request", "evidence") if data[part] is not None}
    numbers = {part: data[part] for part in ("sequence", "generation")}
    if data["release"]:
        texts["release"], numbers["attempt"] = data["release"]["id"], data["release"]["attempt"]
    mappings = {part: data[part] for part in ("run", "detail")}
    for kind, parts in ((str, texts), (int, numbers), (dict, mappings)):
        for part, value in parts.items():
            if type(value) is not kind:
                raise TypeError(f"{part} {value!r} is not of type {kind.__name__}")
    if not 0 <= data["generation"] <= data["sequence"]:
        raise ValueError(f"generation {data['generation']} does not belong to sequence {data['sequence']}")
    datetime.fromisoformat(data["at"]).timestamp()
    if data["kind"] == EntryKind.TRANSITION.value:
        Action(data["name"])
