"""People are told what happened to a model: after it happened, once, and never at the cost of the task that did it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowTaskTimeout, TaskDeferred

from airflow_model_ops.config.model_file import parse_model_file
from airflow_model_ops.control.model_control import ModelControl
from airflow_model_ops.core.errors import ConnectionUnavailable
from airflow_model_ops.hooks.wiring import Fleet
from airflow_model_ops.notifications import notifier_class, tell_news
from airflow_model_ops.operators.changes import HoldModelOperator
from airflow_model_ops.operators.check import CheckMetricsOperator
from airflow_model_ops.operators.guard import GuardRollbackOperator
from airflow_model_ops.operators.promotion_watch import WatchPromotionOperator
from airflow_model_ops.operators.rollback import RollbackModelOperator
from airflow_model_ops.operators.traffic import AbortReleaseOperator, PromoteModelOperator, StartCanaryOperator
from airflow_model_ops.operators.upkeep import ReconcileOperator
from airflow_model_ops.triggers.canary import CanaryStepTrigger
from airflow_model_ops.triggers.telling import BackgroundTeller
from tests.airflow.release_story import PERSON, YAML, Story, context_of, on_stage
from tests.airflow.told import HANGS_SECONDS, Failing, Hanging, Recorder
from tests.waits import until

EVENTS = ("canary_start", "hold", "rollback", "promotion", "abort", "drift")
PLACE = "tests.airflow.told"


def hooks(*classes: str, message: str = "{{ title }} | {{ why }}", timeout: str = "60s") -> str:
    """Give the YAML that tells every event to some of the test's notifiers."""
    entries = ", ".join(f"{{notifier: {PLACE}.{name}, arguments: {{message: '{message}'}}}}" for name in classes)
    lines = [f"  on_{event}: [{entries}]" for event in EVENTS]
    return "\n".join([f"{YAML}notifications:", f"  timeout: {timeout}", *lines, ""])


def staged(*classes: str, **kwargs: Any) -> Any:
    return on_stage(model=parse_model_file(hooks(*classes, **kwargs)))


@pytest.fixture(autouse=True)
def told() -> Iterator[list[str]]:
    Recorder.told.clear()
    Recorder.contexts.clear()
    Hanging.forever.clear()
    yield Recorder.told
    Hanging.forever.set()


@pytest.fixture
def story() -> Iterator[Story]:
    """A model that serves version 1 for hours, and whose every event is recorded."""
    with staged("Recorder") as story:
        story.serve(1)
        story.clock.advance(3 * 3600)
        yield story


def load(story: Story, version: str = "digits-v2.0.0") -> StartCanaryOperator:
    return StartCanaryOperator(task_id="load", model=story.model, version=version)


def rollback(story: Story) -> RollbackModelOperator:
    return RollbackModelOperator(task_id="rollback", model=story.model, reason="it smells")


def restart(story: Story) -> None:
    """Let a server come back with nothing loaded."""
    story.target._passes_left["server-1"]["digits"].clear()


