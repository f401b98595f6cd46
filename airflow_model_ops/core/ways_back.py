"""The rules of the ways back: abort, and rollback by a person, an alert, a watch or the guard. See :mod:`.transitions`."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from airflow_model_ops.core.decision import (
    Action,
    Decision,
    changed,
    require_not_banned,
    unchanged,
    with_quarantine,
    without,
    without_release,
)
from airflow_model_ops.core.errors import ModelOnHold, NoRollbackTarget, TransitionRefused
from airflow_model_ops.core.state import Actor, Fence, ServingState
from airflow_model_ops.core.versioning import Version


def abort(state: ServingState, *, reason: str, fence: Fence | None = None, harmed: bool = False) -> Decision:
    """End the live release and its canary; stable is untouched.

    :param fence: Who asks. ``None``: a person, or whoever found the lease expired. A late actor's fence changes nothing.
    :param harmed: Whether the verdict was HARM (or a person says so): the version is quarantined.
    """
    if fence is not None and not state.is_live(fence):
        return unchanged(Action.ABORT, state, f"nothing to abort: {who_is_live(fence, state)}")
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

    A hold-back ends with it.

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
    return _landed(state, target, reason=reason)


def rollback_watched(
    state: ServingState, *, fence: Fence, reason: str, harmed: bool = False, unusable: Collection[Version] = ()
) -> Decision:
    """Take back what a release has promoted, as its watch asks: to the version that is held back, as long as it is usable.

    A hold does not stop it, a person's pin does. It changes nothing once stable is no longer what this release promoted, or
    a newer release is live, which then decides.

    :param harmed: Whether the verdict was HARM: the version is quarantined.
    :param unusable: Versions whose files are gone or altered, as far as the caller has checked.
    :raises NoRollbackTarget: if there is no automatic target; what serves goes on serving.
    """
    if state.promoted_by != fence or state.stable is None or state.release:
        what = f"nothing to take back for release {fence.release!r} attempt {fence.attempt}: {who_is_watched(state)}"
        return unchanged(Action.ROLLBACK, state, what, state.stable)
    back = _landed(state, _automatic_target(state, unusable), reason=reason)
    if not harmed:
        return back
    return replace(
        back,
        state=with_quarantine(back.state, state.stable),
        reason=f"{back.reason}; {state.stable} is quarantined",
    )


def rollback_guarded(
    state: ServingState, *, version: Version, reason: str, unusable: Collection[Version] = ()
) -> Decision:
    """Go back from a stable version that was found bad while it serves, to the automatic target; a live canary ends, too.

    It changes nothing once another version is stable. Nothing is quarantined: an absolute limit does not say whose fault it is.

    :param version: The version that was found bad.
    :param unusable: Versions whose files are gone or altered, as far as the caller has checked.
    :raises ModelOnHold: if a person holds the model, and so has taken it over.
    :raises NoRollbackTarget: if there is no automatic target, say because a person pinned ``version``.
    """
    if state.stable != version:
        return unchanged(Action.ROLLBACK, state, f"{version} is no longer stable, {state.stable} is", state.stable)
    if state.hold and state.hold.by_person:
        raise ModelOnHold(
            f"cannot go back from {version} ({reason}): held by {state.hold.by} ({state.hold.reason}); resume, or roll back by "
            "hand"
        )
    back = _landed(state, _automatic_target(state, unusable), reason=reason)
    if state.canary is None:
        return back
    return replace(back, reason=f"{back.reason}; the canary {state.canary.version} ends with it")


def who_is_watched(state: ServingState) -> str:
    """Return which release made stable what it is, and which one is live."""
    if state.release:
        return f"release {state.release.id!r} attempt {state.release.attempt} ({state.release.version}) is live"
    if state.promoted_by is None:
        return f"{state.stable} is stable by no release" if state.stable else "the model has no stable version"
    return f"{state.stable} was promoted by release {state.promoted_by.release!r} attempt {state.promoted_by.attempt}"


def _landed(state: ServingState, target: Version, *, reason: str) -> Decision:
    """Return the state with ``target`` as stable and nothing beside it."""
    alone = replace(without_release(state), holdback=None)
    if target == state.stable:
        if not (state.canary or state.release or state.holdback):
            return unchanged(Action.ROLLBACK, state, f"{target} already is stable and serves alone", target)
        return changed(Action.ROLLBACK, alone, f"back to {target} alone: {reason}", target)
    earlier, left = _wind_back(state, target)
    back = replace(alone, stable=target, earlier=earlier, left=left, promoted_by=None)
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


def who_is_live(fence: Fence, state: ServingState) -> str:
    """Return why a release is too late, and which one is live."""
    live = state.release
    now = f"release {live.id!r} attempt {live.attempt} ({live.version}) is" if live else "no release is"
    return f"release {fence.release!r} attempt {fence.attempt} is no longer live; {now}"
