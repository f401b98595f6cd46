"""The rules: pure functions from a serving state to the next one, with a reason, or a refusal.

Nothing else in this package decides what may serve. A function takes the state and what was asked, never a clock and
never I/O; it returns a :class:`Decision` or raises a subclass of
:class:`~airflow_model_ops.core.errors.TransitionRefused`. Each is idempotent where a retry could repeat it: asking for
what already holds gives ``changed=False``.

This module holds the rules of a release and its watch; those of the ways back are in ``ways_back.py``, those of what
stands beside a release in ``standing.py``, and both are offered here, too.
"""

from __future__ import annotations

from dataclasses import replace

from airflow_model_ops.core.decision import (
    URGENT,
    Action,
    Decision,
    changed,
    require_not_banned,
    unchanged,
    unheld,
    without,
    without_release,
)
from airflow_model_ops.core.errors import (
    InvalidState,
    ModelOnHold,
    PreEmpted,
    ReleaseBusy,
    TransitionRefused,
)
from airflow_model_ops.core.standing import adopt, hold, lift, pin_golden, quarantine, resume, retire
from airflow_model_ops.core.state import (
    LARGEST_HOLD_BACK,
    PERCENT_STEP,
    Canary,
    Fence,
    Holdback,
    LiveRelease,
    ServingState,
)
from airflow_model_ops.core.versioning import Version
from airflow_model_ops.core.ways_back import (
    abort,
    rollback,
    rollback_guarded,
    rollback_watched,
    who_is_live,
    who_is_watched,
)

__all__ = [
    "URGENT",
    "Action",
    "Decision",
    "abort",
    "adopt",
    "end_hold_back",
    "hold",
    "lift",
    "pin_golden",
    "promote",
    "quarantine",
    "resume",
    "retire",
    "rollback",
    "rollback_guarded",
    "rollback_watched",
    "shift",
    "start_canary",
]


def start_canary(
    state: ServingState,
    *,
    release: LiveRelease,
    percent: float = 0,
    lease_expired: bool = False,
    keep_warm: int | None = None,
) -> Decision:
    """Put a version on trial: loaded, labelled and given ``percent`` of the traffic (0: none yet).

    It ends the hold-back of the release before it, and with that its watch. A hold of the automation ends with the attempt it
    belongs to; only a person's stops the next one.

    :param lease_expired: Whether the lease of the live release has run out, which makes it an abandoned one.
    :param keep_warm: How many earlier stable versions stay loaded from now on; ``None``: as many as before.
    :raises ReleaseBusy: if another release is live.
    :raises ModelOnHold: if a person holds the model.
    :raises PreEmpted: if a newer attempt of the same release is live, or this one has ended: a late retry starts nothing.
    """
    version = release.version
    live = state.release
    if _is_over(release.fence, state):
        raise _pre_empted(release.fence, state)
    _require_candidate(state, version)
    if live and live.id != release.id and not lease_expired:
        raise ReleaseBusy(
            f"release {live.id!r} of version {live.version} is live; wait for it to end or abort it, then start {version}"
        )
    state = unheld(state) if live and live.fence != release.fence else state
    _require_no_hold(state, f"start the canary {version}")
    canary = Canary(version=version, percent=_ramp(state, percent, zero_allowed=True))
    if live and live.fence == release.fence and state.canary == canary:
        return unchanged(
            Action.START_CANARY, state, f"{version} already is the canary at {canary.percent:g} %", version
        )
    reason = f"canary {version} starts at {canary.percent:g} % of the traffic"
    if live and live.id != release.id:
        reason += f"; release {live.id!r} was abandoned: its lease had run out"
    if state.holdback:
        reason += f"; {state.holdback.version} is no longer held back: a newer release starts"
    started = replace(
        without_release(state) if live and live.id != release.id else state,
        canary=canary,
        release=release,
        holdback=None,
        keep_warm=state.keep_warm if keep_warm is None else keep_warm,
    )
    return changed(Action.START_CANARY, started, reason, version)


def shift(state: ServingState, *, fence: Fence, percent: float) -> Decision:
    """Give the live canary another share of the traffic.

    :raises PreEmpted: if the asking attempt is no longer the live one.
    :raises ModelOnHold: if a person holds the model.
    """
    canary = _require_live_canary(state, fence)
    _require_no_hold(state, f"shift traffic to {canary.version}")
    share = _ramp(state, percent, zero_allowed=False)
    if canary.percent == share:
        return unchanged(Action.SHIFT, state, f"{canary.version} already gets {share:g} %", canary.version)
    reason = f"canary {canary.version} goes from {canary.percent:g} % to {share:g} % of the traffic"
    return changed(Action.SHIFT, replace(state, canary=replace(canary, percent=share)), reason, canary.version)


