"""The guard of stable, as Airflow sees it: the stream that finds alarms, the task that takes the model back, the DAG."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import DAG, AssetAny
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException, TaskDeferred

from airflow_model_ops.assets import ROLLBACK_ALIAS, model_asset
from airflow_model_ops.config.model_file import ModelFile, parse_model_file
from airflow_model_ops.core.errors import MetricsUnavailable, NotApplied, RepositoryUnavailable
from airflow_model_ops.core.state import Fence
from airflow_model_ops.dag_builders import build_guard_dag, build_watch_dag
from airflow_model_ops.hooks.arms import VersionArms
from airflow_model_ops.hooks.wiring import standing_in
from airflow_model_ops.operators.guard import SETTLE_SECONDS, GuardRollbackOperator
from airflow_model_ops.operators.upkeep import RecordLineageOperator
from airflow_model_ops.triggers import guard
from airflow_model_ops.triggers.guard import StableGuardTrigger
from airflow_model_ops.triggers.loading import LoadTrigger
from tests.airflow.firings import firings
from tests.airflow.release_story import PERSON, Story, context_of
from tests.control.guard_story import CountingSource
from tests.waits import until_true

DAGS = Path(__file__).parents[2] / "dags"
ANSWER_SECONDS = 60.0
YAML = """
model: {model}
versions: {{scheme: semantic, prefix: {model}}}
connections: {{target: {target}}}
checks:
  - {{name: errors, kind: error_rate, max: 0.01}}
{more}
"""


def model(name: str = "digits", *, target: str = "fleet_eu", more: str = "guard: {interval: 1s}") -> ModelFile:
    return parse_model_file(YAML.format(model=name, target=target, more=more))


class GuardStory(Story):
    """A model that serves, with a guard, over a source that counts."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.counts = CountingSource(self.clock)

    def answer(self, major: int, *, bad: int, n: int = 500) -> None:
        """Let a version answer requests for a second."""
        self.counts.serve(VersionArms().arm("digits", self.v(major)).cluster, n=n, bad=bad, seconds=1.0)

    def trigger(self, *files: ModelFile, again_seconds: float = 60.0) -> StableGuardTrigger:
        return StableGuardTrigger.of(files or (self.model,), again_seconds=again_seconds)


@pytest.fixture
def story() -> Iterator[GuardStory]:
    stage = GuardStory(model=model())
    with standing_in(stage.fleet, metrics=stage.counts):
        yield stage


@asynccontextmanager
async def heard(events: AsyncIterator[Any]) -> AsyncIterator[list[dict[str, Any]]]:
    """Run a trigger beside the story and collect what its events carry."""
    payloads: list[dict[str, Any]] = []

    async def listen() -> None:
        async for event in events:
            payloads.append(event.payload)  # noqa: PERF401 (one by one, as they come)

    listening = asyncio.create_task(listen())
    try:
        yield payloads
    finally:
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)


async def go_on(story: GuardStory, *, bad: int, until: Callable[[], Any]) -> None:
    """Let stable answer requests, on and on."""
    async with asyncio.timeout(ANSWER_SECONDS):
        while not until():
            story.answer(2, bad=bad)
            await asyncio.sleep(0.02)


def run(work: Any) -> Any:
    return asyncio.run(work)


