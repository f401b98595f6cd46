"""What versions did over time: the queries, how answers are read, and both against a real Prometheus."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing

import pytest

from airflow_model_ops.adapters.metrics.cloud_monitoring_queries import EndpointLabels
from airflow_model_ops.adapters.metrics.curve_queries import (
    MOST_POINTS,
    CurveQuery,
    endpoint_queries,
    read_curves,
    router_queries,
    step_of,
)
from airflow_model_ops.adapters.metrics.prometheus import PrometheusSource
from airflow_model_ops.adapters.metrics.prometheus_process import PrometheusProcess, ScrapeJob
from airflow_model_ops.core.checks import Arm, Arms
from airflow_model_ops.core.curves import Curve
from airflow_model_ops.core.errors import MetricsUnavailable
from airflow_model_ops.core.ports import CurveSource
from airflow_model_ops.metrics import count_prediction, log_metrics
from tests.adapters.monitoring_rig import DeltaMonitoring
from tests.adapters.prometheus_rig import Serving

VERSIONS = {
    "v-1": Arms(
        canary=Arm(version_number="1", cluster="digits/1", version_name="v-1"),
        control=Arm(version_number="1", cluster="digits/1~control", version_name="v-1"),
    ),
    "v-2": Arms(canary=Arm(version_number="2", cluster="digits/2", version_name="v-2")),
}
GAUGES = CurveQuery(metric=None, unit="", query="q")


@pytest.mark.parametrize("seconds", [1, 36, 119, 120, 3_600, 86_400, 2_160 * 3_600])
def test_no_line_has_more_points_than_agreed(seconds: float) -> None:
    step = step_of(seconds)
    assert math.ceil(seconds / step) + 1 <= MOST_POINTS
    assert step == int(step) >= 1


def test_a_versions_control_cluster_is_part_of_it() -> None:
    requests = router_queries("digits", VERSIONS, step_seconds=60)[0]
    assert requests.query == (
        'sum by (model_ops_version) (label_replace(label_replace(rate(envoy_cluster_upstream_rq_completed{envoy_cluster_name=~"'
        'digits/1|digits/1\\\\~control|digits/2"}[180s]), "model_ops_version", "v-1", "envoy_cluster_name", '
        '"digits/1|digits/1\\\\~control"), "model_ops_version", "v-2", "envoy_cluster_name", "digits/2"))'
    )


def test_no_name_leads_out_of_its_quotes() -> None:
    nasty = {'v"} or evil{a="$1': Arms(canary=Arm(version_number='1"', cluster='c"}\\'))}
    for asked in router_queries('m"} or evil', nasty, step_seconds=60):
        bare = asked.query.replace("\\\\", "").replace('\\"', "")
        outside = "".join(bare.split('"')[::2])
        assert "evil" not in outside
        assert bare.count('"') % 2 == 0
        assert '"v\\"} or evil{a=\\"$$1"' in asked.query


def test_moments_without_a_number_are_left_out_and_series_of_nobody_too() -> None:
    answer = [
        {"metric": {"model_ops_version": "v-1", "metric": "accuracy"}, "values": [[1, "0.5"], [2, "NaN"], [3, "+Inf"]]},
        {"metric": {"model_ops_version": "v-2", "metric": "accuracy"}, "values": [[1, "NaN"]]},
        {"metric": {"model_ops_version": "v-3", "metric": "accuracy"}, "values": [[1, "1"]]},
        {"metric": {"metric": "accuracy"}, "values": [[1, "1"]]},
    ]
    found = read_curves(answer, GAUGES, versions=["v-1", "v-2"], step_seconds=1, source="Prometheus")
    assert found == [Curve(metric="accuracy", unit="", step_seconds=1, lines={"v-1": ((1.0, 0.5),)})]


@pytest.mark.parametrize(
    "answer", [[1], [{"metric": {}}], [{"metric": {"model_ops_version": "v-1"}, "values": [["x", "1"]]}]]
)
def test_an_answer_that_is_none_is_an_error(answer: list[object]) -> None:
    with pytest.raises(MetricsUnavailable, match="Prometheus does not answer series of numbers"):
        read_curves(answer, GAUGES, versions=["v-1"], step_seconds=1, source="Prometheus")


@pytest.fixture(scope="module")
def serving() -> Iterator[Serving]:
    started = Serving()
    for cluster in ("digits/1", "digits/1~control", "digits/2"):
        started.add_cluster(cluster)
        started.answer(cluster, good=1, failed=1)
    log_metrics("digits", "1", registry=started.registry, accuracy=0.97)
    log_metrics("digits", "v-2", registry=started.registry, accuracy=0.42)
    log_metrics("letters", "1", registry=started.registry, accuracy=0.1)
    count_prediction("digits", "1", "right", registry=started.registry)
    count_prediction("digits", "v-2", "right", registry=started.registry)
    yield started
    started.stop()


@pytest.fixture(scope="module")
def prometheus(serving: Serving) -> Iterator[PrometheusProcess]:
    with PrometheusProcess([ScrapeJob(name="serving", targets=(serving.address,))], scrape_seconds=0.5) as running:
        yield running


def _last(curves: tuple[Curve, ...], metric: str) -> dict[str, float]:
    """Give each version's newest value."""
    return {name: line[-1][1] for curve in curves if curve.metric == metric for name, line in curve.lines.items()}


