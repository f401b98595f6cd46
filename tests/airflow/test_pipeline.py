"""Releasing from a TFX pipeline: its sensors, the watcher that starts releases, and the push with its lineage."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fsspec
import pytest
from airflow.sdk import Asset
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException, TaskDeferred
from airflow.sdk.io import store as io_store
from airflow.triggers.base import BaseEventTrigger, TriggerEvent

from airflow_model_ops.adapters.lineage.queries import LedgerQueries
from airflow_model_ops.adapters.lineage.recorder import MlmdLedger
from airflow_model_ops.adapters.lineage.settings import LedgerSettings
from airflow_model_ops.assets import pipeline_asset
from airflow_model_ops.config.model_file import ModelFile, parse_model_file
from airflow_model_ops.control.candidates import choose_candidate
from airflow_model_ops.core.candidates import CandidateKind
from airflow_model_ops.core.errors import InvalidConfig
from airflow_model_ops.core.ports import Manifest
from airflow_model_ops.core.state import Fence
from airflow_model_ops.core.upstream import UpstreamLineage, upstream_of
from airflow_model_ops.dag_builders import build_release_dag
from airflow_model_ops.hooks.pipeline import look_at
from airflow_model_ops.operators.push import PushModelOperator
from airflow_model_ops.sensors.pipeline import BlessedModelSensor, PushedModelSensor
from airflow_model_ops.triggers.pipeline import CandidateTrigger, PipelineWatchTrigger
from tests.adapters.pipeline_rig import Pipeline, copy_of_fixture, dump, saved_model
from tests.airflow.parse_cost import WITHOUT_OTHERS_ASSETS
from tests.airflow.release_story import Story, context_of, on_stage

pytestmark = pytest.mark.timeout(300)  # each look of a trigger is a process that loads ML Metadata

MODEL, CONNECTION = "digits", "tfx_mlmd"
YAML = """\
model: digits
source:
  pipeline: {connection: tfx_mlmd, name: taxi, artifact: pushed, poll: 1m}
canary: {steps: [{percent: 50}]}
checks:
  - {name: errors, kind: error_rate, max: 0.2, margin: 3}
"""
ANSWER_SECONDS = 120.0
FILE = parse_model_file(YAML)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CandidateTrigger, "first_pause_seconds", 0.01)
    monkeypatch.setattr(PipelineWatchTrigger, "first_pause_seconds", 0.01)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the connection says that the pipeline's store is; nothing is there yet."""
    path = tmp_path / "mlmd.sqlite"
    extra = {"path": str(path)}
    monkeypatch.setenv("AIRFLOW_CONN_TFX_MLMD", json.dumps({"conn_type": "mlmd", "extra": extra}))
    return path


@pytest.fixture
def pipeline(store: Path) -> Pipeline:
    return Pipeline(store)


@pytest.fixture
def story() -> Iterator[Story]:
    """A fleet in memory that takes the place of all connections but the pipeline's."""
    with on_stage(model=FILE) as stage:
        yield stage


def pushed_by(pipeline: Pipeline, directory: Path, content: bytes = b"graph") -> int:
    """The pipeline trained and pushed a model."""
    return pipeline.pushed(pipeline.trained("/m"), str(saved_model(directory, content)))


def released(story: Story, version: str, *, harmed: bool = False, run: str = "r") -> None:
    """Let a release of a version have ended: promoted, or aborted for harm."""
    control, fence = story.control(), Fence(release=run, attempt=1)
    parsed = control.naming.parse(version)
    control.start_canary(parsed, fence=fence)
    if harmed:
        control.abort(reason="it harmed", fence=fence, harmed=True)
        return
    control.shift(fence=fence, percent=50)
    control.promote(parsed, fence=fence, proof="it was good")


def push(story: Story, *, run_id: str = "asset_triggered__1", event: Any = None, **fields: Any) -> Manifest:
    """Run the push of the release DAG; return what was stored."""
    context = context_of(run_id=run_id)
    events = [SimpleNamespace(extra={"from_trigger": True, "payload": event})] if event else []
    context["triggering_asset_events"] = {Asset("digits_pipeline_models"): events}
    version = PushModelOperator(task_id="push", model=story.model, **fields).execute(context)["version"]
    return story.repository.manifest(MODEL, story.model.naming().parse(version))


