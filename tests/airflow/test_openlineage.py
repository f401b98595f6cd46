"""What operators tell Airflow's OpenLineage provider: datasets in real events, sent to a collector on loopback."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import attrs
import pytest
from airflow.providers.openlineage.extractors import OperatorLineage
from airflow.sdk.exceptions import AirflowException, AirflowFailException, TaskDeferred
from airflow.utils.state import TaskInstanceState
from jsonschema import ValidationError
from openlineage.client.naming.dataset import GCS, HDFS, S3, LocalFileSystem, RemoteFileSystem

from airflow_model_ops import __version__
from airflow_model_ops.config.model_file import parse_model_file
from airflow_model_ops.control.model_control import ModelControl
from airflow_model_ops.core.errors import NotApplied, RepositoryUnavailable
from airflow_model_ops.core.ports import PushRequest
from airflow_model_ops.core.state import Fence
from airflow_model_ops.core.upstream import UpstreamArtifact, UpstreamLineage
from airflow_model_ops.openlineage.datasets import directory_read
from airflow_model_ops.openlineage.facets import (
    SERVING_KEY,
    VERSION_KEY,
    ModelOpsModelVersionDatasetFacet,
    ModelOpsServingStateDatasetFacet,
)
from airflow_model_ops.operators.check import CheckMetricsOperator
from airflow_model_ops.operators.guard import GuardRollbackOperator
from airflow_model_ops.operators.promotion_watch import WatchPromotionOperator
from airflow_model_ops.operators.push import PushModelOperator
from airflow_model_ops.operators.rollback import PinGoldenOperator, RollbackModelOperator
from airflow_model_ops.operators.traffic import (
    AbortReleaseOperator,
    PromoteModelOperator,
    ShiftTrafficOperator,
    StartCanaryOperator,
)
from airflow_model_ops.operators.upkeep import RecordLineageOperator
from airflow_model_ops.operators.validate import ValidateModelOperator
from tests.airflow.lineage_collector import Collector, collecting, schema_of, validator_of, version_name
from tests.airflow.release_story import YAML, Story, context_of, on_stage

ROOT = Path(__file__).parents[2]
ANSWER_SECONDS = 60.0
WATCHED = YAML + "watch: {duration: 10m, hold_back: 5}\n"


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with collecting() as collector:
        yield collector


@pytest.fixture
def export(tmp_path: Path) -> Path:
    """A directory that passes for a SavedModel."""
    directory = tmp_path / "export"
    directory.mkdir()
    (directory / "saved_model.pb").write_bytes(b"graph")
    return directory


def push(story: Story, export: Path, **fields: Any) -> PushModelOperator:
    return PushModelOperator(
        task_id="push", model=story.model, saved_model=str(export), version="digits-v1.0.0", **fields
    )


def rollback(story: Story) -> RollbackModelOperator:
    return RollbackModelOperator(task_id="rollback", model=story.model, reason="it smells")


def deferred(task: Any, context: Any) -> Any:
    """Let a task go to the triggerer and return its trigger, made quick, and how the task wants to be resumed."""
    with pytest.raises(TaskDeferred) as waiting:
        task.execute(context)
    trigger = waiting.value.trigger
    trigger.first_pause_seconds, trigger.look_seconds = 0.01, 0.02
    return trigger, waiting.value.method_name, dict(waiting.value.kwargs or {})


def fired(trigger: Any) -> Any:
    """Return the content of a trigger's event."""

    async def first() -> Any:
        async with asyncio.timeout(ANSWER_SECONDS):
            return [event.payload async for event in trigger.run()]

    (event,) = asyncio.run(first())
    return event


