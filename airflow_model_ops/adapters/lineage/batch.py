"""Entries of a log as one put: what is created, what is linked, what changes, and to which contexts it belongs.

A put gives all its contexts to all that it stores. So a batch takes the contexts that its entries share, and names the others
as pending in the recorded head, in the same transaction; they follow in a second one, which may be repeated. A batch of one
entry has nothing pending.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import count

from airflow_model_ops.adapters.lineage import schema
from airflow_model_ops.adapters.lineage.head import RecordedHead, next_record
from airflow_model_ops.adapters.lineage.mlmd_store import ArtifactPut, LedgerStore
from airflow_model_ops.adapters.lineage.nodes import Direction, Node, Record, Use, json_text
from airflow_model_ops.adapters.lineage.protos import Edge, Stored
from airflow_model_ops.adapters.lineage.records import contexts_of, known_manifest, version_node
from airflow_model_ops.adapters.lineage.shown import merged
from airflow_model_ops.core.errors import LedgerUnavailable
from airflow_model_ops.core.log import Entry, FactKind
from airflow_model_ops.core.ports import Manifest
from airflow_model_ops.core.upstream import UpstreamArtifact
from airflow_model_ops.core.versioning import Version

LARGEST_BATCH, LARGEST_BATCH_BYTES = 100, 500_000
"""Of entries, and of their bytes: an ML Metadata server takes messages of 4 MiB, and an entry or a manifest may be in one twice."""
LARGEST_BATCH_ON_A_SERVER = 25
"""There another writer of the same model waits for a whole transaction, and its server must answer it in time."""
_HEAD_PLACE = 0
_TRIES = 8
"""How often what others make at the same moment is looked up again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """One put.

    :param head: The recorded head once it is stored, without what is pending.
    :param links: For each entry, the places of the artifacts that its own contexts take, and these contexts.
    """

    executions: tuple[Node, ...]
    artifacts: tuple[ArtifactPut, ...]
    contexts: tuple[Node, ...]
    edges: tuple[Edge, ...]
    head: RecordedHead
    links: tuple[tuple[tuple[int, ...], tuple[Node, ...]], ...]


def stored_size(entry: Entry) -> int:
    """Return how many bytes an entry takes in the log."""
    return len(entry.to_bytes())


def batches(
    entries: Iterable[Entry], *, model: str, largest: int, size_of: Callable[[Entry], int] = stored_size
) -> Iterator[list[Entry]]:
    """Yield entries in batches; memory is bounded whatever the log's length.

    The last entry of a batch whose entries have different contexts comes alone: so nothing is pending after it.

    :param largest: Most entries of a batch.
    :param size_of: About how many bytes an entry takes in a put.
    """
    batch: list[Entry] = []
    size = 0
    for entry in entries:
        length = size_of(entry)
        if batch and (len(batch) == largest or size + length > LARGEST_BATCH_BYTES):
            yield from _parted(batch, model)
            batch, size = [], 0
        batch.append(entry)
        size += length
    if batch:
        yield from _parted(batch, model)


def _parted(batch: list[Entry], model: str) -> Iterator[list[Entry]]:
    if len({tuple(node.name for node in contexts_of(entry, model)) for entry in batch}) == 1:
        yield batch
        return
    yield batch[:-1]
    yield batch[-1:]


