"""Questions of descent to a real ledger in a SQLite file: where from, what came of it, who serves it, how good."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from airflow_model_ops.adapters.lineage.ancestry import PipelineSummary
from airflow_model_ops.adapters.lineage.comparison import MetricKind
from airflow_model_ops.adapters.lineage.pipeline_store import PipelineStore
from airflow_model_ops.adapters.lineage.pipeline_walk import upstream_lineage
from airflow_model_ops.adapters.lineage.queries import LedgerQueries
from airflow_model_ops.adapters.lineage.settings import LedgerSettings
from airflow_model_ops.core import transitions
from airflow_model_ops.core.blast_radius import ArtifactRef
from airflow_model_ops.core.errors import ArtifactNotFound, VersionNotFound
from airflow_model_ops.core.log import FactKind
from airflow_model_ops.core.upstream import UpstreamContext, UpstreamEvent, UpstreamExecution, UpstreamLineage
from tests.adapters.lineage_family import Family, artifact, trained, v
from tests.adapters.lineage_story import ADA, NAMING, RUN

pytestmark = pytest.mark.integration

TFX = Path(__file__).parents[1] / "fixtures" / "tfx_1_21_metadata.sqlite"
EXAMPLES, OTHER_EXAMPLES = artifact(1, "Examples", uri="/data/bad"), artifact(2, "Examples", uri="/data/good")
FIRST, WARM = artifact(10, "Model"), artifact(20, "Model")


@pytest.fixture
def family(tmp_path: Path) -> Family:
    return Family(settings=LedgerSettings(path=tmp_path / "mlmd.sqlite"))


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> LedgerQueries:
    """``digits``: 1 good, 2 of bad examples, stable; ``letters``: 3 warm-started from it, on trial; 4 of bad data by its name."""
    family = Family(settings=LedgerSettings(path=tmp_path_factory.mktemp("ledger") / "mlmd.sqlite"))
    family.pushes("digits", v(1), dataset="digits@6", upstream=trained(artifact(9, "Model"), OTHER_EXAMPLES))
    family.promotes("digits", v(1))
    family.pushes(
        "digits",
        v(2),
        dataset="digits@7",
        upstream=trained(FIRST, EXAMPLES),
        hyperparameters={"units": 64},
        metrics={"accuracy": 0.97},
    )
    family.stories["digits"].happens(
        FactKind.VALIDATED, v(2), "accuracy 0.96", detail={"blessed": True, "accuracy": 0.96, "stable_accuracy": 0.95}
    )
    family.promotes("digits", v(2))
    family.pushes("letters", v(1))
    family.promotes("letters", v(1))
    family.pushes("letters", v(3), dataset="letters@1", upstream=trained(WARM, FIRST, EXAMPLES, OTHER_EXAMPLES))
    family.starts("letters", v(3))
    family.pushes("letters", v(4), dataset="digits@7")
    return family.record()


def found(queries: LedgerQueries, text: str) -> dict[str, dict[str, str]]:
    """The affected versions' days and why, by model."""
    radius = queries.blast_radius(ArtifactRef.parse(text))
    return {model.model: {each.version[8:10]: each.because for each in model.versions} for model in radius.models}


