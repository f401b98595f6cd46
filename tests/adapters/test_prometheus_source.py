"""Checks asked of a real Prometheus that scrapes a real metrics server with Envoy's and our own metric names."""

from __future__ import annotations

import contextlib
import itertools
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from airflow_model_ops.adapters.metrics.prometheus import PrometheusSource
from airflow_model_ops.adapters.metrics.prometheus_process import PrometheusProcess, ScrapeJob
from airflow_model_ops.adapters.metrics.prometheus_queries import queries_for
from airflow_model_ops.core.checks import Arm, Check, Evidence, Measurement, Verdict, assess
from airflow_model_ops.core.errors import InvalidConfig, MetricsUnavailable
from airflow_model_ops.metrics import count_prediction, log_metrics

EDGES_MS = (50, 100, 250, 500)


class Serving:
    """What a router and an application would show, on a port of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        cluster = ("envoy_cluster_name",)
        self._completed = Gauge("envoy_cluster_upstream_rq_completed", "", cluster, registry=self.registry)
        self._retried = Gauge("envoy_cluster_upstream_rq_retry", "", cluster, registry=self.registry)
        by_class = (*cluster, "envoy_response_code_class")
        self._by_class = Gauge("envoy_cluster_upstream_rq_xx", "", by_class, registry=self.registry)
        name = "envoy_cluster_upstream_rq_time"
        self._time = Histogram(name, "", cluster, buckets=EDGES_MS, registry=self.registry)
        self.scraped = Counter("scrapes", "", registry=self.registry)
        self._server, self._thread = start_http_server(0, addr="127.0.0.1", registry=self.registry)
        self.address = f"127.0.0.1:{self._server.server_port}"

    def add_cluster(self, cluster: str) -> None:
        """Do as Envoy does: completed and retried requests start at zero, a class or a histogram at its first request."""
        self._completed.labels(cluster).set(0)
        self._retried.labels(cluster).set(0)

    def answer(self, cluster: str, *, good: int = 0, failed: int = 0, retried: int = 0, ms: float = 20) -> None:
        for kind, count in (("2", good), ("5", failed)):
            if count:
                self._by_class.labels(cluster, kind).inc(count)
                self._completed.labels(cluster).inc(count)
        self._retried.labels(cluster).inc(retried)
        for _ in range(good):
            self._time.labels(cluster).observe(ms)

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture(scope="module")
def serving() -> Iterator[Serving]:
    started = Serving()
    yield started
    started.stop()


@pytest.fixture(scope="module")
def prometheus(serving: Serving) -> Iterator[PrometheusProcess]:
    """One for all tests, as its first scrape comes five seconds after its start; each test has a model of its own."""
    jobs = [ScrapeJob(name="serving", targets=(serving.address,))]
    with PrometheusProcess(jobs, scrape_seconds=0.2) as started:
        yield started


@pytest.fixture(scope="module")
def source(serving: Serving, prometheus: PrometheusProcess) -> PrometheusSource:
    asked = PrometheusSource(prometheus.url)
    up = Check.from_json({"name": "up", "kind": "promql", "query": "sum(up)", "max": 1})
    wait_for(lambda: Model(name="any").gather(asked, up), until=lambda found: found.canary.value == 1)
    return asked


@dataclass(frozen=True)
class Model:
    """A model with a stable version 1 and a canary 2."""

    name: str

    @property
    def stable(self) -> Arm:
        return Arm(version_number="1", cluster=f"{self.name}/1")

    @property
    def canary(self) -> Arm:
        return Arm(version_number="2", cluster=f"{self.name}/2", version_name="v-2")

    def gather(self, source: PrometheusSource, asked: Check) -> Evidence:
        return source.gather(asked, model=self.name, canary=self.canary, stable=self.stable)


_numbers = itertools.count(1)


@pytest.fixture
def model() -> Model:
    return Model(name=f"digits{next(_numbers)}")


def check(**fields: object) -> Check:
    return Check.from_json({"name": "c", "window_seconds": 30, "max_age_seconds": 5, "min_samples": 20, **fields})


ERROR_RATE = check(kind="error_rate", max=0.05, max_ratio_to_stable=1.5, consecutive=1)


def wait_for(asked: Callable[[], Evidence], *, until: Callable[[Evidence], bool], seconds: float = 20) -> Evidence:
    deadline = time.monotonic() + seconds
    while not until(evidence := asked()):
        assert time.monotonic() < deadline, f"not in time; last seen: {evidence}"
        time.sleep(0.1)
    return evidence


def samples_reach(canary: float, stable: float) -> Callable[[Evidence], bool]:
    def reached(evidence: Evidence) -> bool:
        assert evidence.stable is not None
        return (evidence.canary.samples or 0) >= canary and (evidence.stable.samples or 0) >= stable

    return reached


@pytest.mark.integration
def test_the_first_requests_of_a_fresh_canary_are_counted_in_full(
    serving: Serving, source: PrometheusSource, model: Model
) -> None:
    """All its series are born with the values they have: ``increase`` alone would see nothing."""
    serving.add_cluster(model.stable.cluster)
    serving.answer(model.stable.cluster, good=397, failed=3)
    serving.add_cluster(model.canary.cluster)
    serving.answer(model.canary.cluster, good=70, failed=20, retried=10)
    found = wait_for(lambda: model.gather(source, ERROR_RATE), until=samples_reach(100, 400))
    assert (found.canary.value, found.canary.samples) == (0.3, 100)
    assert found.stable == Measurement(value=0.0075, samples=400, age_seconds=found.stable and found.stable.age_seconds)
    assert found.canary.age_seconds is not None
    assert 0 <= found.canary.age_seconds < 5
    told = assess(ERROR_RATE, [found], has_stable=True)
    assert told.verdict is Verdict.HARM
    assert told.reason == (
        "c of the canary 30.0 % (30 of 100) against stable 0.75 % (3 of 400): ratio 40.0, allowed 1.5"
    )


@pytest.mark.integration
def test_a_good_canary_is_safe_and_requests_before_the_window_do_not_count(
    serving: Serving, source: PrometheusSource, model: Model
) -> None:
    short = check(kind="error_rate", max=0.05, max_ratio_to_stable=1.5, consecutive=1, window_seconds=3)
    for cluster in (model.stable.cluster, model.canary.cluster):
        serving.add_cluster(cluster)
        serving.answer(cluster, good=100, failed=500)
    wait_for(lambda: model.gather(source, short), until=samples_reach(600, 600))
    wait_for(lambda: model.gather(source, short), until=lambda found: found.canary.samples == 0)
    for cluster in (model.stable.cluster, model.canary.cluster):
        serving.answer(cluster, good=200)
    found = wait_for(lambda: model.gather(source, short), until=samples_reach(150, 150))
    assert found.canary.value == 0
    assert assess(short, [found], has_stable=True).verdict is Verdict.SAFE


@pytest.mark.integration
def test_slow_answers_are_counted_from_the_histogram_and_no_bound_is_interpolated(
    serving: Serving, source: PrometheusSource, model: Model
) -> None:
    for cluster, slow in ((model.stable.cluster, 2), (model.canary.cluster, 60)):
        serving.add_cluster(cluster)
        serving.answer(cluster, good=100 - slow, ms=20)
        serving.answer(cluster, good=slow, ms=400)
    latency = check(kind="latency", latency_bound_ms=250, max_difference_to_stable=0.05, consecutive=1)
    found = wait_for(lambda: model.gather(source, latency), until=samples_reach(100, 100))
    assert (found.canary.value, found.canary.samples) == (0.6, 100)
    told = assess(latency, [found], has_stable=True)
    assert told.verdict is Verdict.HARM
    assert "60.0 % over 250 ms (60 of 100) against stable 2.0 % over 250 ms (2 of 100)" in told.reason

    between = model.gather(source, check(kind="latency", latency_bound_ms=240, max=0.05))
    assert between.canary.error == (
        "no bucket of the router's histogram ends at 240 ms; set latency_bound_ms to an edge: 50, 100, 250, 500"
    )


@pytest.mark.integration
def test_wrong_predictions_are_counted_for_the_version_that_answered(
    serving: Serving, source: PrometheusSource, model: Model
) -> None:
    wrong = check(kind="wrong_predictions", max_ratio_to_stable=1.5, consecutive=1)
    for version, outcome, count in (("1", "right", 980), ("1", "wrong", 20), ("2", "right", 60), ("v-2", "wrong", 40)):
        count_prediction(model.name, version, outcome, count=count, registry=serving.registry)
    count_prediction(model.name, "2", "error", count=500, registry=serving.registry)
    count_prediction("other", "2", "wrong", count=500, registry=serving.registry)
    found = wait_for(lambda: model.gather(source, wrong), until=samples_reach(100, 1_000))
    assert (found.canary.value, found.canary.samples) == (0.4, 100)
    assert assess(wrong, [found], has_stable=True).verdict is Verdict.HARM


@pytest.mark.integration
def test_a_users_own_query_is_asked_with_the_versions_name_filled_in(
    serving: Serving, source: PrometheusSource, model: Model
) -> None:
    log_metrics(model.name, "1", registry=serving.registry, accuracy=0.97)
    log_metrics(model.name, "2", registry=serving.registry, accuracy=0.42)
    selector = 'model_version_performance{model="$model",version="$version",metric="accuracy"}'
    asked = check(kind="promql", query=selector, selector=selector, min=0.9, consecutive=1)
    found = wait_for(lambda: model.gather(source, asked), until=lambda found: found.canary.value is not None)
    assert (found.canary.value, found.stable and found.stable.value) == (0.42, 0.97)
    assert assess(asked, [found], has_stable=True).verdict is Verdict.BREACH

    scalar = source.measure(
        check(kind="promql", query="40 + 2", max=1), model=model.name, version_number="2", cluster="c"
    )
    assert scalar == Measurement(value=42)


@pytest.mark.integration
@pytest.mark.parametrize(
    ("query", "words"),
    [
        ('model_version_performance{model="$model"}', "answers 2 series where one number is needed; aggregate it"),
        ("sum(", "refused 'sum('"),
        ('"text"', "does not answer a number"),
        ("up[5s]", "does not answer a number"),
    ],
)
def test_a_query_that_gives_no_single_number_is_an_error_and_no_verdict(
    query: str, words: str, serving: Serving, source: PrometheusSource, model: Model
) -> None:
    for version in ("1", "2"):
        log_metrics(model.name, version, registry=serving.registry, accuracy=0.9)
    asked = check(kind="promql", query=query, max=1)
    found = wait_for(lambda: model.gather(source, asked), until=lambda found: words in str(found.canary.error))
    assert assess(asked, [found], has_stable=True).verdict is Verdict.PROVIDER_DOWN


@pytest.mark.integration
@pytest.mark.parametrize("query", ["nothing_of_this_name", "0/0", "1/0", "vector(0)/0"])
def test_nothing_and_no_number_are_no_data(query: str, source: PrometheusSource, model: Model) -> None:
    asked = check(kind="promql", query=query, max=1, consecutive=1)
    found = model.gather(source, asked)
    assert found.canary == Measurement()
    assert assess(asked, [found], has_stable=True).verdict is Verdict.NO_DATA


@pytest.mark.integration
def test_a_version_that_nobody_asked_is_no_data(serving: Serving, source: PrometheusSource, model: Model) -> None:
    found = model.gather(source, ERROR_RATE)
    assert (found.canary.value, found.canary.samples) == (None, None)
    serving.add_cluster(model.canary.cluster)
    found = wait_for(lambda: model.gather(source, ERROR_RATE), until=lambda found: found.canary.samples == 0)
    assert found.canary.value is None
    assert assess(ERROR_RATE, [found], has_stable=True).verdict is Verdict.NO_DATA


@pytest.mark.integration
def test_a_target_that_is_gone_makes_its_numbers_stale(model: Model) -> None:
    serving = Serving()
    asked = check(kind="error_rate", max=0.05, max_age_seconds=2, consecutive=1, min_samples=1)
    with PrometheusProcess([ScrapeJob(name="serving", targets=(serving.address,))], scrape_seconds=0.2) as prometheus:
        source = PrometheusSource(prometheus.url)
        serving.add_cluster(model.canary.cluster)
        wait_for(lambda: model.gather(source, asked), until=lambda found: found.canary.samples == 0)
        serving.answer(model.canary.cluster, failed=50)
        found = wait_for(lambda: model.gather(source, asked), until=lambda found: (found.canary.samples or 0) > 0)
        assert assess(asked, [found], has_stable=True).verdict is Verdict.BREACH
        serving.stop()
        found = wait_for(lambda: model.gather(source, asked), until=lambda found: (found.canary.age_seconds or 0) > 2)
    assert found.canary.value is not None, "the window still holds old samples: only their age tells"
    told = assess(asked, [found], has_stable=True)
    assert (told.verdict, "s old, allowed 2 s" in told.reason) == (Verdict.STALE, True)


@pytest.mark.integration
def test_prometheus_answers_a_ping_until_it_stops(model: Model) -> None:
    with PrometheusProcess([]) as prometheus:
        source = PrometheusSource(prometheus.url)
        assert source.ping().startswith(f"Prometheus at {prometheus.url} answers queries")
    with pytest.raises(MetricsUnavailable, match=r"cannot be reached .*refused"):
        source.ping()
    found = model.gather(source, ERROR_RATE)
    assert "cannot be reached" in str(found.canary.error)
    assert assess(ERROR_RATE, [found], has_stable=True).verdict is Verdict.PROVIDER_DOWN


@pytest.mark.integration
def test_a_prometheus_that_cannot_start_says_why() -> None:
    twice = ScrapeJob(name="router", targets=("127.0.0.1:1",))
    broken = PrometheusProcess([twice, twice])
    with pytest.raises(MetricsUnavailable, match="multiple scrape configs with job name"):
        broken.start()
    assert broken.pid is None


# -- servers that are no Prometheus -----------------------------------------------------------------------------------


@pytest.fixture
def imposter() -> Iterator[ThreadingHTTPServer]:
    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            time.sleep(self.server.pause)  # type: ignore[attr-defined]
            self.send_response(self.server.status)  # type: ignore[attr-defined]
            self.end_headers()
            query = parse_qs(urlsplit(self.path).query).get("query", [""])[0]
            body = self.server.answers.get(query, self.server.body)  # type: ignore[attr-defined]
            with contextlib.suppress(BrokenPipeError):  # who asked may have given up
                self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            """Keep the test's output clean."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    server.body, server.status, server.pause = b"<html>please log in</html>", 200, 0.0  # type: ignore[attr-defined]
    server.answers = {}  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


