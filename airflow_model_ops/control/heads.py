"""The heads of a fleet: what every model on it should serve, read from the logs in one go."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from airflow_model_ops.control.commit import head_state, seconds_of
from airflow_model_ops.core.log import Entry, FactKind
from airflow_model_ops.core.ports import FleetPlan, Log, ModelPlan, Repository
from airflow_model_ops.core.state import ServingState
from airflow_model_ops.core.transitions import URGENT
from airflow_model_ops.core.versioning import Version


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The newest transition of a model and what the log says of its application.

    :param applied_at: Seconds since the epoch when it was applied; ``None``: not yet.
    :param former: The state before it; ``None`` for the first.
    """

    entry: Entry
    state: ServingState
    former: ServingState | None
    applied_at: float | None

    @property
    def generation(self) -> int:
        """The head's generation."""
        return self.entry.sequence


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
    return Head(entry=entry, state=state, former=former, applied_at=_applied_at(log, last, entry.sequence))


def read_heads(repository: Repository, *, fleet: str) -> dict[str, Head]:
    """Return the heads of all models that a fleet serves, by model name."""
    heads: dict[str, Head] = {}
    for model in repository.models():
        head = read_head(repository.log(model))
        if head is not None and head.state.fleet == fleet:
            heads[model] = head
    return heads


def fleet_plan(heads: Mapping[str, Head], *, fleet: str, now: float) -> FleetPlan:
    """Return what a target is asked to serve, derived from the heads and nothing else."""
    return FleetPlan(fleet=fleet, models={model: _model_plan(model, head, now) for model, head in heads.items()})


def _model_plan(model: str, head: Head, now: float) -> ModelPlan:
    action = head.entry.action
    return ModelPlan(
        model=model,
        generation=head.generation,
        state=head.state,
        spare=_named(head.state, head.former),
        urgent=action in URGENT,
        applied=head.applied_at is not None,
        settled_seconds=max(0.0, now - head.applied_at) if head.applied_at is not None else 0.0,
    )


def _named(*states: ServingState | None) -> tuple[Version, ...]:
    """Return every version that the states serve or must keep warm: what the last two generations name."""
    return tuple(sorted({version for state in states if state is not None for version in state.warm}))


def _applied_at(log: Log, last: Entry, generation: int) -> float | None:
    """Look for the fact ``applied`` of a generation, from the newest entry back to its transition."""
    entry: Entry | None = last
    while entry is not None and entry.sequence > generation:
        if entry.name == FactKind.APPLIED.value and entry.detail.get("generation") == generation:
            return seconds_of(entry.at)
        entry = log.read(entry.sequence - 1)
    return None
