"""Who may ask Cloud Monitoring: tokens and refusals, and the connection that a source is made of."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from airflow.sdk import Connection

from airflow_model_ops.adapters.metrics.cloud_monitoring_queries import EndpointLabels
from airflow_model_ops.adapters.metrics.google_token import GoogleToken
from airflow_model_ops.config.target_part import VertexPart
from airflow_model_ops.core.checks import Verdict
from airflow_model_ops.core.errors import InvalidConfig, MetricsUnavailable
from airflow_model_ops.core.judge.blindness import unanswered
from airflow_model_ops.hooks.cloud_monitoring import cloud_monitoring_source_of
from tests.adapters.monitoring_rig import (
    LOCATION,
    PROJECT,
    DeltaMonitoring,
    Release,
    Token,
)
from tests.adapters.prometheus_rig import check

ERRORS = check(kind="error_rate", max_age_seconds=60)
LATENCY = check(kind="latency", latency_bound_ms=256)
NOON = 1_700_000_000 // 3600 * 3600.0


@pytest.fixture
def release() -> Release:
    return Release()


@pytest.fixture
def monitoring() -> Iterator[DeltaMonitoring]:
    served = DeltaMonitoring(now=NOON)
    yield served
    served.stop()


# -- tokens and refusals -----------------------------------------------------------------------------------------------


@pytest.mark.integration
def test_requests_carry_a_bearer_token_that_is_fetched_once_and_again_when_it_runs_out(
    monitoring: DeltaMonitoring,
) -> None:
    token = Token(lifetime_seconds=3600)
    source = monitoring.source(token)
    for _ in range(3):
        source.ping()
    assert token.fetched == 1
    assert {seen["authorization"] for seen in monitoring.seen} == {"Bearer token-1"}
    token.expiry -= timedelta(days=1)
    source.ping()
    assert (token.fetched, monitoring.seen[-1]["authorization"]) == (2, "Bearer token-2")


@pytest.mark.integration
def test_threads_share_a_token_and_fetch_it_once(monitoring: DeltaMonitoring) -> None:
    token = Token()
    source = monitoring.source(token)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: source.ping(), range(16)))
    assert token.fetched == 1


@pytest.mark.integration
def test_a_token_that_is_no_longer_accepted_is_replaced_for_the_next_query(monitoring: DeltaMonitoring) -> None:
    token = Token()
    source = monitoring.source(token)
    source.ping()
    monitoring.accepted = "token-2"
    with pytest.raises(MetricsUnavailable, match=r"401.*it does not accept the token; check the credentials"):
        source.ping()
    assert source.ping().startswith("Cloud Monitoring of project 'acme-ml' answers queries")


@pytest.mark.integration
def test_without_a_token_to_be_had_the_error_says_so_and_nothing_is_asked(
    monitoring: DeltaMonitoring, release: Release
) -> None:
    token = Token()
    token.broken = True
    found = release.gather(monitoring.source(token), ERRORS, begin=NOON)
    assert "Google gave no token to read metrics with: 'invalid_grant" in str(found.canary.error)
    assert found.stable == found.canary
    assert monitoring.seen == []


def test_credentials_that_cannot_be_found_are_an_outage_of_metrics_and_no_crash() -> None:
    def missing() -> Token:
        raise InvalidConfig("connection 'google_cloud_default' gives no Google credentials")

    with pytest.raises(MetricsUnavailable, match="'google_cloud_default' gives no Google credentials"):
        GoogleToken(missing, url="http://127.0.0.1:1").headers(timeout_seconds=1)


@pytest.mark.integration
@pytest.mark.parametrize(
    ("status", "words"),
    [
        (403, "roles/monitoring.viewer on that project"),
        (404, "check the project's id"),
        (429, "quota of Cloud Monitoring queries is used up"),
        (503, "overloaded"),
    ],
)
def test_a_refusal_says_what_to_do_and_loses_nothing(
    monitoring: DeltaMonitoring, release: Release, status: int, words: str
) -> None:
    monitoring.refuses_with = (status, "overloaded")
    source = monitoring.source()
    after = "2023-11-14T22:00:00+00:00"
    for asked in (ERRORS, LATENCY, check(kind="promql", query="time()", max=1)):
        found = release.gather(source, asked, begin=NOON, after=after)
        assert f"Cloud Monitoring of project {PROJECT!r} refused" in str(found.canary.error)
        assert words in str(found.canary.error)
        assert unanswered(asked, found.canary, arm="the canary").verdict is Verdict.PROVIDER_DOWN  # type: ignore[union-attr]
        if asked.is_share:
            assert found.at == after


@pytest.mark.integration
def test_an_api_that_hangs_is_given_up_after_the_time_out(release: Release) -> None:
    hanging = threading.Event()

    class Hanging(DeltaMonitoring):
        def evaluate(self, method: str, asked: object) -> tuple[int, bytes]:
            hanging.wait(60)
            return 200, b"{}"

    served = Hanging(now=NOON)
    try:
        begun = time.monotonic()
        found = release.gather(served.source(timeout_seconds=0.3), ERRORS, begin=NOON)
        assert "did not answer within 0.3 s" in str(found.canary.error)
        assert time.monotonic() - begun < 30
    finally:
        hanging.set()
        served.stop()


# -- the connection ----------------------------------------------------------------------------------------------------

PART = VertexPart(location=LOCATION, project=PROJECT)


def google(**extra: object) -> Connection:
    return Connection(conn_id="google_cloud_default", conn_type="google_cloud_platform", extra=json.dumps(extra))


@pytest.mark.integration
def test_a_connection_gives_a_source_with_its_own_address_delay_and_period(
    monitoring: DeltaMonitoring, release: Release
) -> None:
    # Anonymous credentials have no token, so the door stays shut: that it is knocked at is enough.
    connection = google(monitoring_endpoint=f"{monitoring.url}/", is_anonymous=True)
    with pytest.raises(MetricsUnavailable, match="401"):
        cloud_monitoring_source_of(connection, PART, model="digits").ping()
    assert monitoring.seen
    assert "authorization" not in monitoring.seen[-1]


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ({"monitoring_delay": "soon"}, "monitoring_delay: 'soon' is not a duration"),
        ({"monitoring_delay": "2d"}, "monitoring_delay is 172800.0 s; write a duration up to a day"),
        ({"sampling_period": "0.5"}, "write whole seconds"),
        ({"monitoring_endpoint": "monitoring.googleapis.com"}, "monitoring_endpoint 'monitoring.googleapis.com'"),
    ],
)
def test_a_connection_that_cannot_be_used_says_what_to_write(extra: dict[str, object], words: str) -> None:
    with pytest.raises(InvalidConfig, match=words):
        cloud_monitoring_source_of(google(**extra), PART, model="digits")


def test_the_project_is_the_connections_unless_the_model_names_one() -> None:
    unnamed = VertexPart(location=LOCATION)
    source = cloud_monitoring_source_of(google(project="of-connection"), unnamed, model="digits")
    assert source._prompt._service.url.endswith("/v1/projects/of-connection/location/global/prometheus")
    assert source._labels == EndpointLabels(location=LOCATION, endpoint="digits")
    named = cloud_monitoring_source_of(google(project="of-connection"), PART, model="digits")
    assert named._prompt._service.url.endswith(f"/v1/projects/{PROJECT}/location/global/prometheus")
    with pytest.raises(InvalidConfig, match="names no Google Cloud project"):
        cloud_monitoring_source_of(google(), unnamed, model="digits")