class TestPush:
    def test_the_version_comes_from_its_directory_and_its_training_data(
        self, story: Story, export: Path, collector: Collector
    ) -> None:
        task, context = push(story, export, dataset_version="digits@7"), context_of(task_id="push")
        digest = task.execute(context)["digest"]

        told = collector.told(task, context)

        assert told.inputs.keys() == {str(export), "datasets/digits@7"}
        assert told.inputs["datasets/digits@7"]["version"]["datasetVersion"] == "digits@7"
        (made,) = told.outputs.values()
        assert made["version"]["datasetVersion"] == "digits-v1.0.0"
        assert made["lifecycleStateChange"]["lifecycleStateChange"] == "CREATE"
        facet = made[VERSION_KEY]
        assert (facet["model"], facet["servingNumber"], facet["digest"]) == ("digits", "100000000", digest)
        assert (facet["datasetVersion"], facet["labels"], facet["percent"]) == ("digits@7", [], 0)
        assert told.namespaces == {
            str(export): "file",
            "datasets/digits@7": story.repository.uri,
            version_name(1): story.repository.uri,
        }

    def test_what_a_pipeline_made_it_from_is_read_too(self, story: Story, export: Path, collector: Collector) -> None:
        artifacts = (
            UpstreamArtifact(id="5", type="Model", uri="gs://pipelines/Trainer/model/5"),
            UpstreamArtifact(id="3", type="Examples", uri="/pipelines/ExampleGen/examples/3"),
            UpstreamArtifact(id="2", type="String"),
        )
        upstream = UpstreamLineage(connection="tfx", artifact="5", artifacts=artifacts)
        source = {"path": str(export), "upstream": upstream.to_json()}
        version = story.model.naming().parse("digits-v1.0.0")
        created = "2023-06-01T12:00:00+00:00"
        story.repository.push("digits", version, PushRequest(directory=export, created=created, source=source))
        task, context = push(story, export), context_of(task_id="push")
        task.execute(context)

        told = collector.told(task, context)

        assert told.inputs.keys() == {str(export), "Trainer/model/5", "/pipelines/ExampleGen/examples/3"}
        assert told.namespaces["Trainer/model/5"] == "gs://pipelines"
        said = told.inputs["/pipelines/ExampleGen/examples/3"]["documentation"]["description"]
        assert all(word in said for word in ("3", "Examples", "tfx"))

    def test_a_cleared_push_that_adopts_its_version_tells_the_same(
        self, story: Story, export: Path, collector: Collector
    ) -> None:
        push(story, export).execute(context_of(task_id="push"))
        task, again = push(story, export), context_of(task_id="push", try_number=2, max_tries=4)
        task.execute(again)

        told = collector.told(task, again)

        assert (set(told.inputs), set(told.outputs)) == ({str(export)}, {version_name(1)})

    def test_the_directory_is_told_at_the_start_and_when_it_is_refused(
        self, story: Story, tmp_path: Path, collector: Collector
    ) -> None:
        task, context = push(story, tmp_path), context_of(task_id="push")
        before = collector.told(task, context, state=TaskInstanceState.RUNNING)
        with pytest.raises(AirflowFailException):
            task.execute(context)

        after = collector.told(task, context, state=TaskInstanceState.FAILED)

        assert [*before.inputs] == [*after.inputs] == [str(tmp_path)]
        assert not after.outputs


def _start(story: Story) -> Any:
    story.v(3)
    return StartCanaryOperator(task_id="task", model=story.model, version="digits-v3.0.0")


def _shift(story: Story) -> Any:
    return ShiftTrafficOperator(task_id="task", model=story.model, release=story.start(3), percent=50)


def _promote(story: Story) -> Any:
    return PromoteModelOperator(task_id="task", model=story.model, release=story.start(3), proof="it was good")


def _abort(story: Story) -> Any:
    return AbortReleaseOperator(task_id="task", model=story.model, release=story.start(3), reason="enough")


def _pin(story: Story) -> Any:
    return PinGoldenOperator(task_id="task", model=story.model, version="digits-v2.0.0")


