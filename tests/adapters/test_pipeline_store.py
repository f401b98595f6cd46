"""What is read of stores that TFX and Kubeflow Pipelines wrote: candidates, and what led to them."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_model_ops.adapters.lineage import pipeline_store, pipeline_walk
from airflow_model_ops.adapters.lineage.pipeline_candidates import Look, newest_candidates
from airflow_model_ops.adapters.lineage.pipeline_models import saved_model_directory, saved_model_place
from airflow_model_ops.adapters.lineage.pipeline_store import PipelineStore
from airflow_model_ops.adapters.lineage.pipeline_walk import upstream_lineage
from airflow_model_ops.adapters.lineage.settings import LedgerSettings
from airflow_model_ops.core.candidates import CandidateKind
from airflow_model_ops.core.errors import LedgerUnavailable, NotASavedModel
from airflow_model_ops.core.upstream import UpstreamLineage
from tests.adapters.pipeline_rig import ABANDONED, PENDING, Layout, Pipeline, copy_of_fixture, dump, saved_model

BLESSED, PUSHED = CandidateKind.BLESSED, CandidateKind.PUSHED
BOTH_TFX = pytest.mark.parametrize("layout", [Layout.PORTABLE, Layout.LEGACY])


@pytest.fixture
def pipeline(tmp_path: Path) -> Pipeline:
    return Pipeline(tmp_path / "mlmd.sqlite")


def look(of: Pipeline | Path, kind: CandidateKind, *, name: str = "taxi", limit: int = 10, after: str = "") -> Look:
    settings = of.settings if isinstance(of, Pipeline) else LedgerSettings(path=of)
    return newest_candidates(PipelineStore(settings), kind=kind, pipeline=name, limit=limit, after=after)


def ids(of: Pipeline, kind: CandidateKind, *, name: str = "taxi") -> list[int]:
    return [int(each.artifact) for each in look(of, kind, name=name).candidates]


def lineage(of: Pipeline | Path, artifact: int) -> UpstreamLineage:
    store = PipelineStore(of.settings if isinstance(of, Pipeline) else LedgerSettings(path=of))
    return upstream_lineage(store, store.artifact(artifact), connection="tfx")


def types_of(found: UpstreamLineage) -> list[str]:
    return [artifact.type for artifact in found.artifacts]


class TestTheDatabaseOfARealPipeline:
    @pytest.fixture
    def database(self, tmp_path: Path) -> Iterator[Path]:
        """A copy; whatever a test does, nothing in it may change."""
        path = copy_of_fixture(tmp_path)
        before = dump(path)
        yield path
        assert dump(path) == before
        assert sorted(each.name for each in tmp_path.iterdir()) == ["tfx.sqlite"]

    @pytest.mark.parametrize("name", ["taxi", ""])
    @pytest.mark.parametrize(("kind", "artifact", "of_type"), [(BLESSED, "1", "Model"), (PUSHED, "3", "PushedModel")])
    def test_its_blessed_and_its_pushed_model_are_found(
        self, database: Path, kind: CandidateKind, artifact: str, of_type: str, name: str
    ) -> None:
        (found,) = look(database, kind, name=name).candidates

        assert (found.artifact, found.type, found.pipeline) == (artifact, of_type, "taxi")
        assert found.run == "2026-11-22T13:23:15.153287"
        assert found.created.startswith("1795353795")
        assert found.created_at.startswith("2026-11-22T13:23:15.")

    @pytest.mark.parametrize("artifact", [1, 3])
    def test_what_led_to_them_reaches_the_trainer_and_the_run(self, database: Path, artifact: int) -> None:
        found = lineage(database, artifact)

        assert found.root.id == str(artifact)
        assert set(types_of(found)) >= {"Model", "ModelBlessing"}
        assert {each.type for each in found.executions} >= {"mycomps.FakeTrainer", "mycomps.FakeEvaluator"}
        assert {each.state for each in found.executions} == {"COMPLETE"}
        kinds = {each.type: each.name for each in found.contexts}
        assert (kinds["pipeline"], kinds["pipeline_run"]) == ("taxi", "2026-11-22T13:23:15.153287")
        assert "execution_cache" not in kinds
        assert found.complete
        assert UpstreamLineage.from_json(found.to_json()) == found

    def test_a_pipeline_that_never_ran_is_no_error_and_is_said(self, database: Path) -> None:
        found = look(database, PUSHED, name="bus")

        assert found.candidates == ()
        assert "no pipeline 'bus'" in found.note

    def test_it_is_read_by_a_user_who_may_not_write(self, database: Path) -> None:
        database.chmod(0o444)

        assert look(database, BLESSED).candidates

    def test_after_the_newest_there_is_none(self, database: Path) -> None:
        (newest,) = look(database, PUSHED).candidates

        assert look(database, PUSHED, after=newest.ready).candidates == ()
        assert look(database, PUSHED, after=str(int(newest.ready) - 1)).candidates == (newest,)


class TestCandidates:
    @BOTH_TFX
    def test_the_newest_comes_first_with_its_pipeline_and_run(self, tmp_path: Path, layout: Layout) -> None:
        pipeline = Pipeline(tmp_path / "mlmd.sqlite", layout=layout)
        older = pipeline.trained("/m/1")
        pipeline.evaluated(older)
        pipeline.run = "run-2"
        newer = pipeline.trained("/m/2")
        blessing = pipeline.evaluated(newer)
        pushed = pipeline.pushed(newer, "/p/2", blessing=blessing)

        assert ids(pipeline, BLESSED) == [newer, older]
        assert ids(pipeline, PUSHED) == [pushed]
        newest = look(pipeline, BLESSED).candidates[0]
        assert newest.pipeline == "taxi"
        assert newest.run == ("taxi.run-2" if layout is Layout.LEGACY else "run-2")

    @BOTH_TFX
    @pytest.mark.parametrize("state", [PENDING, ABANDONED])
    def test_what_is_still_written_or_was_given_up_is_none(self, tmp_path: Path, layout: Layout, state: str) -> None:
        pipeline = Pipeline(tmp_path / "mlmd.sqlite", layout=layout)
        model = pipeline.trained("/m/1")
        pipeline.evaluated(model, state=state)
        pipeline.pushed(model, "/p/1", state=state)
        pipeline.evaluated(pipeline.trained("/m/2", state=state))

        assert ids(pipeline, BLESSED) == []
        assert ids(pipeline, PUSHED) == []

    def test_a_pusher_that_ended_without_pushing_does_not_count(self, pipeline: Pipeline) -> None:
        model = pipeline.trained("/m/1")
        pushed = pipeline.pushed(model, "/p/1")
        pipeline.pushed(model, "/p/2", pushed=0)

        assert ids(pipeline, PUSHED) == [pushed]

    def test_a_model_without_a_blessing_or_with_a_refused_one_is_none(self, pipeline: Pipeline) -> None:
        pipeline.trained("/m/1")
        pipeline.evaluated(pipeline.trained("/m/2"), blessed=0)

        assert ids(pipeline, BLESSED) == []

    def test_the_newest_word_about_a_model_counts(self, pipeline: Pipeline) -> None:
        regretted, rehabilitated = pipeline.trained("/m/1"), pipeline.trained("/m/2")
        for model, words in ((regretted, (1, 0)), (rehabilitated, (0, 1))):
            for blessed in words:
                pipeline.evaluated(model, blessed=blessed)

        assert ids(pipeline, BLESSED) == [rehabilitated]

    def test_an_infra_blessing_that_exists_must_be_given_too(self, pipeline: Pipeline) -> None:
        fits, does_not = pipeline.trained("/m/1"), pipeline.trained("/m/2")
        for model, blessed in ((fits, 1), (does_not, 0)):
            pipeline.evaluated(model)
            pipeline.validated(model, blessed=blessed)

        assert ids(pipeline, BLESSED) == [fits]

    def test_the_blessing_of_another_model_does_not_bless_what_it_was_compared_with(self, pipeline: Pipeline) -> None:
        baseline = pipeline.trained("/m/1")
        challenger = pipeline.trained("/m/2")
        pipeline.evaluated(challenger, baseline=baseline)

        assert ids(pipeline, BLESSED) == [challenger]

    def test_a_blessing_that_names_another_model_blesses_neither(self, pipeline: Pipeline) -> None:
        other, model = pipeline.trained("/m/1"), pipeline.trained("/m/2")
        pipeline.evaluated(model, current_model_id=other)

        assert ids(pipeline, BLESSED) == []

    def test_pipelines_in_one_store_are_kept_apart(self, tmp_path: Path) -> None:
        taxi, bus = (Pipeline(tmp_path / "mlmd.sqlite", name=name) for name in ("taxi", "bus"))
        ours = taxi.pushed(taxi.trained("/m/1"), "/p/1")
        theirs = bus.pushed(bus.trained("/m/2"), "/p/2")

        assert ids(taxi, PUSHED) == [ours]
        assert ids(taxi, PUSHED, name="") == [theirs, ours]

    def test_one_behind_hundreds_of_other_artifacts_is_found_and_none_too_far_back(
        self, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        pushed = pipeline.pushed(pipeline.trained("/m/1"), "/p/1")
        many = [pipeline.artifact("Schema", f"/s/{number}") for number in range(60)]
        pipeline.execution("SchemaGen", outputs=[("schema", each) for each in many])

        assert ids(pipeline, PUSHED) == [pushed]
        monkeypatch.setattr(pipeline_store, "_WINDOWS", (10, 40))
        assert ids(pipeline, PUSHED) == []

    def test_no_more_is_read_than_is_asked_for(self, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
        for number in range(4):
            pipeline.pushed(pipeline.trained(f"/m/{number}"), f"/p/{number}")
        asked: list[int] = []
        read = pipeline_store.PipelineStore.newest_artifacts

        def counted(store: PipelineStore, **which: object) -> Iterator[object]:
            for row in read(store, **which):  # type: ignore[arg-type]
                asked.append(row.id)
                yield row

        monkeypatch.setattr(pipeline_store.PipelineStore, "newest_artifacts", counted)

        assert len(look(pipeline, PUSHED, limit=1).candidates) == 1
        assert len(asked) == 1

    def test_a_file_that_is_not_there_says_what_to_do_and_is_worth_a_retry(self, tmp_path: Path) -> None:
        with pytest.raises(LedgerUnavailable, match=r"nowhere.sqlite.*mount it") as away:
            look(tmp_path / "nowhere.sqlite", PUSHED)

        assert away.value.retryable
        assert not (tmp_path / "nowhere.sqlite").exists()

    def test_an_empty_file_is_not_made_a_store(self, tmp_path: Path) -> None:
        (tmp_path / "empty.sqlite").touch()

        with pytest.raises(LedgerUnavailable, match=r"empty\.sqlite"):
            look(tmp_path / "empty.sqlite", PUSHED)

        assert (tmp_path / "empty.sqlite").stat().st_size == 0


class TestWhatLedToAModel:
    @pytest.mark.parametrize("layout", list(Layout))
    def test_it_goes_back_to_the_data_in_every_layout(self, tmp_path: Path, layout: Layout) -> None:
        pipeline = Pipeline(tmp_path / "mlmd.sqlite", layout=layout)
        dataset = "system.Dataset" if layout is Layout.KFP else "Examples"
        model_type = "system.Model" if layout is Layout.KFP else "Model"
        raw = pipeline.artifact(dataset, "/data/raw", span=7)
        pipeline.execution("ExampleGen", outputs=[("examples", raw)], input_base="/landing")
        model = pipeline.artifact(model_type, "/m/1", accuracy=0.5)
        pipeline.execution("train", inputs=[("examples", raw)], outputs=[("model", model)], learning_rate=0.1)

        found = lineage(pipeline, model)

        assert [(each.type, each.uri) for each in found.artifacts] == [(model_type, "/m/1"), (dataset, "/data/raw")]
        assert found.root.properties["accuracy"] == "0.5"
        assert [each.type for each in found.executions] == ["train", "ExampleGen"]
        assert found.executions[0].properties["learning_rate"] == "0.1"
        assert [(each.role, each.output) for each in found.events] == [
            ("model", True),
            ("examples", False),
            ("examples", True),
        ]
        names = [each.name for each in found.contexts]
        assert "taxi" in names
        assert ("taxi.run-1" if layout is Layout.LEGACY else "run-1") in names

    def test_who_handed_an_artifact_on_did_not_make_it(self, pipeline: Pipeline) -> None:
        data = pipeline.artifact("Examples", "/data")
        pipeline.execution("ExampleGen", outputs=[("examples", data)])
        model = pipeline.trained("/m/1", data=[("examples", data)])
        pipeline.run = "run-2"
        other = pipeline.trained("/m/2")
        pipeline.execution("Resolver", inputs=[("model", other)], outputs=[("model", model)])

        assert {each.type for each in lineage(pipeline, model).executions} == {
            "tfx.components.trainer.component.Trainer",
            "ExampleGen",
        }

    def test_the_baseline_is_named_and_its_own_data_is_not_this_models(self, pipeline: Pipeline) -> None:
        old_data = pipeline.artifact("Examples", "/data/old")
        baseline = pipeline.trained("/m/1", data=[("examples", old_data)])
        model = pipeline.trained("/m/2")
        pipeline.evaluated(model, baseline=baseline)

        uris = [each.uri for each in lineage(pipeline, model).artifacts]

        assert "/m/1" in uris
        assert "/data/old" not in uris

    def test_it_keeps_what_was_said_about_a_model_before_its_release(self, pipeline: Pipeline) -> None:
        model = pipeline.trained("/m/1")
        pipeline.evaluated(model)
        pipeline.validated(model, blessed=1)

        found = lineage(pipeline, model)

        assert types_of(found) == ["Model", "InfraBlessing", "ModelBlessing"]
        assert {each.properties.get("blessed") for each in found.artifacts[1:]} == {"1"}

    def test_a_circle_ends(self, pipeline: Pipeline) -> None:
        first, second = pipeline.artifact("Model", "/m/1"), pipeline.artifact("Schema", "/s")
        pipeline.execution("one", inputs=[("s", second)], outputs=[("m", first)])
        pipeline.execution("two", inputs=[("m", first)], outputs=[("s", second)])

        assert len(lineage(pipeline, first).artifacts) == 2

    @pytest.mark.parametrize("bound", ["MOST_ARTIFACTS", "MOST_EXECUTIONS", "MOST_STEPS"])
    def test_beyond_a_bound_it_says_that_it_is_not_complete(
        self, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, bound: str
    ) -> None:
        before = pipeline.artifact("Examples", "/0")
        for number in range(1, 6):
            after = pipeline.artifact("Examples", f"/{number}")
            pipeline.execution(f"step-{number}", inputs=[("e", before)], outputs=[("e", after)])
            before = after
        assert lineage(pipeline, before).complete
        monkeypatch.setattr(pipeline_walk, bound, 3)

        found = lineage(pipeline, before)

        assert not found.complete
        assert found.artifacts[0].uri == "/5"
        assert 3 <= len(found.artifacts) <= 4
        known = {each.id for each in found.artifacts}, {each.id for each in found.executions}
        assert all(event.artifact in known[0] and event.execution in known[1] for event in found.events)


class TestWhereTheSavedModelIs:
    def directory_of(self, pipeline: Pipeline, artifact: int) -> Path:
        return saved_model_directory(PipelineStore(pipeline.settings).artifact(artifact))

    def test_a_models_serving_format_comes_before_its_uri(self, pipeline: Pipeline, tmp_path: Path) -> None:
        uri = saved_model(tmp_path / "model")
        model = pipeline.artifact("Model", str(uri))
        assert self.directory_of(pipeline, model) == uri

        serving = saved_model(uri / "Format-Serving")
        assert self.directory_of(pipeline, model) == serving

    def test_a_pushed_models_destination_comes_before_its_uri(self, pipeline: Pipeline, tmp_path: Path) -> None:
        uri, destination = saved_model(tmp_path / "with space"), tmp_path / "serving" / "17"
        model = pipeline.artifact(
            "PushedModel", f"file://{uri}".replace(" ", "%20"), pushed_destination=str(destination)
        )
        assert self.directory_of(pipeline, model) == uri

        saved_model(destination)
        assert self.directory_of(pipeline, model) == destination

    @pytest.mark.parametrize("uri", ["hdfs:/m", "file://other-host/m", "relative/m"])
    def test_what_no_machine_can_reach_is_told_with_the_way_out(self, pipeline: Pipeline, uri: str) -> None:
        with pytest.raises(NotASavedModel, match=r"no place that this machine can read; copy the model"):
            self.directory_of(pipeline, pipeline.artifact("Model", uri))

    @pytest.mark.parametrize("uri", ["gs://bucket/m", "s3://bucket/m"])
    def test_a_bucket_is_looked_into_by_a_push_and_by_nobody_else(self, pipeline: Pipeline, uri: str) -> None:
        """Whoever looks for candidates every minute has no credentials of a bucket, and must not wait for one."""
        artifact = PipelineStore(pipeline.settings).artifact(pipeline.artifact("Model", uri))
        with pytest.raises(NotASavedModel, match=f"'{uri}': only a push looks there"):
            saved_model_directory(artifact)
        looked: list[str] = []

        def is_at(place: str) -> bool:
            looked.append(place)
            return place == uri

        assert saved_model_place(artifact, is_in_bucket=is_at) == uri
        assert looked == [f"{uri}/Format-Serving", uri]
        with pytest.raises(NotASavedModel, match=r"no SavedModel is there; see whether the pipeline cleaned it up"):
            saved_model_place(artifact, is_in_bucket=lambda _: False)

    def test_what_is_not_mounted_names_every_place(self, pipeline: Pipeline, tmp_path: Path) -> None:
        model = pipeline.artifact("Model", str(tmp_path / "gone"))

        with pytest.raises(NotASavedModel, match=r"gone/Format-Serving', '.*gone'.*mount"):
            self.directory_of(pipeline, model)

    @pytest.mark.parametrize("uri", ["http://[bad", "file://[::1/m", "/a/" + "x" * 300, "file:///%00"])
    def test_a_place_that_makes_no_sense_hides_no_other_model(self, pipeline: Pipeline, uri: str) -> None:
        good, odd = pipeline.trained("/m/good"), pipeline.trained(uri)
        for model in (good, odd):
            pipeline.evaluated(model)
        with pytest.raises(NotASavedModel):
            self.directory_of(pipeline, odd)
        found = look(pipeline, CandidateKind.BLESSED).candidates
        assert [(each.artifact, each.saved_model) for each in found] == [(str(odd), ""), (str(good), "")]

    def test_a_directory_that_this_user_may_not_enter_counts_as_not_seen(
        self, pipeline: Pipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        model = pipeline.artifact("Model", str(saved_model(tmp_path / "model")))

        def refuse(path: Path) -> bool:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))

        monkeypatch.setattr(Path, "is_file", refuse)
        with pytest.raises(NotASavedModel, match="readable for this user"):
            saved_model_directory(pipeline.store.get_artifacts_by_id([model])[0])


@pytest.mark.parametrize("number", [0, -1, 2**63, 10**30])
def test_an_id_that_no_store_gives_out_is_that_of_no_artifact(pipeline: Pipeline, number: int) -> None:
    pipeline.artifact("Model", "/m")
    assert PipelineStore(pipeline.settings).artifact(number) is None
