"""What all answers share: strictness, links to runs, and how a part that could not be read says so."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Generic, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from airflow_model_ops.core.plain_text import plain_text

T = TypeVar("T")

Told = Annotated[str, BeforeValidator(plain_text)]
"""Words of a log, in which older entries may hold what no answer can."""


class Answer(BaseModel):
    """Base of everything the API answers."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)


class Wish(BaseModel):
    """Base of everything the API takes: an unknown key is a mistake, not a wish that goes unheard."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Backend(StrEnum):
    """What a part of an answer is read from."""

    REPOSITORY = "repository"
    FLEET = "fleet"
    LEDGER = "ledger"
    METRICS = "metrics"


class Trouble(Answer):
    """Why a part of an answer is missing: its backend does not answer, or says no."""

    backend: Backend
    reason: Told


class Part(Answer, Generic[T]):
    """A part of an answer that has a backend of its own: either its value, or its trouble. Never both."""

    value: T | None = None
    trouble: Trouble | None = None


class RunLink(Answer):
    """The DAG run behind something, for a link to it."""

    dag_id: str
    run_id: str
    task_id: str | None = None


class Who(Answer):
    """Who acted."""

    kind: str
    """``person`` or ``automation``."""
    name: str


class Share(Answer):
    """One version's share of the traffic."""

    version: str
    """Its name; the serving number where no version of this model has it."""
    percent: float


class Event(Answer):
    """One entry of a model's log, in short."""

    sequence: int
    at: datetime
    name: str
    """The action of a transition, such as ``promote``, or the kind of a fact, such as ``verdict``."""
    version: str | None
    reason: Told
    who: Who


class Page(Answer):
    """Where the next, older page of a list begins."""

    before: int | None = Field(default=None)
    """Pass it as ``before`` to get the next page; ``None``: this was the last."""
