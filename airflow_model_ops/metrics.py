"""What serving code reports about the versions it serves: performance gauges and counts of predictions by outcome.

Import it where predictions are made or labels arrive; it needs ``prometheus_client`` and nothing of Airflow::

    from airflow_model_ops.metrics import count_prediction, log_metrics

    log_metrics("digits", "20230601120000", accuracy=0.981, latency_ms=12.5)
    count_prediction("digits", "20230601120000", "wrong")

The version is the one that *answered*: the router names it in the response header ``x-model-version``. Keep it beside the
prediction, so that a label that arrives hours later is counted for that version and not for the one that serves by then.
Use the serving number (an ``int`` or a string of digits) or the version's name, and the same one everywhere.

Exposing the numbers stays with the application (``prometheus_client.start_http_server`` or its WSGI and ASGI apps). Under a
server with several processes (gunicorn, uwsgi) set ``PROMETHEUS_MULTIPROC_DIR`` before Python starts and expose a
``MultiProcessCollector``, as prometheus_client's documentation says: the counts are then summed over the processes, and a
gauge shows the value that any of them set last.
"""

from __future__ import annotations

import math
import re
import threading
import time
from dataclasses import dataclass
from enum import StrEnum
from numbers import Real
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from prometheus_client import REGISTRY, Counter, Gauge

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

PERFORMANCE = "model_version_performance"
PERFORMANCE_TIME = "model_version_performance_timestamp_seconds"
PREDICTIONS = "model_predictions_total"

_METRIC_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_LABEL_LIMIT = 128


class Outcome(StrEnum):
    """How a prediction turned out, once that is known."""

    RIGHT = "right"
    """The label agrees with the prediction."""
    WRONG = "wrong"
    """The label contradicts it."""
    ERROR = "error"
    """There was no prediction to compare. It counts neither as right nor as wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Families:
    performance: Gauge
    performance_time: Gauge
    predictions: Counter


_families_by_registry: WeakKeyDictionary[CollectorRegistry, _Families] = WeakKeyDictionary()
_lock = threading.Lock()


def log_metrics(model: str, version: str | int, *, registry: CollectorRegistry | None = None, **metrics: float) -> None:
    """Set the newest performance figures of a version.

    Each figure becomes ``model_version_performance{model,version,metric}``, and the time it was set becomes
    ``model_version_performance_timestamp_seconds{model,version,metric}``: a gauge keeps being scraped long after anybody
    last set it, so a check on one should ask for its time too. Either all figures are set or none.

    :param metrics: Figures by name, e.g. ``accuracy=0.98, latency_ms=12.5``; put the unit into the name.
    :param registry: Where to keep them; ``None`` is prometheus_client's own registry.
    :raises ValueError: if there is no figure, a name is not usable or a figure is not finite.
    :raises TypeError: if a figure is not a number.
    """
    labels = _labels(model=model, version=version)
    figures = {_metric_name(name): _finite(name, value) for name, value in metrics.items()}
    if not figures:
        raise ValueError(f"log_metrics of {model!r} got no figure; name at least one, such as accuracy=0.98")
    families, now = _families(registry), time.time()
    for name, figure in figures.items():
        families.performance.labels(**labels, metric=name).set(figure)
        families.performance_time.labels(**labels, metric=name).set(now)


def count_prediction(
    model: str, version: str | int, outcome: str, *, count: int = 1, registry: CollectorRegistry | None = None
) -> None:
    """Count predictions of the version that answered: ``model_predictions_total{model,version,outcome}``.

    :param outcome: One of :class:`Outcome`.
    :param count: How many, for labels that arrive in batches; at least 1.
    :param registry: Where to keep the counts; ``None`` is prometheus_client's own registry.
    :raises ValueError: if the outcome is unknown or the count is no whole number of at least 1.
    """
    labels = _labels(model=model, version=version)
    if outcome not in set(Outcome):
        raise ValueError(f"outcome {outcome!r} is unknown; choose one of {', '.join(Outcome)}")
    if not isinstance(count, int) or isinstance(count, bool) or count < 1:
        raise ValueError(f"count is {count!r}; write a whole number of at least 1")
    predictions = _families(registry).predictions
    for each in Outcome:  # every outcome starts at 0, so that the first wrong prediction shows as an increase
        predictions.labels(**labels, outcome=each.value)
    predictions.labels(**labels, outcome=str(outcome)).inc(count)


def _families(registry: CollectorRegistry | None) -> _Families:
    """Give the metric families of a registry, made at first use: importing this module registers nothing."""
    chosen = REGISTRY if registry is None else registry
    with _lock:
        families = _families_by_registry.get(chosen)
        if families is None:
            families = _families_by_registry[chosen] = _register(chosen)
        return families


def _register(registry: CollectorRegistry) -> _Families:
    figure_labels = ("model", "version", "metric")
    return _Families(
        performance=Gauge(
            PERFORMANCE,
            "Newest performance figure of a model version",
            figure_labels,
            registry=registry,
            multiprocess_mode="mostrecent",
        ),
        performance_time=Gauge(
            PERFORMANCE_TIME,
            "When the performance figure was set, seconds since 1970",
            figure_labels,
            registry=registry,
            multiprocess_mode="mostrecent",
        ),
        predictions=Counter(PREDICTIONS, "Predictions by outcome", ("model", "version", "outcome"), registry=registry),
    )


def _labels(*, model: str, version: str | int) -> dict[str, str]:
    return {"model": _label("model", model), "version": _label("version", version)}


def _label(field: str, value: str | int) -> str:
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(text, str) or not text.strip() or len(text) > _LABEL_LIMIT:
        raise ValueError(f"{field} is {value!r}; write a name of 1 to {_LABEL_LIMIT} characters")
    return text


def _metric_name(name: str) -> str:
    if not _METRIC_NAME.fullmatch(name):
        raise ValueError(
            f"metric name {name!r} is not usable; write at most 64 letters, digits and '_', such as latency_ms"
        )
    return name


def _finite(name: str, value: float) -> float:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"metric {name!r} is {value!r} of type {type(value).__name__}; give a number")
    if not math.isfinite(value):
        raise ValueError(
            f"metric {name!r} is {value!r}; give a finite number, or leave the metric out when it is unknown"
        )
    return float(value)
