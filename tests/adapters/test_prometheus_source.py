"""What a metric source says about its own trouble, and users' own queries, asked of a real Prometheus and of servers that are
none.
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest

from airflow_model_ops.adapters.metrics.prometheus import PrometheusSource
from airflow_model_ops.adapters.metrics.prometheus_process import PrometheusProcess, ScrapeJob
from airflow_model_ops.core.checks import Check, Evidence, Measurement
from airflow_model_ops.core.errors import InvalidConfig, MetricsUnavailable
from airflow_model_ops.metrics import log_metrics
from tests.adapters.prometheus_rig import Model, Serving, check, wait_for

ERRORS = check(kind="error_rate")
LATENCY = check(kind="latency", latency_bound_ms=250)


@pytest.fixture(scope="module")
def serving() -> Iterator[Serving]:
    """One for all tests; it reports the performance of two versions."""
    started = Serving()
    log_metrics("digits", "1", registry=started.registry, accuracy=0.97)
    log_metrics("digits", "2", registry=started.registry, accuracy=0.42)
    yield started
    started.stop()


@pytest.fixture(scope="module")
def source(serving: Serving) -> Iterator[PrometheusSource]:
    """One for all tests, as its first scrape comes five seconds after its start."""
    jobs = [ScrapeJob(name="serving", targets=(serving.address,))]
    # A scrape may take as long as the interval; on a busy machine one that fails makes its series stale.
    with PrometheusProcess(jobs, scrape_seconds=1.0) as prometheus:
        asked = PrometheusSource(prometheus.url)
        told = check(kind="promql", query="count(model_version_performance)", max=2)
        wait_for(lambda: Model(name="digits").gather(asked, told), until=lambda found: found.canary.value == 2)
        yield asked


@pytest.fixture
def model() -> Model:
    return Model(name="digits")


@pytest.mark.integration
def test_a_users_own_query_is_asked_for_both_versions_at_one_instant(source: PrometheusSource, model: Model) -> None:
    selector = 'model_version_performance{model="$model",version="$version",metric="accuracy"}'
    asked = check(kind="promql", query=selector, selector=selector, min=0.9)
    found = wait_for(lambda: model.gather(source, asked), until=lambda found: found.canary.value is not None)
    assert (found.canary.value, found.stable and found.stable.value) == (0.42, 0.97)
    assert found.canary.age_seconds is not None
    assert 0 <= found.canary.age_seconds < 5
    assert (found.control, found.begin, found.canary.bad) == (None, None, None)
    clock = model.gather(source, check(kind="promql", query="time()", max=1))
    assert clock.stable == clock.canary == Measurement(value=pytest.approx(clock.instant.timestamp(), abs=0.001))


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
def test_a_query_that_gives_no_single_number_is_an_error(
    query: str, words: str, source: PrometheusSource, model: Model
) -> None:
    found = model.gather(source, check(kind="promql", query=query, max=1))
    assert words in str(found.canary.error)
    assert found.canary.value is None


@pytest.mark.integration
def test_trouble_with_one_arm_leaves_the_other_measured(source: PrometheusSource, model: Model) -> None:
    asked = check(kind="promql", query='vector(2) == $version or label_replace(vector(3), "a", "b", "", "")', max=1)
    found = model.gather(source, asked)
    assert "answers 2 series" in str(found.canary.error)
    assert found.stable == Measurement(value=3)


@pytest.mark.integration
@pytest.mark.parametrize("query", ["nothing_of_this_name", "0/0", "1/0", "vector(0)/0"])
def test_nothing_and_no_number_are_no_value(query: str, source: PrometheusSource, model: Model) -> None:
    assert model.gather(source, check(kind="promql", query=query, max=1)).canary == Measurement()


@pytest.mark.integration
def test_prometheus_answers_a_ping_until_it_stops(model: Model) -> None:
    with PrometheusProcess([]) as prometheus:
        source = PrometheusSource(prometheus.url)
        assert source.ping().startswith(f"Prometheus at {prometheus.url} answers queries")
    with pytest.raises(MetricsUnavailable, match=r"cannot be reached .*refused"):
        source.ping()
    assert "cannot be reached" in str(model.gather(source, ERRORS).canary.error)


@pytest.mark.integration
def test_a_target_that_is_added_while_it_runs_is_scraped_too(serving: Serving, model: Model) -> None:
    told = check(kind="promql", query="count(model_version_performance)", max=2)
    with PrometheusProcess([], scrape_seconds=0.2) as prometheus:
        asked = PrometheusSource(prometheus.url)
        prometheus.scrape_too([ScrapeJob(name="serving", targets=(serving.address,))])
        found = wait_for(lambda: model.gather(asked, told), until=lambda found: found.canary.value is not None)
    assert found.canary.value == 2


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


NOW = 1_685_620_800.0


def samples_of(cluster: str, **series: list[tuple[float, str]]) -> list[dict[str, object]]:
    """Give raw samples, seconds before now to the value as text, of a cluster's requests by response class."""
    return [
        {
            "metric": {
                "__name__": "envoy_cluster_upstream_rq_xx",
                "envoy_response_code_class": name.removeprefix("class_"),
                "envoy_cluster_name": cluster,
                "instance": "router:9901",
            },
            "values": [[NOW - before, value] for before, value in values],
        }
        for name, values in series.items()
    ]