class TestStream:
    def test_it_tells_of_a_stable_version_that_turned_bad(self, story: GuardStory) -> None:
        story.serve(1, 2)

        async def tell() -> dict[str, Any]:
            async with heard(story.trigger().run()) as events:
                await go_on(story, bad=1, until=lambda: story.counts.asked > 1)
                assert events == []
                await go_on(story, bad=200, until=lambda: events)
                return events[0]

        event = run(tell())

        assert (event["model"], event["version"]) == ("digits", "digits-v2.0.0")
        assert "errors of stable digits-v2.0.0" in event["reason"]
        assert "above the allowed 1.0 %" in event["reason"]
        _, release, name = event["evidence"].split("/")
        assert story.repository.read_evidence("digits", release, name) is not None

    @pytest.mark.parametrize("trouble", ["connection refused", None])
    def test_it_is_silent_without_data(self, story: GuardStory, trouble: str | None) -> None:
        story.serve(1, 2)
        story.counts.down = trouble
        bad = 200 if trouble else 0

        async def tell() -> list[dict[str, Any]]:
            async with heard(story.trigger().run()) as events:
                await go_on(story, bad=bad, until=lambda: story.counts.asked > 2)
                return events

        assert run(tell()) == []

    def test_it_tells_again_later_each_time_while_the_same_version_still_serves(
        self, story: GuardStory, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        story.serve(1, 2)
        at = firings(guard, monkeypatch)

        async def tell() -> None:
            async with heard(story.trigger(again_seconds=0.9).run()) as events:
                await go_on(story, bad=200, until=lambda: len(events) == 3)

        run(tell())
        first, second, third = at

        assert second - first >= 0.9
        assert third - second >= 1.8

    def test_a_newer_head_does_not_wait_for_the_pause_of_the_one_before(self, story: GuardStory) -> None:
        """A person who ends a hold must not have to wait until the guard looks up again."""
        story.serve(1, 2)
        story.control(PERSON).hold(reason="audit")
        story.control(PERSON).apply(deadline_seconds=5)

        async def tell() -> int:
            async with heard(story.trigger(again_seconds=600).run()) as events:
                await go_on(story, bad=200, until=lambda: events)
                story.control(PERSON).resume(reason="fine")
                await go_on(story, bad=200, until=lambda: len(events) == 2)
                return len(events)

        assert run(tell()) == 2

    def test_a_restarted_stream_knows_what_was_counted(self, story: GuardStory) -> None:
        story.serve(1, 2)

        async def look_once() -> None:
            asked = story.counts.asked
            async with heard(story.trigger().run()):
                await until_true(lambda: story.counts.asked > asked and kept() is not None)

        def kept() -> bytes | None:
            return story.repository.read_evidence("digits", "guard", "stable")

        async def tell() -> None:
            for _ in range(3):
                story.answer(2, bad=1)
                before = kept()
                await look_once()
                await until_true(lambda before=before: kept() != before)

        run(tell())

        (course,) = json.loads(kept() or b"")["checks"].values()
        assert [row[2:] for row in course["state"]["intervals"]] == [[500, 1]] * 3

    def test_it_survives_a_repository_that_is_away_and_an_undefined_connection(
        self, story: GuardStory, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from airflow_model_ops.core.errors import InvalidConfig
        from airflow_model_ops.hooks import wiring

        story.serve(1, 2)
        failures: list[Exception] = [
            RepositoryUnavailable("the file server does not answer"),
            InvalidConfig("connection 'models' is not defined"),
            OSError("stale file handle"),
        ]
        real = wiring.aopen_fleet_of

        async def away(ids: Any) -> Any:
            if failures:
                raise failures.pop()
            return await real(ids)

        monkeypatch.setattr(wiring, "aopen_fleet_of", away)

        async def tell() -> dict[str, Any]:
            async with heard(story.trigger().run()) as events:
                await go_on(story, bad=200, until=lambda: events)
                return events[0]

        assert run(tell())["version"] == "digits-v2.0.0"
        assert not failures

    def test_an_error_that_nobody_expected_is_not_kept_quiet(
        self, story: GuardStory, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def broken(*args: Any, **kwargs: Any) -> Any:
            raise ZeroDivisionError("a mistake in the program")

        monkeypatch.setattr(story.counts, "gather", broken)
        story.serve(1, 2)

        async def tell() -> None:
            async with asyncio.timeout(ANSWER_SECONDS):
                async for _ in story.trigger().run():
                    pass

        with pytest.raises(ZeroDivisionError):
            run(tell())

    def test_one_stream_looks_after_all_models_and_one_does_not_wait_for_another(self, story: GuardStory) -> None:
        story.serve(1, 2)
        idle = model("letters")

        async def tell() -> dict[str, Any]:
            async with heard(story.trigger(idle, story.model).run()) as events:
                await go_on(story, bad=200, until=lambda: events)
                return events[0]

        assert run(tell())["model"] == "digits"

    def test_a_source_that_does_not_answer_keeps_no_other_trigger_waiting(
        self, story: GuardStory, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """All triggers of a process share the loop's threads, and those that watch a canary need one at once."""
        story.serve(1, 2)
        asked, answered = threading.Event(), threading.Event()

        def hanging(*_args: Any, **_kwargs: Any) -> Any:
            asked.set()
            answered.wait(ANSWER_SECONDS)
            raise MetricsUnavailable("too late")

        monkeypatch.setattr(story.counts, "gather", hanging)

        async def tell() -> list[str]:
            asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
            try:
                async with heard(story.trigger().run()), asyncio.timeout(ANSWER_SECONDS / 2):
                    await until_true(asked.is_set)
                    return await asyncio.to_thread(lambda: ["the other trigger's turn"])
            finally:
                answered.set()

        assert run(tell()) == ["the other trigger's turn"]

    def test_guards_of_the_same_models_share_a_stream(self, story: GuardStory) -> None:
        one, same, other = story.trigger(), story.trigger(), story.trigger(model("letters"))
        story.serve(1, 2)
        story.answer(2, bad=200)

        async def first_shared() -> Any:
            stream: AsyncIterator[Any] = StableGuardTrigger.open_shared_stream(one.serialize()[1])
            async with asyncio.timeout(ANSWER_SECONDS):
                async for event in one.filter_shared_stream(stream):
                    return event.payload
            raise AssertionError("it ended")

        assert one.shared_stream_key() == same.shared_stream_key()
        assert one.shared_stream_key() != other.shared_stream_key()
        assert run(first_shared())["model"] == "digits"

    def test_it_can_be_made_again_from_what_it_serializes(self, story: GuardStory) -> None:
        from airflow.serialization.serialized_objects import BaseSerialization

        path, kwargs = story.trigger().serialize()
        stored = BaseSerialization.deserialize(BaseSerialization.serialize(kwargs))

        assert StableGuardTrigger(**stored).serialize() == (path, kwargs)


def alarm(version: str = "digits-v2.0.0", *, of: str = "digits", reason: str = "too many errors") -> dict[str, Any]:
    return {"model": of, "version": version, "reason": reason, "evidence": f"evidence/guard/{version}"}


def started_by(*alarms: dict[str, Any], run_id: str = "asset__1", **more: Any) -> Any:
    """Return the context of a run that these alarms have started, oldest first."""
    began = datetime(2023, 6, 1, tzinfo=UTC)
    events = [
        SimpleNamespace(timestamp=began + timedelta(seconds=number), extra={"from_trigger": True, "payload": payload})
        for number, payload in enumerate(alarms)
    ]
    context = context_of(
        dag_id="model_guard", run_id=run_id, run_type="asset_triggered", task_id="rollback", user=None, **more
    )
    return {**context, "triggering_asset_events": {"the asset": list(reversed(events))}}


def operator(story: GuardStory, **files: ModelFile) -> GuardRollbackOperator:
    return GuardRollbackOperator(task_id="rollback", model={"digits": story.model, **files})


class TestRollback:
    def test_it_takes_the_model_back_with_the_guards_words_and_evidence(self, story: GuardStory) -> None:
        story.serve(1, 2)
        context = started_by(alarm())

        done = operator(story).execute(context)

        assert story.split == {1: 100}
        assert done["digits"]["version"] == "digits-v1.0.0"
        back = next(entry for entry in story.entries if entry.name == "rollback")
        assert "too many errors" in back.reason
        assert back.evidence == "evidence/guard/digits-v2.0.0"
        assert (back.origin.actor.name, back.origin.actor.is_person) == ("model_guard", False)
        ((asset, extra),) = context["outlet_events"][ROLLBACK_ALIAS].added
        assert (asset, extra["version"]) == (model_asset("digits"), "digits-v1.0.0")

    def test_a_live_canary_ends_with_it(self, story: GuardStory) -> None:
        story.serve(1, 2)
        story.start(3)

        operator(story).execute(started_by(alarm()))

        assert story.split == {1: 100}
        assert story.control().state.canary is None

    def test_an_alarm_about_a_version_that_is_no_longer_stable_changes_nothing(self, story: GuardStory) -> None:
        story.serve(1, 2, 3)
        before = [name for name in story.names if name != "applied"]
        context = started_by(alarm())

        done = operator(story).execute(context)

        assert [name for name in story.names if name != "applied"] == before
        assert "is no longer stable" in done["digits"]["reason"]
        assert context["outlet_events"][ROLLBACK_ALIAS].added == []

    def test_a_retry_goes_back_once_and_tells_of_it(self, story: GuardStory, monkeypatch: pytest.MonkeyPatch) -> None:
        from airflow_model_ops.control.model_control import ModelControl

        story.serve(1, 2, 3)
        with monkeypatch.context() as patch:
            patch.setattr(ModelControl, "apply", _raising(NotApplied("a router does not answer")))
            with pytest.raises(AirflowException, match="a router does not answer") as caught:
                operator(story).execute(started_by(alarm("digits-v3.0.0")))
        assert not isinstance(caught.value, AirflowFailException), "a retry helps"
        context = started_by(alarm("digits-v3.0.0"), try_number=2)

        operator(story).execute(context)

        assert story.split == {2: 100}
        assert story.names.count("rollback") == 1
        assert len(context["outlet_events"][ROLLBACK_ALIAS].added) == 1

    @pytest.mark.parametrize(
        ("forbid", "told"),
        [
            (lambda story: story.control(PERSON).hold(reason="audit"), "held by person ada"),
            (lambda story: story.control(PERSON).pin_golden(story.v(2)), "no version to roll back to"),
        ],
        ids=["hold", "pin"],
    )
    def test_past_a_persons_hold_or_pin_it_does_not_go_and_fails_with_the_reason(
        self, story: GuardStory, forbid: Callable[[GuardStory], Any], told: str
    ) -> None:
        story.serve(1, 2)
        forbid(story)

        with pytest.raises(AirflowFailException, match=told):
            operator(story).execute(started_by(alarm()))

        assert story.control().state.stable == story.v(2)

    def test_where_a_version_takes_minutes_to_load_the_task_waits_in_the_triggerer_and_goes_back_once(
        self, story: GuardStory
    ) -> None:
        story.serve(1, 2)
        for held in story.target._passes_left.values():
            held["digits"].pop(story.v(1).number, None)
        story.target.slow, story.target.load_passes = True, 12
        task, context = operator(story), started_by(alarm())

        with pytest.raises(TaskDeferred) as waiting:
            task.execute(started_by(alarm()))
        path, kwargs = waiting.value.trigger.serialize()
        assert path.endswith("LoadTrigger")
        trigger = LoadTrigger(**kwargs)
        trigger.first_pause_seconds = trigger.look_seconds = trigger.pass_seconds = 0.005

        async def first_event() -> Any:
            async with asyncio.timeout(ANSWER_SECONDS):
                async for event in trigger.run():
                    return event.payload
            raise AssertionError("it ended")

        done = task.execute_loaded(context, run(first_event()))

        assert story.split == {1: 100}
        assert done["digits"]["version"] == "digits-v1.0.0"
        assert story.names.count("rollback") == 1
        assert len(context["outlet_events"][ROLLBACK_ALIAS].added) == 1

    def test_without_a_version_to_go_back_to_what_serves_goes_on_and_it_fails(self, story: GuardStory) -> None:
        story.serve(1)

        with pytest.raises(AirflowFailException, match="digits: no version to roll back to"):
            operator(story).execute(started_by(alarm("digits-v1.0.0")))

        assert story.split == {1: 100}

    def test_one_models_trouble_does_not_stop_the_others(self, story: GuardStory) -> None:
        story.serve(1, 2)

        with pytest.raises(AirflowFailException, match="letters: it is not configured"):
            operator(story).execute(started_by(alarm(of="letters"), alarm()))

        assert story.split == {1: 100}

    def test_of_several_alarms_about_a_model_the_newest_counts(self, story: GuardStory) -> None:
        story.serve(1, 2, 3)

        operator(story).execute(started_by(alarm(), alarm("digits-v3.0.0")))

        assert story.split == {2: 100}

    def test_what_two_versions_have_in_common_does_not_lead_to_ever_older_ones(self, story: GuardStory) -> None:
        story.serve(1, 2, 3)
        operator(story).execute(started_by(alarm("digits-v3.0.0")))

        with pytest.raises(AirflowFailException, match="look for a common cause"):
            operator(story).execute(started_by(alarm(), run_id="asset__2"))
        assert story.split == {2: 100}

        story.clock.advance(SETTLE_SECONDS + 1)
        operator(story).execute(started_by(alarm(), run_id="asset__3"))
        assert story.split == {1: 100}

    def test_a_version_that_was_promoted_after_a_way_back_may_be_taken_back_at_once(self, story: GuardStory) -> None:
        story.serve(1, 2)
        operator(story).execute(started_by(alarm()))
        story.start(3)
        story.control().promote(story.v(3), fence=Fence(release="r", attempt=1), proof="it was good")
        story.control().apply(deadline_seconds=5)

        operator(story).execute(started_by(alarm("digits-v3.0.0"), run_id="asset__2"))

        assert story.split == {1: 100}

    def test_a_run_that_no_alarm_started_is_skipped(self, story: GuardStory) -> None:
        story.serve(1, 2)

        with pytest.raises(AirflowSkipException, match="no alarm started this run"):
            operator(story).execute(started_by())


class TestDag:
    def test_the_way_back_is_one_task_and_its_record_comes_after(self) -> None:
        dag = build_guard_dag({"digits": model()})

        assert dag.task_dict.keys() == {"rollback", "record"}
        assert dag.get_task("rollback").downstream_task_ids == {"record"}
        assert dag.get_task("rollback").outlets == [ROLLBACK_ALIAS]
        assert dag.get_task("record").is_teardown
        assert dag.is_paused_upon_creation is False

    def test_each_fleet_has_one_stream_for_all_its_guarded_models(self) -> None:
        files = {
            "a": model("a"),
            "b": model("b"),
            "c": model("c", target="fleet_us"),
            "d": model("d", more=""),
        }

        dag = build_guard_dag(files)

        assert isinstance(dag.schedule, AssetAny)
        watchers = [watcher for asset in dag.schedule.objects for watcher in asset.watchers]
        assert [[each["model"] for each in json.loads(watcher.trigger.models)] for watcher in watchers] == [
            ["a", "b"],
            ["c"],
        ]
        assert sorted(dag.get_task("rollback").model) == ["a", "b", "c"]

    def test_it_survives_the_trip_through_airflows_database(self) -> None:
        from airflow.serialization.serialized_objects import DagSerialization

        data = DagSerialization.to_dict(build_guard_dag({"digits": model()}))

        assert DagSerialization.from_dict(data).dag_id == "model_guard"

    @pytest.mark.parametrize("build", [build_guard_dag, build_watch_dag])
    def test_airflow_knows_its_stream_again_after_the_trip_and_so_starts_it(self, build: Callable[..., DAG]) -> None:
        """Airflow compares hashes of the trigger as the DAG file has it and as its database gives it back; without a match
        the stream is never started, and nothing tells.
        """
        from airflow.models.trigger import Trigger
        from airflow.serialization.encoders import encode_trigger
        from airflow.serialization.serialized_objects import DagSerialization
        from airflow.triggers.base import BaseEventTrigger

        stored = DagSerialization.from_dict(DagSerialization.to_dict(build({"digits": model()})))
        assets = [asset for _, asset in stored.timetable.asset_condition.iter_assets()]
        triggers = [encode_trigger(watcher.trigger) for asset in assets for watcher in asset.watchers]

        assert triggers
        for each in triggers:
            kept = Trigger(classpath=each["classpath"], kwargs=each["kwargs"])
            here = BaseEventTrigger.hash(each["classpath"], each["kwargs"])
            assert BaseEventTrigger.hash(kept.classpath, kept.kwargs) == here

    def test_the_bundled_file_brings_it_once_a_model_has_a_guard(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        import runpy

        monkeypatch.setenv("AIRFLOW__MODEL_OPS__MODELS_DIR", str(tmp_path))
        file = tmp_path / "digits.yaml"
        file.write_text(YAML.format(model="digits", target="fleet_eu", more=""))
        assert "model_guard" not in runpy.run_path(str(DAGS / "model_guard.py"))
        file.write_text(YAML.format(model="digits", target="fleet_eu", more="guard:"))

        assert runpy.run_path(str(DAGS / "model_guard.py"))["model_guard"].dag_id == "model_guard"


class TestRecord:
    def ledger(self, monkeypatch: pytest.MonkeyPatch, *, fails: str = "") -> list[str]:
        from airflow_model_ops.core.errors import LedgerUnavailable
        from airflow_model_ops.hooks.mlmd import MlmdHook

        recorded: list[str] = []

        def catch_up(model: str, log: Any, manifest_of: Any) -> int:
            if model == fails:
                raise LedgerUnavailable("the store does not answer")
            recorded.append(model)
            return 2

        monkeypatch.setattr(MlmdHook, "get_conn", lambda self: SimpleNamespace(catch_up=catch_up))
        return recorded

    def test_without_a_choice_every_model_is_recorded(self, story: GuardStory, monkeypatch: pytest.MonkeyPatch) -> None:
        recorded = self.ledger(monkeypatch)
        record = RecordLineageOperator(task_id="record", model={"digits": story.model, "letters": model("letters")})

        assert record.execute(context_of()) == {"recorded": 4}
        assert recorded == ["digits", "letters"]

    def test_one_models_ledger_does_not_stop_the_others(
        self, story: GuardStory, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        recorded = self.ledger(monkeypatch, fails="digits")
        record = RecordLineageOperator(task_id="record", model={"digits": story.model, "letters": model("letters")})

        with pytest.raises(AirflowException, match="digits: the store does not answer"):
            record.execute(context_of())
        assert recorded == ["letters"]


def _raising(error: Exception) -> Callable[..., Any]:
    def method(*args: Any, **kwargs: Any) -> Any:
        raise error

    return method
