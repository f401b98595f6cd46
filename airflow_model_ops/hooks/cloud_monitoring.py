"""The metric source of a Vertex AI endpoint, behind its ``google_cloud_platform`` connection.

Beside what that type knows, the connection's extra may hold ``monitoring_endpoint`` (where Cloud Monitoring's API is, for private
access and proxies), ``monitoring_delay`` (how long after its time a sample may come to be seen) and ``sampling_period``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

from airflow_model_ops.config.durations import seconds
from airflow_model_ops.core.errors import InvalidConfig

if TYPE_CHECKING:
    from airflow.sdk import Connection

    from airflow_model_ops.adapters.metrics.cloud_monitoring import CloudMonitoringSource


class EndpointPlace(Protocol):
    """Where an endpoint is: the ``vertex_ai`` part of a model's YAML file, or the settings made of it."""

    @property
    def project(self) -> str | None:
        """The endpoint's project; ``None`` is the connection's."""
        ...

    @property
    def location(self) -> str:
        """The endpoint's region."""
        ...

    @property
    def endpoint(self) -> str | None:
        """The endpoint's id."""
        ...


def cloud_monitoring_source_of(
    connection: Connection, part: EndpointPlace, *, model: str | None = None
) -> CloudMonitoringSource:
    """Return the metric source of an endpoint. Touches the network only to find out a project that nobody names.

    :param model: The model's name, which is the endpoint's id unless ``part`` names another.
    :raises InvalidConfig: if the connection or the part is wrong, or no project is known.
    """
    from airflow_model_ops.adapters.metrics.cloud_monitoring import (
        DEFAULT_ENDPOINT,
        DELAY_SECONDS,
        SAMPLING_PERIOD_SECONDS,
        CloudMonitoringSource,
    )
    from airflow_model_ops.adapters.metrics.cloud_monitoring_queries import EndpointLabels
    from airflow_model_ops.adapters.metrics.google_token import GoogleToken
    from airflow_model_ops.hooks.google_credentials import GoogleAccount

    endpoint = part.endpoint or model
    if not endpoint:
        raise InvalidConfig(
            "the endpoint whose metrics are asked has no id; name it as endpoint in the model's YAML file"
        )
    account = GoogleAccount(connection)
    api = str(connection.extra_dejson.get("monitoring_endpoint") or DEFAULT_ENDPOINT)
    if not _is_http_url(api):
        raise InvalidConfig(
            f"connection {connection.conn_id!r}: monitoring_endpoint {api!r} is not usable; write it as {DEFAULT_ENDPOINT}"
        )
    return CloudMonitoringSource(
        project=account.project(wanted=part.project),
        labels=EndpointLabels(location=part.location, endpoint=endpoint),
        authorization=GoogleToken(account.credentials, url=api),
        endpoint=api,
        delay_seconds=_duration(connection, "monitoring_delay", default=DELAY_SECONDS),
        sampling_period_seconds=_duration(connection, "sampling_period", default=SAMPLING_PERIOD_SECONDS),
    )


def _duration(connection: Connection, key: str, *, default: float) -> float:
    given = connection.extra_dejson.get(key)
    try:
        return default if given is None or given == "" else seconds(given)
    except ValueError as error:
        raise InvalidConfig(f"connection {connection.conn_id!r}: {key}: {error}") from None


def _is_http_url(url: str) -> bool:
    try:
        place = urlsplit(url)
        return place.scheme in {"http", "https"} and bool(place.hostname)
    except ValueError:
        return False
