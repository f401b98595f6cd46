"""What a push stores: a directory somebody named, the newest export, or a model of a pipeline with its lineage."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from airflow_model_ops.core.candidates import Candidate, CandidateKind, iso_of
from airflow_model_ops.core.errors import NotASavedModel
from airflow_model_ops.core.upstream import SOURCE_KEY
from airflow_model_ops.core.upstream_defaults import dataset_version_of, hyperparameters_of

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_model_ops.adapters.lineage.pipeline_store import PipelineStore
    from airflow_model_ops.config.model_file import ModelFile
    from airflow_model_ops.config.source_part import PipelinePart
    from airflow_model_ops.core.ports import Repository
    from airflow_model_ops.core.upstream import UpstreamLineage
    from airflow_model_ops.hooks.saved_models import SavedModels

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class PushSource:
    """What is to be pushed.

    :param directory: Where this machine has its files; a copy lasts as long as the :class:`SavedModels` it is from.
    :param place: Where they come from, as the manifest says it: a path, or a URL of object storage.
    :param created: The moment to name the version after, ISO 8601; ``None``: the run's.
    :param known: What the manifest's ``source`` holds beside the run.
    """

    directory: Path
    place: str
    created: str | None = None
    known: Mapping[str, Any] = field(default_factory=dict)
    dataset_version: str | None = None
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineArtifact:
    """An artifact of a pipeline's store."""

    connection: str
    artifact: int


def artifact_ref(given: Mapping[str, Any] | str, /) -> PipelineArtifact:
    """Return which artifact somebody named: a sensor's dictionary, ``{"connection", "artifact"}``, or ``CONNECTION/ID``.

    :raises AirflowFailException: if it is neither.
    """
    if isinstance(given, Mapping):
        connection, artifact = str(given.get("connection", "")), str(given.get("artifact", ""))
    else:
        connection, _, artifact = str(given).rpartition("/")
    if not connection or not (artifact.isascii() and artifact.isdecimal()):
        raise AirflowFailException(
            f"upstream is {given!r}; give what BlessedModelSensor or PushedModelSensor returned, or CONNECTION/ID with the "
            "id of an artifact, such as tfx_mlmd/42"
        )
    return PipelineArtifact(connection=connection, artifact=int(artifact))


def artifact_source(ref: PipelineArtifact, saved_models: SavedModels) -> PushSource:
    """Return a pipeline's artifact as a source, its lineage taken now.

    :raises AirflowFailException: if there is no such artifact, or it is not to be released.
    :raises NotASavedModel: if this machine cannot read its SavedModel.
    """
    from airflow_model_ops.adapters.lineage.pipeline_models import saved_model_place
    from airflow_model_ops.adapters.lineage.pipeline_walk import upstream_lineage
    from airflow_model_ops.hooks.pipeline import open_pipeline_store

    store = open_pipeline_store(ref.connection)
    artifact = _live_artifact(store, ref)
    place = saved_model_place(artifact, is_in_bucket=saved_models.holds_a_graph)
    source = saved_model_source(place, saved_models)
    return _with_lineage(source, upstream_lineage(store, artifact, connection=ref.connection))


def event_source(
    file: ModelFile, repository: Repository, context: Context, saved_models: SavedModels
) -> PushSource | None:
    """Return the pipeline's model that started a run; ``None`` if no such event did.

    :raises AirflowSkipException: if that one was released meanwhile, or is not to be.
    """
    from airflow_model_ops.adapters.lineage.pipeline_models import saved_model_place
    from airflow_model_ops.control.candidates import choose_candidate
    from airflow_model_ops.hooks.pipeline import open_pipeline_store

    candidate = _told(context)
    if candidate is None:
        return None
    store = open_pipeline_store(candidate.connection)
    ref = PipelineArtifact(connection=candidate.connection, artifact=int(candidate.artifact))
    artifact = _live_artifact(store, ref)
    choice = choose_candidate(
        candidates=[candidate],
        repository=repository,
        model=file.model,
        again=False,
        directory_of=lambda _: saved_models.directory_of(
            saved_model_place(artifact, is_in_bucket=saved_models.holds_a_graph)
        ),
    )
    _log.info("model=%s started by artifact=%s: %s", file.model, candidate.artifact, choice.reason)
    if choice.directory is None:
        raise AirflowSkipException(choice.reason)
    return artifact_source(ref, saved_models)