class TestTraffic:
    @pytest.mark.parametrize(
        ("make", "expected"),
        [
            (_start, ("start_canary", 3, ["canary"], 0, {"digits-v2.0.0": 100})),
            (_shift, ("shift", 3, ["canary"], 50, {"digits-v2.0.0": 50, "digits-v3.0.0": 50})),
            (_promote, ("promote", 3, ["stable"], 100, {"digits-v3.0.0": 100})),
            (_abort, ("abort", 3, [], 0, {"digits-v2.0.0": 100})),
            (rollback, ("rollback", 1, ["stable"], 100, {"digits-v1.0.0": 100})),
            (_pin, ("pin_golden", 2, ["stable", "golden"], 100, {"digits-v2.0.0": 100})),
        ],
    )
    def test_a_change_reads_a_version_and_writes_what_the_model_serves(
        self, story: Story, collector: Collector, make: Callable[[Story], Any], expected: tuple[Any, ...]
    ) -> None:
        action, read, labels, percent, split = expected
        story.serve(1, 2)
        task, context = make(story), context_of()
        task.execute(context)

        told = collector.told(task, context)

        assert [*told.inputs] == [version_name(read)]
        assert (told.version(read)["labels"], told.version(read)["percent"]) == (labels, percent)
        assert [*told.outputs] == ["digits/serving"]
        entry = next(entry for entry in reversed(story.entries) if entry.is_transition)
        serving = told.serving
        assert (serving["action"], serving["split"], serving["applied"]) == (action, split, True)
        assert (serving["generation"], serving["reason"], serving["fleet"]) == (
            str(entry.sequence),
            entry.reason,
            "main",
        )
        assert serving["stable"] == next(iter(split))
        assert told.outputs["digits/serving"]["version"]["datasetVersion"] == str(entry.sequence)
        assert set(told.namespaces.values()) == {story.repository.uri}

    def test_a_late_abort_that_changes_nothing_writes_nothing(self, story: Story, collector: Collector) -> None:
        story.serve(1)
        release = story.start(2)
        story.control().abort(reason="another was quicker", fence=Fence(release="r", attempt=1))
        task, context = AbortReleaseOperator(task_id="abort", model=story.model, release=release), context_of()
        task.execute(context)

        told = collector.told(task, context)

        assert ([*told.inputs], told.outputs) == ([version_name(2)], {})

    def test_a_refused_start_tells_what_it_was_to_act_on(self, story: Story, collector: Collector) -> None:
        story.serve(1)
        story.control().quarantine(story.v(2), reason="it harms")
        task, context = StartCanaryOperator(task_id="load", model=story.model, version="digits-v2.0.0"), context_of()
        with pytest.raises(AirflowFailException):
            task.execute(context)

        told = collector.told(task, context, state=TaskInstanceState.FAILED)

        assert told.version(2)["quarantined"] is True
        assert not told.outputs

    def test_a_change_that_no_server_follows_yet_is_told_as_not_applied(
        self, story: Story, collector: Collector, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def silent(_: ModelControl, **__: float) -> Any:
            raise NotApplied("server-1 does not answer")

        story.serve(1, 2)
        monkeypatch.setattr(ModelControl, "apply", silent)
        task, context = rollback(story), context_of()
        with pytest.raises(AirflowException):
            task.execute(context)

        told = collector.told(task, context, state=TaskInstanceState.FAILED)

        assert (told.serving["stable"], told.serving["applied"]) == ("digits-v1.0.0", False)

    def test_a_retry_tells_what_the_try_before_it_had_committed(self, story: Story, collector: Collector) -> None:
        story.serve(1, 2)
        rollback(story).execute(context_of(task_id="rollback"))
        task, retry = rollback(story), context_of(task_id="rollback", try_number=2)
        task.execute(retry)

        told = collector.told(task, retry)

        assert [*told.inputs] == [version_name(1)]
        assert told.serving["action"] == "rollback"

    def test_a_cleared_task_does_not_tell_again_what_it_did_before(self, story: Story, collector: Collector) -> None:
        story.serve(1, 2, 3)
        rollback(story).execute(context_of(task_id="rollback"))
        task, cleared = rollback(story), context_of(task_id="rollback", try_number=2, max_tries=4)
        task.execute(cleared)

        told = collector.told(task, cleared)

        assert [*told.inputs] == [version_name(1)]
        assert told.serving["stable"] == "digits-v1.0.0"

    def test_a_task_that_takes_several_models_back_tells_of_each_that_it_opened(
        self, story: Story, collector: Collector
    ) -> None:
        story.serve(1, 2)
        payload = {"model": "digits", "version": "digits-v2.0.0", "reason": "above its ceiling"}
        alarm = SimpleNamespace(timestamp=0, extra={"payload": payload})
        context = {**context_of(task_id="guard"), "triggering_asset_events": {"digits_stable": [alarm]}}
        task = GuardRollbackOperator(task_id="guard", model={"digits": story.model, "letters": story.model})
        task.execute(context)

        told = collector.told(task, context)

        assert [*told.inputs] == [version_name(1)]
        assert (told.serving["action"], told.serving["stable"]) == ("rollback", "digits-v1.0.0")

    def test_a_task_that_changes_no_model_tells_nothing(self, story: Story, collector: Collector) -> None:
        story.serve(1)
        task = RecordLineageOperator(task_id="record", model=parse_model_file(YAML + "connections: {ledger: null}\n"))
        context = context_of()
        task.execute(context)

        told = collector.told(task, context)

        assert (told.inputs, told.outputs) == ({}, {})


class TestJudging:
    def test_validation_reads_the_version_and_stable(
        self, story: Story, collector: Collector, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from airflow_model_ops.adapters.validation import validate

        report = validate.ValidationReport(
            blessed=True, reason="0.9 against 0.8", accuracy=0.9, stable_accuracy=0.8, details={}
        )
        monkeypatch.setattr(validate, "validate_candidate", lambda **_: report)
        story.serve(1)
        story.v(2)
        task = ValidateModelOperator(task_id="validate", model=story.model, version="digits-v2.0.0")
        context = context_of(task_id="validate")
        task.execute(context)

        told = collector.told(task, context)

        assert told.inputs.keys() == {version_name(1), version_name(2)}
        assert (told.version(2)["blessed"], told.version(2)["judgedReason"]) == (True, "0.9 against 0.8")
        assert "blessed" not in told.version(1)
        assert not told.outputs

    def check(self, story: Story, release: dict[str, str]) -> CheckMetricsOperator:
        return CheckMetricsOperator(task_id="check", model=story.model, release=release, step=0)

    def test_a_check_that_was_deferred_tells_what_its_trigger_did(self, story: Story, collector: Collector) -> None:
        """The trigger aborts in another process; the task that is resumed touches no fleet before it fails."""
        story.serve(1)
        release, context = story.start(2), context_of(task_id="check")
        trigger, method, kwargs = deferred(self.check(story, release), context)
        story.source.harm()
        story.clock.advance(10)
        event = fired(trigger)
        resumed = self.check(story, release)
        with pytest.raises(AirflowFailException, match="HARM"):
            resumed.resume_execution(method, {**kwargs, "event": event}, context)

        told = collector.told(resumed, context, state=TaskInstanceState.FAILED)

        assert told.inputs.keys() == {version_name(1), version_name(2)}
        canary = told.version(2)
        assert (canary["verdict"], canary["quarantined"], canary["percent"]) == ("HARM", True, 0)
        assert "HARM" in canary["judgedReason"]
        assert "verdict" not in told.version(1)
        assert (told.serving["action"], told.serving["stable"]) == ("abort", "digits-v1.0.0")

    def test_a_watch_that_goes_back_tells_both_versions_and_what_serves_again(self, collector: Collector) -> None:
        with on_stage(model=parse_model_file(WATCHED)) as story:
            story.serve(1)
            release, context = story.start(2), context_of(task_id="watch")
            PromoteModelOperator(task_id="promote", model=story.model, release=release, proof="good").execute(
                context_of(task_id="promote")
            )
            watch = WatchPromotionOperator(task_id="watch", model=story.model, release=release)
            trigger, method, kwargs = deferred(watch, context)
            story.source.harm()
            story.clock.advance(30)
            event = fired(trigger)
            resumed = WatchPromotionOperator(task_id="watch", model=story.model, release=release)
            with pytest.raises(AirflowFailException, match="was rolled back"):
                resumed.resume_execution(method, {**kwargs, "event": event}, context)

            told = collector.told(resumed, context, state=TaskInstanceState.FAILED)

        assert told.inputs.keys() == {version_name(1), version_name(2)}
        assert (told.version(2)["verdict"], told.version(1)["labels"]) == ("HARM", ["stable"])
        assert (told.serving["action"], told.serving["split"]) == ("rollback", {"digits-v1.0.0": 100})


class TestHarmlessness:
    def test_a_way_back_waits_for_no_lineage(self, story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
        """The provider asks before the task begins, too: nothing may be opened or read then."""
        story.serve(1, 2)
        task = rollback(story)

        def opened() -> None:
            raise AssertionError("a fleet was opened before the way back")

        monkeypatch.setattr(task, "open_fleet", opened)

        assert task.get_openlineage_facets_on_start() == OperatorLineage()

    def test_nothing_is_read_for_it_until_the_way_back_is_applied(self, story: Story) -> None:
        story.serve(1, 2)
        task, context = rollback(story), context_of()
        task.execute(context)
        read: list[bool] = []
        manifest = story.repository.manifest

        def reading(model: str, version: Any) -> Any:
            read.append(story.split == {1: 100})
            return manifest(model, version)

        story.repository.manifest = reading  # type: ignore[method-assign]

        assert task.get_openlineage_facets_on_complete(context["ti"]).outputs
        assert read
        assert all(read)

    def test_a_repository_that_is_gone_costs_the_lineage_alone_and_is_told_to_the_log(
        self, story: Story, collector: Collector, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        story.serve(1, 2)
        task, context = rollback(story), context_of()
        task.execute(context)

        def gone(_: str) -> Any:
            raise RepositoryUnavailable("the repository is not mounted")

        monkeypatch.setattr(story.repository, "log", gone)

        assert collector.told(task, context).event["outputs"] == []
        logged = capsys.readouterr().out
        assert "model=digits tells no lineage" in logged
        assert "the repository is not mounted" in logged

    def test_without_the_provider_operators_work_and_import_nothing_of_it(self, tmp_path: Path, export: Path) -> None:
        code = f"""
import sys

# What Airflow reads of every distribution that calls itself a provider; all else of it is not there.
KNOWN = {{"airflow.providers.openlineage.get_provider_info"}}

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "openlineage" or name.startswith("airflow.providers.openlineage.") and name not in KNOWN:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Absent())
from tests.airflow.release_story import context_of, on_stage
from airflow_model_ops.operators.push import PushModelOperator
from airflow_model_ops.operators.rollback import RollbackModelOperator
with on_stage() as story:
    story.serve(1, 2)
    push = PushModelOperator(task_id="p", model=story.model, saved_model={str(export)!r}, version="digits-v3.0.0")
    pushed = push.execute(context_of())["version"]
    back = RollbackModelOperator(task_id="b", model=story.model, reason="it smells")
    stable = back.execute(context_of())["version"]
provider = "airflow.providers.openlineage"
loaded = {{name for name in sys.modules if name.startswith((provider, "openlineage"))}}
facets = "airflow_model_ops.openlineage.facets" in sys.modules
print(pushed, stable, sorted(loaded - KNOWN - {{provider}}), facets)
"""
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False, cwd=ROOT
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[-1] == "digits-v3.0.0 digits-v1.0.0 [] False"


class TestFacets:
    def test_names_of_files_and_objects_are_those_of_the_standard(self) -> None:
        for uri, naming in (
            ("/srv/exports/7", LocalFileSystem("/srv/exports/7")),
            ("file:///srv/exports/7/", LocalFileSystem("/srv/exports/7")),
            ("file:///srv/two%20words", LocalFileSystem("/srv/two words")),
            ("file://host/srv/exports", RemoteFileSystem("host", "/srv/exports")),
            ("gs://bucket/a/b", GCS("bucket", "a/b")),
            ("s3://bucket/a/b/", S3("bucket", "a/b")),
            ("hdfs://name:8020/a/b", HDFS("name", "8020", "/a/b")),
        ):
            dataset = directory_read(uri)
            assert (dataset.namespace, dataset.name) == (naming.get_namespace(), naming.get_name()), uri

    def test_a_password_in_a_uri_is_not_told_and_a_container_is(self) -> None:
        assert directory_read("s3://key:secret@bucket/a").namespace == "s3://bucket"
        assert directory_read("abfss://container@account/a").namespace == "abfss://container@account"

    @pytest.mark.parametrize(
        ("key", "facet"),
        [(VERSION_KEY, ModelOpsModelVersionDatasetFacet), (SERVING_KEY, ModelOpsServingStateDatasetFacet)],
    )
    def test_a_schema_describes_every_field_and_is_where_the_facet_says(self, key: str, facet: Any) -> None:
        (described,) = schema_of(key)["$defs"].values()
        properties = described["allOf"][1]["properties"]
        assert properties.keys() == {each.name for each in attrs.fields(facet) if not each.name.startswith("_")}
        assert all("description" in each for each in properties.values())
        producer, _, place = facet._get_schema().partition("#")
        assert producer == f"pkg:pypi/airflow-model-ops@{__version__}"
        assert (ROOT / place).is_file()

    @pytest.mark.parametrize(
        "wrong", [{"servingNumber": 100000000}, {"labels": ["newest"]}, {"percent": 101}, {"verdict": "BAD"}]
    )
    def test_a_schema_refuses_what_a_facet_may_not_say(self, wrong: dict[str, Any]) -> None:
        facet = {
            "_producer": "pkg:pypi/airflow-model-ops",
            "_schemaURL": "pkg:pypi/airflow-model-ops#schema",
            "model": "digits",
            "version": "digits-v1.0.0",
            "servingNumber": "100000000",
            "labels": ["stable"],
            "percent": 100.0,
            "quarantined": False,
        }
        validator_of(VERSION_KEY).validate({VERSION_KEY: facet})
        with pytest.raises(ValidationError):
            validator_of(VERSION_KEY).validate({VERSION_KEY: facet | wrong})


TOLD_BY_AIRFLOW = """
import os, subprocess, sys
from airflow.dag_processing.dagbag import DagBag
from tests.airflow.release_story import on_stage

subprocess.run([sys.executable, "-m", "airflow", "db", "migrate"], check=True, capture_output=True)
with on_stage() as story:
    story.serve(1, 2)
    dags = DagBag(os.environ["AIRFLOW__CORE__DAGS_FOLDER"], bundle_name="dags-folder").dags
    print(dags["told"].test().state)
"""
TOLD_DAG = """
from airflow.sdk import DAG
from airflow_model_ops.operators.push import PushModelOperator
from airflow_model_ops.operators.rollback import RollbackModelOperator

with DAG("told", schedule=None):
    push = PushModelOperator(task_id="push", model="{yaml}", saved_model="{export}", version="digits-v3.0.0")
    push >> RollbackModelOperator(task_id="rollback", model="{yaml}", reason="it smells")
"""


@pytest.mark.e2e
def test_airflows_own_listener_sends_the_events_of_a_run(tmp_path: Path, export: Path) -> None:
    """With the switch that also sends each task's attributes: what an operator notes must not stop an event."""
    yaml, dags, sent = tmp_path / "digits.yaml", tmp_path / "dags", tmp_path / "events.jsonl"
    yaml.write_text(YAML)
    dags.mkdir()
    (dags / "told.py").write_text(TOLD_DAG.format(yaml=yaml, export=export))
    env = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "PYTEST"))} | {
        "AIRFLOW_HOME": str(tmp_path / "home"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
        "AIRFLOW__OPENLINEAGE__TRANSPORT": json.dumps({"type": "file", "log_file_path": str(sent), "append": True}),
        "AIRFLOW__OPENLINEAGE__INCLUDE_FULL_TASK_INFO": "True",
        "PYTHONPATH": str(ROOT),
    }
    done = subprocess.run(
        [sys.executable, "-c", TOLD_BY_AIRFLOW],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
        cwd=ROOT,
        env=env,
    )
    assert done.returncode == 0, done.stderr
    assert "success" in done.stdout.splitlines()

    ended = [event for line in sent.read_text().splitlines() if (event := json.loads(line))["eventType"] == "COMPLETE"]
    names = {
        event["job"]["name"]: [[each["name"] for each in event[part]] for part in ("inputs", "outputs")]
        for event in ended
    }
    assert names["told.push"] == [[str(export)], [version_name(3)]]
    assert names["told.rollback"] == [[version_name(1)], ["digits/serving"]]
