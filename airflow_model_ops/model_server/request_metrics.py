"""TF Serving's own counters and histograms, as its Prometheus page shows them.

Source: TF Serving, ``servables/tensorflow/util.cc`` and ``util/prometheus_exporter.cc``.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import Counter

from airflow_model_ops.model_server.status import Code

#: Upper bounds of the latency buckets, microseconds: 10 * 1.8^i. The last bucket has none.
BUCKETS_US: tuple[float, ...] = tuple(10 * 1.8**i for i in range(33))

_COUNT = ":tensorflow:serving:request_count"
_LATENCY = ":tensorflow:serving:request_latency"


def label_text(**labels: str) -> str:
    """Write a label set in Prometheus' text format."""
    return ",".join(f'{name}="{_escape(value)}"' for name, value in labels.items())


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


class RequestMetrics:
    """Counts requests and their latencies; may be called from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[tuple[str, str]] = Counter()
        self._buckets: dict[tuple[str, str, str], list[int]] = {}
        self._sums: Counter[tuple[str, str, str]] = Counter()

    def count(self, model: str, *, code: Code) -> None:
        """Count one answered request."""
        with self._lock:
            self._counts[model, code.name] += 1

    def observe(self, model: str, *, api: str, entrypoint: str, seconds: float) -> None:
        """Record the latency of one request that was answered with OK.

        :param api: ``Predict`` over gRPC, ``predict`` over REST.
        :param entrypoint: ``GRPC`` or ``REST``.
        """
        micros = int(seconds * 1e6)
        key = (model, api, entrypoint)
        with self._lock:
            buckets = self._buckets.setdefault(key, [0] * (len(BUCKETS_US) + 1))
            buckets[bisect_left(BUCKETS_US, micros)] += 1
            self._sums[key] += micros

    def page(self) -> list[str]:
        """Return the lines of the Prometheus page; a metric that never counted anything is absent."""
        with self._lock:
            return [*self._count_lines(), *self._latency_lines()]

    def _count_lines(self) -> list[str]:
        if not self._counts:
            return []
        lines = [f"# TYPE {_COUNT} counter"]
        for (model, status), count in sorted(self._counts.items()):
            lines.append(f"{_COUNT}{{{label_text(model_name=model, status=status)}}} {count}")
        return lines

    def _latency_lines(self) -> list[str]:
        if not self._buckets:
            return []
        lines = [f"# TYPE {_LATENCY} histogram"]
        for key, buckets in sorted(self._buckets.items()):
            labels = label_text(model_name=key[0], API=key[1], entrypoint=key[2])
            total = 0
            for bound, count in zip([*(f"{bound:g}" for bound in BUCKETS_US), "+Inf"], buckets, strict=True):
                total += count
                lines.append(f'{_LATENCY}_bucket{{{labels},le="{bound}"}} {total}')
            lines.append(f"{_LATENCY}_sum{{{labels}}} {self._sums[key]}")
            lines.append(f"{_LATENCY}_count{{{labels}}} {total}")
        return lines
