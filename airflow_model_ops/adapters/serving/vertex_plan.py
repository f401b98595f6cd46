"""Pure planning for an endpoint of Vertex AI: from what was seen and the plan to the next calls, each with its reason.

Up: uploaded, deployed (without traffic), traffic, aliases. Traffic depends on nothing but what is deployed, so it is decided
first in every pass: a way back to a deployed version is one call, and no registry and no upload can delay it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from airflow_model_ops.adapters.serving.vertex_book import Book, Key, Trouble
from airflow_model_ops.adapters.serving.vertex_names import version_alias
from airflow_model_ops.adapters.serving.vertex_seen import EndpointSeen, Kind, RegistrySeen
from airflow_model_ops.core.errors import InvalidConfig
from airflow_model_ops.core.ports import ModelPlan
from airflow_model_ops.core.state import CANARY, GOLDEN, STABLE, ServingState
from airflow_model_ops.core.versioning import Version

WHOLE = 100
ALIASES = (STABLE, CANARY, GOLDEN)
"""The aliases that mirror the labels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """Write a full split.

    :param split: Deployment id to whole percents: 100 together, or nothing at all.
    :param generation: The generation of the plan it was decided for.
    :param whole: Whether it is what that asks for; if not, the endpoint's generation stays the old one.
    """

    split: Mapping[str, int]
    generation: int
    reason: str
    whole: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """Upload a version to the registry."""

    version: Version
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Deploy:
    """Deploy a version without traffic."""

    version: Version
    registry_version: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Undeploy:
    """Undeploy a version that gets no traffic."""

    version: Version
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancel:
    """Cancel an operation, as well as that goes."""

    kind: Kind
    version: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveAlias:
    """Let an alias name another registry version.

    :param held_by: The registry versions that have it wrongly.
    :param to: The registry version to give it to; ``None``: to none, or it has it already.
    """

    alias: str
    held_by: tuple[str, ...]
    to: str | None
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """What to do about the traffic now.

    :param shift: The call, if one is due.
    :param follows: Whether the traffic follows the plan, with that call if there is one.
    """

    shift: Shift | None
    follows: bool


def percents(state: ServingState) -> dict[str, int]:
    """Return the split that a state asks for, version name to whole percents.

    :raises InvalidConfig: if a share is no whole percent, which Vertex AI cannot split by.
    """
    for version, percent in state.split:
        if percent != int(percent):
            raise InvalidConfig(
                f"version {version.name!r} shall get {percent:g} % of the traffic, and Vertex AI splits in whole percents; "
                "write whole numbers in steps and hold_back of the model's file"
            )
    return {version.name: int(percent) for version, percent in state.split}


def traffic(plan: ModelPlan, endpoint: EndpointSeen, book: Book) -> Traffic:
    """Decide on the traffic: the head's split once all it needs is deployed, or the part of a way back that goes now."""
    wanted = percents(plan.state)
    ready = deployed(endpoint, book)
    if endpoint.foreign_traffic or any(version.name not in ready for version in plan.needed):
        return Traffic(shift=_interim(plan, endpoint, ready, wanted), follows=False)
    split = {endpoint.ours[name].id: percent for name, percent in wanted.items()}
    if endpoint.generation == plan.generation and dict(endpoint.split) == split:
        return Traffic(shift=None, follows=True)
    reason = f"generation {plan.generation} asks for {shown(wanted)} and the endpoint has {shown(endpoint.traffic)}"
    return Traffic(shift=Shift(split=split, generation=plan.generation, reason=reason), follows=True)


def loads(
    plan: ModelPlan, endpoint: EndpointSeen, registry: RegistrySeen, book: Book, *, now: float
) -> tuple[Upload | Deploy, ...]:
    """Return the uploads and deployments that are missing and may begin now, what the head needs most first.

    Nothing begins while the answer to a call is unknown, nor a second upload while the first makes the parent model.
    """
    if book.unanswered is not None:
        return ()
    calls: list[Upload | Deploy] = []
    uploading = any(kind is Kind.UPLOAD for kind, _ in book.running)
    for version in _by_need(plan):
        name = version.name
        if name in endpoint.ours or any(book.runs(kind, name) for kind in (Kind.UPLOAD, Kind.DEPLOY, Kind.UNDEPLOY)):
            continue
        if hindrance(plan, book, version, now=now) is not None:
            continue
        found = registry_version(version, registry, book)
        if found is not None:
            reason = f"generation {plan.generation} keeps {name} warm and the endpoint does not have it"
            calls.append(Deploy(version=version, registry_version=found, reason=reason))
        elif registry.versions or not uploading:
            reason = f"generation {plan.generation} keeps {name} warm and the registry does not have it"
            calls.append(Upload(version=version, reason=reason))
            uploading = True
    return tuple(calls)


