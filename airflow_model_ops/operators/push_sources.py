"""What a push stores: a directory somebody named, the newest export, or a model of a pipeline with its lineage."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
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

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class PushSource:
    """What is to be pushed.

    :param created: The moment to name the version after, ISO 8601; ``None``: the run's.
    :param known: What the manifest's ``source`` holds beside the run.
    """

    directory: Path
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


def artifact_source(ref: PipelineArtifact) -> PushSource:
    """Return a pipeline's artifact as a source, its lineage taken now.

    :raises AirflowFailException: if there is no such artifact, or it is not to be released.
    :raises NotASavedModel: if this machine cannot read its SavedModel.
    """
    from airflow_model_ops.adapters.lineage.pipeline_models import saved_model_directory
    from airflow_model_ops.adapters.lineage.pipeline_walk import upstream_lineage
    from airflow_model_ops.hooks.pipeline import open_pipeline_store

    store = open_pipeline_store(ref.connection)
    artifact = _live_artifact(store, ref)
    directory = saved_model_directory(artifact)
    return _with_lineage(directory, upstream_lineage(store, artifact, connection=ref.connection))


def event_source(file: ModelFile, repository: Repository, context: Context) -> PushSource | None:
    """Return the pipeline's model that started a run; ``None`` if no such event did.

    :raises AirflowSkipException: if that one was released meanwhile, or is not to be.
    """
    from airflow_model_ops.adapters.lineage.pipeline_models import saved_model_directory
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
        directory_of=lambda _: saved_model_directory(artifact),
    )
    _log.info("model=%s started by artifact=%s: %s", file.model, candidate.artifact, choice.reason)
    if choice.directory is None:
        raise AirflowSkipException(choice.reason)
    return artifact_source(ref)


def newest_candidate_source(file: ModelFile, part: PipelinePart, repository: Repository) -> PushSource:
    """Return the newest model of the pipeline that is still to be released, for a run that nobody told which.

    :raises AirflowSkipException: if there is none.
    """
    from airflow_model_ops.adapters.lineage.pipeline_models import saved_model_directory
    from airflow_model_ops.control.candidates import choose_candidate
    from airflow_model_ops.hooks.pipeline import look_at, open_pipeline_store

    look = look_at(part.connection, kind=CandidateKind(part.artifact), pipeline=part.name)
    store = open_pipeline_store(part.connection)

    def directory_of(candidate: Candidate) -> Path:
        ref = PipelineArtifact(connection=part.connection, artifact=int(candidate.artifact))
        return saved_model_directory(_live_artifact(store, ref))

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
    return artifact_source(PipelineArtifact(connection=part.connection, artifact=int(choice.candidate.artifact)))


def newest_export_source(file: ModelFile, repository: Repository) -> PushSource:
    """Return the newest export that is still to be released.

    :raises AirflowSkipException: if there is none.
    """
    from airflow_model_ops.adapters.repository.exports import complete_exports
    from airflow_model_ops.control.clock import SystemClock
    from airflow_model_ops.control.exports import newest_export

    source = file.source
    if source is None or source.export_dir is None:
        raise AirflowFailException(
            f"nothing to release: the run names no saved_model and {file.model!r} has no source.export_dir; "
            "trigger the DAG with the path of a SavedModel"
        )
    choice = newest_export(
        exports=complete_exports(source.export_dir, settle_seconds=source.settle, now=SystemClock().now()),
        repository=repository,
        model=file.model,
    )
    _log.info("model=%s export_dir=%s %s", file.model, source.export_dir, choice.reason)
    if choice.export is None:
        raise AirflowSkipException(f"{source.export_dir}: {choice.reason}")
    return PushSource(directory=choice.export.directory)


def _with_lineage(directory: Path, lineage: UpstreamLineage) -> PushSource:
    return PushSource(
        directory=directory,
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
