"""Where a version comes from, and what it led to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from airflow_model_ops.adapters.lineage import schema
from airflow_model_ops.adapters.lineage.blast_radius import AffectedVersion, descendants_of
from airflow_model_ops.adapters.lineage.lookups import head_of, version_at
from airflow_model_ops.adapters.lineage.mlmd_store import LedgerStore
from airflow_model_ops.adapters.lineage.nodes import Direction
from airflow_model_ops.adapters.lineage.pipeline_rows import RUN_CONTEXTS
from airflow_model_ops.adapters.lineage.pipeline_store import PIPELINE_CONTEXTS
from airflow_model_ops.adapters.lineage.protos import Stored
from airflow_model_ops.adapters.lineage.rows import (
    HistoryRow,
    VersionRow,
    entry_of,
    history_row,
    upstream_lineage,
    version_row,
)
from airflow_model_ops.core.log import FactKind
from airflow_model_ops.core.upstream import UpstreamArtifact, UpstreamExecution, UpstreamLineage

_EXAMPLES = ("Examples", "system.Dataset", "Dataset")


def is_trainer(execution: UpstreamExecution) -> bool:
    """Whether a component trained, as far as its type tells."""
    return "train" in execution.type.rpartition(".")[2].lower()


def is_examples(artifact: UpstreamArtifact) -> bool:
    """Whether an artifact is examples or a dataset."""
    return artifact.type.startswith(_EXAMPLES)


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineSummary:
    """What people ask of an upstream lineage first; the names are the pipeline's own.

    :param trainers: The components that trained, as far as their types tell.
    :param made_by: What made the pushed artifact and its ancestors, nearest first.
    :param examples: The examples or datasets it was trained on, by uri; ``type id`` where they have none.
    """

    pipelines: tuple[str, ...]
    runs: tuple[str, ...]
    trainers: tuple[str, ...]
    made_by: tuple[str, ...]
    examples: tuple[str, ...]

    @classmethod
    def of(cls, lineage: UpstreamLineage) -> PipelineSummary:
        """Read TFX's lineage, in its legacy and its portable layout, or that of Kubeflow Pipelines."""
        kinds = [execution.type for execution in lineage.executions]
        examples = [artifact for artifact in lineage.artifacts if is_examples(artifact)]
        return cls(
            pipelines=_once(context.name for context in lineage.contexts if context.type in PIPELINE_CONTEXTS),
            runs=_once(context.name for context in lineage.contexts if context.type in RUN_CONTEXTS),
            trainers=_once(execution.type for execution in lineage.executions if is_trainer(execution)),
            made_by=_once(kinds),
            examples=_once(artifact.uri or f"{artifact.type} {artifact.id}" for artifact in examples),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Ancestry:
    """Where a version comes from.

    :param pushed: The entry by which it came into the repository; ``None`` for one that was only adopted.
    :param upstream: What a pipeline's store told when it was pushed; ``None`` if no pipeline is known.
    :param pipeline: The same in short.
    :param recorded: The number of the model's newest entry that the ledger knew when it answered.
    """

    model: str
    version: VersionRow
    pushed: HistoryRow | None
    upstream: UpstreamLineage | None
    pipeline: PipelineSummary | None
    recorded: int

    @property
    def dataset_version(self) -> str | None:
        """The dataset version it was trained on, if the push named one."""
        return self.version.dataset_version


@dataclass(frozen=True, slots=True, kw_only=True)
class Descendants:
    """What a version led to.

    :param versions: Versions of any model that were made from it, e.g. by a warm start; newest pushed first.
    :param more_versions: Whether there are more of them than asked for.
    :param entries: The newest entries that touched it: serving states and verdicts among them; newest first.
    :param more_entries: Whether there are older ones; ask again with ``before_sequence``.
    :param counts: Of ``entries`` by name, e.g. ``{"applied": 4, "verdict": 7}``.
    """

    model: str
    version: str
    versions: tuple[AffectedVersion, ...]
    more_versions: bool
    entries: tuple[HistoryRow, ...]
    more_entries: bool
    counts: Mapping[str, int]
    recorded: int


def ancestry_of(store: LedgerStore, model: str, *, version: str) -> Ancestry:
    """Return where a version comes from: four look-ups.

    :raises VersionNotFound: if the ledger knows no such version.
    """
    stored = version_at(store, model, version)
    lineage = upstream_lineage(stored)
    pushed = _push_of(store, stored)
    return Ancestry(
        model=model,
        version=version_row(stored),
        pushed=history_row(entry_of(pushed)) if pushed else None,
        upstream=lineage,
        pipeline=PipelineSummary.of(lineage) if lineage else None,
        recorded=head_of(store, model).sequence,
    )


def led_to(
    store: LedgerStore, model: str, *, version: str, limit: int, before_sequence: int | None = None
) -> Descendants:
    """Return what a version led to.

    :raises VersionNotFound: if the ledger knows no such version.
    """
    stored = version_at(store, model, version)
    versions, more_versions = descendants_of(store, stored, limit=limit)
    ids = sorted({edge.execution_id for edge in store.edges_of_artifacts([stored.id])}, reverse=True)
    recorded = head_of(store, model).sequence
    if before_sequence is not None and before_sequence <= recorded:
        above = store.executions_by_external_ids([schema.entry_key(model, before_sequence)])
        ids = [number for number in ids if above and number < above[0].id]
    page = store.executions_by_id(ids[:limit])
    rows = tuple(history_row(entry_of(each)) for each in sorted(page, key=lambda each: each.id, reverse=True))
    return Descendants(
        model=model,
        version=version,
        versions=versions,
        more_versions=more_versions,
        entries=rows,
        more_entries=len(ids) > limit,
        counts=dict(Counter(row.name for row in rows)),
        recorded=recorded,
    )


def _push_of(store: LedgerStore, version: Stored) -> Stored | None:
    """Return the execution that wrote a version; it is one of few that did."""
    wrote = [edge for edge in store.edges_of_artifacts([version.id]) if edge.direction is Direction.OUTPUT]
    found = store.executions_by_id(sorted({edge.execution_id for edge in wrote})[:2])
    push = schema.EXECUTION_TYPES[FactKind.PUSHED]
    return next((each for each in found if each.type == push), None)


def _once(names: Iterator[str] | list[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for name in names if name))
