"""What checks ask of a Prometheus, as a page that a person can open; Cloud Monitoring has no address for a query."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from airflow_model_ops.config.model_file import ModelIdentity
from airflow_model_ops.core.checks import Arms, Check, CheckKind
from airflow_model_ops.core.page_links import prometheus_page
from airflow_model_ops.hooks.prometheus import shown_url_of
from airflow_model_ops.hooks.wiring import fetch_connection

if TYPE_CHECKING:
    from airflow.sdk import Connection

_MOST_QUERIES = 10
"""More of them make an address that browsers and proxies cut."""


def page_of_checks(identity: ModelIdentity, checks: Iterable[Check], arms: Arms, *, interval_seconds: float) -> str:
    """Return the page with the queries of some checks about some versions; empty on Cloud Monitoring.

    :param interval_seconds: Between two measurements: what one of them looks at.
    :raises ConnectionUnavailable: if the metrics connection is not defined, or Airflow does not answer.
    :raises InvalidConfig: if it is wrong.
    """
    connection = fetch_connection(identity.metrics_connection)
    if not _is_prometheus(connection):
        return ""
    queries = [
        query
        for check in checks
        for query in _queries_of(check, model=identity.model, arms=arms, interval_seconds=interval_seconds)
    ]
    return prometheus_page(shown_url_of(connection), queries[:_MOST_QUERIES]) if queries else ""


def _is_prometheus(connection: Connection) -> bool:
    return connection.conn_type != "google_cloud_platform"


def _queries_of(check: Check, *, model: str, arms: Arms, interval_seconds: float) -> Iterator[str]:
    from airflow_model_ops.adapters.metrics.prometheus import LOOK_BACK_SECONDS
    from airflow_model_ops.adapters.metrics.prometheus_queries import counted_arms, counters_query, promql_queries

    if check.kind is CheckKind.PROMQL:
        for arm in filter(None, (arms.canary, arms.stable)):
            yield from promql_queries(check, model=model, arm=arm).values()
        return
    seconds = interval_seconds + LOOK_BACK_SECONDS
    yield counters_query(check, model=model, arms=counted_arms(check, arms).values(), seconds=seconds)
