"""Cloud Monitoring as a metric source: on a clock of its own with late samples, and in front of a real Prometheus."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from airflow.sdk import Connection
from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client import Counter as MetricCounter

from airflow_model_ops.adapters.metrics.cloud_monitoring import CloudMonitoringSource
from airflow_model_ops.adapters.metrics.cloud_monitoring_queries import EndpointLabels
from airflow_model_ops.adapters.metrics.google_token import GoogleToken
from airflow_model_ops.adapters.metrics.prometheus_process import PrometheusProcess, ScrapeJob
from airflow_model_ops.config.target_part import VertexPart
from airflow_model_ops.core.checks import Check, Evidence, Measurement, Verdict
from airflow_model_ops.core.errors import InvalidConfig, MetricsUnavailable
from airflow_model_ops.core.judge.blindness import unanswered
from airflow_model_ops.hooks.cloud_monitoring import cloud_monitoring_source_of
from tests.adapters.monitoring_rig import (
    CANARY,
    ENDPOINT,
    LOCATION,
    PROJECT,
    STABLE,
    DeltaMonitoring,
    Release,
    Token,
    Traffic,
    source_at,
)
from tests.adapters.prometheus_rig import Follower, check, counts, wait_for
from tests.vertex_fake.rig import VertexFake

ERRORS = check(kind="error_rate", max_age_seconds=60)
LATENCY = check(kind="latency", latency_bound_ms=256)
NOON = 1_700_000_000 // 3600 * 3600.0
MINUTE, DELAY = 60.0, 360.0


@pytest.fixture
def release() -> Release:
    return Release()


# -- late samples, on a clock of the test's own ------------------------------------------------------------------------


@pytest.fixture
def monitoring() -> Iterator[DeltaMonitoring]:
    served = DeltaMonitoring(now=NOON)
    yield served
    served.stop()


class Watcher:
    """Asks as a step does: from the moment its share was applied, each time after the evidence before."""

    def __init__(self, monitoring: DeltaMonitoring, *, begin: float = NOON, asked: Check = ERRORS) -> None:
        self._monitoring = monitoring
        self._source = monitoring.source(clock=lambda: monitoring.now)
        self._begin = begin
        self._check = asked
        self.seen: list[Evidence] = []

    def ask(self, *, at: float) -> Evidence:
        self._monitoring.now = at
        after = self.seen[-1].at if self.seen else None
        found = Release().gather(self._source, self._check, begin=self._begin, after=after)
        self.seen.append(found)
        return found

    @property
    def canary(self) -> tuple[float, float]:
        """Bad events and all, so far."""
        return sum(each.canary.bad or 0 for each in self.seen), sum(each.canary.samples or 0 for each in self.seen)


@pytest.mark.integration
def test_before_a_period_can_be_complete_nothing_is_counted_and_nothing_is_stale(monitoring: DeltaMonitoring) -> None:
    watcher = Watcher(monitoring)
    monitoring.add(CANARY, at=NOON + 60, c2xx=9)  # visible at once, and yet not complete: more may come
    for seconds in (1, 60, 240, 419):
        found = watcher.ask(at=NOON + seconds)
        assert found.canary == Measurement(samples=0.0, bad=0.0, age_seconds=0.0)
        assert found.at == watcher.seen[0].at
    found = watcher.ask(at=NOON + 420)
    assert counts(found.canary) == (0, 9)
    assert (found.instant.timestamp(), found.canary.age_seconds) == (NOON + 60, 0)


@pytest.mark.integration
def test_the_delay_is_no_age_and_what_stays_away_longer_becomes_stale(monitoring: DeltaMonitoring) -> None:
    watcher = Watcher(monitoring)
    for minute in range(1, 4):
        monitoring.add(CANARY, at=NOON + minute * MINUTE, c2xx=100, c5xx=1)
        monitoring.add(STABLE, at=NOON + minute * MINUTE, c2xx=900)
    ages = []
    for minute in range(1, 6):
        found = watcher.ask(at=NOON + DELAY + minute * MINUTE)
        ages.append(found.canary.age_seconds)
    assert ages == [0, 0, 0, 60, 120]
    assert watcher.canary == (3, 303)
    blind = [unanswered(ERRORS, each.canary, arm="the canary") for each in watcher.seen]
    assert [each and each.verdict for each in blind] == [None, None, None, None, Verdict.STALE]


@pytest.mark.integration
def test_between_two_periods_there_is_evidence_without_counts_that_ends_where_the_one_before_did(
    monitoring: DeltaMonitoring,
) -> None:
    watcher = Watcher(monitoring)
    monitoring.add(CANARY, at=NOON + 60, c2xx=10)
    first, *others = (watcher.ask(at=NOON + 420 + seconds) for seconds in (0, 15, 30, 59))
    assert counts(first.canary) == (0, 10)
    for found in others:
        assert (counts(found.canary), found.canary.age_seconds, found.at) == ((0, 0), 0, first.at)
        assert unanswered(ERRORS, found.canary, arm="the canary") is None


@pytest.mark.integration
def test_a_sample_that_is_later_than_the_delay_holds_the_count_up_and_is_not_lost(monitoring: DeltaMonitoring) -> None:
    watcher = Watcher(monitoring)
    monitoring.add(CANARY, at=NOON + 60, c2xx=10)
    monitoring.add(CANARY, at=NOON + 120, shows_at=NOON + 560, c2xx=20)
    monitoring.add(CANARY, at=NOON + 180, shows_at=NOON + 560, c2xx=30)
    assert counts(watcher.ask(at=NOON + 420).canary) == (0, 10)
    assert counts(watcher.ask(at=NOON + 540).canary) == (0, 0)
    assert watcher.seen[-1].canary.age_seconds == 120
    assert counts(watcher.ask(at=NOON + 570).canary) == (0, 50)


@pytest.mark.integration
def test_a_period_that_spans_the_begin_is_not_counted(monitoring: DeltaMonitoring) -> None:
    watcher = Watcher(monitoring, begin=NOON + 61)
    for minute in (1, 2, 3):
        monitoring.add(CANARY, at=NOON + minute * MINUTE, c2xx=10**minute)
    watcher.ask(at=NOON + 600)
    assert watcher.canary == (0, 1000)
    assert watcher.seen[0].begin is not None
    assert watcher.seen[0].begin.startswith("2023-11-14T22:02:00")


@pytest.mark.integration
def test_a_next_step_counts_from_its_own_begin_and_waits_for_its_delay_without_being_stale(
    monitoring: DeltaMonitoring,
) -> None:
    first = Watcher(monitoring)
    for minute in range(1, 31):
        monitoring.add(CANARY, at=NOON + minute * MINUTE, c2xx=1)
    first.ask(at=NOON + 900)
    second = Watcher(monitoring, begin=NOON + 900)
    second.seen = [first.seen[-1]]
    for minute in range(15, 22):
        found = second.ask(at=NOON + minute * MINUTE + 30)
        assert (found.canary.age_seconds, found.canary.samples, found.at) == (0, 0, first.seen[-1].at)
    assert counts(second.ask(at=NOON + 22 * MINUTE).canary) == (0, 1)


@pytest.mark.integration
def test_everything_is_counted_once_at_random_times_of_asking_with_outages_between(
    monitoring: DeltaMonitoring,
) -> None:
    dice = random.Random(5)
    watcher = Watcher(monitoring)
    expected = [0, 0]
    for minute in range(1, 181):
        good, bad = dice.randrange(40), dice.randrange(3)
        expected = [expected[0] + bad, expected[1] + good + bad]
        shows_at = NOON + minute * MINUTE + dice.uniform(0, DELAY)
        # Google interpolates: a period's events may come in fractions that add up.
        torn = dice.random() if minute < 180 else 0.0
        at = NOON + minute * MINUTE
        monitoring.add(CANARY, at=at, shows_at=shows_at, c2xx=good - torn * good, c5xx=float(bad))
        monitoring.add(CANARY, at=at + (MINUTE if torn else 0), shows_at=shows_at, c2xx=torn * good)
    now = NOON
    while now < NOON + 181 * MINUTE + DELAY:
        monitoring.refuses_with = (503, "try again") if dice.random() < 0.3 else None
        watcher.ask(at=now)
        now += dice.uniform(1, 400)
    monitoring.refuses_with = None
    watcher.ask(at=now)
    assert all(float(each.canary.samples or 0).is_integer() for each in watcher.seen)
    bad, everything = watcher.canary
    assert bad == expected[0]
    # One event may be put astray by each anchor, of which there is one an hour, if the answers are fractions.
    assert everything == pytest.approx(expected[1], abs=4)


@pytest.mark.integration
def test_latencies_are_counted_from_the_buckets_and_a_bound_between_two_edges_names_them(
    monitoring: DeltaMonitoring, release: Release
) -> None:
    monitoring.add_latencies(CANARY, at=NOON + 60, buckets={"100": 5, "256": 7, "+Inf": 10})
    assert counts(Watcher(monitoring, asked=LATENCY).ask(at=NOON + 420).canary) == (3, 10)
    off = check(kind="latency", latency_bound_ms=200)
    found = Watcher(monitoring, asked=off).ask(at=NOON + 420)
    assert "ends at 200 ms; set latency_bound_ms to an edge: 100, 256" in str(found.canary.error)


@pytest.mark.integration
def test_the_past_is_counted_in_steps_that_know_no_more_than_was_complete(
    monitoring: DeltaMonitoring, release: Release
) -> None:
    for minute in range(1, 121):
        monitoring.add(CANARY, at=NOON + minute * MINUTE, c2xx=10, c5xx=1)
        monitoring.add(STABLE, at=NOON + minute * MINUTE, c2xx=90)
    monitoring.now = NOON + 120 * MINUTE
    source = monitoring.source()
    found = source.history(ERRORS, model=ENDPOINT, arms=release.arms, start=NOON, end=NOON + 7200, step_seconds=600)
    assert [counts(each.canary) for each in found] == [(10, 110)] * 11 + [(4, 44)]
    assert [counts(each.stable) for each in found] == [(0, 900)] * 11 + [(0, 360)]
    assert found[-1].instant.timestamp() == NOON + 114 * MINUTE
    assert (
        source.history(ERRORS, model=ENDPOINT, arms=release.arms, start=NOON + 7000, end=NOON + 7200, step_seconds=60)
        == ()
    )
    with pytest.raises(InvalidConfig, match="is not usable"):
        source.history(ERRORS, model=ENDPOINT, arms=release.arms, start=NOON, end=NOON, step_seconds=60)


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
    token.expiry = token.expiry.replace(year=2001)
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
            hanging.wait(10)
            return 200, b"{}"

    served = Hanging(now=NOON)
    try:
        begun = time.monotonic()
        found = release.gather(served.source(timeout_seconds=0.3), ERRORS, begin=NOON)
        assert "did not answer within 0.3 s" in str(found.canary.error)
        assert time.monotonic() - begun < 5
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


# -- a real Prometheus behind Google's door ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def vertex() -> Iterator[VertexFake]:
    with VertexFake() as served:
        served.control.require_bearer("token-1")
        yield served


@pytest.fixture(scope="module")
def traffic(vertex: VertexFake) -> Traffic:
    return Traffic(vertex.state.metrics)


@pytest.fixture(scope="module")
def predictions() -> Iterator[tuple[MetricCounter, str]]:
    """What an application counts for Managed Prometheus, and where it shows it."""
    registry = CollectorRegistry()
    counter = MetricCounter("model_predictions", "", ("model", "version", "outcome"), registry=registry)
    for version in ("1", "2"):
        for outcome in ("right", "wrong"):
            counter.labels("digits", version, outcome).inc(0)
    server, thread = start_http_server(0, addr="127.0.0.1", registry=registry)
    yield counter, f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="module")
def real(
    vertex: VertexFake, traffic: Traffic, predictions: tuple[MetricCounter, str]
) -> Iterator[CloudMonitoringSource]:
    """A source whose samples are complete a second after their time."""
    targets = (vertex.address.rest_url.removeprefix("http://"), predictions[1])
    with PrometheusProcess([ScrapeJob(name="google", targets=targets)], scrape_seconds=0.2) as prometheus:
        vertex.control.prometheus(prometheus.url)
        source = source_at(vertex.address.rest_url, delay_seconds=1.0, sampling_period_seconds=1)
        wait_for(lambda: Release().gather(source, ERRORS), until=lambda found: found.canary.samples is not None)
        yield source


def follower(source: CloudMonitoringSource, asked: Check) -> Follower:
    return Follower(source, Release(), asked)  # type: ignore[arg-type]


@pytest.mark.integration
def test_a_real_prometheus_counts_each_response_once_by_deployed_model_now_and_later(
    real: CloudMonitoringSource, traffic: Traffic
) -> None:
    errors, slow = follower(real, ERRORS), follower(real, LATENCY)
    for watched in (errors, slow):
        watched.wait_until_it_counts()
    start = errors.seen[-1].instant.timestamp()
    for _ in range(5):
        traffic.answered(CANARY, good=7, failed=1)
        traffic.answered(CANARY, good=3, ms=400)
        traffic.answered(STABLE, good=70, failed=2)
        traffic.answered(CANARY, good=1000, endpoint="letters")  # another model's endpoint, the same version's name
        errors.ask()
        time.sleep(0.1)
    errors.wait_for_sums(canary=(5, 55), stable=(10, 360))
    slow.wait_for_sums(canary=(15, 55), stable=(0, 360))
    assert errors.seen[-1].control is None
    end = errors.seen[-1].instant.timestamp()
    past = real.history(ERRORS, model=ENDPOINT, arms=Release().arms, start=start, end=end, step_seconds=1)
    assert (sum(each.canary.bad or 0 for each in past), sum(each.canary.samples or 0 for each in past)) == (5, 55)
    off = Release().gather(real, check(kind="latency", latency_bound_ms=300))
    assert "set latency_bound_ms to an edge: 1, 2, 4, 8, 16, 32, 64, 128, 256, 512" in str(off.canary.error)


@pytest.mark.integration
def test_a_users_own_query_is_asked_as_of_what_could_be_visible_with_the_deployed_model_filled_in(
    real: CloudMonitoringSource,
) -> None:
    selector = (
        f'aiplatform_googleapis_com:prediction_online_response_count{{endpoint_id="{ENDPOINT}",'
        'deployed_model_id="${deployed_model}",response_code="2xx"}'
    )
    asked = check(kind="promql", query=f"count({selector}) + $version", selector=selector, max=9)
    found = Release().gather(real, asked)
    assert (found.canary.value, found.stable and found.stable.value) == (3, 2)
    assert found.canary.age_seconds is not None
    assert 0 <= found.canary.age_seconds < 2, "the delay is not in it"
    assert 0.9 < time.time() - found.instant.timestamp() < 6


@pytest.mark.integration
def test_wrong_predictions_come_from_the_users_metric_in_managed_prometheus(
    real: CloudMonitoringSource, predictions: tuple[MetricCounter, str]
) -> None:
    watched = follower(real, check(kind="wrong_predictions"))
    watched.wait_until_it_counts()
    predictions[0].labels("digits", "2", "wrong").inc(3)
    predictions[0].labels("digits", "2", "right").inc(9)
    predictions[0].labels("digits", "1", "right").inc(20)
    watched.wait_for_sums(canary=(3, 12), stable=(0, 20))