class Planner:
    """Looks up what is stored and plans a put of entries that follow the recorded head.

    :ivar wary: Whether also what an entry itself makes is looked up: a name was taken.
    """

    def __init__(self, *, store: LedgerStore, model: str, manifest_of: Callable[[Version], Manifest]) -> None:
        self._store = store
        self._model = model
        self._manifest_of = manifest_of
        self.wary = False

    def plan(self, entries: Sequence[Entry], *, head: RecordedHead, head_id: int | None) -> Batch:
        """Return the put of these entries.

        :param head_id: Of the Model artifact, or ``None`` if it is not stored yet.
        """
        drawing = _Drawing(artifacts=[ArtifactPut(node=head.node(), stored_id=head_id)])
        executions, contexts, placed = [], [], []
        for place, entry in enumerate(entries):
            record = next_record(head, entry, manifest_of=self._manifest_of)
            self._share(record, drawing)
            known = head.versions
            placed.append(self._draw(record, drawing, execution=place, versions=known))
            head = head.after(entry, new_versions=drawing.new_versions)
            drawing.new_versions = 0
            executions.append(record.execution)
            contexts.append(record.contexts)
        common = tuple(node for node in contexts[0] if all(node in each for each in contexts))
        links = tuple(
            (places, tuple(node for node in each if node not in common))
            for places, each in zip(placed, contexts, strict=True)
        )
        pending = any(contexts for _, contexts in links)
        told = replace(head, pending=(entries[0].sequence, entries[-1].sequence) if pending else None)
        drawing.artifacts[_HEAD_PLACE] = ArtifactPut(node=told.node(), stored_id=head_id)
        return Batch(
            executions=tuple(executions),
            artifacts=tuple(drawing.artifacts),
            contexts=common,
            edges=tuple(drawing.edges),
            head=head,
            links=links if pending else (),
        )

    def size_of(self, entry: Entry) -> int:
        """Return about how many bytes an entry takes in a put: a push brings its manifest, with the lineage of its pipeline."""
        pushed = entry.version if entry.name == FactKind.PUSHED else None
        manifest = self._manifest(pushed) if pushed is not None else None
        kept = (manifest.source, manifest.hyperparameters) if manifest is not None else ()
        return stored_size(entry) + sum(len(json_text(each)) for each in kept)

    def _manifest(self, version: Version) -> Manifest | None:
        return known_manifest(version, self._manifest_of)

    def _draw(self, record: Record, drawing: _Drawing, *, execution: int, versions: int) -> tuple[int, ...]:
        """Add an entry; return the places of what a put of it alone would store, the head's included."""
        places = [_HEAD_PLACE]
        for use in record.uses:
            key = use.node.type, use.node.name
            prior = self._prior(use, drawing)
            if prior is not None and key not in drawing.places and not use.writes:
                drawing.edges.append(_edge(use, execution=execution, artifact_id=drawing.ids[key]))
                continue
            if prior is None or use.writes:
                place = drawing.put(self._node(use, prior, drawing, versions=versions))
                places.append(place)
            drawing.edges.append(_edge(use, execution=execution, place=drawing.places[key]))
        foreign = self._foreign(record.upstream)
        if foreign is not None:
            drawing.edges.append(
                Edge(
                    direction=Direction.INPUT,
                    key=schema.FOREIGN_ROLE,
                    index=0,
                    execution=execution,
                    artifact_id=foreign.id,
                )
            )
        return tuple(places)

    def _share(self, record: Record, drawing: _Drawing) -> None:
        """Look up what models share, and make what is missing in a transaction of its own, without a context.

        In the batch's own, writers of other models would wait for all of it, or in a circle. Nothing is wrong if it ends after
        this: such an artifact says the same whoever makes it, and is linked by whoever comes next.
        """
        uses = [use for use in record.uses if use.node.type in schema.SHARED]
        for _ in range(_TRIES):
            missing = sorted({use.node.name: use for use in uses if self._prior(use, drawing) is None}.items())
            if not missing:
                return
            nodes: list[Node] = []
            for _, use in missing:
                nodes.append(self._keyed(use.node, taken={node.external_id for node in nodes}))
            puts = [ArtifactPut(node=node) for node in nodes]
            made = self._store.put(executions=(), artifacts=puts, contexts=(), edges=())
            for node, number in zip(nodes, made.artifacts if made else (), strict=False):
                drawing.ids[node.type, node.name], drawing.stored[node.type, node.name] = number, node
        raise LedgerUnavailable(
            f"what entry {record.sequence} of model {self._model!r} came from cannot be recorded: a name or key is taken in the "
            "ledger, but not by the same; try again, or record the log into an empty ledger"
        )

    def _prior(self, use: Use, drawing: _Drawing) -> Node | None:
        """Return an artifact as it is before an entry, or ``None`` if the entry creates it."""
        key = use.node.type, use.node.name
        if key in drawing.places:
            return drawing.artifacts[drawing.places[key]].node
        if use.creates and not self.wary:
            return None
        if key not in drawing.ids:
            stored = self._store.artifact(*key)
            if stored is None:
                return None
            drawing.ids[key], drawing.stored[key] = stored.id, _node_of(stored)
        return drawing.stored[key]

    def _node(self, use: Use, prior: Node | None, drawing: _Drawing, *, versions: int) -> Node:
        """Return an artifact as it is after an entry; what earlier entries told of a version stays."""
        node = use.node
        if prior is None:
            node = self._new(use, drawing, versions=versions)
        elif use.renews or use.creates:
            told = {name: text for name, text in prior.structs.items() if name in (schema.VALIDATION, schema.ONLINE)}
            node = replace(node, external_id=prior.external_id, structs={**node.structs, **told})
        else:
            node = prior
        return replace(node, structs=merged(node.structs, use.adds))

    def _new(self, use: Use, drawing: _Drawing, *, versions: int) -> Node:
        if use.version is None:
            return use.node
        drawing.new_versions += 1
        node = use.node if use.renews else version_node(self._model, use.version, self._manifest(use.version))
        return replace(node, external_id=schema.version_key(self._model, versions + drawing.new_versions))

    def _keyed(self, node: Node, *, taken: set[str | None]) -> Node:
        """Return a shared artifact with the first external id that no other state of the same upstream artifact has."""
        if node.external_id is None:
            return node
        for ordinal in count(1, LARGEST_BATCH):
            page = schema.upstream_keys(node.external_id, first=ordinal, count=LARGEST_BATCH)
            stored = {each.external_id for each in self._store.artifacts_by_external_ids(page)}
            free = next((key for key in page if key not in stored | taken), None)
            if free is not None:
                return replace(node, external_id=free)
        raise AssertionError  # ordinals do not end

    def _foreign(self, root: UpstreamArtifact | None) -> Stored | None:
        """Return the very artifact that was pushed, if this store is the pipeline's own."""
        if root is None or not root.id.isdecimal() or len(root.id) > _LONGEST_ID:
            return None
        found = self._store.artifacts_by_id([int(root.id)])
        same = [
            stored
            for stored in found
            if (stored.type, stored.uri, str(stored.created)) == (root.type, root.uri, root.created)
            and not stored.type.startswith(schema.PREFIX)
        ]
        return same[0] if same else None


