"""The metric source of a Vertex AI endpoint, behind its ``google_cloud_platform`` connection.

Beside what that type knows, the connection's extra may hold ``monitoring_endpoint`` (where Cloud Monitoring's API is, for private
access and proxies), ``monitoring_delay`` (how long after its time a sample may come to be seen) and ``sampling_period``.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from airflow_model_ops.config.durations import seconds
from airflow_model_ops.core.errors import InvalidConfig
from airflow_model_ops.hooks.vertex_ai import credentials_of, project_of

if TYPE_CHECKING:
    from airflow.sdk import Connection

    from airflow_model_ops.adapters.metrics.cloud_monitoring import CloudMonitoringSource
    from airflow_model_ops.config.target_part import VertexPart


def cloud_monitoring_source_of(connection: Connection, part: VertexPart, *, model: str) -> CloudMonitoringSource:
    """Return the metric source of a model's endpoint; touches no network yet.

    :param connection: The endpoint's own, or another one whose account may read the metrics of the endpoint's project.
    :param part: ``target.vertex_ai`` of the model's file.
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
    from airflow_model_ops.adapters.metrics.prometheus import is_http_url

    api = str(connection.extra_dejson.get("monitoring_endpoint") or DEFAULT_ENDPOINT)
    if not is_http_url(api):
        raise InvalidConfig(
            f"connection {connection.conn_id!r}: monitoring_endpoint {api!r} is not usable; write it as {DEFAULT_ENDPOINT}"
        )

    @cache
    def credentials() -> Any:
        return credentials_of(connection)

    return CloudMonitoringSource(
        project=project_of(connection, given=part.project),
        labels=EndpointLabels(location=part.location, endpoint=part.endpoint_of(model)),
        authorization=GoogleToken(credentials, url=api),
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
