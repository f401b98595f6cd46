"""The left side of a version's lineage graph: data, examples, training, and the runs that made and pushed it. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from airflow_model_ops.adapters.lineage.ancestry import is_examples, is_trainer
from airflow_model_ops.adapters.lineage.pipeline_rows import RUN_CONTEXTS
from airflow_model_ops.adapters.lineage.pipeline_store import PIPELINE_CONTEXTS
from airflow_model_ops.core.upstream import UpstreamArtifact, UpstreamLineage
from airflow_model_ops.plugin.lineage.graph_parts import GraphParts

MOST_INPUTS = 12
"""Examples and other inputs of the training that are shown; nearest first."""
MOST_TRAINERS = 4
DATA_COLUMN, MAKING_COLUMN = -2, -1
"""No arrow passes a column: it would run behind that column's nodes. So data without a training stands where that would."""


def add_dataset(graph: GraphParts, dataset_version: str, *, trainers: Sequence[str], version: str) -> None:
    """Add the dataset version that the push named; it leads to the training, or to the version if none is known."""
    column = DATA_COLUMN if trainers else MAKING_COLUMN
    node = graph.add(f"data:{dataset_version}", kind="data", label=dataset_version, column=column)
    for target in trainers or [version]:
        graph.link(node, target, "trained on")


def add_upstream(graph: GraphParts, upstream: UpstreamLineage, *, version: str) -> list[str]:
    """Add what the pipeline's store told when the version was pushed; return the nodes of the training.

    :param version: The node of the version.
    """
    trainers = _add_trainers(graph, upstream, version=version)
    _add_inputs(graph, upstream, trainers=trainers, version=version)
    pipelines = ", ".join(context.name for context in upstream.contexts if context.type in PIPELINE_CONTEXTS)
    for context in upstream.contexts:
        if context.type in RUN_CONTEXTS:
            detail = {"pipeline": pipelines, "connection": upstream.connection}
            node = graph.add(
                f"pipeline-run:{context.id}", kind="run", label=context.name, column=MAKING_COLUMN, detail=detail
            )
            graph.link(node, version, "pipeline run")
    return list(trainers.values())


def is_cut(upstream: UpstreamLineage) -> bool:
    """Whether there is more upstream than the graph shows."""
    trainers = sum(is_trainer(each) for each in upstream.executions)
    return not upstream.complete or trainers > MOST_TRAINERS or len(_inputs(upstream)) > MOST_INPUTS


def _add_trainers(graph: GraphParts, upstream: UpstreamLineage, *, version: str) -> dict[str, str]:
    """Add the training components; return their nodes by their ids. One whose model another one took leads to that."""
    found = {each.id: each for each in [each for each in upstream.executions if is_trainer(each)][:MOST_TRAINERS]}
    for each in found.values():
        detail = {"component": each.type, "state": each.state, "name": each.name, "id": each.id}
        label = each.type.rpartition(".")[2]
        graph.add(_trainer_node(each.id), kind="trainer", label=label, column=MAKING_COLUMN, detail=detail)
    writers = {event.artifact: event.execution for event in upstream.events if event.output}
    for event in upstream.events:
        writer = writers.get(event.artifact)
        if not event.output and event.execution in found and writer in found:
            graph.link(_trainer_node(writer), _trainer_node(event.execution), event.role or "model")
    for each in found.values():
        if not graph.leads_on(_trainer_node(each.id)):
            graph.link(_trainer_node(each.id), version, "trained")
    return {each: _trainer_node(each) for each in found}


def _add_inputs(graph: GraphParts, upstream: UpstreamLineage, *, trainers: dict[str, str], version: str) -> None:
    readers: dict[str, list[tuple[str, str]]] = {}
    for event in upstream.events:
        if not event.output and event.execution in trainers:
            readers.setdefault(event.artifact, []).append((trainers[event.execution], event.role))
    for artifact in _inputs(upstream)[:MOST_INPUTS]:
        node = graph.add(
            f"artifact:{artifact.id}",
            kind="examples" if is_examples(artifact) else "data",
            label=artifact.uri.rstrip("/").rpartition("/")[2] or artifact.name or f"{artifact.type} {artifact.id}",
            column=DATA_COLUMN if trainers else MAKING_COLUMN,
            detail={"type": artifact.type, "uri": artifact.uri, "name": artifact.name, "id": artifact.id},
        )
        direct = readers.get(artifact.id, [])
        for reader, role in direct:
            graph.link(node, reader, role or "read")
        if not direct:
            graph.link(node, next(iter(trainers.values()), version), "led to")


def _inputs(upstream: UpstreamLineage) -> list[UpstreamArtifact]:
    """Return all examples, and whatever else a training read that no training wrote."""
    trainers = {each.id for each in upstream.executions if is_trainer(each)}
    read = {event.artifact for event in upstream.events if not event.output and event.execution in trainers}
    wrote = {event.artifact for event in upstream.events if event.output and event.execution in trainers}
    return [each for each in upstream.artifacts if is_examples(each) or each.id in read - wrote - upstream.own]


def _trainer_node(execution: str | None) -> str:
    return f"execution:{execution}"
