"""What serving code reports, and how little it has to import for that."""

from __future__ import annotations

import math
import os
import subprocess
import sys

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from airflow_model_ops.metrics import Outcome, count_prediction, log_metrics


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


def shown(registry: CollectorRegistry) -> str:
    return generate_latest(registry).decode()


def test_figures_become_gauges_with_the_time_they_were_set(registry: CollectorRegistry) -> None:
    log_metrics("digits", "20230601120000", registry=registry, accuracy=0.981, latency_ms=12)
    log_metrics("digits", 20230601120000, registry=registry, accuracy=0.979)
    labels = {"model": "digits", "version": "20230601120000"}
    assert registry.get_sample_value("model_version_performance", {**labels, "metric": "accuracy"}) == 0.979
    assert registry.get_sample_value("model_version_performance", {**labels, "metric": "latency_ms"}) == 12
    when = registry.get_sample_value("model_version_performance_timestamp_seconds", {**labels, "metric": "accuracy"})
    assert when is not None
    assert when > 1.6e9


def test_predictions_are_counted_for_the_version_that_answered(registry: CollectorRegistry) -> None:
    count_prediction("digits", "1", "right", registry=registry)
    count_prediction("digits", "1", "wrong", count=3, registry=registry)
    count_prediction("digits", "2", Outcome.RIGHT, registry=registry)
    assert 'model_predictions_total{model="digits",outcome="wrong",version="1"} 3.0' in shown(registry)
    assert 'model_predictions_total{model="digits",outcome="right",version="2"} 1.0' in shown(registry)


def test_every_outcome_starts_at_zero_so_that_the_first_wrong_one_is_an_increase(registry: CollectorRegistry) -> None:
    count_prediction("digits", "1", "right", registry=registry)
    assert 'outcome="wrong",version="1"} 0.0' in shown(registry)


def test_all_figures_are_set_or_none(registry: CollectorRegistry) -> None:
    with pytest.raises(ValueError, match="'drift' is nan; give a finite number"):
        log_metrics("digits", "1", registry=registry, accuracy=0.9, drift=math.nan)
    assert "accuracy" not in shown(registry)


@pytest.mark.parametrize(
    ("model", "version", "figures", "words"),
    [
        ("digits", "1", {}, "got no figure"),
        ("digits", "1", {"a b": 1.0}, "metric name 'a b' is not usable"),
        ("digits", "1", {"accuracy": math.inf}, "give a finite number"),
        ("", "1", {"accuracy": 1.0}, "model is ''"),
        ("digits", " ", {"accuracy": 1.0}, "version is ' '"),
        ("digits", True, {"accuracy": 1.0}, "version is True"),
    ],
)
def test_unusable_names_and_figures_are_refused(
    model: str, version: str, figures: dict[str, float], words: str, registry: CollectorRegistry
) -> None:
    with pytest.raises(ValueError, match=words):
        log_metrics(model, version, registry=registry, **figures)


@pytest.mark.parametrize("value", [True, "0.9", None])
def test_what_is_no_number_is_refused(value: object, registry: CollectorRegistry) -> None:
    with pytest.raises(TypeError, match="give a number"):
        log_metrics("digits", "1", registry=registry, accuracy=value)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("outcome", "count", "words"), [("maybe", 1, "choose one of right, wrong"), ("right", 0, "count is 0")]
)
def test_unknown_outcomes_and_counts_are_refused(
    outcome: str, count: int, words: str, registry: CollectorRegistry
) -> None:
    with pytest.raises(ValueError, match=words):
        count_prediction("digits", "1", outcome, count=count, registry=registry)


def test_several_processes_are_one_to_a_scrape(tmp_path: object) -> None:
    """The multi-process mode of prometheus_client: counts add up, and a gauge shows what was set last."""
    report = (
        "import sys; from airflow_model_ops.metrics import *; "
        "log_metrics('digits', '1', accuracy=float(sys.argv[1])); count_prediction('digits', '1', 'right')"
    )
    scrape = (
        "from prometheus_client import CollectorRegistry, generate_latest; from prometheus_client.multiprocess import *; "
        "r = CollectorRegistry(); MultiProcessCollector(r); print(generate_latest(r).decode())"
    )
    environment = os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    for accuracy in ("0.5", "0.9"):
        subprocess.run([sys.executable, "-c", report, accuracy], env=environment, check=True, timeout=60)
    out = subprocess.run(
        [sys.executable, "-c", scrape], env=environment, check=True, timeout=60, capture_output=True, text=True
    ).stdout
    assert 'model_version_performance{metric="accuracy",model="digits",version="1"} 0.9' in out
    assert 'model_predictions_total{model="digits",outcome="right",version="1"} 2.0' in out


def test_importing_it_brings_neither_airflow_nor_tensorflow_nor_the_query_client() -> None:
    code = (
        "import sys, airflow_model_ops.metrics; heavy = {'airflow', 'tensorflow', 'prometheus_api_client', 'requests'}; "
        "print(sorted(heavy & {name.partition('.')[0] for name in sys.modules}))"
    )
    out = subprocess.run([sys.executable, "-c", code], check=True, timeout=60, capture_output=True, text=True).stdout
    assert out.strip() == "[]"


def test_importing_the_prometheus_source_does_not_load_its_client() -> None:
    code = "import sys, airflow_model_ops.adapters.metrics.prometheus; print('prometheus_api_client' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], check=True, timeout=60, capture_output=True, text=True).stdout
    assert out.strip() == "False"
