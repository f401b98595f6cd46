"""Looking at a fleet: whether its servers and routers answer, and whether they hold what the applied heads say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from airflow_model_ops.control.heads import Head, fleet_plan
from airflow_model_ops.core.errors import ModelOpsError
from airflow_model_ops.core.ports import Target
from airflow_model_ops.hooks.wiring import Fleet
from airflow_model_ops.plugin.datamodels.base import Backend, Part, Trouble
from airflow_model_ops.plugin.datamodels.models import Health


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetLook:
    """What a look at a fleet has shown.

    :param health: Neither value nor trouble: nobody has looked yet.
    :param drift: Models of which something else serves than an applied head says, by name and the head's generation, each
        with a sentence.
    """

    health: Part[Health] = field(default_factory=Part[Health])
    drift: Mapping[tuple[str, int], str] = field(default_factory=dict)


def look_at(fleet: Fleet, *, models: Sequence[str], heads: Mapping[str, Head]) -> FleetLook:
    """Ask a fleet's servers and routers; takes as long as the target's time-outs do.

    :param models: All models that the fleet may serve, at least one.
    :param heads: The heads of those that have one.
    """
    try:
        health = _health(fleet.target, models[0])
    except (ModelOpsError, OSError) as error:
        return FleetLook(health=unanswered(str(error)))
    applied = {
        model: head for model, head in heads.items() if head.applied is not None and head.state.fleet == fleet.name
    }
    try:
        drift = _drift(fleet, applied) if applied and health.answering else {}
    except (ModelOpsError, OSError) as error:
        health = health.model_copy(update={"reason": health.reason or str(error)})
        drift = {}
    return FleetLook(health=Part(value=health), drift=drift)


def unanswered(reason: str) -> Part[Health]:
    """Return the health of a fleet that cannot be asked."""
    return Part(trouble=Trouble(backend=Backend.FLEET, reason=reason))


def _health(target: Target, model: str) -> Health:
    loaded = target.observe(model).loaded
    answering = sum(numbers is not None for numbers in loaded.values())
    try:
        target.check()
    except ModelOpsError as error:
        return Health(answering=answering, servers=len(loaded), reason=str(error))
    return Health(answering=answering, servers=len(loaded), reason=None)


def _drift(fleet: Fleet, applied: Mapping[str, Head]) -> dict[tuple[str, int], str]:
    """Say which models have strayed from applied heads.

    Routes of a newer generation than the head that was read are no drift: the log has gone on meanwhile.
    """
    plan = fleet_plan(applied, fleet=fleet.name, now=fleet.clock.now())
    found = dict(fleet.target.astray(plan))
    derived = fleet.target.document_generations()
    for model, head in applied.items():
        generation = derived.get(model, 0)
        if generation < head.generation:
            has = f"generation {generation}" if generation else "no generation"
            found.setdefault(
                model, f"the routes are those of {has}; the log's head is {head.generation}, and was applied"
            )
    return {(model, applied[model].generation): why for model, why in found.items() if model in applied}