def gather_from(
    imposter: ThreadingHTTPServer, model: Model, result: object, *, asked: Check = ERRORS, after: str | None = None
) -> Evidence:
    """Ask a server whose clock says NOW, and that answers anything else with the result."""
    imposter.answers["time()"] = json.dumps({"data": {"result": [NOW, str(NOW)]}}).encode()  # type: ignore[attr-defined]
    imposter.body = json.dumps({"data": {"result": result}}).encode()  # type: ignore[attr-defined]
    source = PrometheusSource(url_of(imposter), clock=lambda: NOW)
    return model.gather(source, asked, begin=NOW - 60, after=after)


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
def test_what_does_not_speak_the_api_is_an_error_of_every_arm(
    status: int, body: bytes, words: str, imposter: ThreadingHTTPServer, model: Model
) -> None:
    imposter.status, imposter.body = status, body  # type: ignore[attr-defined]
    source = PrometheusSource(url_of(imposter))
    found = model.gather(source, ERRORS, begin=NOW)
    for measured in (found.canary, found.stable, found.control):
        assert measured is not None
        assert words in str(measured.error)
    assert found.instant.timestamp() == NOW, "the time it was asked to begin at"
    before = "2023-06-01T11:59:00.250+00:00"
    assert model.gather(source, ERRORS, begin=NOW, after=before).at == before, "nothing is skipped"
    assert words in str(model.gather(source, check(kind="promql", query="up", max=1)).canary.error)


@pytest.mark.parametrize(
    "result",
    [
        [NOW, "7"],
        [{"metric": {"__name__": "up"}, "values": [[NOW, "1"]]}],
        [{"metric": {"__name__": "envoy_cluster_upstream_rq_xx"}, "value": [NOW, "1"]}],
        [{"metric": {"__name__": "envoy_cluster_upstream_rq_xx"}, "values": [[NOW, "many"]]}],
        [{"metric": {"__name__": "envoy_cluster_upstream_rq_xx"}, "values": 3}],
        ["text"],
    ],
)
def test_an_answer_that_is_no_raw_samples_is_an_error(
    result: object, imposter: ThreadingHTTPServer, model: Model
) -> None:
    found = gather_from(imposter, model, result)
    assert "does not answer raw samples" in str(found.canary.error)
    assert found.canary.samples is None