def newest_candidate_source(
    file: ModelFile, part: PipelinePart, repository: Repository, saved_models: SavedModels
) -> PushSource:
    """Return the newest model of the pipeline that is still to be released, for a run that nobody told which.

    :raises AirflowSkipException: if there is none.
    """
    from airflow_model_ops.adapters.lineage.pipeline_models import saved_model_place
    from airflow_model_ops.control.candidates import choose_candidate
    from airflow_model_ops.hooks.pipeline import look_at, open_pipeline_store

    look = look_at(part.connection, kind=CandidateKind(part.artifact), pipeline=part.name)
    store = open_pipeline_store(part.connection)

    def directory_of(candidate: Candidate) -> Path:
        ref = PipelineArtifact(connection=part.connection, artifact=int(candidate.artifact))
        artifact = _live_artifact(store, ref)
        return saved_models.directory_of(saved_model_place(artifact, is_in_bucket=saved_models.holds_a_graph))

    choice = choose_candidate(
        candidates=look.candidates,
        repository=repository,
        model=file.model,
        again=True,
        directory_of=directory_of,
    )
    _log.info("model=%s pipeline=%r %s %s", file.model, part.name, choice.reason, look.note)
    if choice.candidate is None:
        raise AirflowSkipException(f"pipeline {part.name!r}: {look.note or choice.reason}")
    ref = PipelineArtifact(connection=part.connection, artifact=int(choice.candidate.artifact))
    return artifact_source(ref, saved_models)


def newest_export_source(file: ModelFile, repository: Repository, saved_models: SavedModels) -> PushSource:
    """Return the newest export that is still to be released.

    :raises AirflowSkipException: if there is none.
    """
    from airflow_model_ops.control.clock import SystemClock
    from airflow_model_ops.control.exports import newest_export
    from airflow_model_ops.hooks.saved_models import exports_in, shown_place

    source = file.source
    if source is None or source.export_dir is None:
        raise AirflowFailException(
            f"nothing to release: the run names no saved_model and {file.model!r} has no source.export_dir; "
            "trigger the DAG with the path of a SavedModel"
        )
    choice = newest_export(
        exports=exports_in(source.export_dir, settle_seconds=source.settle, now=SystemClock().now()),
        repository=repository,
        model=file.model,
        directory_of=saved_models.directory_of,
    )
    shown = shown_place(source.export_dir)
    _log.info("model=%s export_dir=%s %s", file.model, shown, choice.reason)
    if choice.export is None:
        raise AirflowSkipException(f"{shown}: {choice.reason}")
    return saved_model_source(choice.export.place, saved_models)


def saved_model_source(place: str, saved_models: SavedModels) -> PushSource:
    """Return a path, or a URL of object storage, as a source.

    :raises NotASavedModel: if a bucket has no SavedModel there.
    """
    from airflow_model_ops.hooks.saved_models import shown_place

    return PushSource(directory=saved_models.directory_of(place), place=shown_place(place))


def _with_lineage(source: PushSource, lineage: UpstreamLineage) -> PushSource:
    return replace(
        source,
        created=iso_of(lineage.root.created),
        known={SOURCE_KEY: lineage.to_json()},
        dataset_version=dataset_version_of(lineage),
        hyperparameters=hyperparameters_of(lineage),
    )


def _live_artifact(store: PipelineStore, ref: PipelineArtifact) -> Any:
    from airflow_model_ops.adapters.lineage.pipeline_rows import flag, is_live, texts_of

    artifact = store.artifact(ref.artifact)
    if artifact is None:
        raise AirflowFailException(
            f"{store.shown} of connection {ref.connection!r} has no artifact {ref.artifact}; look its id up in the pipeline's "
            "store"
        )
    if not is_live(artifact):
        raise NotASavedModel(
            f"artifact {ref.artifact} of connection {ref.connection!r} is not there (its state is not LIVE): the run that writes "
            "it is going on, or failed; choose another one"
        )
    if flag(texts_of(artifact), "pushed") is False:
        raise NotASavedModel(
            f"artifact {ref.artifact} of connection {ref.connection!r} was not pushed: its Pusher ended without, since the model "
            "had no blessing; choose another one"
        )
    return artifact


def _told(context: Context) -> Candidate | None:
    """Return the candidate of the newest event that started a run, if one of a pipeline did."""
    found: list[Candidate] = []
    for events in (context.get("triggering_asset_events") or {}).values():
        for event in events:
            payload = (event.extra or {}).get("payload")
            if isinstance(payload, Mapping) and "artifact" in payload:
                found.append(Candidate.from_json(payload))
    return max(found, key=lambda each: int(each.artifact), default=None)
