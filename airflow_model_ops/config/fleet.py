"""The settings of one TF Serving fleet, as the ``tf_serving`` connection holds them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from airflow_model_ops.config.durations import LongerThanZero
from airflow_model_ops.core.errors import InvalidConfig

_SERVER = re.compile(r"(?P<host>[^\s:,]+):(?P<grpc>\d+)/(?P<rest>\d+)\Z")


class ServerPart(BaseModel):
    """One model server: its host, gRPC port and REST port."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    host: str
    grpc: int = Field(ge=1, le=65535)
    rest: int = Field(ge=1, le=65535)


class FleetConfig(BaseModel):
    """A fleet: its servers and routers.

    :param servers: Also as text: ``host:grpc_port/rest_port``, several separated by commas.
    :param models_root: The repository's root as the servers see it; ``None``: as this machine sees it.
    :param router_config_dir: The directory that every Envoy of the fleet watches.
    :param router_admin: Admin URLs of every Envoy; also as text, separated by commas.
    :param latency_buckets_ms: Edges of the routers' latency histogram, milliseconds.
    :param initially: ``empty`` declares that the fleet served nothing before us; else it must be adopted.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    fleet: str = Field(default="default", pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$")
    servers: tuple[ServerPart, ...] = Field(min_length=1)
    models_root: str | None = None
    router_config_dir: str
    router_admin: tuple[str, ...] = Field(min_length=1)
    router_log: tuple[str, ...] = ()
    route_timeout: LongerThanZero = 30.0
    latency_buckets_ms: tuple[float, ...] | None = None
    initially: Literal["empty", "adopted"] = "adopted"

    @field_validator("servers", mode="before")
    @classmethod
    def _servers_of_text(cls, value: Any) -> Any:
        return [_server(item) for item in _items(value)] if isinstance(value, str) else value

    @field_validator("router_admin", "router_log", mode="before")
    @classmethod
    def _list_of_text(cls, value: Any) -> Any:
        return _items(value) if isinstance(value, str) else value

    @field_validator("latency_buckets_ms", mode="before")
    @classmethod
    def _numbers_of_text(cls, value: Any) -> Any:
        return _items(value) or None if isinstance(value, str) else value


def parse_fleet(data: Mapping[str, Any], *, source: str) -> FleetConfig:
    """Return a fleet's settings.

    :param source: Where they come from, for messages, e.g. ``connection 'tf_serving_default'``.
    :raises InvalidConfig: with every mistake.
    """
    given = {key: value for key, value in data.items() if value not in (None, "")}
    try:
        return FleetConfig.model_validate(given)
    except ValidationError as error:
        told = (
            f"{'.'.join(str(step) for step in mistake['loc'])}: {mistake['msg'].removeprefix('Value error, ')}"
            for mistake in error.errors()
        )
        raise InvalidConfig(f"{source}: {'; '.join(told)}") from None


def _items(text: str) -> list[str]:
    return [item.strip() for item in text.split(",") if item.strip()]


def _server(text: str) -> ServerPart:
    found = _SERVER.match(text)
    if not found:
        raise ValueError(f"{text!r} is not host:grpc_port/rest_port, such as 10.0.0.7:8500/8501")
    return ServerPart(host=found["host"], grpc=int(found["grpc"]), rest=int(found["rest"]))
