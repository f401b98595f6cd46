"""A bad artifact: how people name it, and how a model gets off the versions that come from it. Pure.

What comes from an artifact is asked of the ledger; what to do about it is decided here, on the serving state.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from airflow_model_ops.core.decision import Action, Decision, unchanged
from airflow_model_ops.core.errors import InvalidConfig, NoRollbackTarget
from airflow_model_ops.core.state import CANARY, GOLDEN, STABLE, Actor, ServingState
from airflow_model_ops.core.transitions import abort, end_hold_back, rollback
from airflow_model_ops.core.versioning import Version

HOLDBACK = "holdback"
"""What a version is called that keeps a share after a promotion; beside the labels."""

_UPSTREAM = re.compile(r"(?P<connection>.+?)/(?P<id>\d+)(?:/(?P<created>\d+))?\Z", re.ASCII)


class RefKind(StrEnum):
    """What kind of artifact is meant."""

    DATASET = "dataset"
    """A dataset version, as versions of models name it."""
    URI = "uri"
    """What a pipeline kept at a place."""
    UPSTREAM = "upstream"
    """An artifact of a pipeline's store, by that store's connection and its id there."""
    VERSION = "version"
    """A version of a model."""


_FORMS: Mapping[RefKind, str] = {
    RefKind.DATASET: "dataset:NAME",
    RefKind.URI: "uri:URI",
    RefKind.UPSTREAM: "upstream:CONNECTION/ID",
    RefKind.VERSION: "version:MODEL/VERSION",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactRef:
    """An artifact as people name it, e.g. ``dataset:digits@7``, ``uri:/data/x`` or ``version:digits/v-20230601-120000``.

    :param name: Dataset version, URI, id in the pipeline's store, or the version's name.
    :param owner: Connection id of the pipeline's store, or the model; empty for the others.
    :param created: When the pipeline's store registered it, milliseconds since the epoch; empty: whenever.
    """

    kind: RefKind
    name: str
    owner: str = ""
    created: str = ""

    @classmethod
    def parse(cls, text: str) -> ArtifactRef:
        """Read what a person typed.

        :raises InvalidConfig: if it is none, with the forms there are.
        """
        prefix, _, rest = text.strip().partition(":")
        ref = _read(prefix, rest) if rest else None
        if ref is None:
            forms = ", ".join(f"'{form}'" for form in _FORMS.values())
            raise InvalidConfig(f"artifact {text!r} is none; write one of {forms}, such as 'dataset:digits@7'")
        return ref

    def __str__(self) -> str:
        parts = (self.owner, self.name, self.created)
        return f"{self.kind}:{'/'.join(part for part in parts if part)}"


class Move(StrEnum):
    """What takes a model off its affected versions."""

    NOTHING = "nothing"
    """No affected version serves or is on trial."""
    END = "end"
    """The canary or the hold-back ends; stable is clean and stays."""
    BACK = "back"
    """Another version becomes stable; a canary or a hold-back ends with it."""
    STUCK = "stuck"
    """An affected version goes on serving: there is no clean one to go to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WayOut:
    """How a model gets off the affected versions.

    :param target: What is stable afterwards; ``None`` if nothing is or the model is stuck.
    :param reason: Why so, in a sentence.
    :param live: The affected versions by what they are: stable, canary, holdback, golden.
    """

    move: Move
    target: Version | None
    reason: str
    live: Mapping[str, Version] = field(default_factory=dict)


def versions_named(state: ServingState, names: Collection[str]) -> set[Version]:
    """Return the versions that a state knows by these names; the others neither serve nor could be gone back to."""
    held_back = [state.holdback.version] if state.holdback else []
    known = {*state.labels.values(), *held_back, *state.earlier, *state.left}
    return {version for version in known if version.name in names}


def live_affected(state: ServingState, affected: Collection[Version]) -> dict[str, Version]:
    """Return which of the affected versions are stable, canary, held back or golden."""
    held_back = {HOLDBACK: state.holdback.version} if state.holdback else {}
    places = {**state.labels, **held_back}
    order = (STABLE, CANARY, HOLDBACK, GOLDEN)
    return {place: places[place] for place in order if place in places and places[place] in affected}


