"""Versions side by side: which numbers, from which backend, and how they did over time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from airflow_model_ops.adapters.lineage.comparison import Comparison, ComparisonRow, Measured, MetricKind
from airflow_model_ops.adapters.lineage.rows import VersionRow
from airflow_model_ops.core.checks import Arms
from airflow_model_ops.core.curves import Curve
from airflow_model_ops.core.errors import MetricsUnavailable, RepositoryUnavailable
from airflow_model_ops.core.ports import Manifest
from airflow_model_ops.core.versioning import VersionNaming
from airflow_model_ops.hooks.wiring import standing_in
from airflow_model_ops.plugin.backends import openings
from airflow_model_ops.plugin.datamodels.versions import ComparedMetric
from airflow_model_ops.plugin.versions.version_comparison import metrics_of, plots_of
from tests.control.counted_traffic import CountedTraffic
from tests.plugin.conftest import ledger_connection
from tests.plugin.page_story import PageStory

V1, V2, V3 = (f"v-2023060{day}-120000" for day in (1, 2, 3))
NAMING = VersionNaming()


def manifest(name: str, **more: Any) -> Manifest:
    fields: dict[str, Any] = {"digest": "d", "files": {}, "size": 1, "created": "2023-06-01T12:00:00+00:00", **more}
    return Manifest(version=NAMING.parse(name), **fields)


def by_name(metrics: list[ComparedMetric]) -> dict[tuple[str, str], ComparedMetric]:
    return {(each.group, each.metric): each for each in metrics}


class TestNumbers:
    def test_a_metric_that_one_version_lacks_is_not_measured_there(self) -> None:
        manifests = {
            V1: manifest(V1, metrics={"accuracy": 0.9, "loss": float("nan")}, hyperparameters={"rate": 0.1}),
            V2: manifest(V2, metrics={"accuracy": 0.9}, hyperparameters={"rate": 0.2, "layers": [1, 2]}, size=2),
        }
        found = by_name(metrics_of([V1, V2], manifests=manifests, recorded=None))
        accuracy = found["offline", "accuracy"]
        assert (accuracy.values, accuracy.events, accuracy.differs) == ({V1: 0.9, V2: 0.9}, {V1: None, V2: None}, False)
        assert ("offline", "loss") not in found
        assert found["about", "hyperparameters.layers"].values == {V1: None, V2: "[1, 2]"}
        assert found["about", "hyperparameters.rate"].differs
        assert {metric: found["about", metric].differs for metric in ("size", "digest")} == {
            "size": True,
            "digest": False,
        }

    def test_what_real_traffic_showed_comes_with_how_many_events_are_behind_it(self) -> None:
        rows = (
            ComparisonRow(kind=MetricKind.OFFLINE, metric="accuracy", values={V1: Measured(value=0.5)}),
            ComparisonRow(kind=MetricKind.VALIDATION, metric="accuracy", values={V1: Measured(value=0.95)}),
            ComparisonRow(
                kind=MetricKind.CANARY, metric="errors", values={V2: Measured(value=0.005, n=200, bad=1, beside=V1)}
            ),
            ComparisonRow(kind=MetricKind.STABLE, metric="errors", values={V1: Measured(value=0.01, n=1000, bad=10)}),
        )
        versions = (VersionRow(version=V1, serving_number="1"), VersionRow(version=V2, serving_number="2"))
        recorded = Comparison(model="digits", versions=versions, rows=rows, recorded=9)
        manifests = {V1: manifest(V1, metrics={"accuracy": 0.9}), V2: manifest(V2)}
        found = by_name(metrics_of([V1, V2], manifests=manifests, recorded=recorded))
        assert found["offline", "accuracy"].values == {V1: 0.9, V2: None}  # the manifest's own, not a copy of it
        assert found["validation", "accuracy"].values == {V1: 0.95, V2: None}
        assert (found["as canary", "errors"].values[V2], found["as canary", "errors"].events[V2]) == (0.005, 200)
        assert found["as stable", "errors"].events == {V1: 1000, V2: None}

    def test_lines_are_in_the_order_of_the_question_and_shares_in_percent(self) -> None:
        lines = {V1: ((0.0, 0.1),), V2: ((60.0, 0.25),)}
        (plot,) = plots_of(
            [Curve(metric="error rate", unit="share", step_seconds=60, lines=lines)], versions=[V3, V2, V1]
        )
        assert [line.version for line in plot.lines] == [V2, V1]
        assert plot.lines[0].points[0].at == datetime(1970, 1, 1, 0, 1, tzinfo=UTC)
        assert (plot.lines[0].points[0].value, plot.unit) == (25, "%")


def compare(client: TestClient, *versions: str, model: str = "spam", **more: Any) -> Any:
    return client.get(f"models/{model}/comparison", params={"version": list(versions), **more})


class TestTheQuestion:
    def test_nobody_and_strangers_compare_nothing(self, as_nobody: TestClient, as_stranger: TestClient) -> None:
        assert compare(as_nobody, V1, V2).status_code == 401
        assert compare(as_stranger, V1, V2).status_code == 404

    @pytest.mark.parametrize("missing", ["v-20990101-000000", "v-99999999-000000", "../../etc/passwd", "1"])
    def test_a_version_that_is_not_there_is_named(self, as_viewer: TestClient, missing: str) -> None:
        answer = compare(as_viewer, V1, missing)
        assert answer.status_code == 404
        assert repr(missing) in answer.json()["detail"]

    @pytest.mark.parametrize("versions", [(), (V1,), (V1, V1), (V1, V2, V3, V1), (V1, V2, V3, "a", "b"), (V1, "")])
    def test_two_to_four_different_ones_are_compared(self, as_viewer: TestClient, versions: tuple[str, ...]) -> None:
        assert compare(as_viewer, *versions).status_code == 422

    @pytest.mark.parametrize("hours", [0, -1, 2161, "nan", "inf", "x"])
    def test_a_time_that_makes_no_sense_is_refused(self, as_viewer: TestClient, hours: float | str) -> None:
        assert compare(as_viewer, V1, V2, hours=hours).status_code == 422


class Drawn(CountedTraffic):
    """A metric source that draws, or is away."""

    asked: tuple[str, Mapping[str, Arms], float] | None = None
    away = False

    def curves(self, *, model: str, versions: Mapping[str, Arms], seconds: float) -> tuple[Curve, ...]:
        if self.away:
            raise MetricsUnavailable("Prometheus at http://p:9090 cannot be reached")
        self.asked = (model, versions, seconds)
        return (Curve(metric="requests", unit="1/s", step_seconds=60, lines={V2: ((0.0, 1.5),)}),)


@pytest.fixture
def drawn(story: PageStory) -> Iterator[Drawn]:
    source = Drawn(story.clock, split=dict)
    openings.forget()
    with standing_in(story.fleet, metrics=source):
        yield source
    openings.forget()


class TestTheAnswer:
    def test_without_a_ledger_the_manifests_are_compared(self, as_viewer: TestClient) -> None:
        answer = compare(as_viewer, V2, V1).json()
        assert answer["versions"] == [V2, V1]
        assert answer["ledger"]["trouble"]["backend"] == "ledger"
        assert {each["group"] for each in answer["metrics"]["value"]} == {"offline", "about"}
        data = next(each for each in answer["metrics"]["value"] if each["metric"] == "dataset_version")
        assert (data["values"], data["differs"]) == ({V2: "mnist-2", V1: "mnist-1"}, True)

    def test_a_source_that_draws_nothing_says_so_beside_the_numbers(self, as_viewer: TestClient) -> None:
        plots = compare(as_viewer, V1, V2).json()["plots"]
        assert plots["value"] is None
        assert "tells nothing over time" in plots["trouble"]["reason"]

    def test_plots_are_asked_for_each_version_with_all_its_groups(self, as_viewer: TestClient, drawn: Drawn) -> None:
        plots = compare(as_viewer, V1, V2, hours=1.5).json()["plots"]
        assert plots["value"] == [
            {
                "metric": "requests",
                "unit": "1/s",
                "step_seconds": 60,
                "lines": [{"version": V2, "points": [{"at": "1970-01-01T00:00:00Z", "value": 1.5}]}],
            }
        ]
        assert drawn.asked is not None
        model, versions, seconds = drawn.asked
        assert (model, list(versions), seconds) == ("spam", [V1, V2], 5400)
        control = versions[V1].control
        assert control is not None
        assert control.cluster == "spam/20230601120000~control"

    def test_a_dead_metric_source_takes_the_plots_alone(self, as_viewer: TestClient, drawn: Drawn) -> None:
        drawn.away = True
        answer = compare(as_viewer, V1, V2).json()
        assert answer["plots"]["trouble"] == {
            "backend": "metrics",
            "reason": "Prometheus at http://p:9090 cannot be reached",
        }
        assert answer["metrics"]["value"]

    @pytest.mark.integration
    def test_the_ledger_adds_what_validation_and_real_traffic_showed(
        self, as_viewer: TestClient, recorded: Path
    ) -> None:
        answer = compare(as_viewer, V3, V2).json()
        assert answer["ledger"] == {"value": True, "trouble": None}
        errors = {each["group"]: each for each in answer["metrics"]["value"] if each["metric"] == "errors"}
        assert set(errors) == {"as canary", "as stable"}
        assert errors["as canary"]["values"][V3] > errors["as stable"]["values"][V2]
        assert errors["as canary"]["events"][V3] > 0
        assert errors["as canary"]["values"][V2] is None

    @pytest.mark.integration
    def test_a_dead_repository_leaves_what_the_ledger_has(
        self, as_viewer: TestClient, recorded: Path, story: PageStory, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def away(*_: object) -> None:
            raise RepositoryUnavailable("the file system is not mounted")

        monkeypatch.setattr(story.repository, "known_versions", away)
        answer = compare(as_viewer, V3, V2).json()
        accuracy = next(each for each in answer["metrics"]["value"] if each["metric"] == "accuracy")
        assert accuracy["values"] == {V3: pytest.approx(0.93), V2: pytest.approx(0.92)}
        monkeypatch.setenv("AIRFLOW_CONN_MLMD_DEFAULT", ledger_connection(recorded.with_name("absent.sqlite")))
        openings.forget()
        answer = compare(as_viewer, V3, V2).json()
        assert answer["metrics"]["trouble"] == {"backend": "repository", "reason": "the file system is not mounted"}