@pytest.mark.integration
def test_versions_are_drawn_as_they_did(serving: Serving, prometheus: PrometheusProcess) -> None:
    source = PrometheusSource(prometheus.url)
    as_port: CurveSource = source
    assert isinstance(as_port, CurveSource)
    _poll(
        lambda: source.curves(model="digits", versions=VERSIONS, seconds=60),
        until=lambda found: bool(_last(found, "requests")),
    )
    serving.answer("digits/1", good=30, ms=20)
    serving.answer("digits/1~control", good=10, ms=20)
    serving.answer("digits/2", good=30, failed=10, ms=200)
    count_prediction("digits", "1", "right", count=4, registry=serving.registry)
    count_prediction("digits", "v-2", "right", count=3, registry=serving.registry)
    count_prediction("digits", "v-2", "wrong", registry=serving.registry)
    found = _poll(
        lambda: source.curves(model="digits", versions=VERSIONS, seconds=60),
        until=lambda found: (
            _last(found, "wrong predictions").get("v-2") == pytest.approx(0.25, rel=0.1)
            and _last(found, "error rate").get("v-2") == pytest.approx(0.25, rel=0.1)
        ),
    )
    assert [(curve.metric, curve.unit) for curve in found] == [
        ("requests", "1/s"),
        ("error rate", "share"),
        ("latency p95", "ms"),
        ("wrong predictions", "share"),
        ("accuracy", ""),
    ]
    requests = _last(found, "requests")
    assert requests["v-1"] == pytest.approx(requests["v-2"], rel=0.1)  # 40 of each, v-1's over two clusters
    assert _last(found, "error rate")["v-1"] == _last(found, "wrong predictions")["v-1"] == 0
    p95 = _last(found, "latency p95")
    assert p95["v-1"] <= 50
    assert 100 < p95["v-2"] <= 250
    assert _last(found, "accuracy") == {"v-1": 0.97, "v-2": 0.42}
    assert all(len(line) <= MOST_POINTS for curve in found for line in curve.lines.values())
    assert all(abs(line[-1][0] - time.time()) < 60 for curve in found for line in curve.lines.values())


@pytest.mark.integration
def test_what_an_endpoint_is_asked_is_promql(prometheus: PrometheusProcess) -> None:
    endpoint = EndpointLabels(location="europe-west1", endpoint="1234")
    with closing(PrometheusSource(prometheus.url).conversation()) as conversation:
        for asked in endpoint_queries("digits", VERSIONS, endpoint=endpoint, step_seconds=60):
            now = time.time()
            assert isinstance(conversation.ask_range(asked.query, start=now - 60, end=now, step=60), list)


class Drawing(DeltaMonitoring):
    """Draws one line of one version, whatever is asked, and keeps when it was asked of."""

    asked: Mapping[str, str]

    def evaluate(self, method: str, asked: Mapping[str, str]) -> tuple[int, bytes]:
        if asked["query"] == "time()":
            return super().evaluate(method, asked)
        self.asked = asked
        series = {"metric": {"model_ops_version": "v-1", "metric": "accuracy"}, "values": [[asked["end"], "0.5"]]}
        return 200, json.dumps({"status": "success", "data": {"resultType": "matrix", "result": [series]}}).encode()


def test_cloud_monitoring_draws_up_to_what_it_can_show() -> None:
    monitoring = Drawing(now=10_000.0)
    try:
        source = monitoring.source(delay_seconds=400.0, sampling_period_seconds=60.0)
        assert isinstance(source, CurveSource)
        found = source.curves(model="digits", versions=VERSIONS, seconds=3_600)
    finally:
        monitoring.stop()
    asked = {name: float(monitoring.asked[name]) for name in ("start", "end", "step")}
    assert asked == {"start": 6_000.0, "end": 9_600.0, "step": 60.0}
    assert [curve.metric for curve in found] == [
        "requests",
        "error rate",
        "latency p95",
        "wrong predictions",
        "accuracy",
    ]
    assert {curve.lines["v-1"] for curve in found} == {((9_600.0, 0.5),)}


def test_an_unreachable_prometheus_is_an_error_that_names_it() -> None:
    source = PrometheusSource("http://127.0.0.1:9", timeout_seconds=1)
    with pytest.raises(MetricsUnavailable, match=r"Prometheus at http://127\.0\.0\.1:9 cannot be reached"):
        source.curves(model="digits", versions=VERSIONS, seconds=60)


def _poll(asked: Callable[[], tuple[Curve, ...]], *, until: Callable[[tuple[Curve, ...]], bool]) -> tuple[Curve, ...]:
    deadline = time.monotonic() + 60
    while not until(found := asked()):
        assert time.monotonic() < deadline, f"not in time; last seen: {found}"
        time.sleep(0.1)
    return found
