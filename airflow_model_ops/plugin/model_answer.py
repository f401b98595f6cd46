"""What the page of one model says, from what was read of its log and its fleet. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from airflow_model_ops.config.model_file import ModelFile, ModelIdentity
from airflow_model_ops.control.heads import Head as LogHead
from airflow_model_ops.core.ports import Observed
from airflow_model_ops.core.state import ServingState
from airflow_model_ops.core.versioning import VersionNaming
from airflow_model_ops.dag_names import release_dag_of
from airflow_model_ops.plugin.datamodels.base import Part, RunLink, Share
from airflow_model_ops.plugin.datamodels.models import (
    Head,
    LiveReleaseRow,
    ModelAnswer,
    ModelRow,
    ObservedRow,
    ServerRow,
)
from airflow_model_ops.plugin.history.entries import name_of, run_of, who_of
from airflow_model_ops.plugin.model_reading import Reading
from airflow_model_ops.plugin.offers import offers_of


def answer_of(
    model: ModelIdentity,
    row: ModelRow,
    reading: Reading | None,
    *,
    observed: Part[ObservedRow],
    allowed: Mapping[str, bool],
    user: str,
) -> ModelAnswer:
    """Return the answer.

    :param reading: ``None``: the log cannot be read; the row says why.
    """
    state = reading.state if reading else None
    return ModelAnswer(
        row=row,
        head=_head(reading.head) if reading and reading.head else None,
        earlier=[version.name for version in reversed(state.earlier)] if state else [],
        quarantined=[version.name for version in sorted(state.quarantined)] if state else [],
        release=_release(state, model, run=reading.release_run if reading else None) if state else None,
        release_dag=release_dag_of(model.model),
        observed=observed,
        offers=offers_of((state or ServingState(fleet=reading.fleet)) if reading else None, allowed=allowed),
        user=user,
    )


def observed_row(observed: Observed, naming: VersionNaming) -> ObservedRow:
    """Return what serves by the versions' names, the largest share first."""
    shares = [Share(version=name_of(number, naming), percent=percent) for number, percent in observed.split.items()]
    return ObservedRow(
        generation=observed.generation,
        split=sorted(shares, key=lambda share: -share.percent),
        servers=[
            ServerRow(
                name=server,
                answers=numbers is not None,
                loaded=[name_of(number, naming) for number in sorted(numbers or ())],
            )
            for server, numbers in sorted(observed.loaded.items())
        ],
        labels={
            label: name_of(number, naming) if number is not None else None for label, number in observed.labels.items()
        },
    )


def _head(head: LogHead) -> Head:
    entry = head.entry
    return Head(
        generation=head.generation,
        at=datetime.fromisoformat(entry.at),
        action=entry.name,
        reason=entry.reason,
        who=who_of(entry),
        run=run_of(entry),
        applied_at=datetime.fromisoformat(head.applied.at) if head.applied else None,
    )


def _release(state: ServingState, model: ModelIdentity, *, run: RunLink | None) -> LiveReleaseRow | None:
    release = state.release
    if release is None:
        return None
    return LiveReleaseRow(
        id=release.id,
        attempt=release.attempt,
        version=release.version.name,
        started_at=datetime.fromisoformat(release.started_at),
        run=run,
        steps=[step.percent for step in model.policy().steps] if isinstance(model, ModelFile) else [],
    )
