"""The heads of a fleet: what every model on it should serve, read from the logs in one go."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass

from airflow_model_ops.control.commit import head_state, seconds_of
from airflow_model_ops.core.errors import InvalidState, ModelOpsError
from airflow_model_ops.core.log import Entry, FactKind
from airflow_model_ops.core.ports import FleetPlan, Log, ModelPlan, Repository
from airflow_model_ops.core.state import ServingState
from airflow_model_ops.core.transitions import URGENT, Action
from airflow_model_ops.core.versioning import Version

_NEUTRAL = frozenset({Action.HOLD, Action.RESUME, Action.PIN_GOLDEN, Action.LIFT, Action.RETIRE})
"""What gives no version more traffic: a way back that waits to be applied stays one when this follows it."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The newest transition of a model and what the log says of its application.

    :param applied: The fact that it was applied; ``None``: not yet.
    :param former: The state before it; ``None`` for the first.
    :param urgent: Whether it is a way back, or what a person did since (hold, pin, ...) to a way back not yet applied.
    """

    entry: Entry
    state: ServingState
    former: ServingState | None
    applied: Entry | None
    urgent: bool

    @property
    def generation(self) -> int:
        """The head's generation."""
        return self.entry.sequence

    @property
    def applied_at(self) -> float | None:
        """Seconds since the epoch when it was applied; ``None``: not yet."""
        return seconds_of(self.applied.at) if self.applied is not None else None

    def age_seconds(self, now: float) -> float:
        """Return how long ago it was committed."""
        return now - seconds_of(self.entry.at)


def read_head(log: Log) -> Head | None:
    """Return the head of a model, or ``None`` before its first transition."""
    last = log.last()
    if last is None or last.generation == 0:
        return None
    entry = last if last.is_transition else log.read(last.generation)
    state = head_state(log, last)
    if entry is None:  # head_state has refused this already
        return None
    before = log.read(entry.sequence - 1)
    former = head_state(log, before) if before is not None and before.generation else None
    return Head(
        entry=entry,
        state=state,
        former=former,
        applied=applied_fact(log, last, entry.sequence),
        urgent=_is_way_back(log, entry),
    )


def read_heads(repository: Repository, *, fleet: str, unread: dict[str, str] | None = None) -> dict[str, Head]:
    """Return the heads of all models that a fleet serves, by model name.

    A model whose log cannot be read is left out, which leaves what it serves as it is: the others must go on.

    :param unread: Is given those models, of this fleet or another, with the reason.
    """
    heads: dict[str, Head] = {}
    for model in repository.models():
        try:
            head = read_head(repository.log(model))
        except (ModelOpsError, OSError, ValueError) as error:
            _log.error("model %r of fleet %r is left as it serves: %s", model, fleet, error)
            if unread is not None:
                unread[model] = str(error)
            continue
        if head is not None and head.state.fleet == fleet:
            heads[model] = head
    return heads


def fleet_plan(heads: Mapping[str, Head], *, fleet: str, now: float) -> FleetPlan:
    """Return what a target is asked to serve, derived from the heads and nothing else."""
    return FleetPlan(fleet=fleet, models={model: _model_plan(model, head, now) for model, head in heads.items()})


def _model_plan(model: str, head: Head, now: float) -> ModelPlan:
    return ModelPlan(
        model=model,
        generation=head.generation,
        state=head.state,
        spare=_spared(head),
        urgent=head.urgent,
        applied=head.applied_at is not None,
        pins=head.entry.action is Action.PIN_GOLDEN,
        settled_seconds=max(0.0, now - head.applied_at) if head.applied_at is not None else 0.0,
    )


def _spared(head: Head) -> tuple[Version, ...]:
    """Return what must stay loaded: all that the head keeps warm, and what a late worker of the one before may shift to."""
    if head.former is None:
        return tuple(sorted(head.state.warm))
    served = (version for version, _ in head.former.split)
    return tuple(sorted({*head.state.warm, *head.former.labels.values(), *served}))


def _is_way_back(log: Log, head: Entry) -> bool:
    """Whether a head is a way back, looking through neutral transitions back to one that still waits to be applied."""
    entry = head
    while entry.action in _NEUTRAL:
        before = _older(log.read(entry.sequence - 1), entry)
        if before is None or before.generation == 0:
            return False
        former = before if before.is_transition else _older(log.read(before.generation), before)
        if former is None or applied_fact(log, before, former.sequence) is not None:
            return False
        entry = former
    return entry.action in URGENT


def applied_fact(log: Log, last: Entry | None, generation: int) -> Entry | None:
    """Look for the fact ``applied`` of a generation, from the newest entry back to its transition."""
    entry = last
    while entry is not None and entry.sequence > generation:
        if entry.name == FactKind.APPLIED.value and entry.detail.get("generation") == generation:
            return entry
        entry = _older(log.read(entry.sequence - 1), entry)
    return None


def _older(found: Entry | None, entry: Entry) -> Entry | None:
    """Return an entry found on the way back; one that does not lead back would keep the walk, and the fleet, for ever.

    :raises InvalidState: if it is not older.
    """
    if found is not None and found.sequence >= entry.sequence:
        raise InvalidState(
            f"log entry {found.sequence} lies where one before {entry.sequence} belongs; restore the log"
        )
    return found
