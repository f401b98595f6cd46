"""What a router and an application would show to Prometheus, on a port of its own, and how a release would ask for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from prometheus_client import CollectorRegistry, Gauge, Histogram, generate_latest

from airflow_model_ops.adapters.metrics.prometheus import PrometheusSource
from airflow_model_ops.core.checks import Arm, Arms, Check, Evidence, Measurement
from tests.waits import until

EDGES_MS = (50, 100, 250, 500)
QUERY_SECONDS = 1.0
"""A query's time is taken for a difference of clocks: what was scraped within it after the begin may not be counted."""


class Serving:
    """A process that counts as Envoy does; it can restart, refuse a scrape, and stop."""

    def __init__(self) -> None:
        serving = self

        class Answer(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = generate_latest(serving.registry)
                self.send_response(503 if serving.refuses else 200)
                self.send_header("content-type", "text/plain; version=0.0.4")
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: object) -> None:
                """Keep the test's output clean."""

        self.refuses = False
        self.restart()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()
        self.address = f"127.0.0.1:{self._server.server_port}"

    def restart(self, *clusters: str) -> None:
        """Count from zero; the clusters are there from the first moment."""
        registry = CollectorRegistry()
        cluster = ("envoy_cluster_name",)
        self._completed = Gauge("envoy_cluster_upstream_rq_completed", "", cluster, registry=registry)
        self._retried = Gauge("envoy_cluster_upstream_rq_retry", "", cluster, registry=registry)
        by_class = (*cluster, "envoy_response_code_class")
        self._by_class = Gauge("envoy_cluster_upstream_rq_xx", "", by_class, registry=registry)
        name = "envoy_cluster_upstream_rq_time"
        self._time = Histogram(name, "", cluster, buckets=EDGES_MS, registry=registry)
        self.registry = registry
        for each in clusters:
            self.add_cluster(each)

    def add_cluster(self, cluster: str) -> None:
        """Do as Envoy does: completed and retried requests start at zero, a class or a histogram at its first request."""
        self._completed.labels(cluster).set(0)
        self._retried.labels(cluster).set(0)

    def remove_cluster(self, cluster: str) -> None:
        for family in (self._completed, self._retried, self._time):
            family.remove(cluster)
        self._by_class.remove_by_labels({"envoy_cluster_name": cluster})

    def answer(self, cluster: str, *, good: int = 0, failed: int = 0, retried: int = 0, ms: float = 20) -> None:
        # Bad ones first: a scrape in between never sees more of them than it will.
        for kind, count in (("5", failed), ("2", good)):
            if count:
                self._by_class.labels(cluster, kind).inc(count)
                self._completed.labels(cluster).inc(count)
        if retried:
            self._retried.labels(cluster).inc(retried)
        for _ in range(good):
            self._time.labels(cluster).observe(ms)

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@dataclass(frozen=True)
class Model:
    """A model with a stable version 1, over two clusters, and a canary 2."""

    name: str

    @property
    def stable(self) -> Arm:
        return Arm(version_number="1", cluster=f"{self.name}/1")

    @property
    def control(self) -> Arm:
        return Arm(version_number="1", cluster=f"{self.name}/1~control")

    @property
    def canary(self) -> Arm:
        return Arm(version_number="2", cluster=f"{self.name}/2", version_name="v-2")

    @property
    def arms(self) -> Arms:
        return Arms(canary=self.canary, stable=self.stable, control=self.control)

    @property
    def clusters(self) -> tuple[str, str, str]:
        return self.canary.cluster, self.stable.cluster, self.control.cluster

    def gather(
        self, source: PrometheusSource, asked: Check, *, begin: float | None = None, after: str | None = None
    ) -> Evidence:
        since = time.time() - 60 if begin is None else begin
        return source.gather(asked, model=self.name, arms=self.arms, begin=since, after=after)


@dataclass
class Follower:
    """Asks again and again for what is new, as the check of a step does, and sums it up."""

    source: PrometheusSource
    model: Model
    check: Check
    begin: float = field(default_factory=time.time)
    clock_is_ahead: float = 0.0
    seen: list[Evidence] = field(default_factory=list)

    def ask(self) -> Evidence:
        after = self.seen[-1].at if self.seen else None
        self.seen.append(self.model.gather(self.source, self.check, begin=self.begin, after=after))
        return self.seen[-1]

    def sums(self) -> dict[str, tuple[float, float]]:
        """Give (bad, all) by arm."""
        found: dict[str, tuple[float, float]] = {}
        for arm in ("canary", "stable", "control"):
            measured = [each for evidence in self.seen if (each := getattr(evidence, arm)) is not None]
            found[arm] = (sum(each.bad or 0 for each in measured), sum(each.samples or 0 for each in measured))
        return found

    def wait_until_it_counts(self) -> None:
        """Wait until each target was scraped after the begin: from now on every event is in a pair that is counted."""
        begun = self.begin - self.clock_is_ahead + QUERY_SECONDS
        wait_for(
            self.ask,
            until=lambda found: (
                found.canary.samples is not None
                and found.instant.timestamp() > begun
                and self._all_scraped_since(begun)
            ),
        )

    def wait_until_all_see_it(self) -> None:
        """Wait until each target was scraped once more, so that what is so now is seen although it may change back."""
        now = time.time()
        until(lambda: self._all_scraped_since(now), what="each target is scraped", within=60)

    def _all_scraped_since(self, begun: float) -> bool:
        """Whether each target was: an evidence counts without one whose scrapes fail, as on a busy machine they do."""
        if not isinstance(self.source, PrometheusSource):
            return True
        fresh = f"(timestamp(up) > {begun:.3f}) and (up == 1)"
        with closing(self.source.conversation()) as conversation:
            return conversation.number(f"count(up) - count({fresh})") == 0

    def wait_for_sums(self, **expected: tuple[float, float]) -> None:
        """Wait until as much is counted as happened, and then for three more scrapes that must not add to it."""

        def all_counted(_: Evidence) -> bool:
            sums = self.sums()
            assert all(sums[arm][1] <= expected[arm][1] for arm in expected), f"more than happened: {sums}"
            return all(sums[arm] == expected[arm] for arm in expected)

        wait_for(self.ask, until=all_counted)
        so_far = len(self.seen)
        wait_for(self.ask, until=lambda _: len({each.at for each in self.seen[so_far:]}) > 3)
        assert {arm: self.sums()[arm] for arm in expected} == expected


def wait_for(asked: Callable[[], Evidence], *, until: Callable[[Evidence], bool], seconds: float = 60) -> Evidence:
    deadline = time.monotonic() + seconds
    while not until(evidence := asked()):
        assert time.monotonic() < deadline, f"not in time; last seen: {evidence}"
        time.sleep(0.05)
    return evidence


def check(**fields: object) -> Check:
    return Check.from_json({"name": "c", "max_age_seconds": 5, "min_samples": 20, **fields})


def counts(measured: Measurement | None) -> tuple[float | None, float | None]:
    """Give (bad, all) of one arm."""
    assert measured is not None
    return measured.bad, measured.samples