def promote(
    state: ServingState,
    *,
    fence: Fence,
    version: Version,
    proof: str,
    hold_back: float = 0,
    hold_back_until: str | None = None,
) -> Decision:
    """Make the live canary the stable version and end its release.

    :param version: The version that was approved; it must be the canary.
    :param proof: The evidence in a sentence, or "without proof".
    :param hold_back: The share of traffic that the former stable version keeps, in percent; 0: none. It gets none either
        when there is no former one or it is quarantined.
    :param hold_back_until: When it is meant to end, ISO 8601 in UTC; see :class:`~airflow_model_ops.core.state.Holdback`.
    :raises PreEmpted: if the asking attempt is no longer the live one.
    :raises ModelOnHold: if a person holds the model.
    """
    if state.stable == version and not state.canary and not state.release:
        return unchanged(Action.PROMOTE, state, f"{version} already is stable", version)
    canary = _require_live_canary(state, fence)
    if canary.version != version:
        raise TransitionRefused(f"cannot promote {version}: the canary is {canary.version}; approve that one by name")
    _require_no_hold(state, f"promote {version}")
    _require_hold_back(hold_back)
    former = (state.stable,) if state.stable else ()
    held_back = [each for each in former if hold_back and each not in state.quarantined]
    promoted = replace(
        without_release(state),
        stable=version,
        earlier=without(state.earlier, version) + former,
        left=without(state.left, version),
        holdback=Holdback(version=held_back[0], percent=float(hold_back), until=hold_back_until) if held_back else None,
        promoted_by=fence,
    )
    kept = "".join(f"; {each} is held back with {hold_back:g} %" for each in held_back)
    return changed(Action.PROMOTE, promoted, f"{version} is promoted to stable: {proof}{kept}", version)


def end_hold_back(state: ServingState, *, reason: str, fence: Fence | None = None) -> Decision:
    """Give stable all traffic: the watch is over, or nobody watches. A hold does not stop it.

    :param fence: The release whose watch asks. ``None``: a person, or whoever found its lease expired. A late actor's fence
        changes nothing.
    """
    holdback = state.holdback
    if holdback is None or fence not in (None, state.promoted_by):
        return unchanged(Action.END_HOLD_BACK, state, f"no hold-back to end: {who_is_watched(state)}", state.stable)
    return changed(
        Action.END_HOLD_BACK,
        replace(state, holdback=None),
        f"{holdback.version} is no longer held back, {state.stable} gets all traffic: {reason}",
        state.stable,
    )


def _require_candidate(state: ServingState, version: Version) -> None:
    require_not_banned(state, version, "start a canary with it")
    if version == state.stable:
        raise TransitionRefused(f"{version} already is stable; a canary must be another version")


def _require_no_hold(state: ServingState, purpose: str) -> None:
    if state.hold:
        raise ModelOnHold(f"cannot {purpose}: held by {state.hold.by} ({state.hold.reason}); resume first")


def _require_live_canary(state: ServingState, fence: Fence) -> Canary:
    if not state.is_live(fence):
        raise _pre_empted(fence, state)
    if state.canary is None:
        raise InvalidState(f"release {fence.release!r} is live without a canary; abort it")
    return state.canary


def _pre_empted(fence: Fence, state: ServingState) -> PreEmpted:
    return PreEmpted(f"pre-empted: {who_is_live(fence, state)}")


def _is_over(fence: Fence, state: ServingState) -> bool:
    """Whether a newer attempt of the release is live, or this attempt or a newer one has ended."""
    live, ended = state.release, state.ended
    replaced = live is not None and live.id == fence.release and live.attempt > fence.attempt
    return replaced or (ended is not None and ended.release == fence.release and ended.attempt >= fence.attempt)


def _require_hold_back(percent: float) -> None:
    if not 0 <= percent <= LARGEST_HOLD_BACK or round(percent, 2) != percent:
        raise TransitionRefused(
            f"cannot hold back {percent!r} %; give 0 to {LARGEST_HOLD_BACK:g}, in steps of {PERCENT_STEP}"
        )


def _ramp(state: ServingState, percent: float, *, zero_allowed: bool) -> float:
    """Return the share to give: as asked, but all of it when there is no stable version to share with."""
    if not (0 <= percent <= 100) or (percent == 0 and not zero_allowed):
        raise TransitionRefused(f"a share of {percent!r} % is not usable; give {PERCENT_STEP} to 100")
    rounded = round(percent, 2)
    if rounded != percent:
        raise TransitionRefused(f"a share of {percent!r} % is too fine; give steps of {PERCENT_STEP} %")
    return 100.0 if rounded and state.stable is None else float(rounded)
