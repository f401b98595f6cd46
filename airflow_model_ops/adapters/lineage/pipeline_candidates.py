"""The newest models of a pipeline that were blessed, or pushed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from airflow_model_ops.adapters.lineage.pipeline_models import saved_model_directory
from airflow_model_ops.adapters.lineage.pipeline_rows import (
    flag,
    is_input,
    is_live,
    is_output,
    pipeline_and_run,
    role_of,
    texts_of,
)
from airflow_model_ops.adapters.lineage.pipeline_store import PipelineStore
from airflow_model_ops.core.candidates import Candidate, CandidateKind
from airflow_model_ops.core.errors import NotASavedModel
from airflow_model_ops.core.upstream import BASELINE_ROLE

MODEL, PUSHED_MODEL = "Model", "PushedModel"
_BLESSINGS = ("ModelBlessing", "InfraBlessing")
_READERS = 200
"""How many of a model's readers are looked through for its Evaluator: the first ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What one look at a store found.

    :param candidates: Newest first.
    :param note: Why there are none, if it is not just that nothing is ready.
    """

    candidates: tuple[Candidate, ...]
    note: str = ""


def newest_candidates(store: PipelineStore, *, kind: CandidateKind, pipeline: str, limit: int, after: str = "") -> Look:
    """Return the newest models that are blessed or pushed, newest artifact first.

    :param pipeline: Name of the pipeline; empty: of any.
    :param after: Only those ready after this moment, milliseconds since the epoch; empty: all.
    """
    context = store.pipeline(pipeline) if pipeline else None
    if pipeline and context is None:
        return Look(candidates=(), note=f"{store.shown} knows no pipeline {pipeline!r} yet")
    found = _pushed(store, context) if kind is CandidateKind.PUSHED else _blessed(store, context)
    later = (each for each in found if not after or int(each.ready) > int(after))
    return Look(candidates=tuple(islice(later, limit)))


def blessings_of(store: PipelineStore, model: Any) -> list[Any]:
    """Return what was said about a model, newest first: blessings, given or refused, that are there.

    They are about this very model: it is not merely what another one was compared with.
    """
    readings = [event for event in store.events_of_artifacts([model.id]) if is_input(event)]
    judges = sorted({int(event.execution_id) for event in readings if role_of(event) != BASELINE_ROLE})[:_READERS]
    written = {int(event.artifact_id) for event in store.events_of_executions(judges) if is_output(event)}
    found = [row for row in store.artifacts(written) if row.type in _BLESSINGS and is_live(row)]
    about = [row for row in found if texts_of(row).get("current_model_id", str(model.id)) == str(model.id)]
    return sorted(about, key=lambda row: int(row.id), reverse=True)


def _pushed(store: PipelineStore, context: Any | None) -> Iterator[Candidate]:
    for row in store.newest_artifacts(pipeline=context):
        if row.type == PUSHED_MODEL and is_live(row) and flag(texts_of(row), "pushed"):
            yield _candidate(store, row, kind=CandidateKind.PUSHED, ready=row.last_update_time_since_epoch)


def _blessed(store: PipelineStore, context: Any | None) -> Iterator[Candidate]:
    for row in store.newest_artifacts(pipeline=context):
        if row.type == MODEL and is_live(row):
            blessed_at = _blessed_at(store, row)
            if blessed_at is not None:
                yield _candidate(store, row, kind=CandidateKind.BLESSED, ready=blessed_at)


def _blessed_at(store: PipelineStore, model: Any) -> int | None:
    """Return when a model had all the blessings it needs; the newest word of each kind counts. ``None``: it has not."""
    last_words: dict[str, Any] = {}
    for row in blessings_of(store, model):
        last_words.setdefault(str(row.type), row)
    blessed = all(flag(texts_of(row), "blessed") for row in last_words.values())
    if "ModelBlessing" not in last_words or not blessed:
        return None
    return max(int(row.last_update_time_since_epoch) for row in last_words.values())


def _candidate(store: PipelineStore, row: Any, *, kind: CandidateKind, ready: int) -> Candidate:
    made = [event for event in store.events_of_artifacts([row.id]) if is_output(event)]
    maker = min((int(event.execution_id) for event in made), default=None)
    contexts = store.contexts_of(maker) if maker is not None else []
    executions = store.executions([maker]) if maker is not None else []
    pipeline, run = pipeline_and_run(contexts, next(iter(executions), None))
    return Candidate(
        kind=kind,
        artifact=str(row.id),
        type=str(row.type),
        uri=str(row.uri),
        created=str(row.create_time_since_epoch),
        ready=str(int(ready)),
        saved_model=_seen_directory(row),
        pipeline=pipeline,
        run=run,
    )


def _seen_directory(row: Any) -> str:
    """Return where the SavedModel is, if this machine sees it; whoever pushes it looks again."""
    try:
        return str(saved_model_directory(row))
    except NotASavedModel:
        return ""