def url_of(server: ThreadingHTTPServer) -> str:
    return f"http://127.0.0.1:{server.server_port}/"


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (200, b"<html>please log in</html>", "does not answer as Prometheus does"),
        (200, b'{"data": null}', "does not answer as Prometheus does"),
        (200, b'{"data": {"result": {"a": 1}}}', "does not answer as Prometheus does"),
        (200, b'{"data": {"result": [{"metric": {}}]}}', "does not answer a number"),
        (200, b'{"data": {"result": []}}', "does not tell its time"),
        (401, b"who are you?", "HTTP Status Code 401"),
        (503, b"later", "HTTP Status Code 503"),
    ],
)
def test_what_does_not_speak_the_api_is_an_error(
    status: int, body: bytes, words: str, imposter: ThreadingHTTPServer, model: Model
) -> None:
    imposter.status, imposter.body = status, body  # type: ignore[attr-defined]
    source = PrometheusSource(url_of(imposter))
    measured = source.measure(ERROR_RATE, model=model.name, version_number="2", cluster=model.canary.cluster)
    assert words in str(measured.error)
    assert words in str(model.gather(source, ERROR_RATE).canary.error)


LATENCY = check(kind="latency", latency_bound_ms=250, max=0.05)


def measure_with(imposter: ThreadingHTTPServer, model: Model, asked: Check, **answers: str | None) -> Measurement:
    """Measure a server that has 100 requests, the newest 1 s ago, and gives the parts named the answers named."""
    queries = queries_for(asked, model=model.name, arm=Arm(version_number="2", cluster=model.canary.cluster))
    for part, query in {**queries, "now": "time()"}.items():
        answer = answers.get(part, {"total": "100", "age": "1", "now": "1685620800"}.get(part))
        result = [] if answer is None else [{"metric": {}, "value": [0, answer]}]
        imposter.answers[query] = json.dumps({"data": {"result": result}}).encode()  # type: ignore[attr-defined]
    source = PrometheusSource(url_of(imposter))
    return source.measure(asked, model=model.name, version_number="2", cluster=model.canary.cluster)


