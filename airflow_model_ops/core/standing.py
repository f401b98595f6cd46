"""The rules of what stands beside a release: golden, quarantine, hold, retirement, adoption. See :mod:`.transitions`."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from airflow_model_ops.core.decision import (
    Action,
    Decision,
    changed,
    names_of,
    require_not_banned,
    unchanged,
    with_quarantine,
    without,
    without_release,
)
from airflow_model_ops.core.errors import TransitionRefused
from airflow_model_ops.core.plain_text import plain_text
from airflow_model_ops.core.state import Actor, Canary, Golden, Hold, ServingState
from airflow_model_ops.core.versioning import Version


def pin_golden(state: ServingState, *, version: Version, actor: Actor) -> Decision:
    """Pin the known-good version: the last resort of a rollback, and its floor if a person pins it.

    :raises TransitionRefused: if the version is quarantined or retired.
    """
    golden = Golden(version=version, by_person=actor.is_person)
    pinned = state.golden
    if pinned and pinned.version == version and (pinned.by_person or not actor.is_person):
        return unchanged(Action.PIN_GOLDEN, state, f"{version} already is golden", version)
    require_not_banned(state, version, "pin it as golden")
    if pinned and pinned.by_person and not actor.is_person:
        raise TransitionRefused(f"{pinned.version} is pinned as golden by a person; only a person may pin {version}")
    return changed(
        Action.PIN_GOLDEN, replace(state, golden=golden), f"{version} is pinned as golden by {actor}", version
    )


def quarantine(state: ServingState, *, version: Version, reason: str, force: bool = False) -> Decision:
    """Ban a version until a person lifts it; a quarantined canary's release ends at once, and so does a hold-back of it.

    :param force: Also ban the stable version, which goes on serving until a rollback, or a first release's canary, after
        which nothing serves.
    :raises TransitionRefused: for the stable or the only serving version without ``force``.
    """
    if version in state.quarantined:
        return unchanged(Action.QUARANTINE, state, f"{version} already is quarantined", version)
    serves_alone = tuple(served for served, _ in state.split) == (version,) and state.stable is None
    if (version == state.stable or serves_alone) and not force:
        raise TransitionRefused(
            f"{version} is {'the only version that serves' if serves_alone else 'stable'}: quarantining it would leave nothing "
            "good to serve; roll back or abort first, or use force"
        )
    on_trial = state.canary is not None and state.canary.version == version
    held_back = state.holdback is not None and state.holdback.version == version
    after = without_release(state) if on_trial else replace(state, holdback=None if held_back else state.holdback)
    return changed(Action.QUARANTINE, with_quarantine(after, version), f"{version} is quarantined: {reason}", version)


def lift(state: ServingState, *, version: Version, actor: Actor, reason: str) -> Decision:
    """End a quarantine.

    :raises TransitionRefused: if the automation asks: only a person may.
    """
    if not actor.is_person:
        raise TransitionRefused(f"only a person may lift the quarantine of {version}, not {actor}")
    if version not in state.quarantined:
        return unchanged(Action.LIFT, state, f"{version} is not quarantined", version)
    lifted = replace(state, quarantined=without(state.quarantined, version))
    return changed(Action.LIFT, lifted, f"the quarantine of {version} is lifted by {actor}: {reason}", version)


def hold(state: ServingState, *, actor: Actor, reason: str) -> Decision:
    """Stop shifts and promotions until ``resume``; abort and rollback stay possible.

    A person's hold takes the place of the automation's, which would end with its release.
    """
    if state.hold and (state.hold.by_person or not actor.is_person):
        return unchanged(Action.HOLD, state, f"already held by {state.hold.by}: {state.hold.reason}")
    held = replace(state, hold=Hold(by=str(actor), reason=plain_text(reason), by_person=actor.is_person))
    return changed(Action.HOLD, held, f"held by {actor}: {reason}")


def resume(state: ServingState, *, actor: Actor, reason: str) -> Decision:
    """End a hold.

    :raises TransitionRefused: if the automation asks: the automation never goes past a hold.
    """
    if not actor.is_person:
        raise TransitionRefused(f"only a person may resume, not {actor}")
    if not state.hold:
        return unchanged(Action.RESUME, state, "nothing is held")
    return changed(Action.RESUME, replace(state, hold=None), f"resumed by {actor}: {reason}")


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
        raise TransitionRefused(f"cannot retire {names_of(kept)}: it serves or is kept to roll back to")
    gone = set(versions) - set(state.retired)
    retired = tuple(sorted((set(state.retired) - set(forget)) | gone))
    if retired == state.retired:
        return unchanged(Action.RETIRE, state, "nothing to retire")
    after = replace(
        state,
        retired=retired,
        earlier=without(state.earlier, *gone),
        left=without(state.left, *gone),
    )
    what = (
        f"{names_of(sorted(gone))} retired: {reason}" if gone else f"forgets {names_of(sorted(forget))}: files are gone"
    )
    return changed(Action.RETIRE, after, what)


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
    if (stable, canary, pinned) == (state.stable, state.canary, state.golden):
        return unchanged(Action.ADOPT, state, "already adopted as it is")
    if state.stable or state.canary or state.release or state.earlier:
        raise TransitionRefused(
            f"cannot adopt: the model already has a state (stable {state.stable}); use rollback or a release"
        )
    adopted = replace(state, stable=stable, canary=canary, golden=pinned)
    serving = ", ".join(f"{version} {percent:g} %" for version, percent in adopted.split) or "nothing"
    return changed(Action.ADOPT, adopted, f"adopted as it serves: {serving}", stable)
