"""What the bundled DAGs have in common: names that Airflow takes, what people fill in, a fleet's connections once, the record."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from airflow.sdk import Param

from airflow_model_ops.config.fleet_place import FleetPlace
from airflow_model_ops.config.model_file import ModelIdentity
from airflow_model_ops.operators.upkeep import RecordLineageOperator

START = datetime(2024, 1, 1)  # noqa: DTZ001 (Airflow reads a naive start as UTC)
_LONGEST_ID = 180
"""Airflow takes 250 characters for a task's id with its groups."""


def model_param(models: Iterable[str]) -> Param:
    """Return the parameter by which a person picks a model; where there is one only, it is picked."""
    names = sorted(models)
    return Param(names[0] if len(names) == 1 else None, type="string", enum=names, title="Model")


def reason_param() -> Param:
    """Return the parameter in which a person says why."""
    return Param(type="string", minLength=3, title="Reason", description="Kept in the log and in ML Metadata.")


def record_of(*, task_id: str = "record", **kwargs: Any) -> RecordLineageOperator:
    """Return the task that writes the records after the fact, whatever it was.

    As a teardown it does not decide how the run ends: a rollback that failed is shown as failed although its record was
    written, and one that worked as a success although ML Metadata is down.
    """
    record = RecordLineageOperator(task_id=task_id, retries=2, retry_delay=timedelta(seconds=5), **kwargs)
    record.as_teardown()
    return record


def fleets_of(models: Mapping[str, ModelIdentity]) -> dict[str, FleetPlace]:
    """Return the place of each fleet once, by a name that a task id may hold: its connection's, as far as possible.

    On Vertex AI every model's endpoint is a fleet of its own.
    """
    found = {file.place: None for file in models.values()}
    shown = [place.shown for place in found]
    named: dict[str, FleetPlace] = {}
    taken: set[str] = set()
    for place in sorted(found, key=lambda place: (place.shown, place.repository, place.to_text())):
        name = place.shown if shown.count(place.shown) == 1 else f"{place.shown}_{place.repository}"
        named[unique(re.sub(r"[^\w.-]", "_", name, flags=re.ASCII), taken)] = place
    return named


def unique(wanted: str, taken: set[str]) -> str:
    """Return an id that no other has yet, short enough for Airflow, and remember it: two names may become one id."""
    base = name = wanted[:_LONGEST_ID]
    for number in itertools.count(2):
        if name not in taken:
            break
        name = f"{base}_{number}"
    taken.add(name)
    return name
