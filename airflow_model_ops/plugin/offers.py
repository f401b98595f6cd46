"""What may be done with a model, and why not: by the caller's permissions, and by what its state leaves to do. Pure.

The rules of the state decide again when an action is carried out; this only saves a person from asking for nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from airflow_model_ops.core.state import ServingState
from airflow_model_ops.plugin.datamodels.models import Offer
from airflow_model_ops.plugin.runs.action_dags import ABORT, DAG_OF, HOLD, LIFT, PIN, QUARANTINE, RESUME, ROLLBACK


def offers_of(state: ServingState | None, *, allowed: Mapping[str, bool]) -> list[Offer]:
    """Return all actions, in the order in which the page shows them.

    :param state: ``None``: it cannot be read, which must not take away a way back.
    :param allowed: By action, whether the caller may trigger its DAG.
    """
    return [_offer(action, dag_id, state, allowed=allowed[action]) for action, dag_id in DAG_OF.items()]


def _offer(action: str, dag_id: str, state: ServingState | None, *, allowed: bool) -> Offer:
    if not allowed:
        why_not: str | None = f"you may not trigger the DAG {dag_id}"
    else:
        why_not = _WHY_NOT[action](state) if state is not None else None
    return Offer(action=action, allowed=allowed, why_not=why_not, dag_id=dag_id)


def _no_rollback(state: ServingState) -> str | None:
    if state.canary or state.release or state.holdback or state.promoted or state.golden:
        return None
    return "nothing ever served"


def _no_pin(state: ServingState) -> str | None:
    return None if state.promoted or state.golden else "no version was ever stable"


def _no_hold(state: ServingState) -> str | None:
    hold = state.hold
    # A person's hold may take the place of the automation's, which would end with its release.
    return f"held already by {hold.by}: {hold.reason}" if hold and hold.by_person else None


def _no_resume(state: ServingState) -> str | None:
    return None if state.hold else "nothing is held"


def _no_abort(state: ServingState) -> str | None:
    return None if state.canary or state.release else "no release is live"


def _no_lift(state: ServingState) -> str | None:
    return None if state.quarantined else "no version is quarantined"


def _no_quarantine(_: ServingState) -> str | None:
    return None


_WHY_NOT: Mapping[str, Callable[[ServingState], str | None]] = MappingProxyType(
    {
        ROLLBACK: _no_rollback,
        PIN: _no_pin,
        HOLD: _no_hold,
        RESUME: _no_resume,
        ABORT: _no_abort,
        LIFT: _no_lift,
        QUARANTINE: _no_quarantine,
    }
)
