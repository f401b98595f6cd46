"""The metric source behind a ``prometheus`` connection."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow.sdk import BaseHook

from airflow_model_ops.config.durations import seconds
from airflow_model_ops.core.errors import InvalidConfig, ModelOpsError

if TYPE_CHECKING:
    from airflow.sdk import Connection

    from airflow_model_ops.adapters.metrics.prometheus import PrometheusSource


class PrometheusHook(BaseHook):
    """Asks the Prometheus of a connection.

    :param prometheus_conn_id: Id of a connection of type ``prometheus``.
    """

    conn_name_attr = "prometheus_conn_id"
    default_conn_name = "prometheus_default"
    conn_type = "prometheus"
    hook_name = "Prometheus"

    def __init__(self, prometheus_conn_id: str = default_conn_name, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.prometheus_conn_id = prometheus_conn_id

    def get_conn(self) -> PrometheusSource:
        """Return the metric source.

        :raises InvalidConfig: if the connection names no URL, or its time-out is no duration.
        """
        return source_of(self.get_connection(self.prometheus_conn_id))

    def test_connection(self) -> tuple[bool, str]:
        """Ask Prometheus whether it answers queries."""
        try:
            return True, self.get_conn().ping()
        except ModelOpsError as error:
            return False, str(error)


def source_of(connection: Connection) -> PrometheusSource:
    """Return the metric source of a connection; see :class:`PrometheusHook`."""
    from airflow_model_ops.adapters.metrics.prometheus import PrometheusSource

    extra = connection.extra_dejson
    return PrometheusSource(
        url_of(connection),
        timeout_seconds=_timeout_seconds(connection),
        headers=_headers(connection),
        verify=_verify(extra.get("verify")),
    )


def shown_url_of(connection: Connection) -> str:
    """Return where people find it in their browsers: the extra ``external_url``, as Prometheus calls that; else the URL."""
    return str(connection.extra_dejson.get("external_url") or "") or url_of(connection)


def url_of(connection: Connection) -> str:
    """Return where its API is.

    :raises InvalidConfig: if the connection names no host.
    """
    if not connection.host:
        raise InvalidConfig(
            f"connection {connection.conn_id!r} names no host; give the URL of Prometheus, such as http://prometheus:9090"
        )
    url = connection.host if "://" in connection.host else f"http://{connection.host}"
    try:
        place = urlsplit(url)
        wanted = connection.port if place.port is None else None
    except ValueError:
        return url  # the source says what is wrong with it
    return place._replace(netloc=f"{place.netloc}:{wanted}").geturl() if wanted else url


def _timeout_seconds(connection: Connection) -> float:
    try:
        return seconds(connection.extra_dejson.get("timeout") or 5.0)
    except ValueError as error:
        raise InvalidConfig(f"connection {connection.conn_id!r}: timeout: {error}") from None


def _headers(connection: Connection) -> dict[str, str]:
    token = connection.extra_dejson.get("bearer_token")
    if token:
        return {"Authorization": f"Bearer {token}"}
    if connection.login:
        pair = f"{connection.login}:{connection.password or ''}".encode()
        return {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}
    return {}


def _verify(value: Any) -> bool | str:
    text = str(value if value is not None else "true").strip()
    if text.lower() in {"true", "false", ""}:
        return text.lower() != "false"
    return text
