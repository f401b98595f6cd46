"""What a rollback would do if it were asked for now: the rules on the present state, and nothing is committed.

The files of a version that is not loaded are looked for, not hashed: that may take minutes, and the rollback does it. If it
then finds them altered it goes to the next one, which is said beforehand.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from airflow_model_ops.config.model_file import ModelIdentity
from airflow_model_ops.control.model_control import ModelControl
from airflow_model_ops.control.ways_back import WaysBack
from airflow_model_ops.core import transitions
from airflow_model_ops.core.errors import InvalidVersionName, ModelOpsError, TransitionRefused, VersionNotFound
from airflow_model_ops.core.log import Origin
from airflow_model_ops.core.state import Actor, ServingState
from airflow_model_ops.core.transitions import Decision
from airflow_model_ops.core.versioning import Version
from airflow_model_ops.plugin.backends.openings import fleet_of
from airflow_model_ops.plugin.backends.reading import ask, part
from airflow_model_ops.plugin.datamodels.actions import Preview
from airflow_model_ops.plugin.datamodels.base import Backend
from airflow_model_ops.plugin.history.entries import split_of
from airflow_model_ops.plugin.model_rows import hold_row

PREVIOUS = "previous"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """What the repository says.

    :param refused: Why what was asked for cannot be.
    """

    control: ModelControl
    state: ServingState
    generation: int
    named: Version | None = None
    refused: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Foreseen:
    """What the rules make of it.

    :param warm: Whether the target is loaded; ``None``: nobody could say.
    :param unusable: Versions that are passed over, each with the reason.
    """

    decision: Decision
    warm: bool | None
    unusable: Mapping[Version, str]


async def foresee_rollback(model: ModelIdentity, *, to: str, actor: Actor) -> Preview:
    """Return what a rollback by a person would do.

    :raises Unanswered: if the repository does not answer. A fleet that does not only leaves open how long it would take.
    """
    asked = await ask(Backend.REPOSITORY, lambda: _read(model, to=to, actor=actor), of=model)
    if asked.refused is not None:
        return _refused(to, asked, asked.refused)
    found = await _decide(model, asked, actor=actor)
    if isinstance(found, str):
        return _refused(to, asked, found)
    if not found.decision.changed:
        return _refused(to, asked, found.decision.reason)
    return _preview(model, to, asked, found)


def _read(model: ModelIdentity, *, to: str, actor: Actor) -> _Asked:
    fleet = fleet_of(model)
    control = fleet.control(model, origin=Origin(actor=actor))
    state, generation = control.committer.head()
    ways = WaysBack(
        model=control.model,
        naming=control.naming,
        repository=fleet.repository,
        target=fleet.target,
        committer=control.committer,
    )
    try:
        return _Asked(control=control, state=state, generation=generation, named=ways.named(state, to))
    except (InvalidVersionName, TransitionRefused, VersionNotFound) as error:
        return _Asked(control=control, state=state, generation=generation, refused=str(error))


async def _decide(model: ModelIdentity, asked: _Asked, *, actor: Actor) -> _Foreseen | str:
    """Ask the rules until they land on a version that may serve, as the rollback does, or return why there is none."""
    state, control = asked.state, asked.control
    unusable: dict[Version, str] = {}
    warm: bool | None = None
    fleet_answers = True
    while True:
        try:
            decision = transitions.rollback(state, actor=actor, reason="", to=asked.named, unusable=unusable.keys())
        except TransitionRefused as error:
            told = "; ".join(f"{version}: {why}" for version, why in unusable.items())
            return f"{error} ({told})" if told else str(error)
        target = decision.state.stable
        if target is None or target == state.stable:
            return _Foreseen(decision=decision, warm=True, unusable=unusable)
        if fleet_answers:
            loaded = await part(Backend.FLEET, partial(control.target.is_loaded, control.model, target), of=model)
            warm, fleet_answers = loaded.value, loaded.trouble is None
        trouble = None if warm else await ask(Backend.REPOSITORY, partial(_files, control, target), of=model)
        if trouble is None:
            return _Foreseen(decision=decision, warm=warm, unusable=unusable)
        unusable[target] = trouble


def _files(control: ModelControl, version: Version) -> str | None:
    try:
        control.repository.check_files(control.model, version)
    except (ModelOpsError, OSError) as error:
        return str(error)
    return None


def _refused(to: str, asked: _Asked, why_not: str) -> Preview:
    return Preview(
        to=to,
        generation=asked.generation or None,
        possible=False,
        why_not=why_not,
        target=None,
        before=split_of(asked.state),
        after=split_of(asked.state),
        ends_release=False,
        warm=None,
        sentences=[],
    )


def _preview(model: ModelIdentity, to: str, asked: _Asked, found: _Foreseen) -> Preview:
    before, after = asked.state, found.decision.state
    return Preview(
        to=to,
        generation=asked.generation or None,
        possible=True,
        why_not=None,
        target=after.stable.name if after.stable else None,
        before=split_of(before),
        after=split_of(after),
        ends_release=before.release is not None or before.canary is not None,
        warm=found.warm,
        sentences=[*_traffic(before, after), *_aside(before, after), *_duration(model, to, before, found)],
    )


def _traffic(before: ServingState, after: ServingState) -> list[str]:
    shares = [f"{version} gets {percent:g} % of the traffic" for version, percent in after.split]
    served = [version for version, _ in after.split]
    for version, _ in before.split:
        if version not in served:
            shares.append(f"{version} gets none{' and stays loaded' if version in after.warm else ''}")
    if not after.split:
        shares.append("nothing serves then: requests of this model fail until a version is released")
    return ["; ".join(shares)]


def _aside(before: ServingState, after: ServingState) -> list[str]:
    told = []
    trial = before.canary.version if before.canary else (before.release.version if before.release else None)
    if trial is not None:
        told.append(f"the live release of {trial} ends; the version stays a candidate")
    if before.holdback is not None:
        told.append(f"{before.holdback.version} is no longer held back")
    told += [f"{version} is no automatic target any more" for version in after.left if version not in before.left]
    if before.hold is not None:
        told.append(f"the hold of {hold_row(before.hold).by} stays")
    return told


def _duration(model: ModelIdentity, to: str, before: ServingState, found: _Foreseen) -> list[str]:
    target = found.decision.state.stable
    if target is None or target == before.stable:
        return ["nothing has to be loaded: this takes seconds"]
    if found.warm:
        return [f"{target} is loaded on every server that answers: this takes seconds"]
    longest = f"up to {_minutes(model.load_seconds)}"
    left_out = [f"{version} is left out: {why}" for version, why in found.unusable.items()]
    or_next = "; if they are altered, the next version is taken" if to == PREVIOUS else ""
    checked = f"the files of {target} are checked before it is loaded{or_next}"
    if found.warm is None:
        return [
            *left_out,
            f"the servers do not say whether {target} is loaded; if not, loading takes {longest}",
            checked,
        ]
    return [*left_out, f"{target} must be loaded first: {longest}", checked]


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:g} min" if seconds >= 60 else f"{seconds:g} s"
