"""What comes from an artifact: versions of any model, found by walking the events of pushes; and who serves them.

A push read its upstream artifact, that one's ancestors and its dataset version, so one step finds what was made of an
artifact within one pipeline's store. What was trained on from such a version in another way, e.g. from its export in
another store, is found by taking that version's own artifact next, until nothing new comes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from airflow_model_ops.adapters.lineage import schema
from airflow_model_ops.adapters.lineage.lookups import head_of, transition_at, version_at
from airflow_model_ops.adapters.lineage.mlmd_store import LedgerStore
from airflow_model_ops.adapters.lineage.nodes import Direction
from airflow_model_ops.adapters.lineage.protos import Stored, StoredEdge
from airflow_model_ops.adapters.lineage.text import stored_name, stored_uri, unescape
from airflow_model_ops.core.blast_radius import ArtifactRef, RefKind, live_affected, way_out
from airflow_model_ops.core.errors import ArtifactNotFound
from airflow_model_ops.core.log import FactKind
from airflow_model_ops.core.versioning import Version

_PUSH = schema.EXECUTION_TYPES[FactKind.PUSHED]
_ORDINALS = 4
"""How many artifacts that stand for one id of a pipeline's store are asked for at once; there is one, as a rule."""
_WORDS: Mapping[str, str] = {
    schema.UPSTREAM_ROLE: "pushed from it",
    schema.FOREIGN_ROLE: "pushed from it",
    schema.ANCESTOR_ROLE: "made from it",
    schema.DATASET_ROLE: "trained on it",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class AffectedVersion:
    """A version that comes from an artifact.

    :param because: How, in words.
    :param pushed_at: When it was pushed, ISO 8601 in UTC; empty for the version that was asked about.
    """

    model: str
    version: str
    serving_number: str
    because: str
    pushed_at: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AffectedModel:
    """A model with versions that come from an artifact.

    :param versions: Highest serving number first.
    :param live: Which of them are stable, canary, holdback or golden, as far as the log is recorded.
    :param recorded: The number of the newest recorded entry of its log.
    :param recorded_at: When that entry was written, ISO 8601 in UTC.
    :param move: What would take it off these versions: nothing, end, back or stuck; see
        :class:`~airflow_model_ops.core.blast_radius.Move`.
    :param target: Which version would be stable then.
    :param why: The same in a sentence.
    """

    model: str
    versions: tuple[AffectedVersion, ...]
    live: Mapping[str, str]
    recorded: int
    recorded_at: str
    move: str
    target: str | None
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BlastRadius:
    """What comes from an artifact: models by name, with their versions."""

    artifact: str
    models: tuple[AffectedModel, ...]

    @property
    def live(self) -> tuple[AffectedModel, ...]:
        """The models of which an affected version serves, is on trial or is golden."""
        return tuple(model for model in self.models if model.live)


@dataclass(slots=True, kw_only=True)
class _Walk:
    """What was found so far.

    :ivar versions: By model and version's name, in the order they were found.
    :ivar seen: Artifacts and the roles in which they were looked for.
    :ivar todo: Artifacts whose pushes are to be looked for, with the roles that count and the words for them.
    """

    versions: dict[tuple[str, str], AffectedVersion] = field(default_factory=dict)
    seen: set[tuple[int, str]] = field(default_factory=set)
    todo: dict[int, Mapping[str, str]] = field(default_factory=dict)


def blast_radius_of(store: LedgerStore, ref: ArtifactRef, *, by_person: bool = True) -> BlastRadius:
    """Return every version that comes from an artifact and each model's way out.

    :param by_person: Whether a person would take the models back, who may go past a person's pin.
    :raises ArtifactNotFound: if the ledger knows no such artifact.
    :raises VersionNotFound: if it knows no such version.
    """
    walk = _Walk()
    if ref.kind is RefKind.VERSION:
        _begin_with(walk, store, version_at(store, ref.owner, ref.name))
    else:
        found = list(_artifacts(store, ref))
        if not found:
            raise ArtifactNotFound(
                f"the ledger knows no artifact {str(ref)!r}: nothing that was pushed and recorded names it; look at what `airflow "
                "model-ops lineage` says of a version, or catch up from the logs first: `airflow model-ops record`"
            )
        walk.todo = {artifact.id: _WORDS for artifact in found}
    _finish(walk, store)
    by_model: dict[str, list[AffectedVersion]] = {}
    for each in walk.versions.values():
        by_model.setdefault(each.model, []).append(each)
    models = tuple(
        _affected(store, model, versions, by_person=by_person) for model, versions in sorted(by_model.items())
    )
    return BlastRadius(artifact=str(ref), models=models)


def descendants_of(store: LedgerStore, version: Stored, *, limit: int) -> tuple[tuple[AffectedVersion, ...], bool]:
    """Return the versions that were made from a version, newest pushed first, and whether there are more."""
    walk = _Walk()
    _begin_with(walk, store, version)
    _finish(walk, store, most=limit + 1)
    found = [each for each in walk.versions.values() if each.pushed_at]
    found.sort(key=lambda each: each.pushed_at, reverse=True)
    return tuple(found[:limit]), len(found) > limit


def _begin_with(walk: _Walk, store: LedgerStore, version: Stored) -> None:
    properties = {key: unescape(text) for key, text in version.properties.items()}
    key = properties["model"], properties["version"]
    walk.versions[key] = AffectedVersion(
        model=key[0], version=key[1], serving_number=properties["serving_number"], because="itself"
    )
    wrote = {edge.execution_id for edge in store.edges_of_artifacts([version.id]) if edge.direction is Direction.OUTPUT}
    pushes = [each for each in store.executions_by_id(sorted(wrote)) if each.type == _PUSH]
    _take_their_artifacts(walk, store, pushes)


def _finish(walk: _Walk, store: LedgerStore, *, most: int | None = None) -> None:
    """Walk on until nothing new comes, or more than ``most`` versions are known."""
    while walk.todo and (most is None or len(walk.versions) <= most):
        todo, walk.todo = walk.todo, {}
        walk.seen.update((artifact, role) for artifact, words in todo.items() for role in words)
        edges = [edge for edge in store.edges_of_artifacts(sorted(todo)) if edge.key in todo[edge.artifact_id]]
        pushes = _new_pushes(walk, store, edges, todo)
        _take_their_artifacts(walk, store, pushes)


def _new_pushes(
    walk: _Walk, store: LedgerStore, edges: Sequence[StoredEdge], todo: Mapping[int, Mapping[str, str]]
) -> list[Stored]:
    because = {edge.execution_id: todo[edge.artifact_id][edge.key] for edge in reversed(edges)}
    pushes = []
    for push in sorted(store.executions_by_id(sorted(because)), key=lambda each: each.id):
        if push.type != _PUSH:  # another's execution may have such a role too
            continue
        properties = {key: unescape(text) for key, text in push.properties.items()}
        key = properties["model"], properties["version"]
        if key not in walk.versions:
            walk.versions[key] = AffectedVersion(
                model=key[0],
                version=key[1],
                serving_number=properties["serving_number"],
                because=because[push.id],
                pushed_at=properties["at"],
            )
            pushes.append(push)
    return pushes


def _take_their_artifacts(walk: _Walk, store: LedgerStore, pushes: Sequence[Stored]) -> None:
    """Look next for what was made from the artifacts that these pushes took."""
    names = {push.id: f"{push.properties['model']}/{push.properties['version']}" for push in pushes}
    taken = {
        edge.artifact_id: unescape(names[edge.execution_id])
        for edge in store.edges_of_executions(sorted(names))
        if edge.key == schema.UPSTREAM_ROLE
    }
    roots = store.artifacts_by_id(sorted(taken))
    same_id = _by_their_ids(store, dict.fromkeys(_their_id(root) for root in roots))
    for root in roots:
        name = taken[root.id]
        same = {schema.UPSTREAM_ROLE: f"pushed from the same artifact as {name}"}
        made = {schema.ANCESTOR_ROLE: f"made from {name}"}
        # The same artifact of the same store: its properties may have changed between two pushes.
        for artifact in {root.id: root, **same_id.get(_their_id(root), {})}.values():
            if artifact.properties.get("created") == root.properties.get("created"):
                _look_for(walk, artifact, {**same, **made})
        for artifact in _later_at_its_place(store, root):
            _look_for(walk, artifact, made)


def _look_for(walk: _Walk, artifact: Stored, words: Mapping[str, str]) -> None:
    new = {role: text for role, text in words.items() if (artifact.id, role) not in walk.seen}
    if new:
        walk.todo[artifact.id] = {**new, **walk.todo.get(artifact.id, {})}


def _artifacts(store: LedgerStore, ref: ArtifactRef) -> Iterator[Stored]:
    if ref.kind is RefKind.DATASET:
        found = store.artifact(schema.DATASET, stored_name(ref.name))
        yield from [found] if found is not None else []
    elif ref.kind is RefKind.URI:
        bare = ref.name.rstrip("/")
        for uri in (bare, f"{bare}/"):  # TFX writes none at the end, people do
            if uri:  # an empty one is that of all artifacts without a place, such as datasets
                yield from store.artifacts_by_uri(stored_uri(uri))
    else:
        their_id = ref.owner, ref.name
        for artifact in _by_their_ids(store, [their_id]).get(their_id, {}).values():
            if not ref.created or artifact.properties.get("created") == ref.created:
                yield artifact


def _their_id(artifact: Stored) -> tuple[str, str]:
    """Return the connection of the store that an Upstream artifact comes from, and its id there."""
    return unescape(artifact.properties.get("connection", "")), unescape(artifact.properties.get("artifact_id", ""))


def _by_their_ids(store: LedgerStore, ids: Iterable[tuple[str, str]]) -> dict[tuple[str, str], dict[int, Stored]]:
    """Return all that stand for ids of pipelines' stores, several ids in one look-up."""
    found: dict[tuple[str, str], dict[int, Stored]] = {}
    asked, first = list(ids), 1
    while asked:
        places = range(first, first + _ORDINALS)
        keys = [schema.upstream_key(connection, number, place) for connection, number in asked for place in places]
        page: dict[tuple[str, str], dict[int, Stored]] = {}
        for stored in store.artifacts_by_external_ids(keys):
            page.setdefault(_their_id(stored), {})[stored.id] = stored
        for their_id, artifacts in page.items():
            found.setdefault(their_id, {}).update(artifacts)
        asked, first = [each for each in asked if len(page.get(each, {})) == _ORDINALS], first + _ORDINALS
    return found


def _later_at_its_place(store: LedgerStore, root: Stored) -> Iterator[Stored]:
    """Yield what was registered later at the same uri, in this or another store: an import of it, as far as can be told."""
    if not root.uri:
        return
    made = _number(root.properties.get("created"))
    for artifact in store.artifacts_by_uri(root.uri):
        if artifact.type == schema.UPSTREAM and _number(artifact.properties.get("created")) >= made:
            yield artifact


def _number(text: str | None) -> int:
    return int(text) if text and text.isdecimal() else 0


def _affected(
    store: LedgerStore, model: str, versions: Collection[AffectedVersion], *, by_person: bool
) -> AffectedModel:
    head = head_of(store, model)
    newest = transition_at(store, model, head.generation)
    affected = {Version(name=each.version, number=int(each.serving_number)) for each in versions}
    state = newest.state if newest else None
    out = way_out(state, affected, by_person=by_person) if state else None
    return AffectedModel(
        model=model,
        versions=tuple(sorted(versions, key=lambda each: int(each.serving_number), reverse=True)),
        live={place: version.name for place, version in live_affected(state, affected).items()} if state else {},
        recorded=head.sequence,
        recorded_at=head.at,
        move=out.move.value if out else "nothing",
        target=out.target.name if out and out.target else None,
        why=out.reason if out else "it never served",
    )