class TestWhatIsTold:
    def test_a_release_is_told_from_its_start_to_its_promotion(self, story: Story, told: list[str]) -> None:
        story.v(2)
        release = load(story).execute(context_of())
        assert told == ["digits: canary digits-v2.0.0 started | canary digits-v2.0.0 starts at 0 % of the traffic"]

        release = story.start(2, release=release["release"])
        PromoteModelOperator(
            task_id="promote", model=story.model, release=release, proof="no worse than 1.5 x"
        ).execute(context_of())

        assert len(told) == 2
        assert told[1].startswith("digits: digits-v2.0.0 promoted to stable | ")
        assert "no worse than 1.5 x" in told[1]

    def test_a_rollback_is_told_with_its_reason_who_did_it_and_where_to_look(
        self, told: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://af.example/air/")
        with staged("Recorder", message="{{ message }}") as story:
            story.serve(1, 2)
            story.clock.advance(3 * 3600)
            rollback(story).execute(context_of(dag_id="model_rollback", run_id="manual__2023-06-01T12:00:00+00:00"))

        (message,) = told
        assert message.splitlines() == [
            "digits: rolled back, digits-v1.0.0 serves",
            "Why: rolled back from digits-v2.0.0 to digits-v1.0.0: it smells",
            "Who: person ada",
            "Serves: digits-v1.0.0 100 %",
            "Page: https://af.example/air/plugin/model-ops/models/digits",
            "Run: https://af.example/air/dags/model_rollback/runs/manual__2023-06-01T12%3A00%3A00%2B00%3A00",
        ]
        names = Recorder.contexts[0]
        assert (names["event"], names["model"], names["version"]) == ("rollback", "digits", "digits-v1.0.0")
        assert names["link"].endswith("/models/digits")
        assert names["dag_run"].dag_id == "model_rollback", "the task's own names are there, too"

    def test_the_judges_sentence_is_told_when_a_canary_that_harms_has_ended(
        self, story: Story, told: list[str]
    ) -> None:
        """The trigger took it back; the task that comes back from it tells."""
        release = story.start(2)
        told.clear()
        sentence = "errors: 7.1 % of the canary's requests against 1.2 %"
        story.control().abort(reason=f"HARM: {sentence}", fence=story.control().state.release.fence, harmed=True)
        story.control().apply(deadline_seconds=5)
        task = CheckMetricsOperator(task_id="check", model=story.model, release=release, step=0)
        event = {
            "result": "aborted", "verdict": "HARM", "reason": sentence, "evidence": None, "release": "r", "attempt": 1,
        }  # fmt: skip

        with pytest.raises(AirflowFailException, match="HARM"):
            task.resume_execution("execute_complete", {"event": event}, context_of())

        assert told[-1].startswith("digits: canary digits-v2.0.0 ended and is quarantined | ")
        assert sentence in told[-1]

    def test_a_hold_is_told_at_once_although_the_fleet_is_down(self, story: Story, told: list[str]) -> None:
        story.target.unavailable_servers.add("server-1")
        HoldModelOperator(task_id="hold", model=story.model, reason="fair weather first").execute(context_of())

        assert [text.split(" | ")[1] for text in told] == ["held by person ada: fair weather first"]

    def test_a_text_in_a_reason_is_never_a_template(self, story: Story, told: list[str]) -> None:
        HoldModelOperator(task_id="hold", model=story.model, reason="{{ 6 * 7 }}").execute(context_of())
        assert told[0].endswith("held by person ada: {{ 6 * 7 }}")

    def test_a_notifier_that_is_asynchronous_only_is_awaited(self, told: list[str]) -> None:
        with staged("AsyncRecorder", message="{{ event }}") as story:
            story.clock.advance(3600)
            HoldModelOperator(task_id="hold", model=story.model, reason="wait").execute(context_of())
        assert told == ["async hold"]

    def test_drift_is_told_by_whoever_mends_it_and_once_an_hour(self, story: Story, told: list[str]) -> None:
        task = ReconcileOperator(task_id="reconcile", connections=story.model.place, models={"digits": story.model})
        task.execute(context_of())
        assert told == []

        for _ in range(2):
            restart(story)
            task.execute(context_of())

        (message,) = told
        assert message.startswith("digits: what serves had drifted | version 100000000 is missing on server-1; ")
        assert message.endswith("it follows again")
        story.clock.advance(3600)
        restart(story)
        task.execute(context_of())
        assert len(told) == 2


class TestStuck:
    """What should have been taken back and goes on serving is told, too: it waits for a person."""

    def test_the_watch_that_may_not_roll_back_says_so_once(self, story: Story, told: list[str]) -> None:
        task = WatchPromotionOperator(
            task_id="watch", model=story.model, release={"release": "r", "attempt": "1", "version": "digits-v1.0.0"}
        )
        event = {
            "result": "not_rolled_back",
            "verdict": "HARM",
            "reason": "errors 7 %; it cannot be taken back (no target)",
            "evidence": None,
            "release": "r",
            "attempt": 1,
        }
        for number in (1, 2):
            with pytest.raises(AirflowFailException, match="goes on serving"):
                task.resume_execution("execute_complete", {"event": event}, context_of(try_number=number))

        (message,) = told
        title, _, why = message.partition(" | ")
        assert title == "digits: digits-v1.0.0 is NOT rolled back and goes on serving; a person must act"
        assert why == event["reason"]

    def test_a_model_that_cannot_be_opened_to_tell_of_it_lets_the_task_fail_in_its_own_words(
        self, story: Story, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Another error would be tried again, and the failure of the watch would stand nowhere."""

        def away(_: object) -> Fleet:
            raise ConnectionUnavailable("connection 'model_repository' cannot be asked for now")

        monkeypatch.setattr(WatchPromotionOperator, "open_fleet", away)
        task = WatchPromotionOperator(
            task_id="watch", model=story.model, release={"release": "r", "attempt": "1", "version": "digits-v1.0.0"}
        )
        event = {
            "result": "not_rolled_back", "verdict": "HARM", "reason": "no target", "evidence": None, "release": "r", "attempt": 1,
        }  # fmt: skip
        with pytest.raises(AirflowFailException, match="goes on serving"):
            task.resume_execution("execute_complete", {"event": event}, context_of())

    def test_the_guard_without_a_target_says_so(self, story: Story, told: list[str]) -> None:
        alarm = {"model": "digits", "version": "digits-v1.0.0", "reason": "errors above 1 %", "evidence": None}
        context = context_of(dag_id="model_guard")
        event = SimpleNamespace(timestamp=1, extra={"payload": alarm})
        context["triggering_asset_events"] = {"alarms": [event]}

        with pytest.raises(AirflowFailException, match="not every model was taken back"):
            GuardRollbackOperator(task_id="rollback", model={"digits": story.model}).execute(context)

        (message,) = told
        assert message.startswith("digits: digits-v1.0.0 is NOT rolled back and goes on serving; a person must act | ")
        assert "errors above 1 %; " in message


class TestOnce:
    def test_a_retry_of_a_task_that_has_told_tells_nothing_more(self, told: list[str]) -> None:
        with staged("Recorder") as story:
            story.serve(1, 2)
            story.clock.advance(3 * 3600)
            for number in (1, 2):
                rollback(story).execute(context_of(try_number=number))
            ReconcileOperator(
                task_id="reconcile", connections=story.model.place, models={"digits": story.model}
            ).execute(context_of())
        assert len(told) == 1

    def test_what_a_killed_worker_and_a_person_at_the_command_line_did_is_told_by_the_next_who_comes(
        self, told: list[str]
    ) -> None:
        with staged("Recorder") as story:
            story.serve(1, 2)
            story.clock.advance(3 * 3600)
            control = story.control(PERSON)
            control.rollback(reason="by hand, at night")
            tell_news(story.model, repository=story.repository, clock=story.clock)
            assert told == [], "nothing is told before the fleet follows"

            ReconcileOperator(
                task_id="reconcile", connections=story.model.place, models={"digits": story.model}
            ).execute(context_of())

        (message,) = told
        assert "by hand, at night" in message

    def test_what_is_older_than_two_hours_is_no_news(self, told: list[str]) -> None:
        with staged("Recorder") as story:
            story.serve(1)
            story.clock.advance(2 * 3600)
            tell_news(story.model, repository=story.repository, clock=story.clock)
        assert told == []

    def test_a_promotion_that_was_taken_back_before_it_served_is_not_told(self, story: Story, told: list[str]) -> None:
        control, release = story.control(), story.start(2, percent=50)
        control.promote(story.v(2), fence=control.state.release.fence, proof="fine")
        control.rollback(reason="not at all")
        control.apply(deadline_seconds=5)
        tell_news(story.model, repository=story.repository, clock=story.clock)
        assert release
        assert [text.split(" | ")[0] for text in told] == [
            "digits: canary digits-v2.0.0 started",
            "digits: rolled back, digits-v1.0.0 serves",
        ]


class TestTrouble:
    def test_a_notifier_that_fails_is_logged_and_the_others_are_told(
        self, told: list[str], caplog: pytest.LogCaptureFixture
    ) -> None:
        with staged("Failing", "Recorder") as story:
            story.clock.advance(3600)
            result = HoldModelOperator(task_id="hold", model=story.model, reason="wait").execute(context_of())

        assert result["changed"]
        assert len(told) == 1
        assert f"{PLACE}.Failing was not told" in caplog.text
        assert "ConnectionError: the chat is down" in caplog.text
        assert issubclass(Failing, Recorder)

    def test_a_notifier_that_hangs_is_left_to_itself_when_the_time_is_over(
        self, told: list[str], caplog: pytest.LogCaptureFixture
    ) -> None:
        with staged("Hanging", "Recorder", timeout="1s") as story:
            story.clock.advance(3600)
            started = time.monotonic()
            result = HoldModelOperator(task_id="hold", model=story.model, reason="wait").execute(context_of())
            seconds = time.monotonic() - started
        until(lambda: told, what="the other is told")  # maybe after the time limit, on a busy machine

        assert result["changed"]
        assert seconds < HANGS_SECONDS / 10
        assert len(told) == 1
        assert f"{PLACE}.Hanging did not take" in caplog.text

    def test_a_channel_that_hangs_keeps_no_other_channel_of_the_same_notifier_waiting(self, told: list[str]) -> None:
        channels = ", ".join(
            f"{{notifier: {PLACE}.HangingChannel, arguments: {{to: {to}}}}}" for to in ("slow", "fine")
        )
        text = f"{YAML}notifications:\n  timeout: 1s\n  on_hold: [{channels}]\n"
        with on_stage(model=parse_model_file(text)) as story:
            HoldModelOperator(task_id="hold", model=story.model, reason="wait").execute(context_of())
        until(lambda: told, what="the other channel is told")  # maybe after the time limit, on a busy machine
        assert told == ["fine"]

    def test_a_notifier_that_wants_to_end_its_process_is_logged_and_ends_nothing(
        self, told: list[str], caplog: pytest.LogCaptureFixture
    ) -> None:
        """Not every error is an ``Exception``: Airflow's own time-out of a task is none either."""
        with staged("Leaving", "Recorder") as story:
            story.clock.advance(3600)
            HoldModelOperator(task_id="hold", model=story.model, reason="wait").execute(context_of())
            HoldModelOperator(task_id="hold", model=story.model, reason="wait").execute(context_of())

        assert len(told) == 1
        assert f"{PLACE}.Leaving was not told" in caplog.text
        assert "SystemExit: 3" in caplog.text

    @pytest.mark.parametrize(
        ("path", "why"),
        [
            ("nowhere.at.All", "No module named 'nowhere'"),
            ("tests.airflow.told.Nobody", "has no attribute 'Nobody'"),
            ("collections.OrderedDict", "is no notifier of Airflow"),
        ],
    )
    def test_a_class_that_is_no_notifier_is_named(self, path: str, why: str) -> None:
        with pytest.raises(Exception, match=why):
            notifier_class(path)

    def test_a_repository_that_is_away_fails_no_task_that_is_done(
        self, story: Story, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def away(*_: Any) -> bytes:
            raise OSError("the disk is gone")

        monkeypatch.setattr(story.repository, "read_evidence", away)
        HoldModelOperator(task_id="hold", model=story.model, reason="wait").execute(context_of())
        assert "the news of model 'digits' cannot be told now" in caplog.text

    def test_a_task_that_waits_or_fails_has_told_what_was_new(self, story: Story, told: list[str]) -> None:
        story.start(2)
        story.v(3)
        with pytest.raises(TaskDeferred):
            load(story, "digits-v3.0.0").execute(context_of(run_id="another"))
        assert told == ["digits: canary digits-v2.0.0 started | canary digits-v2.0.0 starts at 0 % of the traffic"]
        story.control(PERSON).hold(reason="wait")
        with pytest.raises((AirflowException, TaskDeferred)):
            load(story, "digits-v4.0.0").execute(context_of(run_id="another"))
        assert len(told) == 2

    def test_a_task_whose_time_ends_while_it_tells_has_done_its_work(
        self, story: Story, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def hang(*_: object, **__: object) -> None:
            raise AirflowTaskTimeout("Timeout, PID: 1")

        monkeypatch.setattr("airflow_model_ops.operators.news.tell_news", hang)
        result = HoldModelOperator(task_id="hold", model=story.model, reason="wait").execute(context_of())
        assert result["changed"]

    def test_no_message_keeps_a_way_back_from_its_next_try(self, told: list[str]) -> None:
        with staged("Recorder") as story:
            story.serve(1, 2)
            story.clock.advance(3 * 3600)
            story.target.unavailable_servers.add("server-1")
            with pytest.raises(AirflowException, match="does not serve the head of 'digits' yet"):
                rollback(story).execute(context_of())
            assert told == [], "what is new can wait, the way back cannot"

            story.target.unavailable_servers.clear()
            rollback(story).execute(context_of(try_number=2))
        assert [text.split(" | ")[0] for text in told] == ["digits: rolled back, digits-v1.0.0 serves"]

    def test_a_repository_that_hangs_is_asked_once_by_a_task_that_came_back(
        self, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It acts within what it was resumed for; that is one task, and one time limit."""
        with staged("Recorder", timeout="0.3s") as story:
            story.serve(1)
            release = story.start(2, percent=50)
            story.clock.advance(3600)
            monkeypatch.setattr(story.repository, "read_evidence", lambda *_: Hanging.forever.wait(HANGS_SECONDS))
            task = PromoteModelOperator(task_id="promote", model=story.model, release=release)
            task.resume_execution("execute_resumed", {"event": {"resumed": True}}, context_of())

        assert caplog.text.count("its log did not answer") == 1

    def test_models_without_hooks_cost_nothing(self, told: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
        with on_stage() as story:
            monkeypatch.setattr("airflow_model_ops.notifications.NewsDesk", None)
            HoldModelOperator(task_id="hold", model=story.model, reason="wait").execute(context_of())
        assert told == []


class TestTriggerer:
    def test_a_hold_by_the_automation_is_told_while_the_canary_is_watched_on(
        self, story: Story, told: list[str]
    ) -> None:
        async def control() -> ModelControl:
            return story.control()

        async def watched(teller: BackgroundTeller) -> None:
            await teller.look(control)
            story.control().hold(reason="the 10 % step found no verdict within 600 s")
            while len(told) < 2:
                await teller.look(control)
                await asyncio.sleep(0.005)

        story.start(2)
        asyncio.run(asyncio.wait_for(watched(BackgroundTeller(story.model)), timeout=60))
        assert told[0].startswith("digits: canary digits-v2.0.0 started | ")
        assert "the 10 % step found no verdict" in told[1]

    def test_a_model_that_cannot_be_opened_to_tell_of_it_ends_no_watch(
        self, story: Story, caplog: pytest.LogCaptureFixture
    ) -> None:
        async def broken() -> ModelControl:
            raise OSError("too many open files")

        asyncio.run(BackgroundTeller(story.model).look(broken))
        assert "too many open files" in caplog.text

    def test_a_step_that_holds_at_its_deadline_is_told_by_its_trigger(self, story: Story, told: list[str]) -> None:
        release = story.start(2)
        trigger = CanaryStepTrigger(
            model=story.model.model_dump(mode="json"),
            release="r",
            attempt=1,
            version=release["version"],
            step=0,
            run={"dag_id": "model_release_digits", "run_id": "r"},
        )
        trigger.first_pause_seconds = 0.01
        story.source.nothing()
        story.clock.advance(700)

        async def watched() -> None:
            running = asyncio.ensure_future(anext(trigger.run()))
            while not running.done() and len(told) < 2:  # noqa: ASYNC110 (a thread tells)
                await asyncio.sleep(0.005)
            assert not running.done(), "the canary is watched on"
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

        asyncio.run(asyncio.wait_for(watched(), timeout=60))
        assert "the 10 % step found no verdict within 600 s: NO_DATA" in told[1]

    def test_the_branch_that_aborts_tells_that_the_canary_ended(self, story: Story, told: list[str]) -> None:
        release = story.start(2)
        AbortReleaseOperator(task_id="abort", model=story.model, release=release).execute(context_of())
        assert [text.split(" | ")[0] for text in told] == [
            "digits: canary digits-v2.0.0 started",
            "digits: canary digits-v2.0.0 ended",
        ]
