"""Cloud Monitoring on loopback that keeps DELTA samples as Google says that it does, on a clock of its own.

It lets in with a bearer token only, and refuses what Google refuses: a query without one exact metric name, a parameter that is
none of the API's. What a real Prometheus answers is shown with the front that ``tests/vertex_fake`` has for it.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from google.auth.credentials import Credentials
from google.auth.exceptions import RefreshError
from google.cloud import aiplatform_v1 as v1

from airflow_model_ops.adapters.metrics.cloud_monitoring import CloudMonitoringSource
from airflow_model_ops.adapters.metrics.cloud_monitoring_queries import EndpointLabels
from airflow_model_ops.adapters.metrics.google_token import GoogleToken
from airflow_model_ops.core.checks import Arm, Arms, Check, Evidence
from tests.vertex_fake.metrics import Metrics

PROJECT, LOCATION, ENDPOINT = "acme-ml", "europe-west4", "digits"
CANARY, STABLE = "2000000002", "1000000001"
ARMS = Arms(
    canary=Arm(version_number="2", cluster=CANARY, version_name="v-2"),
    stable=Arm(version_number="1", cluster=STABLE, version_name="v-1"),
)
API = f"/v1/projects/{PROJECT}/location/global/prometheus/api/v1/"
_PARAMETERS = {"query": {"query", "time", "timeout"}, "query_range": {"query", "start", "end", "step", "timeout"}}


class Token(Credentials):
    """Google credentials that count their tokens and can run out, be revoked or stop working."""

    def __init__(self, *, lifetime_seconds: float = 3600) -> None:
        super().__init__()
        self.lifetime_seconds = lifetime_seconds
        self.fetched = 0
        self.broken = False

    def refresh(self, request: Any) -> None:
        if self.broken:
            raise RefreshError("invalid_grant: account not found")
        self.fetched += 1
        self.token = f"token-{self.fetched}"
        # google.auth compares with naive UTC, and counts a token as run out 3 min 45 s before it does.
        self.expiry = datetime.now(UTC).replace(tzinfo=None) + timedelta(seconds=self.lifetime_seconds)


@dataclass
class Sample:
    """What was sampled of one series for the period that ends at ``at``; it shows at ``shows_at``."""

    metric: str
    labels: Mapping[str, str]
    at: float
    value: float
    shows_at: float


@dataclass
class _Asked:
    metric: str
    matchers: dict[str, tuple[str, str]]
    by: tuple[str, ...]
    window: float


class DeltaMonitoring:
    """Answers the queries of the source alone, and keeps the headers of all requests."""

    def __init__(self, *, now: float) -> None:
        self.now = now
        self.samples: list[Sample] = []
        monitoring = self

        class Answer(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                status, body = monitoring.answer(self.path, dict(self.headers.items()))
                with suppress(BrokenPipeError):
                    self.send_response(status)
                    self.send_header("content-type", "application/json")
                    self.send_header("content-length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)

            def log_message(self, *args: object) -> None:
                """Keep the test's output clean."""

        self.accepted: str | None = None
        """The one token that is accepted; any if it is ``None``."""
        self.refuses_with: tuple[int, str] | None = None
        self.seen: list[Mapping[str, str]] = []
        self.queries: list[str] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def source(self, token: Token | None = None, **options: Any) -> CloudMonitoringSource:
        return source_at(self.url, token, **options)

    def answer(self, target: str, headers: Mapping[str, str]) -> tuple[int, bytes]:
        place = urlsplit(target)
        asked = {name: values[0] for name, values in parse_qs(place.query).items()}
        self.seen.append({name.lower(): value for name, value in headers.items()})
        token = self.seen[-1].get("authorization", "").removeprefix("Bearer ")
        if not token or (self.accepted is not None and token != self.accepted):
            return _error(401, "Request had invalid authentication credentials.", "UNAUTHENTICATED")
        if self.refuses_with is not None:
            return _error(*self.refuses_with)
        method = place.path.removeprefix(API)
        if not place.path.startswith(API) or method not in _PARAMETERS:
            return _error(404, "Not found", "NOT_FOUND")
        if unknown := set(asked) - _PARAMETERS[method]:
            return _error(400, f'Unknown name "{unknown.pop()}": Cannot bind query parameter.', "INVALID_ARGUMENT")
        if "__name__=~" in asked["query"]:
            return _error(400, "a query must match one metric name exactly", "INVALID_ARGUMENT")
        self.queries.append(asked["query"])
        return self.evaluate(method, asked)

    def add(self, deployed: str, *, at: float, shows_at: float | None = None, **responses: float) -> None:
        """Add what was answered in the period that ends at ``at``, by response class: ``c2xx=…``."""
        for code, value in responses.items():
            labels = {**_labels(deployed), "response_code": code.removeprefix("c")}
            metric = "aiplatform_googleapis_com:prediction_online_response_count"
            self.samples.append(Sample(metric, labels, at, value, at if shows_at is None else shows_at))

    def add_latencies(self, deployed: str, *, at: float, buckets: Mapping[str, float]) -> None:
        for le, value in buckets.items():
            labels = {**_labels(deployed), "le": le, "latency_type": "total"}
            metric = "aiplatform_googleapis_com:prediction_online_prediction_latencies_bucket"
            self.samples.append(Sample(metric, labels, at, value, at))

    def evaluate(self, method: str, asked: Mapping[str, str]) -> tuple[int, bytes]:
        if asked["query"] == "time()":
            return _success("scalar", [self.now, str(self.now)])
        wanted = _read(asked["query"])
        assert method == "query_range"
        assert wanted.window == float(asked["step"])
        start, end, step = (float(asked[name]) for name in ("start", "end", "step"))
        series: dict[tuple[str, ...], dict[float, float]] = {}
        for each in self.samples:
            if each.metric == wanted.metric and each.shows_at <= self.now and _matches(wanted, each.labels):
                index = round((each.at - start) / step)
                if start + index * step == each.at and start <= each.at <= end:
                    values = series.setdefault(tuple(each.labels[name] for name in wanted.by), {})
                    values[each.at] = values.get(each.at, 0.0) + each.value
        matrix = [
            {
                "metric": dict(zip(wanted.by, names, strict=True)),
                "values": [[at, str(value)] for at, value in sorted(values.items())],
            }
            for names, values in series.items()
        ]
        return _success("matrix", matrix)