def way_out(
    state: ServingState, affected: Collection[Version], *, by_person: bool = False, unusable: Collection[Version] = ()
) -> WayOut:
    """Return how a model gets off the affected versions: the newest earlier stable version that is clean, else golden.

    Clean is what is not affected, quarantined, retired or unusable. Never a version that was rolled back from, as for any
    automatic target; and never past a person's pin, unless a person asks.

    :param unusable: Versions whose files are gone or altered, as far as the caller has checked.
    """
    live = live_affected(state, affected)
    golden = _words_on_golden(state) if GOLDEN in live else ""
    if live.keys() <= {GOLDEN}:
        return WayOut(move=Move.NOTHING, target=state.stable, reason=f"no affected version serves{golden}", live=live)
    if STABLE not in live and state.stable is not None:
        ended = " and ".join(str(version) for place, version in live.items() if place != GOLDEN)
        reason = f"stable {state.stable} is clean; {ended} ends{golden}"
        return WayOut(move=Move.END, target=state.stable, reason=reason, live=live)
    if not state.split:
        reason = f"{live[CANARY]} gets no traffic yet and ends; the model has no stable version{golden}"
        return WayOut(move=Move.END, target=None, reason=reason, live=live)
    target = _clean_target(state, affected, by_person=by_person, unusable=unusable)
    if target is not None:
        beside = _words_on_clean_canary(state, live)
        reason = f"{target} is the newest clean version to go back to{beside}{golden}"
        return WayOut(move=Move.BACK, target=target, reason=reason, live=live)
    why = "; ".join(_why_stuck(state, affected, by_person=by_person, unusable=unusable))
    serving = ", ".join(f"{version} {percent:g} %" for version, percent in state.split)
    return WayOut(move=Move.STUCK, target=None, reason=f"{why}; {serving} goes on serving{golden}", live=live)


def leave_affected(
    state: ServingState,
    *,
    affected: Collection[Version],
    actor: Actor,
    reason: str,
    unusable: Collection[Version] = (),
) -> Decision:
    """Take a model off its affected versions, as :func:`way_out` says; nothing changes if none of them serves.

    :param unusable: Versions whose files are gone or altered, as far as the caller has checked.
    :raises NoRollbackTarget: if there is no clean version; what serves goes on serving.
    """
    out = way_out(state, affected, by_person=actor.is_person, unusable=unusable)
    if out.move is Move.NOTHING:
        return unchanged(Action.ROLLBACK, state, out.reason, state.stable)
    if out.move is Move.STUCK:
        raise NoRollbackTarget(
            f"no clean version to go back to: {out.reason}. Push a good one, or name a version as a person"
        )
    if out.move is Move.BACK:
        back = rollback(state, actor=actor, reason=reason, to=out.target, unusable=unusable)
    elif state.holdback:
        back = end_hold_back(state, reason=reason)
    else:
        back = abort(state, reason=reason)
    return replace(back, action=Action.ROLLBACK, reason=f"{back.reason} ({out.reason})")


def _read(prefix: str, rest: str) -> ArtifactRef | None:
    if prefix in (RefKind.DATASET, RefKind.URI):
        return ArtifactRef(kind=RefKind(prefix), name=rest)
    if prefix == RefKind.VERSION:
        model, _, version = rest.partition("/")
        return ArtifactRef(kind=RefKind.VERSION, name=version, owner=model) if model and version else None
    found = _UPSTREAM.match(rest) if prefix == RefKind.UPSTREAM else None
    if found is None:
        return None
    return ArtifactRef(
        kind=RefKind.UPSTREAM, name=found["id"], owner=found["connection"], created=found["created"] or ""
    )


def _clean_target(
    state: ServingState, affected: Collection[Version], *, by_person: bool, unusable: Collection[Version]
) -> Version | None:
    """Return the newest earlier stable version that is clean, else golden if that is."""
    banned = {*affected, *state.quarantined, *state.retired, *unusable}
    floor = _floor(state, by_person=by_person)
    for version in reversed(state.earlier):
        if version not in banned and not (floor and version < floor):
            return version
    golden = state.golden.version if state.golden else None
    return golden if golden is not None and golden not in {*banned, *state.left[-1:]} else None


def _floor(state: ServingState, *, by_person: bool) -> Version | None:
    return state.golden.version if state.golden and state.golden.by_person and not by_person else None


def _words_on_clean_canary(state: ServingState, live: Mapping[str, Version]) -> str:
    if state.canary is None or CANARY in live:
        return ""
    return f"; the canary {state.canary.version}, which is clean, ends with it"


def _why_stuck(
    state: ServingState, affected: Collection[Version], *, by_person: bool, unusable: Collection[Version]
) -> Iterator[str]:
    if not state.earlier:
        yield "no version was stable before"
    floor = _floor(state, by_person=by_person)
    for version in reversed(state.earlier):
        if version in affected:
            yield f"{version} is affected, too"
        elif version in state.quarantined:
            yield f"{version} is quarantined"
        elif version in unusable:
            yield f"the files of {version} are gone or altered"
        elif floor and version < floor:
            yield f"{version} is older than {floor}, which a person pinned: only a person may go past a pin"
    if state.golden is None:
        yield "no golden version is pinned"
    elif state.golden.version in unusable:
        yield f"the files of golden {state.golden.version} are gone or altered"
    elif state.golden.version in state.left[-1:]:
        yield f"golden {state.golden.version} is what was just left"


def _words_on_golden(state: ServingState) -> str:
    if state.golden is None:
        return ""
    by = " by a person" if state.golden.by_person else ""
    return f"; golden {state.golden.version}, pinned{by}, is affected: pin a clean version"
