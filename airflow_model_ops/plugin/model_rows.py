"""A model's row in the list, from what was read of its log and of its fleet. Pure."""

from __future__ import annotations

from airflow_model_ops.config.model_file import ModelIdentity
from airflow_model_ops.core.checks import Assessment
from airflow_model_ops.core.log import FactKind
from airflow_model_ops.core.state import Canary, Hold, ServingState
from airflow_model_ops.plugin.backends.fleet_look import FleetLook
from airflow_model_ops.plugin.datamodels.base import Event, Share
from airflow_model_ops.plugin.datamodels.models import CanaryRow, CheckRow, HoldRow, ModelRow, Traffic
from airflow_model_ops.plugin.history.entries import event_of, split_of
from airflow_model_ops.plugin.model_reading import Judged, Reading

TF_SERVING, VERTEX_AI = "tf_serving", "vertex_ai"


def row_of(model: ModelIdentity, reading: Reading | None, look: FleetLook, *, trouble: str | None) -> ModelRow:
    """Return a row.

    :param reading: What was read last; ``None``: nothing yet, and the row has little more than the name.
    :param trouble: Why the log cannot be read now.
    """
    state = reading.state if reading else None
    canary = state.canary if state else None
    return ModelRow(
        model=model.model,
        fleet=state.fleet if state else reading.fleet if reading else None,
        platform=TF_SERVING if model.target.vertex_ai is None else VERTEX_AI,
        stable=state.stable.name if state and state.stable else None,
        stable_since=reading.stable_since if reading else None,
        split=split_of(state) if state else [],
        canary=_canary_row(canary, reading.judged if reading else None) if canary else None,
        hold_back=_held_back(state),
        golden=state.golden.version.name if state and state.golden else None,
        quarantined=len(state.quarantined) if state else 0,
        hold=hold_row(state.hold) if state and state.hold else None,
        last_event=_last_event(reading) if reading else None,
        traffic=traffic_of(reading),
        live=is_live(reading),
        drift=look.drift.get((model.model, reading.head.generation)) if reading and reading.head else None,
        health=look.health,
        trouble=trouble,
    )


def traffic_of(reading: Reading | None) -> Traffic:
    """Return whether the fleet follows the head, as the log says."""
    if reading is None or reading.head is None:
        return Traffic.NONE
    return Traffic.CHANGING if reading.head.applied is None else Traffic.APPLIED


def is_live(reading: Reading | None) -> bool:
    """Whether something is going on of which the page wants to see the next moment."""
    state = reading.state if reading else None
    if state is None:
        return False
    return bool(state.release or state.holdback) or traffic_of(reading) is Traffic.CHANGING


def hold_row(hold: Hold) -> HoldRow:
    """Return who holds a model; the log writes ``person ada``, the page ``ada``."""
    return HoldRow(by=hold.by.partition(" ")[2] or hold.by, by_person=hold.by_person, reason=hold.reason)


def _last_event(reading: Reading) -> Event | None:
    """Return the newest entry; after a change was applied the change itself, which says who wanted it and why."""
    last = reading.last
    if reading.head is not None and last is not None and last.name == FactKind.APPLIED.value:
        last = reading.head.entry
    return event_of(last) if last is not None else None


def _canary_row(canary: Canary, judged: Judged | None) -> CanaryRow:
    return CanaryRow(
        version=canary.version.name,
        percent=canary.percent,
        verdict=judged.verdict if judged else None,
        reason=judged.reason if judged else None,
        checks=[_check_row(each) for each in judged.assessments] if judged else [],
        judged_at=judged.at if judged else None,
    )


def _check_row(said: Assessment) -> CheckRow:
    return CheckRow(check=said.check, verdict=said.verdict.value, reason=said.reason, decides=said.decides)


def _held_back(state: ServingState | None) -> Share | None:
    held = state.holdback if state else None
    return Share(version=held.version.name, percent=held.percent) if held else None
