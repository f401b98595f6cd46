"""What a person is asked when a step's deadline passes without a verdict that acts, and what the answers mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from airflow_model_ops.core.versioning import Version

KEEP_WAITING = "Keep waiting"
"""The answer that decides nothing: the step's deadline counts anew."""


class Choice(StrEnum):
    """What a person wants."""

    PASS = "pass"  # noqa: S105 (no password)
    ABORT = "abort"
    WAIT = "wait"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a person answered.

    :param by: The person's name.
    """

    choice: Choice
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """The question about one step of one version.

    An answer is the text of an option, which names the version and the step: the answer to a question that was put for
    another version, and is still shown, is no answer to this one.

    :param percent: The canary's share of the traffic at this step.
    """

    model: str
    version: Version
    percent: float

    @property
    def subject(self) -> str:
        """The question in a line."""
        return f"{self.model}: {self.version} found no verdict at {self.percent:g} % of the traffic. What now?"

    @property
    def options(self) -> Mapping[str, Choice]:
        """What may be answered, in the order in which it is offered."""
        return {
            f"Let {self.version} pass {self.percent:g} % without proof": Choice.PASS,
            f"Abort {self.version}": Choice.ABORT,
            KEEP_WAITING: Choice.WAIT,
        }

    def choice_of(self, chosen: Sequence[str]) -> Choice | None:
        """Return what was chosen; ``None`` if that is no answer to this question."""
        return self.options.get(chosen[0]) if len(chosen) == 1 else None