def visible(endpoint: EndpointSeen, book: Book) -> tuple[Key, ...]:
    """Return what the endpoint shows to be done: itself, and what an unanswered call asked for."""
    done = [(Kind.CREATE, "")]
    lost = book.unanswered
    if lost is not None and (
        (lost.kind is Kind.DEPLOY and lost.version in endpoint.ours)
        or (lost.kind is Kind.UNDEPLOY and lost.version not in endpoint.ours)
    ):
        done.append(lost.key)
    return tuple(key for key in done if key in book.running)


def needless(plan: ModelPlan, book: Book) -> tuple[Cancel, ...]:
    """Return the uploads and deployments under way that the head needs no longer."""
    warm = {version.name for version in plan.state.warm}
    return tuple(
        Cancel(kind=entry.kind, version=entry.version, reason=f"generation {plan.generation} needs it no longer")
        for entry in book.running.values()
        if entry.kind in (Kind.UPLOAD, Kind.DEPLOY)
        and entry.version not in warm
        and entry.operation is not None
        and not entry.cancelled
    )


def surplus(plan: ModelPlan, endpoint: EndpointSeen, book: Book, *, drain_seconds: float) -> tuple[Undeploy, ...]:
    """Return what may be undeployed: ours, spared by no plan, without traffic, and drained since the head was applied."""
    if book.unanswered is not None or not plan.applied or endpoint.generation != plan.generation:
        return ()
    if plan.settled_seconds < drain_seconds:
        return ()
    kept = {version.name for version in (*plan.spare, *plan.state.warm)}.union(endpoint.traffic)
    reason = f"generation {plan.generation}, applied {plan.settled_seconds:.0f} s ago, spares it no longer"
    return tuple(
        Undeploy(version=Version(name=name, number=book.numbers.get(name, 0)), reason=reason)
        for name in sorted(endpoint.ours)
        if name not in kept and not book.runs(Kind.UNDEPLOY, name) and not book.runs(Kind.DEPLOY, name)
    )


def aliases(plan: ModelPlan, registry: RegistrySeen, book: Book) -> tuple[MoveAlias, ...]:
    """Return the moves after which the aliases mirror the labels of the head."""
    labels = plan.state.labels
    moves = []
    for alias in ALIASES:
        wanted = registry_version(labels[alias], registry, book) if alias in labels else None
        if alias in labels and wanted is None:
            continue  # what it shall name is not uploaded yet
        holders = tuple(version.id for version in registry.versions if alias in version.aliases)
        wrong = tuple(holder for holder in holders if holder != wanted)
        to = wanted if wanted not in holders else None
        if wrong or to is not None:
            reason = f"generation {plan.generation} labels {labels[alias].name if alias in labels else 'nothing'} so"
            moves.append(MoveAlias(alias=alias, held_by=wrong, to=to, reason=reason))
    return tuple(moves)


def strays(
    plan: ModelPlan, endpoint: EndpointSeen, registry: RegistrySeen, book: Book, *, now: float
) -> tuple[str, ...]:
    """Return what differs from an applied head and a pass would mend: versions, traffic, aliases."""
    missing = [call.version.name for call in loads(plan, endpoint, registry, book, now=now)]
    decided = traffic(plan, endpoint, book)
    moved = [move.alias for move in aliases(plan, registry, book)]
    found = []
    if missing:
        found.append(f"versions {', '.join(missing)} are not deployed")
    if decided.shift is not None:
        found.append(f"the traffic is {shown(endpoint.traffic)}")
    if endpoint.foreign_traffic:
        found.append(f"deployments of others get {sum(endpoint.foreign_traffic.values())} % of the traffic")
    if moved:
        found.append(f"aliases {', '.join(moved)} name other versions than the labels")
    return tuple(found)


def deployed(endpoint: EndpointSeen, book: Book) -> frozenset[str]:
    """Return the names of our versions that may get traffic: deployed, with a replica, and not about to be undeployed."""
    return frozenset(
        name
        for name, deployment in endpoint.ours.items()
        if not deployment.without_replicas and not book.runs(Kind.UNDEPLOY, name)
    )


