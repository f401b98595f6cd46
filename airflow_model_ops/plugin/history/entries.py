"""Log entries as the page tells them: who acted, in which run, and what served. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from airflow_model_ops.core.checks import Assessment
from airflow_model_ops.core.errors import InvalidVersionName
from airflow_model_ops.core.log import Entry
from airflow_model_ops.core.state import ServingState
from airflow_model_ops.core.versioning import VersionNaming
from airflow_model_ops.plugin.datamodels.base import Event, RunLink, Share, Who


def who_of(entry: Entry) -> Who:
    """Return who acted."""
    return Who(kind=entry.origin.actor.kind.value, name=entry.origin.actor.name)


def run_of(entry: Entry) -> RunLink | None:
    """Return the DAG run that wrote an entry; ``None``: nobody's run did, as with break-glass."""
    return link_to(entry.origin.run)


def link_to(run: Mapping[str, str]) -> RunLink | None:
    """Return the DAG run that entries and the ledger's rows name; ``None`` if they name none."""
    dag_id, run_id = run.get("dag_id"), run.get("run_id")
    if not dag_id or not run_id:
        return None
    return RunLink(dag_id=dag_id, run_id=run_id, task_id=run.get("task_id") or None)


def assessments_of(entry: Entry) -> list[Assessment]:
    """Return what each check said by a fact ``verdict``; nothing for another entry.

    :raises InvalidState: if it cannot be read.
    """
    return [Assessment.from_json(each) for each in entry.detail.get("assessments", ())]


def event_of(entry: Entry) -> Event:
    """Return an entry in short."""
    return Event(
        sequence=entry.sequence,
        at=datetime.fromisoformat(entry.at),
        name=entry.name,
        version=entry.version.name if entry.version else None,
        reason=entry.reason,
        who=who_of(entry),
    )


def split_of(state: ServingState) -> list[Share]:
    """Return what should serve, stable first."""
    return [Share(version=version.name, percent=percent) for version, percent in state.split]


def confirmed_split(detail: Mapping[str, Any], naming: VersionNaming) -> list[Share] | None:
    """Return what a fact ``applied`` says that serves, the largest share first; ``None`` if it says nothing of it."""
    split = detail.get("split")
    if not isinstance(split, Mapping):
        return None
    shares = [Share(version=name_of(number, naming), percent=float(percent)) for number, percent in split.items()]
    return sorted(shares, key=lambda share: -share.percent)


def name_of(number: int | str, naming: VersionNaming) -> str:
    """Return a version's name by its serving number; the number itself where no version of the model has it."""
    try:
        return naming.from_number(number).name
    except InvalidVersionName:
        return str(number)
