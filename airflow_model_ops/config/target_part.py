"""``target:`` what serves the model: a TF Serving fleet behind its connection, or an endpoint of Vertex AI."""

from __future__ import annotations

import re
from typing import Any, Literal

from pydantic import Field, GetJsonSchemaHandler, field_validator, model_serializer, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from airflow_model_ops.config.durations import Seconds
from airflow_model_ops.config.release_parts import Part
from airflow_model_ops.core.errors import InvalidConfig

TF_SERVING = "tf_serving"
VERTEX_LOAD_SECONDS = 3_600.0
"""Longest a version may take to be deployed where the file says nothing: machines are started for it, in 5 to 20 minutes."""

_ENDPOINT = re.compile(r"[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?\Z|[1-9][0-9]{0,18}\Z", re.ASCII)
"""``CreateEndpointRequest.endpoint_id``; an endpoint that Vertex AI itself has named has up to 19 digits."""
_PROJECT = re.compile(r"[a-z0-9](?:[a-z0-9.:-]{0,61}[a-z0-9])?\Z", re.ASCII)
_LOCATION = re.compile(r"[a-z]+-[a-z]+[0-9]+\Z", re.ASCII)
_REGISTRY_MODEL = re.compile(r"[a-z_](?:[a-z0-9_-]{0,62})\Z|[1-9][0-9]{0,18}\Z", re.ASCII)
"""``UploadModelRequest.model_id``; a model that Vertex AI itself has named has up to 19 digits."""


class VertexPart(Part):
    """``target.vertex_ai:`` the endpoint of one model, and the machines its versions are deployed on.

    :param connection: Id of a connection of type ``google_cloud_platform``.
    :param project: ``None``: the connection's.
    :param endpoint: Id of the endpoint; ``None``: the model's name.
    :param registry_model: Id of the parent model in the Model Registry; ``None``: the model's name.
    :param container_image: What serves the SavedModel; ``None``: Google's TensorFlow image.
    :param initially: ``empty`` declares that the endpoint served nothing before us, and it is made if it is not there; else it
        must be adopted.
    :param drain: How long a version stays deployed at least after it got its last request.
    """

    connection: str = Field(default="google_cloud_default", min_length=1)
    project: str | None = Field(default=None, json_schema_extra={"pattern": r"^[a-z0-9]([a-z0-9.:-]{0,61}[a-z0-9])?$"})
    location: str = Field(json_schema_extra={"pattern": r"^[a-z]+-[a-z]+[0-9]+$"})
    endpoint: str | None = None
    registry_model: str | None = None
    container_image: str | None = Field(default=None, min_length=1)
    machine_type: str = Field(default="n1-standard-2", min_length=1)
    min_replicas: int = Field(default=1, ge=1)
    max_replicas: int = Field(default=1, ge=1)
    accelerator_type: str | None = Field(default=None, min_length=1)
    accelerator_count: int = Field(default=0, ge=0)
    service_account: str | None = Field(default=None, min_length=1)
    initially: Literal["empty", "adopted"] = "adopted"
    drain: Seconds = 60.0

    @model_validator(mode="before")
    @classmethod
    def _numeric_ids(cls, value: Any) -> Any:
        """YAML reads an id of digits as a number."""
        if isinstance(value, VertexPart):
            return value
        if not isinstance(value, dict):
            raise ValueError(  # noqa: TRY004 (pydantic collects these alone)
                f"{value!r} is no mapping; write the location of the model's endpoint below it, as location: ..."
            )
        ids = ("endpoint", "registry_model", "project")
        return {**value, **{key: str(value[key]) for key in ids if type(value.get(key)) is int}}

    @field_validator("location")
    @classmethod
    def _is_location(cls, value: str) -> str:
        if not _LOCATION.match(value):
            raise ValueError(f"{value!r} is no region of Vertex AI; write one such as europe-west4, without a zone")
        return value

    @field_validator("project")
    @classmethod
    def _is_project(cls, value: str | None) -> str | None:
        if value is not None and not _PROJECT.match(value):
            raise ValueError(f"{value!r} is no id of a Google Cloud project; write its id or number, not its name")
        return value

    @model_validator(mode="after")
    def _fits(self) -> VertexPart:
        if self.max_replicas < self.min_replicas:
            raise ValueError(f"max_replicas {self.max_replicas} is below min_replicas {self.min_replicas}; raise it")
        if (self.accelerator_type is None) != (self.accelerator_count == 0):
            raise ValueError("accelerator_type and accelerator_count belong together; give both or none of them")
        return self

    def endpoint_of(self, model: str) -> str:
        """Return the id of the endpoint that serves a model.

        :raises InvalidConfig: if it cannot be one.
        """
        return _checked(
            self.endpoint, model, grammar=_ENDPOINT, key="endpoint", what="an endpoint", of="digits and '-'"
        )

    def registry_model_of(self, model: str) -> str:
        """Return the id of the parent model in the Model Registry of which every version of a model is one.

        :raises InvalidConfig: if it cannot be one.
        """
        return _checked(
            self.registry_model,
            model,
            grammar=_REGISTRY_MODEL,
            key="registry_model",
            what="a model of the registry",
            of="digits, '-' and '_'",
        )

    def fleet_of(self, model: str) -> str:
        """Return the name of the fleet that a model's endpoint is: one endpoint serves one model."""
        return "_".join(("vertex", *filter(None, (self.project,)), self.location, self.endpoint_of(model)))


def _checked(given: str | None, model: str, *, grammar: re.Pattern[str], key: str, what: str, of: str) -> str:
    text = given or model
    if not grammar.match(text):
        shown = repr(text) if given else f"the model's name, {text!r},"
        mistake = (
            f"target.vertex_ai.{key}: {shown} cannot be the id of {what} in Vertex AI; write one of up to 63 lower-case "
            f"letters, {of} that begins with a letter and ends with a letter or digit, or a number that Vertex AI gave"
        )
        raise InvalidConfig(mistake, mistakes=[mistake])
    return text


class TargetPart(Part):
    """``target:`` ``tf_serving``, or a mapping with ``vertex_ai``."""

    vertex_ai: VertexPart | None = None

    @model_validator(mode="before")
    @classmethod
    def _of_text(cls, value: Any) -> Any:
        if value == TF_SERVING:
            return {}
        if not isinstance(value, dict) or not value:
            raise ValueError(
                f"{value!r} is no target; write tf_serving, or vertex_ai: with the location of the model's endpoint below it"
            )
        if "vertex_ai" in value and value["vertex_ai"] is None:
            return {**value, "vertex_ai": {}}  # says which keys are missing
        return value

    @model_serializer
    def _as_written(self) -> Any:
        return TF_SERVING if self.vertex_ai is None else {"vertex_ai": self.vertex_ai.model_dump(mode="json")}

    @classmethod
    def default(cls) -> TargetPart:
        """Return what serves a model whose file says nothing."""
        return cls.model_validate(TF_SERVING)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Editors see what is written: a word, or a mapping that names the platform."""
        return {
            "anyOf": [
                {"const": TF_SERVING, "type": "string"},
                {
                    "type": "object",
                    "additionalProperties": False,
                    "required": ["vertex_ai"],
                    "properties": {"vertex_ai": handler(VertexPart.__pydantic_core_schema__)},
                },
            ]
        }
