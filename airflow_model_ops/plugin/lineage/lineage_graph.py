"""The lineage graph of one version: where it comes from, and what it led to. Pure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_model_ops.adapters.lineage.sources import UNREADABLE
from airflow_model_ops.core.errors import InvalidState
from airflow_model_ops.core.ports import Manifest
from airflow_model_ops.core.state import ServingState
from airflow_model_ops.core.upstream import UpstreamLineage, upstream_of
from airflow_model_ops.plugin.datamodels.base import Part
from airflow_model_ops.plugin.datamodels.versions import LineageGraph
from airflow_model_ops.plugin.lineage.downstream_graph import add_descendants, add_entries, add_serving, node_of
from airflow_model_ops.plugin.lineage.graph_parts import GraphParts
from airflow_model_ops.plugin.lineage.upstream_graph import MAKING_COLUMN, add_dataset, add_upstream, is_cut
from airflow_model_ops.plugin.plain_values import figures
from airflow_model_ops.plugin.versions.version_table import Pushed, pushed_of

if TYPE_CHECKING:
    from airflow_model_ops.adapters.lineage.ancestry import Ancestry, Descendants
    from airflow_model_ops.adapters.lineage.rows import VersionRow


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerLineage:
    """What the ledger tells of one version.

    :param ancestry: ``None``, as ``descendants``: it does not know the version (yet).
    :param recorded: The number of the model's newest entry that it knows.
    """

    ancestry: Ancestry | None
    descendants: Descendants | None
    recorded: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RepositoryLineage:
    """What the repository tells of one version.

    :param manifest: ``None``: there is none, or it cannot be read.
    :param is_there: Whether the version was ever pushed.
    :param newest: The number of the newest log entry; 0 for an empty log.
    :param pushed: Who pushed it, if the newest entries tell.
    """

    manifest: Manifest | None
    is_there: bool
    state: ServingState | None
    newest: int
    pushed: Pushed | None = None


def graph_of(
    model: str,
    version: str,
    *,
    repository: RepositoryLineage | None,
    ledger: Part[LedgerLineage],
    readable: Collection[str],
) -> LineageGraph:
    """Return the graph from what answered: the manifest alone tells data and training, the ledger who pushed it and the rest.

    :param repository: ``None``: it is away.
    :param readable: Models that the caller may see.
    """
    graph = GraphParts()
    ancestry = ledger.value.ancestry if ledger.value else None
    led_to = ledger.value.descendants if ledger.value else None
    manifest = repository.manifest if repository else None
    upstream, fault = _upstream(manifest, ancestry)
    described = manifest or (ancestry.version if ancestry else None)
    node = _add_version(graph, model, version, described, fault=fault)
    trainers = add_upstream(graph, upstream, version=node) if upstream else []
    if described is not None and described.dataset_version:
        add_dataset(graph, described.dataset_version, trainers=trainers, version=node)
    _add_push(graph, _pushed(ancestry, repository), at=_pushed_at(ancestry), node=node)
    if repository and repository.state:
        add_serving(graph, version, repository.state, node=node)
    truncated = False
    if led_to is not None:
        more = add_descendants(graph, model, version, led_to.versions, readable=readable)
        truncated = add_entries(graph, version, led_to.entries, node=node) or more
        truncated = truncated or led_to.more_versions or led_to.more_entries
    behind = max(0, repository.newest - ledger.value.recorded) if repository and ledger.value else 0
    return LineageGraph(
        version=version,
        nodes=graph.nodes,
        edges=graph.edges,
        truncated=truncated,
        behind=behind,
        ledger=Part(value=True) if ledger.value else Part(trouble=ledger.trouble),
    )


def _add_version(
    graph: GraphParts, model: str, version: str, described: Manifest | VersionRow | None, *, fault: str | None
) -> str:
    detail: dict[str, str | None] = {"upstream": fault}
    if described is not None:
        metrics = ", ".join(f"{name} {value:g}" for name, value in sorted(figures(described.metrics).items()))
        size = None if described.size is None else f"{described.size:,} bytes"
        detail |= {"created": described.created, "digest": described.digest, "size": size, "metrics": metrics}
    return graph.add(node_of(model, version), kind="version", label=version, column=0, detail=detail, model=model)


def _add_push(graph: GraphParts, pushed: Pushed | None, *, at: str | None, node: str) -> None:
    if pushed is None:
        return
    detail = {"by": f"{pushed.who.kind} {pushed.who.name}", "at": at}
    if pushed.run is None:
        push = graph.add("push", kind="entry", label="pushed", column=MAKING_COLUMN, detail=detail)
    else:
        detail["run"] = pushed.run.run_id
        push = graph.add(
            "push", kind="run", label=pushed.run.dag_id, column=MAKING_COLUMN, detail=detail, run=pushed.run
        )
    graph.link(push, node, "pushed")


def _pushed(ancestry: Ancestry | None, repository: RepositoryLineage | None) -> Pushed | None:
    if ancestry is not None:
        return pushed_of(ancestry.pushed) if ancestry.pushed else None
    return repository.pushed if repository else None


def _pushed_at(ancestry: Ancestry | None) -> str | None:
    return ancestry.pushed.at if ancestry and ancestry.pushed else None


def _upstream(manifest: Manifest | None, ancestry: Ancestry | None) -> tuple[UpstreamLineage | None, str | None]:
    """Return the pipeline's lineage, and what is to be said of it: it cannot be read, or more of it is known than is shown."""
    try:
        found = upstream_of(manifest.source) if manifest else ancestry.upstream if ancestry else None
    except InvalidState:
        return None, UNREADABLE
    return found, "there is more than is shown" if found and is_cut(found) else None