@pytest.mark.parametrize("answer", ["NaN", "+Inf", "-Inf", "-3", None])
def test_a_count_of_bad_events_that_is_no_count_is_an_error_and_never_zero(
    answer: str | None, imposter: ThreadingHTTPServer, model: Model
) -> None:
    measured = measure_with(imposter, model, ERROR_RATE, bad=answer)
    assert measured.value is None
    assert "which is no count" in str(measured.error)
    assert measure_with(imposter, model, ERROR_RATE, bad="0") == Measurement(value=0.0, samples=100, age_seconds=1)


@pytest.mark.parametrize("answer", ["150", "101.5", "-1"])
def test_more_requests_within_the_bound_than_there_are_is_an_error(
    answer: str, imposter: ThreadingHTTPServer, model: Model
) -> None:
    measured = measure_with(imposter, model, LATENCY, good=answer)
    assert measured.value is None
    assert f"counts {answer} requests within 250 ms of 100 in all" in str(measured.error)
    assert measure_with(imposter, model, LATENCY, good="100.4").value == 0


def test_a_slow_server_is_given_up_within_the_time_allowed(imposter: ThreadingHTTPServer, model: Model) -> None:
    """The client library by itself would try four times, with pauses."""
    imposter.pause = 2.0  # type: ignore[attr-defined]
    source = PrometheusSource(url_of(imposter), timeout_seconds=0.5)
    begun = time.monotonic()
    measured = source.measure(ERROR_RATE, model=model.name, version_number="2", cluster=model.canary.cluster)
    assert time.monotonic() - begun < 1.5
    assert "did not answer within 0.5 s" in str(measured.error)


def test_a_password_in_the_url_is_never_shown(model: Model) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        source = PrometheusSource(f"http://user:s3cret@127.0.0.1:{closed.getsockname()[1]}/prefix")
        measured = source.measure(ERROR_RATE, model=model.name, version_number="2", cluster=model.canary.cluster)
    assert "/prefix cannot be reached" in str(measured.error)
    assert "s3cret" not in str(measured.error)


@pytest.mark.parametrize("url", ["prometheus:9090", "http://", "http://[half", "http://host:port", "file:///metrics"])
def test_what_is_no_url_is_refused_at_once(url: str) -> None:
    with pytest.raises(InvalidConfig, match="write it as http://prometheus:9090"):
        PrometheusSource(url)


def test_a_source_needs_time() -> None:
    with pytest.raises(InvalidConfig, match="write seconds above 0"):
        PrometheusSource("http://prometheus:9090", timeout_seconds=0)