def lineage_of(manifest: Manifest) -> UpstreamLineage:
    found = upstream_of(manifest.source)
    assert found is not None
    return found


async def event_of(trigger: Any) -> Any:
    async with asyncio.timeout(ANSWER_SECONDS):
        async for event in trigger.run():
            return event.payload
    return None


class TestSensors:
    def test_the_database_of_a_real_pipeline_gives_both_its_models_and_stays_as_it_is(
        self, store: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "copy").mkdir()
        copy_of_fixture(tmp_path / "copy").rename(store)
        before = dump(store)

        blessed = BlessedModelSensor(task_id="wait", mlmd_conn_id=CONNECTION, pipeline="taxi").poke(context_of())
        pushed = PushedModelSensor(task_id="wait", mlmd_conn_id=CONNECTION).poke(context_of())

        assert (blessed.xcom_value["type"], pushed.xcom_value["type"]) == ("Model", "PushedModel")
        assert blessed.xcom_value["connection"] == CONNECTION
        assert dump(store) == before

    @pytest.mark.parametrize("deferrable", [True, False])
    def test_what_it_returns_is_what_the_push_takes(
        self, pipeline: Pipeline, story: Story, tmp_path: Path, deferrable: bool
    ) -> None:
        artifact = pushed_by(pipeline, tmp_path / "p")
        sensor = PushedModelSensor(
            task_id="wait", mlmd_conn_id=CONNECTION, pipeline="taxi", deferrable=deferrable, poke_interval=1
        )

        found = sensor.execute(context_of())

        assert (found["artifact"], found["saved_model"]) == (str(artifact), str(tmp_path / "p"))
        assert lineage_of(push(story, upstream=found)).artifact == str(artifact)

    def test_it_waits_in_the_triggerer_until_there_is_one(self, pipeline: Pipeline, tmp_path: Path) -> None:
        sensor = PushedModelSensor(
            task_id="wait", mlmd_conn_id=CONNECTION, pipeline="taxi", deferrable=True, poke_interval=0.1, timeout=60
        )
        with pytest.raises(TaskDeferred) as deferred:
            sensor.execute(context_of())
        path, kwargs = deferred.value.trigger.serialize()
        assert path.endswith("CandidateTrigger")
        assert deferred.value.timeout is not None

        async def wait() -> Any:
            waiting = asyncio.ensure_future(event_of(CandidateTrigger(**kwargs)))
            artifact = await asyncio.to_thread(pushed_by, pipeline, tmp_path / "p")
            return artifact, await waiting

        artifact, event = asyncio.run(wait())

        assert sensor.execute_complete(context_of(), event)["artifact"] == str(artifact)

    def test_a_store_that_is_away_is_looked_at_again_in_both_ways(
        self, store: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        sensor = PushedModelSensor(task_id="wait", mlmd_conn_id=CONNECTION)
        assert not sensor.poke(context_of()).is_done
        trigger = CandidateTrigger(mlmd_conn_id=CONNECTION, kind="pushed", pipeline="", after="", poll_seconds=0.01)

        async def wait() -> Any:
            waiting = asyncio.ensure_future(event_of(trigger))
            while "does not exist" not in caplog.text:  # noqa: ASYNC110 (the log says so)
                await asyncio.sleep(0.01)
            other = tmp_path / "made elsewhere.sqlite"
            artifact = await asyncio.to_thread(lambda: pushed_by(Pipeline(other), tmp_path / "p"))
            other.rename(store)
            return artifact, await waiting

        artifact, event = asyncio.run(wait())

        assert event["artifact"] == str(artifact)

    def test_what_no_second_look_can_mend_fails_at_once(self, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AIRFLOW_CONN_TFX_MLMD", json.dumps({"conn_type": "mlmd", "extra": {"path": "relative"}}))
        sensor = PushedModelSensor(task_id="wait", mlmd_conn_id=CONNECTION)

        with pytest.raises(AirflowFailException, match="relative"):
            sensor.poke(context_of())
        trigger = CandidateTrigger(mlmd_conn_id=CONNECTION, kind="pushed", pipeline="", after="", poll_seconds=1)
        with pytest.raises(AirflowFailException, match="relative"):
            sensor.execute_complete(context_of(), asyncio.run(event_of(trigger)))

    def test_after_a_moment_older_models_do_not_count(self, pipeline: Pipeline, tmp_path: Path) -> None:
        pushed_by(pipeline, tmp_path / "p")

        def found(after: str) -> bool:
            sensor = PushedModelSensor(task_id="wait", mlmd_conn_id=CONNECTION, after=after)
            return bool(sensor.poke(context_of()).is_done)

        assert found("2020-01-01T00:00:00")
        assert not found("2100-01-01T00:00:00+00:00")
        with pytest.raises(AirflowFailException, match="ISO 8601"):
            found("yesterday")


class Store:
    """An asset's state store, as Airflow hands it to a trigger."""

    def __init__(self) -> None:
        self.kept: dict[str, Any] = {}

    async def aget(self, key: str, default: Any = None) -> Any:
        return json.loads(self.kept[key]) if key in self.kept else default

    async def aset(self, key: str, value: Any) -> None:
        self.kept[key] = json.dumps(value)


class Watcher:
    """Runs the watcher as the triggerer does, again and again if a test wants; its store outlives it."""

    def __init__(self, *, again_seconds: float = 3600.0) -> None:
        self.state = Store()
        self.told: list[dict[str, Any]] = []
        self._again_seconds = again_seconds

    def trigger(self) -> PipelineWatchTrigger:
        """Return the asset's trigger, made from what Airflow keeps of it."""
        asset = pipeline_asset(FILE)
        assert asset is not None
        _, kwargs = asset.watchers[0].trigger.serialize()
        changed = {**kwargs, "poll_seconds": 0.01, "again_seconds": self._again_seconds}
        trigger = PipelineWatchTrigger(**json.loads(json.dumps(changed)))
        trigger.asset_state_store = self.state  # type: ignore[assignment]
        return trigger

    def watches(self, *, looks: int, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """Let it look so often; return the artifacts that it told of."""
        before = len(self.told)
        asyncio.run(self._watch(looks, monkeypatch))
        return [each["artifact"] for each in self.told[before:]]

    async def _watch(self, looks: int, monkeypatch: pytest.MonkeyPatch) -> None:
        from airflow_model_ops.triggers import pipeline

        look, looked, done = pipeline.alook_at, 0, asyncio.Event()

        async def counted(*args: Any, **kwargs: Any) -> Any:
            nonlocal looked
            looked += 1
            if looked > looks:
                done.set()
                await asyncio.Event().wait()
            return await look(*args, **kwargs)

        with monkeypatch.context() as changed:
            changed.setattr(pipeline, "alook_at", counted)
            running = asyncio.ensure_future(self._collect())
            async with asyncio.timeout(ANSWER_SECONDS):
                await asyncio.wait({running, asyncio.ensure_future(done.wait())}, return_when="FIRST_COMPLETED")
            assert not running.done(), running
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    async def _collect(self) -> None:
        async for event in self.trigger().run():
            assert isinstance(event, TriggerEvent)
            self.told.append(json.loads(json.dumps(event.payload)))


class TestWatcher:
    def test_a_pushed_model_is_told_of_once_and_no_more_after_a_restart(
        self, pipeline: Pipeline, story: Story, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        artifact = pushed_by(pipeline, tmp_path / "p")
        watcher = Watcher()

        assert watcher.watches(looks=3, monkeypatch=monkeypatch) == [str(artifact)]
        assert watcher.watches(looks=2, monkeypatch=monkeypatch) == []

    def test_it_is_told_of_again_while_nothing_comes_of_it_but_not_for_ever(
        self, pipeline: Pipeline, story: Story, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As when the DAG was paused at that moment, and Airflow started no run."""
        artifact = pushed_by(pipeline, tmp_path / "p")
        monkeypatch.setattr("airflow_model_ops.core.tellings.MOST_TIMES", 3)
        watcher = Watcher(again_seconds=0.0)

        assert watcher.watches(looks=2, monkeypatch=monkeypatch) == [str(artifact)] * 2
        assert watcher.watches(looks=3, monkeypatch=monkeypatch) == [str(artifact)]

    def test_once_it_was_pushed_it_is_news_no_more_whoever_asked_for_that(
        self, pipeline: Pipeline, story: Story, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        artifact = pushed_by(pipeline, tmp_path / "p")
        push(story, upstream=f"{CONNECTION}/{artifact}", run_id="manual__1")

        assert Watcher(again_seconds=0.0).watches(looks=2, monkeypatch=monkeypatch) == []

    def test_the_log_is_read_again_only_when_something_came_and_then_it_counts(
        self, pipeline: Pipeline, story: Story, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It may be long, and is looked at every minute for ever."""
        artifact = pushed_by(pipeline, tmp_path / "p")
        reads: list[str] = []

        def counted(**given: Any) -> Any:
            reads.append(given["model"])
            return choose_candidate(**given)

        monkeypatch.setattr("airflow_model_ops.control.candidates.choose_candidate", counted)
        look = look_at(CONNECTION, kind=CandidateKind.PUSHED, pipeline="")
        trigger = Watcher().trigger()

        chosen = [trigger._choose(look, story.repository) for _ in range(3)]
        push(story, upstream=f"{CONNECTION}/{artifact}")
        after = [trigger._choose(look, story.repository) for _ in range(2)]

        assert [each.artifact if each else None for each in (*chosen, *after)] == [str(artifact)] * 3 + [None] * 2
        assert len(reads) == 2

    def test_two_watchers_at_once_lead_to_one_release(
        self, pipeline: Pipeline, story: Story, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A trigger may run in two triggerers for a while: the second event's run skips."""
        pushed_by(pipeline, tmp_path / "p")
        first, second = Watcher(), Watcher()
        first.watches(looks=1, monkeypatch=monkeypatch)
        second.watches(looks=1, monkeypatch=monkeypatch)

        push(story, event=first.told[0], run_id="asset_triggered__1")
        with pytest.raises(AirflowSkipException, match="has had its release"):
            push(story, event=second.told[0], run_id="asset_triggered__2")

        assert story.names == ["pushed"]

    def test_of_several_the_newest_is_told_of_and_a_refused_one_does_not_hide_an_older_one(
        self, pipeline: Pipeline, story: Story, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        older, newer = (pushed_by(pipeline, tmp_path / name, name.encode()) for name in ("older", "newer"))
        watcher = Watcher()
        assert watcher.watches(looks=1, monkeypatch=monkeypatch) == [str(newer)]
        released(story, push(story, event=watcher.told[0]).version.name, harmed=True)

        assert watcher.watches(looks=1, monkeypatch=monkeypatch) == [str(older)]

    def test_after_a_promotion_older_models_are_not_told_of(
        self, pipeline: Pipeline, story: Story, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        older, newer = (pushed_by(pipeline, tmp_path / name, name.encode()) for name in ("older", "newer"))
        released(story, push(story, upstream=f"{CONNECTION}/{newer}").version.name)

        assert Watcher().watches(looks=1, monkeypatch=monkeypatch) == []
        assert older < newer

    def test_a_store_that_is_away_does_not_end_it(
        self, store: Path, story: Story, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        watcher = Watcher()
        assert watcher.watches(looks=1, monkeypatch=monkeypatch) == []

        artifact = pushed_by(Pipeline(store), tmp_path / "p")

        assert watcher.watches(looks=1, monkeypatch=monkeypatch) == [str(artifact)]

    def test_airflow_finds_the_same_trigger_after_it_was_kept(self) -> None:
        """Airflow 3.3 never starts a trigger of an asset whose arguments it does not recognise again."""
        asset = pipeline_asset(FILE)
        assert asset is not None
        path, kwargs = asset.watchers[0].trigger.serialize()

        assert all(isinstance(value, (str, int, float)) for value in kwargs.values())
        assert BaseEventTrigger.hash(path, kwargs) == BaseEventTrigger.hash(path, json.loads(json.dumps(kwargs)))


class TestPush:
    def test_a_real_saved_model_comes_with_its_lineage_and_is_named_after_its_artifact(
        self, pipeline: Pipeline, story: Story, tmp_path: Path
    ) -> None:
        raw = pipeline.artifact("Examples", "/data/7", span=7)
        pipeline.execution("ExampleGen", outputs=[("examples", raw)])
        directory = saved_model(tmp_path / "model" / "Format-Serving")
        model = pipeline.trained(str(directory.parent), data=[("examples", raw)], train_args='{"num_steps": 9}')
        pipeline.evaluated(model)

        stored = push(story, upstream=f"{CONNECTION}/{model}")

        found = lineage_of(stored)
        assert (found.connection, found.artifact) == (CONNECTION, str(model))
        assert [each.type for each in found.artifacts] == ["Model", "ModelBlessing", "Examples"]
        assert (stored.dataset_version, stored.hyperparameters) == ("span-7", {"train_args": {"num_steps": 9}})
        assert stored.source["path"] == str(directory)
        (row,) = pipeline.store.get_artifacts_by_id([model])
        created = datetime.fromtimestamp(row.create_time_since_epoch / 1000, tz=UTC)
        assert stored.version == story.model.naming().from_time(created)
        assert story.entries[0].detail["upstream"] == f"{model}/{row.create_time_since_epoch}"

    def test_a_model_in_a_bucket_is_fetched_when_it_is_its_turn_whoever_chose_it(
        self, pipeline: Pipeline, story: Story, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        bucket, uri = fsspec.filesystem("memory", skip_instance_cache=True), "memory://tfx-models/trainer/7"
        monkeypatch.setattr(io_store, "_STORE_CACHE", {})
        io_store.attach("memory", fs=bucket)
        bucket.pipe_file(f"{uri}/saved_model.pb", b"graph of the bucket")
        model = pipeline.pushed(pipeline.trained("/m"), uri)

        named = push(story, upstream=f"{CONNECTION}/{model}")
        found = push(story, run_id="manual__2")

        assert named == found
        assert named.source["path"] == uri
        assert list(named.files) == ["saved_model.pb"]
        bucket.rm("memory://tfx-models", recursive=True)
        with pytest.raises(AirflowFailException, match=f"'{uri}': no SavedModel is there"):
            push(story, upstream=f"{CONNECTION}/{model}", run_id="manual__3", version="other")

    def test_what_the_run_says_goes_before_what_the_lineage_tells(
        self, pipeline: Pipeline, story: Story, tmp_path: Path
    ) -> None:
        artifact = pushed_by(pipeline, tmp_path / "p")

        stored = push(
            story,
            upstream={"connection": CONNECTION, "artifact": artifact},
            dataset_version="mine",
            hyperparameters={"a": 1},
        )

        assert (stored.dataset_version, stored.hyperparameters) == ("mine", {"a": 1})

    def test_the_same_artifact_pushed_twice_is_one_version_with_the_first_ones_manifest(
        self, pipeline: Pipeline, story: Story, tmp_path: Path
    ) -> None:
        artifact = pushed_by(pipeline, tmp_path / "p")
        first = push(story, upstream=f"{CONNECTION}/{artifact}", run_id="manual__1")
        pipeline.execution("Renamer", inputs=[("m", artifact)], outputs=[("m", artifact)])
        (row,) = pipeline.store.get_artifacts_by_id([artifact])
        row.custom_properties["later"].string_value = "changed"
        pipeline.store.put_artifacts([row])

        again = push(story, upstream=f"{CONNECTION}/{artifact}", run_id="manual__2")

        assert again == first
        assert story.names == ["pushed"]

    def test_a_retry_does_not_look_at_the_store_again(
        self, pipeline: Pipeline, story: Story, store: Path, tmp_path: Path
    ) -> None:
        artifact = pushed_by(pipeline, tmp_path / "p")
        first = push(story, upstream=f"{CONNECTION}/{artifact}")
        store.unlink()

        assert push(story, upstream=f"{CONNECTION}/{artifact}") == first

    def test_a_second_push_in_the_same_run_pushes_its_own_artifact(
        self, pipeline: Pipeline, story: Story, tmp_path: Path
    ) -> None:
        one, two = (pushed_by(pipeline, tmp_path / name, name.encode()) for name in ("one", "two"))

        first, second = (push(story, upstream=f"{CONNECTION}/{each}") for each in (one, two))

        assert first.version != second.version
        assert lineage_of(second).artifact == str(two)

    def test_a_run_that_nobody_told_which_takes_the_newest_still_to_be_released(
        self, pipeline: Pipeline, story: Story, tmp_path: Path
    ) -> None:
        older, newer = (pushed_by(pipeline, tmp_path / name, name.encode()) for name in ("older", "newer"))
        first = push(story, run_id="manual__1")
        assert lineage_of(first).artifact == str(newer)
        assert push(story, run_id="manual__2") == first  # its release has not ended with a decision
        released(story, first.version.name, harmed=True)

        second = push(story, run_id="manual__3")
        assert lineage_of(second).artifact == str(older)
        released(story, second.version.name, run="r2")

        with pytest.raises(AirflowSkipException, match="which was promoted"):
            push(story, run_id="manual__4")

    def test_content_that_was_promoted_in_another_way_is_not_released_again(
        self, pipeline: Pipeline, story: Story, tmp_path: Path
    ) -> None:
        released(
            story, push(story, saved_model=str(saved_model(tmp_path / "by hand")), run_id="manual__1").version.name
        )
        watched = {**_candidate(pushed_by(pipeline, tmp_path / "p"))}

        with pytest.raises(AirflowSkipException, match="which was promoted"):
            push(story, event=watched)

    def test_nothing_to_release_yet_skips_and_says_why(self, pipeline: Pipeline, story: Story) -> None:
        with pytest.raises(AirflowSkipException, match="no pipeline 'taxi' yet"):
            push(story)

    @pytest.mark.parametrize(
        ("custom", "told"),
        [({"state": "PENDING"}, "state is not LIVE"), ({"pushed": 0}, "was not pushed")],
    )
    def test_what_is_not_there_or_was_not_pushed_is_refused(
        self, pipeline: Pipeline, story: Story, tmp_path: Path, custom: dict[str, Any], told: str
    ) -> None:
        uri = str(saved_model(tmp_path / "p"))
        artifact = pipeline.pushed(pipeline.trained("/m"), uri, **custom)

        with pytest.raises(AirflowFailException, match=told):
            push(story, upstream=f"{CONNECTION}/{artifact}")

    @pytest.mark.parametrize("given", ["42", "tfx_mlmd/newest", {"artifact": "3"}, "tfx_mlmd/"])
    def test_what_names_no_artifact_says_what_to_give(self, story: Story, given: Any) -> None:
        with pytest.raises(AirflowFailException, match="such as tfx_mlmd/42"):
            push(story, upstream=given)

    def test_an_artifact_that_does_not_exist_is_said(self, pipeline: Pipeline, story: Story) -> None:
        with pytest.raises(AirflowFailException, match=r"'tfx_mlmd' has no artifact 77"):
            push(story, upstream="tfx_mlmd/77")

    def test_a_directory_and_an_artifact_at_once_are_too_much(self, story: Story) -> None:
        with pytest.raises(AirflowFailException, match="give one of them"):
            push(story, upstream="tfx_mlmd/1", saved_model="/m")


def test_the_ledger_knows_the_pipeline_its_run_and_its_trainer_once_the_push_is_recorded(
    pipeline: Pipeline, story: Story, tmp_path: Path
) -> None:
    raw = pipeline.artifact("Examples", "/data/7", span=7)
    pipeline.execution("ExampleGen", outputs=[("examples", raw)])
    model = pipeline.trained("/m", data=[("examples", raw)])
    blessing = pipeline.evaluated(model)
    artifact = pipeline.pushed(model, str(saved_model(tmp_path / "p")), blessing=blessing)
    stored = push(story, upstream=f"{CONNECTION}/{artifact}")
    ledger = LedgerSettings(path=tmp_path / "ledger.sqlite")

    MlmdLedger(ledger).catch_up(
        MODEL, story.repository.log(MODEL), lambda version: story.repository.manifest(MODEL, version)
    )

    known = LedgerQueries(ledger).ancestry(MODEL, version=stored.version.name)
    assert known.upstream == lineage_of(stored)
    assert known.dataset_version == "span-7"
    assert known.pipeline is not None
    assert (known.pipeline.pipelines, known.pipeline.runs) == (("taxi",), ("run-1",))
    assert known.pipeline.trainers == ("tfx.components.trainer.component.Trainer",)


def _candidate(artifact: int) -> dict[str, str]:
    """What the watcher tells of an artifact of long in the future, as far as the clock of the story goes."""
    moment = "4102444800000"
    known = {"artifact": str(artifact), "created": moment, "ready": moment, "connection": CONNECTION, "kind": "pushed"}
    return {**known, "type": "PushedModel", "uri": "", "saved_model": "", "pipeline": "taxi", "run": ""}


class TestTheDag:
    def test_it_is_scheduled_on_the_pipelines_models(self) -> None:
        dag = build_release_dag(FILE)

        asset = dag.timetable.asset_condition  # type: ignore[attr-defined]
        assert asset.uri.rstrip("/") == "model-ops://pipeline/digits"
        watched = asset.watchers[0].trigger.serialize()[1]
        assert (watched["mlmd_conn_id"], watched["pipeline"], watched["poll_seconds"]) == (CONNECTION, "taxi", 60.0)
        assert "upstream" in dag.params

    def test_parsing_it_imports_no_ml_metadata(self, tmp_path: Path) -> None:
        (tmp_path / "digits.yaml").write_text(YAML)
        code = (
            f"{WITHOUT_OTHERS_ASSETS}\nimport sys\nfrom airflow_model_ops.dag_builders import build_release_dag\n"
            f"build_release_dag({str(tmp_path / 'digits.yaml')!r})\n"
            "print([name for name in ('ml_metadata', 'tensorflow', 'grpc') if name in sys.modules])"
        )

        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)

        assert done.stdout.splitlines()[-1] == "[]"

    def test_the_file_survives_the_way_through_a_trigger(self) -> None:
        assert ModelFile.model_validate(FILE.model_dump(mode="json")) == FILE

    @pytest.mark.parametrize(
        ("source", "told"),
        [
            ("{pipeline: {artifact: best}}", r"m\.yaml:2: source\.pipeline\.artifact: .*'blessed' or 'pushed'"),
            ("{pipeline: {poll: 0s}}", r"m\.yaml:2: source\.pipeline\.poll"),
            ("{pipeline: {pipline: taxi}}", r"m\.yaml:2: source\.pipeline\.pipline: unknown key"),
            ("\n  pipeline: {}\n  export_dir: /x", r"m\.yaml:4: source: export_dir: there is a pipeline too"),
            ("\n  pipeline: {}\n  schedule: '@daily'", r"m\.yaml:4: source: schedule: belongs to export_dir"),
            ("\n  pipeline: {}\n  settle: 5s", r"m\.yaml:4: source: settle: belongs to export_dir"),
            ("{}", r"m\.yaml:2: source: export_dir is missing.*or name a pipeline"),
        ],
    )
    def test_a_mistake_in_the_source_is_told_with_its_line(self, source: str, told: str) -> None:
        with pytest.raises(InvalidConfig, match=told):
            parse_model_file(
                f"model: digits\nsource: {source}\nchecks:\n  - {{name: e, kind: error_rate, max: 1}}\n", name="m.yaml"
            )

    def test_versions_that_people_name_cannot_come_by_themselves(self) -> None:
        with pytest.raises(InvalidConfig, match=r"m\.yaml:3: source\.pipeline: nobody gives"):
            parse_model_file(f"{YAML}versions: {{scheme: semantic, prefix: digits}}\n", name="m.yaml")
