"""The rules: pure functions from a serving state to the next one, with a reason, or a refusal.

Nothing else in this package decides what may serve. A function takes the state and what was asked, never a clock and
never I/O; it returns a :class:`Decision` or raises a subclass of
:class:`~airflow_model_ops.core.errors.TransitionRefused`. Each is idempotent where a retry could repeat it: asking for
what already holds gives ``changed=False``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

from airflow_model_ops.core.errors import (
    InvalidState,
    ModelOnHold,
    NoRollbackTarget,
    PreEmpted,
    ReleaseBusy,
    TransitionRefused,
)
from airflow_model_ops.core.state import PERCENT_STEP, Actor, Canary, Fence, Golden, Hold, LiveRelease, ServingState
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
    state = _unheld(state) if live and live.fence != release.fence else state
    _require_no_hold(state, f"start the canary {version}")
    canary = Canary(version=version, percent=_ramp(state, percent, zero_allowed=True))
    if live and live.fence == release.fence and state.canary == canary:
        return _unchanged(
            Action.START_CANARY, state, f"{version} already is the canary at {canary.percent:g} %", version
        )
    reason = f"canary {version} starts at {canary.percent:g} % of the traffic"
    if live and live.id != release.id:
        reason += f"; release {live.id!r} was abandoned: its lease had run out"
    started = replace(
        _without_release(state) if live and live.id != release.id else state,
        canary=canary,
        release=release,
        keep_warm=state.keep_warm if keep_warm is None else keep_warm,
    )
    return _changed(Action.START_CANARY, started, reason, version)


def shift(state: ServingState, *, fence: Fence, percent: float) -> Decision:
    """Give the live canary another share of the traffic.

    :raises PreEmpted: if the asking attempt is no longer the live one.
    :raises ModelOnHold: if a person holds the model.
    """
    canary = _require_live_canary(state, fence)
    _require_no_hold(state, f"shift traffic to {canary.version}")
    share = _ramp(state, percent, zero_allowed=False)
    if canary.percent == share:
        return _unchanged(Action.SHIFT, state, f"{canary.version} already gets {share:g} %", canary.version)
    reason = f"canary {canary.version} goes from {canary.percent:g} % to {share:g} % of the traffic"
    return _changed(Action.SHIFT, replace(state, canary=replace(canary, percent=share)), reason, canary.version)


def promote(state: ServingState, *, fence: Fence, version: Version, proof: str) -> Decision:
    """Make the live canary the stable version and end its release.

    :param version: The version that was approved; it must be the canary.
    :param proof: The evidence in a sentence, or "without proof".
    :raises PreEmpted: if the asking attempt is no longer the live one.
    :raises ModelOnHold: if a person holds the model.
    """
    if state.stable == version and not state.canary and not state.release:
        return _unchanged(Action.PROMOTE, state, f"{version} already is stable", version)
    canary = _require_live_canary(state, fence)
    if canary.version != version:
        raise TransitionRefused(f"cannot promote {version}: the canary is {canary.version}; approve that one by name")
    _require_no_hold(state, f"promote {version}")
    former = (state.stable,) if state.stable else ()
    promoted = replace(
        _without_release(state),
        stable=version,
        earlier=_without(state.earlier, version) + former,
        left=_without(state.left, version),
    )
    return _changed(Action.PROMOTE, promoted, f"{version} is promoted to stable: {proof}", version)


def abort(state: ServingState, *, reason: str, fence: Fence | None = None, harmed: bool = False) -> Decision:
    """End the live release and its canary; stable is untouched.

    :param fence: Who asks. ``None``: a person, or whoever found the lease expired. A late actor's fence changes nothing.
    :param harmed: Whether the verdict was HARM (or a person says so): the version is quarantined.
    """
    if fence is not None and not state.is_live(fence):
        return _unchanged(Action.ABORT, state, f"nothing to abort: {_who_is_live(fence, state)}")
    version = state.canary.version if state.canary else (state.release.version if state.release else None)
    if version is None:
        return _unchanged(Action.ABORT, state, "nothing to abort: no release is live")
    ended = _without_release(state)
    if harmed:
        ended = _quarantined(ended, version)
    kept = f"{state.stable} keeps all traffic" if state.stable else "the model has no stable version"
    return _changed(Action.ABORT, ended, f"canary {version} ends, {kept}: {reason}", version)


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
        return _unchanged(
            Action.ROLLBACK, state, "another way back was faster: the model is back already", state.stable
        )
    if to is None and (state.canary or state.release):
        aborted = abort(state, reason=reason)
        return replace(aborted, action=Action.ROLLBACK)
    target = to or _automatic_target(state, unusable)
    _require_rollback_target(state, target, unusable=unusable, actor=actor)
    if target == state.stable:
        if not (state.canary or state.release):
            return _unchanged(Action.ROLLBACK, state, f"{target} already is stable and serves alone", target)
        ended = _without_release(state)
        return _changed(Action.ROLLBACK, ended, f"back to {target} alone: {reason}", target)
    earlier, left = _wind_back(state, target)
    back = replace(_without_release(state), stable=target, earlier=earlier, left=left)
    origin = f"from {state.stable} " if state.stable else ""
    return _changed(Action.ROLLBACK, back, f"rolled back {origin}to {target}: {reason}", target)


def pin_golden(state: ServingState, *, version: Version, actor: Actor) -> Decision:
    """Pin the known-good version: the last resort of a rollback, and its floor if a person pins it.

    :raises TransitionRefused: if the version is quarantined or retired.
    """
    golden = Golden(version=version, by_person=actor.is_person)
    pinned = state.golden
    if pinned and pinned.version == version and (pinned.by_person or not actor.is_person):
        return _unchanged(Action.PIN_GOLDEN, state, f"{version} already is golden", version)
    _require_not_banned(state, version, "pin it as golden")
    if pinned and pinned.by_person and not actor.is_person:
        raise TransitionRefused(f"{pinned.version} is pinned as golden by a person; only a person may pin {version}")
    return _changed(
        Action.PIN_GOLDEN, replace(state, golden=golden), f"{version} is pinned as golden by {actor}", version
    )


def quarantine(state: ServingState, *, version: Version, reason: str, force: bool = False) -> Decision:
    """Ban a version until a person lifts it; a quarantined canary's release ends at once.

    :param force: Also ban the stable version, which goes on serving until a rollback, or a first release's canary, after
        which nothing serves.
    :raises TransitionRefused: for the stable or the only serving version without ``force``.
    """
    if version in state.quarantined:
        return _unchanged(Action.QUARANTINE, state, f"{version} already is quarantined", version)
    serves_alone = tuple(served for served, _ in state.split) == (version,) and state.stable is None
    if (version == state.stable or serves_alone) and not force:
        raise TransitionRefused(
            f"{version} is {'the only version that serves' if serves_alone else 'stable'}: quarantining it would leave nothing "
            "good to serve; roll back or abort first, or use force"
        )
    on_trial = state.canary is not None and state.canary.version == version
    after = _without_release(state) if on_trial else state
    return _changed(Action.QUARANTINE, _quarantined(after, version), f"{version} is quarantined: {reason}", version)


def lift(state: ServingState, *, version: Version, actor: Actor, reason: str) -> Decision:
    """End a quarantine.

    :raises TransitionRefused: if the automation asks: only a person may.
    """
    if not actor.is_person:
        raise TransitionRefused(f"only a person may lift the quarantine of {version}, not {actor}")
    if version not in state.quarantined:
        return _unchanged(Action.LIFT, state, f"{version} is not quarantined", version)
    lifted = replace(state, quarantined=_without(state.quarantined, version))
    return _changed(Action.LIFT, lifted, f"the quarantine of {version} is lifted by {actor}: {reason}", version)


def hold(state: ServingState, *, actor: Actor, reason: str) -> Decision:
    """Stop shifts and promotions until ``resume``; abort and rollback stay possible.

    A person's hold takes the place of the automation's, which would end with its release.
    """
    if state.hold and (state.hold.by_person or not actor.is_person):
        return _unchanged(Action.HOLD, state, f"already held by {state.hold.by}: {state.hold.reason}")
    held = replace(state, hold=Hold(by=str(actor), reason=reason, by_person=actor.is_person))
    return _changed(Action.HOLD, held, f"held by {actor}: {reason}")


def resume(state: ServingState, *, actor: Actor, reason: str) -> Decision:
    """End a hold.

    :raises TransitionRefused: if the automation asks: the automation never goes past a hold.
    """
    if not actor.is_person:
        raise TransitionRefused(f"only a person may resume, not {actor}")
    if not state.hold:
        return _unchanged(Action.RESUME, state, "nothing is held")
    return _changed(Action.RESUME, replace(state, hold=None), f"resumed by {actor}: {reason}")


def retire(
    state: ServingState, *, versions: Collection[Version], reason: str, forget: Collection[Version] = ()
) -> Decision:
    """Commit to deleting versions; only after this may their files go.

    :param forget: Retired versions whose files are gone for good; the state need not name them any longer.
    :raises TransitionRefused: for a version that is labelled, warm or on trial: what serves or may be rolled back to stays.
    """
    spared = {*state.warm, *((state.release.version,) if state.release else ())}
    kept = sorted(spared.intersection(versions))
    if kept:
        raise TransitionRefused(f"cannot retire {_names(kept)}: it serves or is kept to roll back to")
    gone = set(versions) - set(state.retired)
    retired = tuple(sorted((set(state.retired) - set(forget)) | gone))
    if retired == state.retired:
        return _unchanged(Action.RETIRE, state, "nothing to retire")
    after = replace(
        state,
        retired=retired,
        earlier=_without(state.earlier, *gone),
        left=_without(state.left, *gone),
    )
    what = f"{_names(sorted(gone))} retired: {reason}" if gone else f"forgets {_names(sorted(forget))}: files are gone"
    return _changed(Action.RETIRE, after, what)


def adopt(
    state: ServingState,
    *,
    stable: Version | None,
    canary: Canary | None = None,
    golden: Version | None = None,
    actor: Actor,
) -> Decision:
    """Take over what a fleet already serves as the first state of a model.

    :raises TransitionRefused: if the model has a state already.
    """
    pinned = Golden(version=golden, by_person=actor.is_person) if golden else state.golden
    adopted = replace(state, stable=stable, canary=canary, golden=pinned)
    if state == adopted:
        return _unchanged(Action.ADOPT, state, "already adopted as it is")
    if state.stable or state.canary or state.release or state.earlier:
        raise TransitionRefused(
            f"cannot adopt: the model already has a state (stable {state.stable}); use rollback or a release"
        )
    serving = ", ".join(f"{version} {percent:g} %" for version, percent in adopted.split) or "nothing"
    return _changed(Action.ADOPT, adopted, f"adopted as it serves: {serving}", stable)


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
    raise NoRollbackTarget(
        f"no version to roll back to: no earlier stable version is usable, nor another golden one; {serving}. "
        "Name a version, or push a good one"
    )


def _require_rollback_target(
    state: ServingState, target: Version, *, unusable: Collection[Version], actor: Actor
) -> None:
    _require_not_banned(state, target, "roll back to it")
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
    left = _without(state.left, target, *skipped, *former) + skipped + former
    return earlier, left


def _require_candidate(state: ServingState, version: Version) -> None:
    _require_not_banned(state, version, "start a canary with it")
    if version == state.stable:
        raise TransitionRefused(f"{version} already is stable; a canary must be another version")


def _require_not_banned(state: ServingState, version: Version, purpose: str) -> None:
    if version in state.quarantined:
        raise TransitionRefused(f"{version} is quarantined; a person must lift it before anyone may {purpose}")
    if version in state.retired:
        raise TransitionRefused(f"{version} is retired and its files are going; nobody may {purpose}")


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


def _without_release(state: ServingState) -> ServingState:
    """Return the state without canary, live release and its hold; it remembers which release ended."""
    ended = state.release.fence if state.release else state.ended
    return replace(_unheld(state), canary=None, release=None, ended=ended)


def _unheld(state: ServingState) -> ServingState:
    """Return the state without the automation's hold; a person's stays until a person resumes."""
    return state if state.hold and state.hold.by_person else replace(state, hold=None)


def _ramp(state: ServingState, percent: float, *, zero_allowed: bool) -> float:
    """Return the share to give: as asked, but all of it when there is no stable version to share with."""
    if not (0 <= percent <= 100) or (percent == 0 and not zero_allowed):
        raise TransitionRefused(f"a share of {percent!r} % is not usable; give {PERCENT_STEP} to 100")
    rounded = round(percent, 2)
    if rounded != percent:
        raise TransitionRefused(f"a share of {percent!r} % is too fine; give steps of {PERCENT_STEP} %")
    return 100.0 if rounded and state.stable is None else float(rounded)


def _quarantined(state: ServingState, version: Version) -> ServingState:
    golden = None if state.golden and state.golden.version == version else state.golden
    return replace(state, quarantined=tuple(sorted({*state.quarantined, version})), golden=golden)


def _without(versions: Iterable[Version], *removed: Version) -> tuple[Version, ...]:
    return tuple(version for version in versions if version not in removed)


def _names(versions: Iterable[Version]) -> str:
    return ", ".join(version.name for version in versions)


def _changed(action: Action, state: ServingState, reason: str, version: Version | None = None) -> Decision:
    return Decision(action=action, state=state, reason=reason, version=version)


def _unchanged(action: Action, state: ServingState, reason: str, version: Version | None = None) -> Decision:
    return Decision(action=action, state=state, reason=reason, version=version, changed=False)