@pytest.mark.parametrize("value", ["NaN", "+Inf", "-Inf", "-3"])
def test_a_sample_that_is_no_count_is_an_error_and_counted_by_nobody(
    value: str, imposter: ThreadingHTTPServer, model: Model
) -> None:
    cluster = model.canary.cluster
    classes = {"class_2": [(40, "10"), (25, "20"), (10, "30")], "class_5": [(40, "1"), (25, "2"), (10, value)]}
    found = gather_from(imposter, model, samples_of(cluster, **classes), after="2023-06-01T11:59:20+00:00")
    for measured in (found.canary, found.stable):
        assert measured is not None
        assert "envoy_cluster_upstream_rq_xx of router:9901 is" in str(measured.error)
        assert "which is no count; check what Prometheus at" in str(measured.error)
    classes["class_2"].append((1, "50"))
    classes["class_5"].append((1, "6"))
    mended = gather_from(imposter, model, samples_of(cluster, **classes), after=found.at)
    assert mended.canary == Measurement(value=5 / 45, samples=45, bad=5, age_seconds=1), "as after a scrape that failed"


def test_fractions_of_events_are_rounded_down_where_they_are_cumulated(
    imposter: ThreadingHTTPServer, model: Model
) -> None:
    values = [(40, "0.9"), (25, "1.8"), (10, "2.7"), (0, "3.6")]
    found = gather_from(imposter, model, samples_of(model.canary.cluster, class_2=values))
    assert (found.canary.bad, found.canary.samples) == (0, 3)


def test_nothing_at_all_is_no_data_and_as_old_as_what_was_seen_before(
    imposter: ThreadingHTTPServer, model: Model
) -> None:
    assert gather_from(imposter, model, []).canary == Measurement()
    before = gather_from(imposter, model, [], after="2023-06-01T11:50:00.000+00:00")
    assert (before.canary, before.at) == (Measurement(age_seconds=600), "2023-06-01T11:50:00.000+00:00")


def test_an_address_that_two_jobs_scrape_is_counted_once(imposter: ThreadingHTTPServer, model: Model) -> None:
    series = samples_of(model.canary.cluster, class_2=[(40, "0"), (20, "50")])
    twice = [{**each, "metric": {**each["metric"], "job": job}} for each in series for job in ("router", "annotated")]  # type: ignore[dict-item]
    assert gather_from(imposter, model, twice).canary.samples == 50
    replicas = [{**each, "metric": {**each["metric"], "instance": name}} for each in series for name in ("a", "b")]  # type: ignore[dict-item]
    assert gather_from(imposter, model, replicas).canary.samples == 100


def test_a_slow_server_is_given_up_within_the_time_allowed(imposter: ThreadingHTTPServer, model: Model) -> None:
    """The client library by itself would try four times, with pauses."""
    imposter.pause = 2.0  # type: ignore[attr-defined]
    source = PrometheusSource(url_of(imposter), timeout_seconds=0.5)
    for asked in (ERRORS, check(kind="promql", query="up", max=1)):
        begun = time.monotonic()
        found = model.gather(source, asked)
        assert time.monotonic() - begun < 5, "four tries with their pauses take eight seconds"
        assert "did not answer within 0.5 s" in str(found.canary.error)


def test_a_password_in_the_url_is_never_shown(model: Model) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        source = PrometheusSource(f"http://user:s3cret@127.0.0.1:{closed.getsockname()[1]}/prefix")
        error = str(model.gather(source, ERRORS).canary.error)
    assert "/prefix cannot be reached" in error
    assert "s3cret" not in error


@pytest.mark.parametrize("url", ["prometheus:9090", "http://", "http://[half", "http://host:port", "file:///metrics"])
def test_what_is_no_url_is_refused_at_once(url: str) -> None:
    with pytest.raises(InvalidConfig, match="write it as http://prometheus:9090"):
        PrometheusSource(url)


def test_a_source_needs_time() -> None:
    with pytest.raises(InvalidConfig, match="write seconds above 0"):
        PrometheusSource("http://prometheus:9090", timeout_seconds=0)