_LONGEST_ID = 18


@dataclass(slots=True, kw_only=True)
class _Drawing:
    """A put in the making.

    :param places: Where in ``artifacts`` one is, by type and name.
    :param ids: What is stored and looked up, by type and name; ``stored`` holds it.
    """

    artifacts: list[ArtifactPut]
    edges: list[Edge] = field(default_factory=list)
    places: dict[tuple[str, str], int] = field(default_factory=dict)
    ids: dict[tuple[str, str], int] = field(default_factory=dict)
    stored: dict[tuple[str, str], Node] = field(default_factory=dict)
    new_versions: int = 0

    def put(self, node: Node) -> int:
        """Put a new artifact, or change one; return its place."""
        key = node.type, node.name
        place = self.places.setdefault(key, len(self.artifacts))
        if place == len(self.artifacts):
            self.artifacts.append(ArtifactPut(node=node, stored_id=self.ids.get(key)))
        else:
            self.artifacts[place] = replace(self.artifacts[place], node=node)
        return place


def _node_of(stored: Stored) -> Node:
    return Node(
        type=stored.type,
        name=stored.name,
        uri=stored.uri,
        external_id=stored.external_id,
        properties=stored.properties,
        structs=stored.structs,
    )


def _edge(use: Use, *, execution: int, place: int | None = None, artifact_id: int | None = None) -> Edge:
    return Edge(
        direction=use.direction,
        key=use.key,
        index=use.index,
        execution=execution,
        place=place,
        artifact_id=artifact_id,
    )
