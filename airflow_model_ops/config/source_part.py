"""``source:`` of a model's YAML file: where releases come from by themselves."""

from __future__ import annotations

import re

from pydantic import Field, field_validator, model_validator

from airflow_model_ops.config.durations import LongerThanZero, Seconds
from airflow_model_ops.config.release_parts import Part
from airflow_model_ops.core.candidates import CandidateKind
from airflow_model_ops.core.errors import InvalidConfig

_SCHEDULE = re.compile(r"(?:@[a-z]+|\S+(?: +\S+){4,5})\Z")


class PipelinePart(Part):
    """``source.pipeline:`` a TFX pipeline; each of its models that is blessed, or pushed, starts a release."""

    connection: str = Field(default="mlmd_default", min_length=1)
    """Id of the connection to the pipeline's store of ML Metadata."""
    name: str = ""
    """Name of the pipeline; empty: any of the store."""
    artifact: CandidateKind = CandidateKind.BLESSED
    poll: LongerThanZero = 60.0
    """How often the store is looked at."""


class SourcePart(Part):
    """``source:`` where releases come from by themselves.

    ``export_dir`` holds one SavedModel per sub-directory; ``schedule`` is a cron expression or preset. Or ``pipeline``, which
    needs no schedule.
    """

    export_dir: str | None = None
    schedule: str | None = None
    settle: Seconds = 30.0
    """An export counts as complete when none of its files changed for so long."""
    pipeline: PipelinePart | None = None

    @field_validator("schedule")
    @classmethod
    def _is_a_schedule(cls, value: str | None) -> str | None:
        if value is not None and not _SCHEDULE.match(value):
            raise ValueError(f"{value!r} is not a schedule; write a cron expression such as '0 6 * * *', or @daily")
        return value

    @model_validator(mode="after")
    def _is_one_source(self) -> SourcePart:
        mistakes = []
        if self.pipeline is None and self.export_dir is None:
            mistakes.append("export_dir is missing; add it, or name a pipeline instead")
        if self.pipeline is not None:
            if self.export_dir is not None:
                mistakes.append("export_dir: there is a pipeline too; keep one of them, each release has one source")
            mistakes += [
                f"{name}: belongs to export_dir; a pipeline's models are released as they come, so remove it"
                for name in ("schedule", "settle")
                if getattr(self, name) != type(self).model_fields[name].default
            ]
        if mistakes:
            raise InvalidConfig("; ".join(mistakes), mistakes=mistakes)
        return self
