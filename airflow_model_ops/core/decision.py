"""What a rule of the serving state answers, and what all rules share."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

from airflow_model_ops.core.errors import TransitionRefused
from airflow_model_ops.core.state import ServingState
from airflow_model_ops.core.versioning import Version


class Action(StrEnum):
    """What a transition did."""

    START_CANARY = "start_canary"
    SHIFT = "shift"
    PROMOTE = "promote"
    ABORT = "abort"
    ROLLBACK = "rollback"
    PIN_GOLDEN = "pin_golden"
    QUARANTINE = "quarantine"
    LIFT = "lift"
    HOLD = "hold"
    RESUME = "resume"
    RETIRE = "retire"
    ADOPT = "adopt"
    END_HOLD_BACK = "end_hold_back"


URGENT = frozenset({Action.ABORT, Action.ROLLBACK, Action.QUARANTINE})
"""Ways back: they are applied even when a server or the metrics cannot be reached."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The next serving state and what led to it.

    :param version: The version the action is about, if there is one.
    :param changed: ``False`` when the state already was what was asked for, so that nothing is to be committed.
    """

    action: Action
    state: ServingState
    reason: str
    version: Version | None = None
    changed: bool = True


def changed(action: Action, state: ServingState, reason: str, version: Version | None = None) -> Decision:
    """Return a decision that changes the state."""
    return Decision(action=action, state=state, reason=reason, version=version)


def unchanged(action: Action, state: ServingState, reason: str, version: Version | None = None) -> Decision:
    """Return a decision that finds what was asked for."""
    return Decision(action=action, state=state, reason=reason, version=version, changed=False)


def require_not_banned(state: ServingState, version: Version, purpose: str) -> None:
    """Refuse a quarantined or retired version.

    :raises TransitionRefused: saying for what it was wanted.
    """
    if version in state.quarantined:
        raise TransitionRefused(f"{version} is quarantined; a person must lift it before anyone may {purpose}")
    if version in state.retired:
        raise TransitionRefused(f"{version} is retired and its files are going; nobody may {purpose}")


def without_release(state: ServingState) -> ServingState:
    """Return the state without canary, live release and its hold; it remembers which release ended."""
    ended = state.release.fence if state.release else state.ended
    return replace(unheld(state), canary=None, release=None, ended=ended)


def unheld(state: ServingState) -> ServingState:
    """Return the state without the automation's hold; a person's stays until a person resumes."""
    return state if state.hold and state.hold.by_person else replace(state, hold=None)


def with_quarantine(state: ServingState, version: Version) -> ServingState:
    """Return the state with one more banned version, which cannot be golden any longer."""
    golden = None if state.golden and state.golden.version == version else state.golden
    return replace(state, quarantined=tuple(sorted({*state.quarantined, version})), golden=golden)


def without(versions: Iterable[Version], *removed: Version) -> tuple[Version, ...]:
    """Return versions in their order, without some of them."""
    return tuple(version for version in versions if version not in removed)


def names_of(versions: Iterable[Version]) -> str:
    """Return the names of versions, for a reason."""
    return ", ".join(version.name for version in versions)