class TestAncestry:
    def test_it_reaches_the_data_the_hyperparameters_the_trainer_and_the_run(self, told: LedgerQueries) -> None:
        ancestry = told.ancestry("digits", version=v(2).name)

        assert ancestry.dataset_version == "digits@7"
        assert ancestry.version.hyperparameters == {"units": 64}
        assert ancestry.upstream == trained(FIRST, EXAMPLES)
        assert ancestry.pipeline == PipelineSummary(
            pipelines=("taxi",),
            runs=("2023-06-01T12:00:00",),
            trainers=("tfx.components.trainer.component.Trainer",),
            made_by=("tfx.components.pusher.component.Pusher", "tfx.components.trainer.component.Trainer"),
            examples=("/data/bad",),
        )
        assert ancestry.pushed is not None
        assert (ancestry.pushed.name, ancestry.pushed.actor) == ("pushed", "automation model_release")
        assert ancestry.recorded == told.latest("digits").sequence
        json.dumps(asdict(ancestry))

    def test_a_version_that_no_pipeline_made_has_its_own_row_only(self, told: LedgerQueries) -> None:
        ancestry = told.ancestry("letters", version=v(4).name)

        assert (ancestry.upstream, ancestry.pipeline) == (None, None)
        assert ancestry.version.source == {"path": "/exports/1"}

    def test_an_unknown_version_is_named(self, told: LedgerQueries) -> None:
        with pytest.raises(VersionNotFound, match=r"v-20230609-120000.*model-ops record"):
            told.ancestry("digits", version=v(9).name)

    def test_kubeflow_pipelines_are_read_too(self) -> None:
        lineage = UpstreamLineage(
            connection="kfp",
            artifact="3",
            artifacts=(artifact(3, "system.Model"), artifact(1, "system.Dataset", uri="gs://d/1")),
            executions=(UpstreamExecution(id="1", type="system.ContainerExecution", name="train"),),
            contexts=(
                UpstreamContext(id="1", type="system.Pipeline", name="digits"),
                UpstreamContext(id="2", type="system.PipelineRun", name="run-7"),
            ),
        )

        summary = PipelineSummary.of(lineage)

        assert (summary.pipelines, summary.runs, summary.examples) == (("digits",), ("run-7",), ("gs://d/1",))


class TestTfx:
    """A real pipeline's metadata: a pushed model, in a store that is its own and the ledger's at once."""

    @pytest.fixture
    def released(self, family: Family) -> LedgerQueries:
        path = family.settings.path
        assert path is not None
        path.write_bytes(TFX.read_bytes())
        store = PipelineStore(family.settings)
        pushed = next(row for row in store.newest_artifacts(pipeline=None) if row.type == "PushedModel")
        family.pushes("digits", v(1), upstream=upstream_lineage(store, pushed, connection="taxi"))
        family.promotes("digits", v(1))
        return family.record()

    def test_ancestry_reaches_the_trainer_and_the_pipelines_run(self, released: LedgerQueries) -> None:
        ancestry = released.ancestry("digits", version=v(1).name)

        assert ancestry.pipeline is not None
        assert ancestry.pipeline.pipelines == ("taxi",)
        assert ancestry.pipeline.trainers == ("mycomps.FakeTrainer",)
        assert len(ancestry.pipeline.runs) == 1

    def test_its_artifacts_are_found_by_the_pipelines_own_uris_and_ids(self, released: LedgerQueries) -> None:
        upstream = released.ancestry("digits", version=v(1).name).upstream
        assert upstream is not None
        for each in upstream.artifacts:
            for text in (f"uri:{each.uri}", f"upstream:taxi/{each.id}"):
                assert set(found(released, text)["digits"]) == {"01"}


class TestDescendants:
    def test_a_version_led_to_what_was_trained_on_from_it_and_to_what_it_served(self, told: LedgerQueries) -> None:
        led_to = told.descendants("digits", version=v(2).name)

        assert [(each.model, each.version, each.because) for each in led_to.versions] == [
            ("letters", v(3).name, f"made from digits/{v(2).name}")
        ]
        assert led_to.counts == {"pushed": 1, "validated": 1, "start_canary": 1, "promote": 1, "applied": 2}
        assert (led_to.more_versions, led_to.more_entries) == (False, False)
        json.dumps(asdict(led_to))

    def test_its_entries_are_paged(self, told: LedgerQueries) -> None:
        everything = told.descendants("digits", version=v(2).name).entries
        first = told.descendants("digits", version=v(2).name, limit=4)
        second = told.descendants("digits", version=v(2).name, limit=4, before_sequence=first.entries[-1].sequence)

        assert (first.more_entries, second.more_entries) == (True, False)
        assert first.entries + second.entries == everything
        assert told.descendants("digits", version=v(2).name, before_sequence=9999).entries == everything
        assert told.descendants("digits", version=v(2).name, before_sequence=0).entries == ()

    def test_one_that_nobody_trained_on_from_has_none(self, told: LedgerQueries) -> None:
        assert told.descendants("letters", version=v(3).name).versions == ()

    def test_more_than_asked_for_are_said_to_be_more(self, family: Family) -> None:
        family.pushes("digits", v(1), upstream=trained(FIRST, EXAMPLES))
        for day in (2, 3, 4):
            family.pushes("digits", v(day), upstream=trained(artifact(20 + day, "Model"), FIRST))

        led_to = family.record().descendants("digits", version=v(1).name, limit=2)

        assert ([each.version for each in led_to.versions], led_to.more_versions) == ([v(4).name, v(3).name], True)


