"""Where a fleet is: what it takes to open it, whoever does so. Models with one place share one fleet."""

from __future__ import annotations

from functools import cached_property
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, model_validator

from airflow_model_ops.config.target_part import VertexPart

DEFAULT_REPOSITORY = "model_repository_default"
DEFAULT_TARGET = "tf_serving_default"


class FleetPlace(BaseModel):
    """The connections of a fleet, and on Vertex AI its endpoint. Hashable; equal for all models of one fleet.

    :param repository: Id of the repository's connection.
    :param target: Id of the fleet's connection: ``tf_serving``, or ``google_cloud_platform`` on Vertex AI.
    :param model: On Vertex AI, the model that the endpoint serves.
    :param vertex_ai: The endpoint's settings; ``None``: a TF Serving fleet, whose settings its connection holds.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    repository: str = DEFAULT_REPOSITORY
    target: str = DEFAULT_TARGET
    model: str | None = None
    vertex_ai: VertexPart | None = None

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if (self.model is None) != (self.vertex_ai is None):
            raise ValueError("model and vertex_ai belong together; give both or none of them")
        _ = self.vertex_fleet
        return self

    @cached_property
    def vertex_fleet(self) -> str | None:
        """Name of the fleet on Vertex AI; ``None`` for TF Serving, whose connection names it."""
        return self.vertex_ai.fleet_of(self.model) if self.vertex_ai is not None and self.model is not None else None

    @property
    def shown(self) -> str:
        """A short name for people, ids of tasks and addresses: the connection's, or the fleet's on Vertex AI."""
        return self.vertex_fleet or self.target

    @property
    def uri_path(self) -> str:
        """What is unique to it, as the path of an asset's address."""
        return f"{self.repository}/{self.target}" + (f"/{self.vertex_fleet}" if self.vertex_fleet else "")

    def to_text(self) -> str:
        """Return it as one line of JSON, always the same: Airflow 3.3 starts no trigger of an asset that is given a mapping."""
        return self.model_dump_json(exclude_none=True)

    @classmethod
    def of(cls, value: Any) -> FleetPlace:
        """Return a place however it was given: as such, as a mapping, as :meth:`to_text` wrote it; ``None``: the default one."""
        if isinstance(value, FleetPlace):
            return value
        return cls.model_validate_json(value) if isinstance(value, str) else cls.model_validate(value or {})