def _labels(deployed: str) -> dict[str, str]:
    return {"endpoint_id": ENDPOINT, "location": LOCATION, "deployed_model_id": deployed}


def _read(query: str) -> _Asked:
    found = re.fullmatch(r"sum by \(([\w, ]+)\) \(increase\(([\w:]+)\{(.*)\}\[(\d+)s\]\)\)", query)
    assert found is not None, query
    matchers = {name: (op, value) for name, op, value in re.findall(r'(\w+)(=~|=)"([^"]*)"', found[3])}
    return _Asked(found[2], matchers, tuple(found[1].split(", ")), float(found[4]))


def _matches(wanted: _Asked, labels: Mapping[str, str]) -> bool:
    return all(
        re.fullmatch(value, labels.get(name, "")) if op == "=~" else labels.get(name) == value
        for name, (op, value) in wanted.matchers.items()
    )


def _success(kind: str, result: Any) -> tuple[int, bytes]:
    return 200, json.dumps({"status": "success", "data": {"resultType": kind, "result": result}}).encode()


def _error(status: int, message: str, name: str = "") -> tuple[int, bytes]:
    return status, json.dumps({"error": {"code": status, "message": message, "status": name}}).encode()


def source_at(url: str, token: Token | None = None, **options: Any) -> CloudMonitoringSource:
    """Return the source of the endpoint, of what answers at a URL."""
    shared = token or Token()
    return CloudMonitoringSource(
        project=PROJECT,
        labels=EndpointLabels(location=LOCATION, endpoint=ENDPOINT),
        authorization=GoogleToken(lambda: shared, url=url),
        endpoint=url,
        **options,
    )


class Traffic:
    """Responses of an endpoint's deployed models, told to the Vertex AI on loopback that shows them."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        for deployed in (CANARY, STABLE):
            self.answered(deployed)

    def answered(
        self, deployed: str, *, good: int = 0, failed: int = 0, ms: float = 20, endpoint: str = ENDPOINT
    ) -> None:
        name = f"projects/{PROJECT}/locations/{LOCATION}/endpoints/{endpoint}"
        series = self._metrics.series(
            v1.Endpoint(name=name), v1.DeployedModel(id=deployed), model_display_name="digits"
        )
        for status in (503,) * failed + (200,) * good:
            self._metrics.count(series, status=status, instances=1, model_ms=1, total_ms=ms)


@dataclass(frozen=True)
class Release:
    """Two deployed models of one endpoint, asked about as a release's step does."""

    name: str = ENDPOINT
    arms: Arms = field(default=ARMS)

    def gather(
        self, source: CloudMonitoringSource, asked: Check, *, begin: float | None = None, after: str | None = None
    ) -> Evidence:
        since = time.time() - 60 if begin is None else begin
        return source.gather(asked, model=self.name, arms=self.arms, begin=since, after=after)