class TestBlastRadius:
    def test_a_dataset_reaches_what_was_trained_on_it_and_what_was_made_from_that(self, told: LedgerQueries) -> None:
        assert found(told, "dataset:digits@7") == {
            "digits": {"02": "trained on it"},
            "letters": {"04": "trained on it", "03": f"made from digits/{v(2).name}"},
        }

    @pytest.mark.parametrize(
        "text", ["uri:/data/bad", "uri:/data/bad/", "upstream:tfx/1", "upstream:tfx/1/1600000000001"]
    )
    def test_examples_are_found_by_their_place_and_by_their_id(self, told: LedgerQueries, text: str) -> None:
        assert found(told, text) == {"digits": {"02": "made from it"}, "letters": {"03": "made from it"}}

    @pytest.mark.parametrize("text", ["uri:/", "uri://", "uri:///"])
    def test_the_root_of_all_places_is_not_the_place_of_what_has_none(self, told: LedgerQueries, text: str) -> None:
        with pytest.raises(ArtifactNotFound, match="the ledger knows no artifact"):
            found(told, text)

    def test_an_id_that_another_store_gave_out_at_another_time_is_another_artifact(self, told: LedgerQueries) -> None:
        for text in ("upstream:kfp/1", "upstream:tfx/1/1500000000000"):
            with pytest.raises(ArtifactNotFound, match="the ledger knows no artifact"):
                found(told, text)

    def test_a_version_reaches_itself_and_what_was_trained_on_from_it_by_another_model(
        self, told: LedgerQueries
    ) -> None:
        assert found(told, f"version:digits/{v(2).name}") == {
            "digits": {"02": "itself"},
            "letters": {"03": f"made from digits/{v(2).name}"},
        }

    def test_it_tells_who_is_live_and_the_way_out_of_each(self, told: LedgerQueries) -> None:
        radius = told.blast_radius(ArtifactRef.parse("dataset:digits@7"))

        digits, letters = radius.models
        assert (digits.live, digits.move, digits.target) == ({"stable": v(2).name}, "back", v(1).name)
        assert (letters.live, letters.move, letters.target) == ({"canary": v(3).name}, "end", v(1).name)
        assert digits.recorded == told.latest("digits").sequence
        assert [model.model for model in radius.live] == ["digits", "letters"]
        json.dumps(asdict(radius))

    def test_what_the_ledger_never_heard_of_is_no_empty_answer(self, told: LedgerQueries) -> None:
        """A slip of the pen must not look like good news."""
        with pytest.raises(ArtifactNotFound, match=r"'dataset:digits@77'"):
            found(told, "dataset:digits@77")
        with pytest.raises(VersionNotFound):
            found(told, "version:digits/v-20230609-120000")

    def test_the_same_artifact_with_other_properties_is_the_same(self, family: Family) -> None:
        """A pipeline goes on writing to an artifact, e.g. its blessing; the ledger keeps each state that a push saw."""
        blessed = artifact(10, "Model", properties={"blessed": "1"})  # type: ignore[arg-type]
        family.pushes("digits", v(1), upstream=trained(FIRST, EXAMPLES))
        family.pushes("letters", v(2), upstream=trained(artifact(30, "Model"), blessed))
        family.pushes("digits", v(3), upstream=trained(blessed, EXAMPLES))
        queries = family.record()

        assert found(queries, f"version:digits/{v(1).name}") == {
            "digits": {"01": "itself", "03": f"pushed from the same artifact as digits/{v(1).name}"},
            "letters": {"02": f"made from digits/{v(1).name}"},
        }
        assert set(found(queries, "upstream:tfx/10")["digits"]) == {"01", "03"}

    def test_however_often_it_changed_every_push_that_saw_it_is_found(self, family: Family) -> None:
        for day in range(1, 11):
            seen = artifact(10, "Examples", properties={"read": str(day)})  # type: ignore[arg-type]
            family.pushes("digits", v(day), upstream=trained(artifact(20 + day, "Model"), seen))

        assert len(found(family.record(), "upstream:tfx/10")["digits"]) == 10

    def test_an_import_into_another_store_is_followed_by_its_place(self, family: Family) -> None:
        imported = artifact(4, "Model", uri=FIRST.uri)
        family.pushes("digits", v(1), dataset="digits@7", upstream=trained(FIRST))
        later = trained(artifact(5, "Model"), replace(imported, created="1700000000000"), connection="kfp")
        family.pushes("letters", v(2), upstream=later)
        family.pushes("letters", v(3), upstream=trained(artifact(6, "Model"), later.root, connection="kfp"))

        assert found(family.record(), "dataset:digits@7") == {
            "digits": {"01": "trained on it"},
            "letters": {"02": f"made from digits/{v(1).name}", "03": f"made from letters/{v(2).name}"},
        }

    def test_a_model_that_it_was_only_compared_with_is_no_ancestor(self, family: Family) -> None:
        """Else one bad version would reach every later one: an Evaluator compares each with the one before it."""
        family.pushes("digits", v(1), dataset="bad", upstream=trained(FIRST))
        judged = trained(WARM, EXAMPLES)
        compared = UpstreamEvent(execution="12", artifact=FIRST.id, output=False, role="baseline_model")
        judged = replace(judged, artifacts=(*judged.artifacts, FIRST), events=(*judged.events, compared))
        family.pushes("digits", v(2), upstream=judged)
        queries = family.record()

        assert found(queries, "dataset:bad") == {"digits": {"01": "trained on it"}}
        assert queries.ancestry("digits", version=v(2).name).upstream == judged

    def test_what_goes_on_from_the_model_behind_a_pushed_model_is_a_descendant(self, family: Family) -> None:
        """A release starts from the Pusher's output, a warm start from the Trainer's."""
        pushed = artifact(11, "PushedModel")
        lineage = trained(pushed, FIRST, EXAMPLES)
        made = (
            UpstreamEvent(execution="9", artifact=pushed.id, output=True, role="pushed_model"),
            UpstreamEvent(execution="9", artifact=FIRST.id, output=False, role="model"),
        )
        family.pushes("digits", v(1), dataset="bad", upstream=replace(lineage, events=made))
        family.pushes("letters", v(2), upstream=trained(WARM, FIRST))

        assert found(family.record(), "dataset:bad") == {
            "digits": {"01": "trained on it"},
            "letters": {"02": f"made from digits/{v(1).name}"},
        }

    def test_an_export_to_the_same_place_is_no_descendant(self, family: Family) -> None:
        """Else every model of a pipeline that overwrites one directory would be affected, and none be left to go back to."""
        family.pushes("digits", v(1), upstream=trained(artifact(1, "Model", uri="/latest")))
        family.pushes("digits", v(2), upstream=trained(artifact(2, "Model", uri="/latest")))

        assert found(family.record(), f"version:digits/{v(1).name}") == {"digits": {"01": "itself"}}

    def test_a_model_that_never_served_and_one_whose_golden_is_affected(self, family: Family) -> None:
        family.pushes("new", v(1), dataset="bad")
        family.pushes("digits", v(1), dataset="bad")
        family.promotes("digits", v(1))
        story = family.stories["digits"]
        story.decides(transitions.pin_golden(story.state, version=v(1), actor=ADA), actor=ADA)
        family.pushes("digits", v(2))
        family.promotes("digits", v(2))

        digits, new = family.record().blast_radius(ArtifactRef.parse("dataset:bad")).models

        assert (new.live, new.move, new.why) == ({}, "nothing", "it never served")
        assert (digits.live, digits.move) == ({"golden": v(1).name}, "nothing")
        assert "pinned by a person, is affected" in digits.why

    def test_more_versions_than_ml_metadata_gives_at_once_are_all_found(self, family: Family) -> None:
        for minute in range(130):
            version = NAMING.parse(f"v-20230601-12{minute // 60:02d}{minute % 60:02d}")
            family.pushes("digits", version, dataset="bad")

        assert len(family.record().blast_radius(ArtifactRef.parse("dataset:bad")).models[0].versions) == 130


