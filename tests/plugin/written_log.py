"""A log in memory that a test writes entry by entry, with whatever times it likes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow_model_ops.core.decision import Action, Decision
from airflow_model_ops.core.log import Entry, FactKind, Origin, fact, transition
from airflow_model_ops.core.state import Actor, ActorKind, Canary, Fence, ServingState
from airflow_model_ops.core.versioning import Scheme, Version, VersionNaming
from airflow_model_ops.testing import InMemoryLog

NAMING = VersionNaming(scheme=Scheme.SEMANTIC, prefix="digits")
NOON = datetime(2023, 6, 1, 12, tzinfo=UTC)
ADA = Actor(kind=ActorKind.PERSON, name="ada")


def v(major: int) -> Version:
    return NAMING.parse(f"digits-v{major}.0.0")


def at(minutes: float) -> datetime:
    """Return a time of the day, in minutes since noon."""
    return NOON + timedelta(minutes=minutes)


@dataclass
class WrittenLog(InMemoryLog):
    """A log of one model.

    :ivar reads: The numbers that were read, one by one or in passing.
    """

    reads: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def read(self, sequence: int) -> Entry | None:
        self.reads.append(sequence)
        return super().read(sequence)

    def commit(
        self,
        minutes: float,
        *,
        canary: float = 0,
        action: Action = Action.SHIFT,
        run: Mapping[str, str] | None = None,
        actor: Actor = ADA,
    ) -> Entry:
        """Append a transition: version 1 is stable, version 2 the canary with a share."""
        state = ServingState(fleet="main", stable=v(1), canary=Canary(version=v(2), percent=canary) if canary else None)
        decision = Decision(action=action, state=state, reason=f"canary to {canary:g} %", version=v(2))
        return self._append(
            transition(decision, origin=_by(actor, run), at=at(minutes).isoformat(), write_id=str(minutes))
        )

    def confirm(self, minutes: float, *, split: Mapping[str, float] | None = None) -> Entry:
        """Append the fact that the newest transition serves."""
        last = self.last()
        assert last is not None
        head = super().read(last.generation)
        assert head is not None
        assert head.state is not None
        split = split or {str(version.number): percent for version, percent in head.state.split}
        return self.note(FactKind.APPLIED, minutes, detail={"generation": head.sequence, "split": dict(split)})

    def note(
        self,
        kind: FactKind,
        minutes: float,
        *,
        detail: Mapping[str, Any] | None = None,
        release: Fence | None = None,
        evidence: str | None = None,
    ) -> Entry:
        """Append a fact."""
        return self._append(
            fact(
                kind,
                reason=f"{kind.value} at {minutes:g}",
                origin=_by(ADA, None),
                at=at(minutes).isoformat(),
                write_id=str(minutes),
                version=v(2),
                detail=detail,
                release=release,
                evidence=evidence,
            )
        )

    def _append(self, entry: Entry) -> Entry:
        placed = entry.after(self.last())
        assert self.put_if_absent(placed)
        return placed


def _by(actor: Actor, run: Mapping[str, str] | None) -> Origin:
    return Origin(actor=actor, run=dict(run or {}))
