"""The rules: pure functions from a serving state to the next one, with a reason, or a refusal.

Nothing else in this package decides what may serve. A function takes the state and what was asked, never a clock and
never I/O; it returns a :class:`Decision` or raises a subclass of
:class:`~airflow_model_ops.core.errors.TransitionRefused`. Each is idempotent where a retry could repeat it: asking for
what already holds gives ``changed=False``.

This module holds the rules of a release and of the way back; those of what stands beside one are in ``standing.py`` and
are offered here, too.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from airflow_model_ops.core.decision import (
    URGENT,
    Action,
    Decision,
    changed,
    require_not_banned,
    unchanged,
    unheld,
    with_quarantine,
    without,
    without_release,
)
from airflow_model_ops.core.errors import (
    InvalidState,
    ModelOnHold,
    NoRollbackTarget,
    PreEmpted,
    ReleaseBusy,
    TransitionRefused,
)
from airflow_model_ops.core.standing import adopt, hold, lift, pin_golden, quarantine, resume, retire
from airflow_model_ops.core.state import PERCENT_STEP, Actor, Canary, Fence, LiveRelease, ServingState
from airflow_model_ops.core.versioning import Version

__all__ = [
    "URGENT",
    "Action",
    "Decision",
    "abort",
    "adopt",
    "hold",
    "lift",
    "pin_golden",
    "promote",
    "quarantine",
    "resume",
    "retire",
    "rollback",
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

    A hold of the automation ends with the attempt it belongs to; only a person's stops the next one.

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
    started = replace(
        without_release(state) if live and live.id != release.id else state,
        canary=canary,
        release=release,
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


def promote(state: ServingState, *, fence: Fence, version: Version, proof: str) -> Decision:
    """Make the live canary the stable version and end its release.

    :param version: The version that was approved; it must be the canary.
    :param proof: The evidence in a sentence, or "without proof".
    :raises PreEmpted: if the asking attempt is no longer the live one.
    :raises ModelOnHold: if a person holds the model.
    """
    if state.stable == version and not state.canary and not state.release:
        return unchanged(Action.PROMOTE, state, f"{version} already is stable", version)
    canary = _require_live_canary(state, fence)
    if canary.version != version:
        raise TransitionRefused(f"cannot promote {version}: the canary is {canary.version}; approve that one by name")
    _require_no_hold(state, f"promote {version}")
    former = (state.stable,) if state.stable else ()
    promoted = replace(
        without_release(state),
        stable=version,
        earlier=without(state.earlier, version) + former,
        left=without(state.left, version),
    )
    return changed(Action.PROMOTE, promoted, f"{version} is promoted to stable: {proof}", version)


def abort(state: ServingState, *, reason: str, fence: Fence | None = None, harmed: bool = False) -> Decision:
    """End the live release and its canary; stable is untouched.

    :param fence: Who asks. ``None``: a person, or whoever found the lease expired. A late actor's fence changes nothing.
    :param harmed: Whether the verdict was HARM (or a person says so): the version is quarantined.
    """
    if fence is not None and not state.is_live(fence):
        return unchanged(Action.ABORT, state, f"nothing to abort: {_who_is_live(fence, state)}")
    version = state.canary.version if state.canary else (state.release.version if state.release else None)
    if version is None:
        return unchanged(Action.ABORT, state, "nothing to abort: no release is live")
    ended = without_release(state)
    if harmed:
        ended = with_quarantine(ended, version)
    kept = f"{state.stable} keeps all traffic" if state.stable else "the model has no stable version"
    return changed(Action.ABORT, ended, f"canary {version} ends, {kept}: {reason}", version)


def rollback(
    state: ServingState,
    *,
    actor: Actor,
    reason: str,
    to: Version | None = None,
    unusable: Collection[Version] = (),
    seen: ServingState | None = None,
) -> Decision:
    """Take the model back: to the given version, else by aborting the canary, else to the automatic target.

    The automatic target is the newest earlier stable version that is neither quarantined nor retired nor unusable nor
    older than a person's pin; else golden, unless golden is what the last rollback just left.

    :param unusable: Versions whose files are gone or altered, as far as the caller has checked.
    :param seen: The state when the wish was made. If another way back was faster, this one has its wish and changes
        nothing: two people who ask at once go back one version, not two.
    :raises NoRollbackTarget: if there is no such version; what serves goes on serving.
    :raises TransitionRefused: if the given version is quarantined, retired or unusable; and, for the automation, past a
        person's pin or never proven (not stable before and not golden).
    """
    if to is None and seen is not None and _went_back_since(seen, state):
        return unchanged(Action.ROLLBACK, state, "another way back was faster: the model is back already", state.stable)
    if to is None and (state.canary or state.release):
        aborted = abort(state, reason=reason)
        return replace(aborted, action=Action.ROLLBACK)
    target = to or _automatic_target(state, unusable)
    _require_rollback_target(state, target, unusable=unusable, actor=actor)
    if target == state.stable:
        if not (state.canary or state.release):
            return unchanged(Action.ROLLBACK, state, f"{target} already is stable and serves alone", target)
        ended = without_release(state)
        return changed(Action.ROLLBACK, ended, f"back to {target} alone: {reason}", target)
    earlier, left = _wind_back(state, target)
    back = replace(without_release(state), stable=target, earlier=earlier, left=left)
    origin = f"from {state.stable} " if state.stable else ""
    return changed(Action.ROLLBACK, back, f"rolled back {origin}to {target}: {reason}", target)


def _went_back_since(seen: ServingState, state: ServingState) -> bool:
    was_live, is_live = bool(seen.canary or seen.release), bool(state.canary or state.release)
    if was_live:
        return not is_live and state.stable == seen.stable
    return seen.stable is not None and seen.stable != state.stable and seen.stable in state.left


def _automatic_target(state: ServingState, unusable: Collection[Version]) -> Version:
    floor = state.golden.version if state.golden and state.golden.by_person else None
    for version in reversed(state.earlier):
        banned = version in state.quarantined or version in state.retired or version in unusable
        if not banned and not (floor and version < floor):
            return version
    golden = state.golden.version if state.golden else None
    just_left = state.left[-1:]
    if golden and golden != state.stable and golden not in {*unusable, *just_left}:
        return golden
    serving = f"{state.stable} goes on serving" if state.stable else "nothing serves"
    no_golden = "nor another golden one"
    if golden and golden in just_left:
        no_golden = f"and golden {golden} is what was just left (ask for golden to take it all the same)"
    raise NoRollbackTarget(
        f"no version to roll back to: no earlier stable version is usable, {no_golden}; {serving}. "
        "Name a version, or push a good one"
    )


def _require_rollback_target(
    state: ServingState, target: Version, *, unusable: Collection[Version], actor: Actor
) -> None:
    require_not_banned(state, target, "roll back to it")
    if target in unusable:
        raise TransitionRefused(f"cannot roll back to {target}: its files are gone or altered; choose another version")
    if actor.is_person:
        return
    if target not in {*state.promoted, *state.labels.values()} or (state.canary and target == state.canary.version):
        raise TransitionRefused(
            f"cannot roll back to {target}: it was never stable and is not golden; only a person may put it there by name, "
            "the automation has to release it"
        )
    pin = state.golden.version if state.golden and state.golden.by_person else None
    if pin and target < pin:
        raise TransitionRefused(
            f"cannot roll back to {target}: a person pinned {pin}, and only a person may go past a pin"
        )


def _wind_back(state: ServingState, target: Version) -> tuple[tuple[Version, ...], tuple[Version, ...]]:
    """Return (earlier, left) after going back to ``target``: what was stable after it is left, not a target again."""
    former = (state.stable,) if state.stable else ()
    if target in state.earlier:
        place = state.earlier.index(target)
        skipped, earlier = state.earlier[place + 1 :], state.earlier[:place]
    else:
        skipped, earlier = (), state.earlier
    left = without(state.left, target, *skipped, *former) + skipped + former
    return earlier, left


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
    return PreEmpted(f"pre-empted: {_who_is_live(fence, state)}")


def _who_is_live(fence: Fence, state: ServingState) -> str:
    live = state.release
    now = f"release {live.id!r} attempt {live.attempt} ({live.version}) is" if live else "no release is"
    return f"release {fence.release!r} attempt {fence.attempt} is no longer live; {now}"


def _is_over(fence: Fence, state: ServingState) -> bool:
    """Whether a newer attempt of the release is live, or this attempt or a newer one has ended."""
    live, ended = state.release, state.ended
    replaced = live is not None and live.id == fence.release and live.attempt > fence.attempt
    return replaced or (ended is not None and ended.release == fence.release and ended.attempt >= fence.attempt)


def _ramp(state: ServingState, percent: float, *, zero_allowed: bool) -> float:
    """Return the share to give: as asked, but all of it when there is no stable version to share with."""
    if not (0 <= percent <= 100) or (percent == 0 and not zero_allowed):
        raise TransitionRefused(f"a share of {percent!r} % is not usable; give {PERCENT_STEP} to 100")
    rounded = round(percent, 2)
    if rounded != percent:
        raise TransitionRefused(f"a share of {percent!r} % is too fine; give steps of {PERCENT_STEP} %")
    return 100.0 if rounded and state.stable is None else float(rounded)