class TestComparison:
    def test_versions_are_put_side_by_side_by_metric(self, told: LedgerQueries) -> None:
        comparison = told.compare("digits", [v(2).name, v(1).name])

        rows = {
            (row.kind, row.metric): {name: each.value for name, each in row.values.items()} for row in comparison.rows
        }
        assert rows[MetricKind.OFFLINE, "accuracy"] == {v(2).name: 0.97}
        assert rows[MetricKind.VALIDATION, "accuracy"] == {v(2).name: 0.96}
        assert [row.version for row in comparison.versions] == [v(2).name, v(1).name]
        json.dumps(asdict(comparison))

    def test_what_was_counted_on_real_traffic_comes_with_its_numbers(self, family: Family) -> None:
        family.pushes("digits", v(1))
        family.promotes("digits", v(1))
        family.pushes("digits", v(2))
        fence = family.starts("digits", v(2))
        numbers = {"canary": {"n": 1000, "bad": 12}, "stable": {"n": 9000, "bad": 90}}
        family.stories["digits"].happens(
            FactKind.VERDICT,
            v(2),
            "shown safe",
            release=fence,
            detail={"verdict": "SAFE", "assessments": [{"check": "errors", "verdict": "SAFE", "numbers": numbers}]},
        )

        comparison = family.record().compare("digits", [v(1).name, v(2).name])

        rows = {row.kind: row.values for row in comparison.rows}
        canary, stable = rows[MetricKind.CANARY][v(2).name], rows[MetricKind.STABLE][v(1).name]
        assert (canary.value, canary.n, canary.bad, canary.beside) == (0.012, 1000, 12, v(1).name)
        assert (stable.value, stable.n, stable.bad, stable.beside) == (0.01, 9000, 90, v(2).name)
        assert (canary.verdict, canary.release) == ("SAFE", fence.release)

    def test_an_unknown_version_is_refused(self, told: LedgerQueries) -> None:
        with pytest.raises(VersionNotFound):
            told.compare("digits", [v(1).name, v(9).name])


