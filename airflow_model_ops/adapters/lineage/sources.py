"""What a version was made from, as artifacts: its upstream lineage and its dataset version. Pure."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator

from airflow_model_ops.adapters.lineage import schema
from airflow_model_ops.adapters.lineage.nodes import Direction, Node, Use, filled, json_text
from airflow_model_ops.adapters.lineage.text import stored_name, stored_uri
from airflow_model_ops.core.errors import InvalidState
from airflow_model_ops.core.ports import Manifest
from airflow_model_ops.core.upstream import UpstreamArtifact, UpstreamLineage, upstream_of

UNREADABLE = "the upstream lineage in the manifest cannot be read; the version is recorded without it"
_DIGEST_CHARACTERS = 16

_log = logging.getLogger(__name__)


def source_uses(manifest: Manifest, lineage: UpstreamLineage | None) -> Iterator[Use]:
    """Yield what a push read: the pushed artifact, its ancestors and the dataset version.

    They belong to no context, since models share them: so the ledger is the same whoever records first.
    """
    if lineage is not None:
        nodes = {node.name: node for node in (upstream_node(lineage.connection, each) for each in lineage.artifacts)}
        for index, node in enumerate(nodes.values()):
            role = _role_of(node.properties["artifact_id"], lineage)
            yield Use(node=node, direction=Direction.INPUT, key=role, index=index)
    if manifest.dataset_version is not None:
        node = dataset_node(manifest.dataset_version)
        yield Use(node=node, direction=Direction.INPUT, key=schema.DATASET_ROLE)


def _role_of(artifact_id: str, lineage: UpstreamLineage) -> str:
    if artifact_id in lineage.own:
        return schema.UPSTREAM_ROLE
    return schema.COMPARED_ROLE if artifact_id in lineage.compared else schema.ANCESTOR_ROLE


def lineage_of(manifest: Manifest) -> UpstreamLineage | None:
    """Return a manifest's upstream lineage; ``None`` if it has none or it cannot be read, see :func:`upstream_fault`."""
    try:
        return upstream_of(manifest.source)
    except InvalidState as error:
        _log.warning("version=%s %s: %s", manifest.version, UNREADABLE, error)
        return None


def upstream_fault(manifest: Manifest) -> str | None:
    """Return what is wrong with a manifest's upstream lineage; one bad manifest must not stop the ledger."""
    try:
        upstream_of(manifest.source)
    except InvalidState:
        return UNREADABLE
    return None


def dataset_node(dataset_version: str) -> Node:
    """Return the artifact of a dataset version."""
    properties = filled(dataset_version=dataset_version)
    return Node(type=schema.DATASET, name=stored_name(dataset_version), properties=properties)


def upstream_node(connection: str, artifact: UpstreamArtifact) -> Node:
    """Return the artifact that stands for one of a pipeline's store."""
    kept = [connection, artifact.id, artifact.type, artifact.uri, artifact.name, artifact.created]
    content = json.dumps([*kept, dict(artifact.properties)], sort_keys=True)
    digest = hashlib.sha256(content.encode()).hexdigest()[:_DIGEST_CHARACTERS]
    return Node(
        type=schema.UPSTREAM,
        name=stored_name(f"{connection}/{artifact.id}/{artifact.created}/{digest}"),
        uri=stored_uri(artifact.uri),
        external_id=schema.upstream_key(connection, artifact.id, 1),
        properties=filled(
            connection=connection,
            artifact_id=artifact.id,
            type=artifact.type,
            name=artifact.name,
            created=artifact.created,
        ),
        structs={"properties": json_text(artifact.properties)},
    )
