"""What Vertex AI shows of online predictions to Cloud Monitoring, in the names that PromQL has for it.

Metrics (cloud.google.com/monitoring/api/metrics_gcp_a_b, section aiplatform; resource `aiplatform.googleapis.com/Endpoint`):

    aiplatform.googleapis.com/prediction/online/response_count        DELTA INT64         + response_code: 2xx, 5xx, ..: the class
    aiplatform.googleapis.com/prediction/online/error_count           DELTA INT64
    aiplatform.googleapis.com/prediction/online/prediction_count      DELTA INT64         counts instances, not requests
    aiplatform.googleapis.com/prediction/online/prediction_latencies  DELTA DISTRIBUTION ms + latency_type: total, overhead, model

each with the metric labels deployed_model_id, model_display_name, endpoint_display_name, spot ("True" or "False") and the
resource labels resource_container (the project), location, endpoint_id. In PromQL (cloud.google.com/monitoring/promql),
the first "/" becomes ":" and every other special character "_": `aiplatform_googleapis_com:prediction_online_response_count`; a
distribution has `_bucket` (label `le`), `_sum` and `_count`; `monitored_resource="aiplatform.googleapis.com/Endpoint"` chooses the
resource's type. New points show after one to six minutes in the real service, here at the next scrape.

Buckets: the real ones are unknown to us; here powers of two of milliseconds. A deployment's series begin
at zero, at the first scrape after it was deployed, so that no increase is lost to a first sample.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from google.cloud import aiplatform_v1 as v1

from tests.vertex_fake import names

PREFIX = "aiplatform_googleapis_com:prediction_online_"
RESOURCE = "aiplatform.googleapis.com/Endpoint"
EDGES_MS = tuple(float(2**power) for power in range(17))
_LATENCY_TYPES = ("total", "model", "overhead")
_CLASSES_AT_FIRST = ("2xx", "5xx")
Labels = tuple[tuple[str, str], ...]


@dataclass
class Distribution:
    """Latencies in milliseconds."""

    buckets: list[int] = field(default_factory=lambda: [0] * len(EDGES_MS))
    count: int = 0
    sum: float = 0.0

    def observe(self, value: float) -> None:
        self.count += 1
        self.sum += value
        for index, edge in enumerate(EDGES_MS):
            if value <= edge:
                self.buckets[index] += 1


@dataclass
class Series:
    """What is counted of one deployment."""

    responses: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_CLASSES_AT_FIRST, 0))
    errors: int = 0
    predictions: int = 0
    latencies: dict[str, Distribution] = field(
        default_factory=lambda: {each: Distribution() for each in _LATENCY_TYPES}
    )


class Metrics:
    """Counts by deployment, kept when it is undeployed, as the real ones are."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._all: dict[Labels, Series] = {}

    def series(self, endpoint: v1.Endpoint, deployed: v1.DeployedModel, *, model_display_name: str) -> Series:
        """Return a deployment's series, beginning at zero."""
        where = names.resource(endpoint.name, collection="endpoints")
        labels = {
            "monitored_resource": RESOURCE,
            "resource_container": where.project,
            "location": where.location,
            "endpoint_id": where.id,
            "endpoint_display_name": endpoint.display_name,
            "deployed_model_id": deployed.id,
            "model_display_name": model_display_name,
            "spot": "False",
        }
        with self._lock:
            return self._all.setdefault(tuple(labels.items()), Series())

    def count(self, series: Series, *, status: int, instances: int, model_ms: float, total_ms: float) -> None:
        """Count one response.

        :param status: Its HTTP status.
        """
        with self._lock:
            kind = f"{status // 100}xx"
            series.responses[kind] = series.responses.get(kind, 0) + 1
            if status >= 400:
                series.errors += 1
            else:
                series.predictions += instances
            for name, value in (("total", total_ms), ("model", model_ms), ("overhead", total_ms - model_ms)):
                series.latencies[name].observe(value)

    def counts(self) -> dict[str, dict[str, int]]:
        """Return the responses by class, by deployment's id."""
        with self._lock:
            return {dict(labels)["deployed_model_id"]: dict(series.responses) for labels, series in self._all.items()}

    def exposition(self) -> str:
        """Return everything in Prometheus' text format."""
        with self._lock:
            lines = [
                *_family("response_count", "counter", self._responses()),
                *_family("error_count", "counter", ((labels, "", each.errors) for labels, each in self._dicts())),
                *_family(
                    "prediction_count", "counter", ((labels, "", each.predictions) for labels, each in self._dicts())
                ),
                *_family("prediction_latencies", "histogram", self._latencies()),
            ]
        return "\n".join(lines) + "\n"

    def _dicts(self) -> Iterator[tuple[dict[str, str], Series]]:
        return ((dict(labels), series) for labels, series in self._all.items())

    def _responses(self) -> Iterator[tuple[dict[str, str], str, float]]:
        for labels, series in self._dicts():
            for kind, count in series.responses.items():
                yield {**labels, "response_code": kind}, "", count

    def _latencies(self) -> Iterator[tuple[dict[str, str], str, float]]:
        for labels, series in self._dicts():
            for kind, latencies in series.latencies.items():
                typed = {**labels, "latency_type": kind}
                for edge, count in zip(EDGES_MS, latencies.buckets, strict=True):
                    yield {**typed, "le": f"{edge:g}"}, "_bucket", count
                yield {**typed, "le": "+Inf"}, "_bucket", latencies.count
                yield typed, "_sum", latencies.sum
                yield typed, "_count", latencies.count


def _family(name: str, kind: str, samples: Iterator[tuple[Mapping[str, str], str, float]]) -> Iterator[str]:
    yield f"# TYPE {PREFIX}{name} {kind}"
    for labels, suffix, value in samples:
        told = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
        yield f"{PREFIX}{name}{suffix}{{{told}}} {value!r}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