class TestAsOf:
    def test_what_served_says_how_far_the_ledger_knew(self, told: LedgerQueries) -> None:
        answer = told.served_at("digits", at="2099-01-01")

        assert (answer.recorded, answer.recorded_at) == (told.latest("digits").sequence, told.latest("digits").at)


def test_a_page_of_versions_is_told_with_who_pushed_each_of_them(told: LedgerQueries) -> None:
    found = told.told("digits", [v(2).name, v(1).name, v(9).name])
    assert list(found) == [v(2).name, v(1).name]
    pushed = found[v(2).name].pushed
    assert pushed is not None
    assert (pushed.name, pushed.version, dict(pushed.run)) == ("pushed", v(2).name, RUN)
    assert found[v(2).name].row.validation["blessed"] is True
    assert told.told("digits", []) == {}


def test_a_version_that_was_only_adopted_was_pushed_by_nobody(family: Family) -> None:
    story = family.stories["digits"]
    story.decides(transitions.adopt(story.state, stable=v(1), actor=ADA), actor=ADA)
    assert family.record().told("digits", [v(1).name])[v(1).name].pushed is None


def test_versions_that_are_not_recorded_yet_may_be_left_out_of_a_comparison(told: LedgerQueries) -> None:
    found = told.compare("digits", [v(9).name, v(2).name], recorded_only=True)
    assert [row.version for row in found.versions] == [v(2).name]
    with pytest.raises(VersionNotFound, match=v(9).name):
        told.compare("digits", [v(9).name, v(2).name])
