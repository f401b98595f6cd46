"""Cloud Monitoring as a metric source: on a clock of its own with late samples, and in front of a real Prometheus."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client import Counter as MetricCounter

from airflow_model_ops.adapters.metrics.cloud_monitoring import CloudMonitoringSource
from airflow_model_ops.adapters.metrics.prometheus_process import PrometheusProcess, ScrapeJob
from airflow_model_ops.core.checks import Check, Evidence, Measurement, Verdict
from airflow_model_ops.core.errors import InvalidConfig
from airflow_model_ops.core.judge.blindness import unanswered
from tests.adapters.monitoring_rig import (
    CANARY,
    ENDPOINT,
    STABLE,
    DeltaMonitoring,
    Release,
    Traffic,
    source_at,
)
from tests.adapters.prometheus_rig import Follower, check, counts, wait_for
from tests.vertex_fake.rig import VertexFake

ERRORS = check(kind="error_rate", max_age_seconds=60)
LATENCY = check(kind="latency", latency_bound_ms=256)
NOON = 1_700_000_000 // 3600 * 3600.0
MINUTE, DELAY = 60.0, 360.0
REAL_DELAY = 2.0
"""What is scraped from the real targets is there by then: a scrape has a second, and a busy machine another."""


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
    """A source whose samples are complete two seconds after their time."""
    targets = (vertex.address.rest_url.removeprefix("http://"), predictions[1])
    with PrometheusProcess([ScrapeJob(name="google", targets=targets)], scrape_seconds=1.0) as prometheus:
        vertex.control.prometheus(prometheus.url)
        source = source_at(vertex.address.rest_url, delay_seconds=REAL_DELAY, sampling_period_seconds=1)
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
    # Polled, for a machine may be too busy for a scrape; with the delay in it, no age were less than that.
    found = wait_for(
        lambda: Release().gather(real, asked),
        until=lambda found: found.canary.age_seconds is not None and found.canary.age_seconds < REAL_DELAY,
    )
    assert (found.canary.value, found.stable and found.stable.value) == (3, 2)
    before = time.time()
    asked_of = Release().gather(real, asked).instant.timestamp()
    assert before - REAL_DELAY - 0.01 <= asked_of <= time.time() - REAL_DELAY + 0.01


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