def registry_version(version: Version, registry: RegistrySeen, book: Book) -> str | None:
    """Return a version's id in the registry; ``None`` if it is not there.

    What is labelled with another number, or was uploaded by others without the alias, is other content: an alias may have been
    moved by hand, and an upload of others may have been taken for the one whose answer was lost.
    """
    named = registry.by_alias(version_alias(version))
    if named is not None and named.number in (None, version.number):
        return named.id
    labelled = [found.id for found in registry.versions if found.number == version.number]
    known = book.uploaded.get(version.name)
    return known if known in labelled else next(iter(labelled), None)


def hindrance(plan: ModelPlan, book: Book, version: Version, *, now: float) -> Trouble | None:
    """Return what keeps a version from being tried again now."""
    for kind in (Kind.DEPLOY, Kind.UPLOAD):
        trouble = book.hindrance((kind, version.name), generation=plan.generation, now=now)
        if trouble is not None:
            return trouble
    return None


def shown(split: Mapping[str, int]) -> str:
    """Return a split for people."""
    return ", ".join(f"{name} {percent} %" for name, percent in split.items()) or "nothing"


def _interim(plan: ModelPlan, endpoint: EndpointSeen, ready: frozenset[str], wanted: Mapping[str, int]) -> Shift | None:
    """Return what stops harm before the head can be applied in full; the generation stays the old one.

    A way back leads to a version that is not deployed yet, or a deployment vanished and its share is answered by nobody: of
    those that serve, one that served everybody before gets all. Where others have traffic, which is not ours to take, a
    way back moves what is ours.
    """
    if endpoint.generation is None or not (plan.urgent or endpoint.lost_traffic):
        return None
    goal = [name for name in wanted if plan.urgent and name in ready] or _proven(plan, endpoint, ready)
    if len(goal) != 1:
        return None
    split = {**endpoint.foreign_traffic, endpoint.ours[goal[0]].id: WHOLE - sum(endpoint.foreign_traffic.values())}
    if split == dict(endpoint.split):
        return None
    why = "a way back begins" if plan.urgent else f"{endpoint.lost_traffic} % go to what vanished"
    reason = f"{why}: {goal[0]} gets all that is ours meanwhile"
    return Shift(split=split, generation=plan.generation, reason=reason, whole=False)


def _proven(plan: ModelPlan, endpoint: EndpointSeen, ready: frozenset[str]) -> list[str]:
    """Return the ready versions that served everybody before: those with traffic, else the nearest rollback target."""
    state = plan.state
    usable = {version.name for version in state.promoted if version not in state.quarantined} & ready
    nearest = [version.name for version in state.earlier if version.name in usable][-1:]
    return [name for name in endpoint.traffic if name in usable] or nearest


def _by_need(plan: ModelPlan) -> tuple[Version, ...]:
    return tuple(sorted(plan.state.warm, key=lambda version: (version not in plan.needed, version.number)))


def waits_for(plan: ModelPlan, endpoint: EndpointSeen, book: Book, *, now: float) -> str:
    """Return, for people, what the head waits for; ``""`` if for nothing."""
    return "; ".join(
        _state_of(plan, version, endpoint, book, now=now)
        for version in plan.needed
        if version.name not in deployed(endpoint, book)
    )


def failure(plan: ModelPlan, endpoint: EndpointSeen, book: Book, *, now: float) -> tuple[Version, Trouble] | None:
    """Return a version that the head needs and that no further pass brings up, with what happened."""
    ready = deployed(endpoint, book)
    for version in plan.needed:
        trouble = hindrance(plan, book, version, now=now)
        if version.name not in ready and trouble is not None and trouble.fault.permanent:
            return version, trouble
    return None


def _state_of(plan: ModelPlan, version: Version, endpoint: EndpointSeen, book: Book, *, now: float) -> str:
    name = version.name
    if book.runs(Kind.UNDEPLOY, name):
        return f"version {name} is being undeployed, and deployed again after that"
    if name in endpoint.ours:
        return f"version {name} is deployed and has no replica: {endpoint.ours[name].without_replicas}"
    if book.runs(Kind.DEPLOY, name):
        return f"version {name} is being deployed, which takes minutes"
    if book.runs(Kind.UPLOAD, name):
        return f"version {name} is being uploaded to the Model Registry"
    trouble = hindrance(plan, book, version, now=now)
    if trouble is not None:
        again = "" if trouble.fault.permanent else f"; try {trouble.tries + 1} in {max(0.0, trouble.until - now):.0f} s"
        return f"the {trouble.kind.value} of version {name} failed ({trouble.fault}){again}"
    return f"version {name} is not deployed yet"
