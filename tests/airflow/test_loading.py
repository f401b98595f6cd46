"""A load that takes minutes: no worker waits for it, a restart loses nothing, and nobody's end of a task loses traffic."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, TaskDeferred

from airflow_model_ops.control.leases import WORKING_SECONDS
from airflow_model_ops.control.loading import LoadWatch
from airflow_model_ops.core.errors import RepositoryUnavailable
from airflow_model_ops.core.log import Origin
from airflow_model_ops.core.transitions import Action
from airflow_model_ops.operators.rollback import PinGoldenOperator, RollbackModelOperator
from airflow_model_ops.operators.traffic import StartCanaryOperator
from airflow_model_ops.testing import InMemoryTarget
from airflow_model_ops.triggers.loading import LoadTrigger
from tests.airflow.release_story import AUTOMATION, PERSON, Story, context_of, on_stage
from tests.waits import all_ended, until

DIGITS = "digits"
PASSES = 12
"""How many passes a load takes: more than a worker makes before it gives the load away."""
ANSWER_SECONDS = 60.0


@pytest.fixture
def story() -> Iterator[Story]:
    """A platform on which loads take minutes; what serves by now was loaded before that."""
    with on_stage(target=InMemoryTarget()) as stage:
        stage.serve(1, 2, 3)
        stage.target.slow = True
        stage.target.load_passes = PASSES
        yield stage


def load(story: Story) -> StartCanaryOperator:
    return StartCanaryOperator(task_id="load", model=story.model, version="digits-v4.0.0")


def back(story: Story, target: str) -> RollbackModelOperator:
    return RollbackModelOperator(task_id="rollback", model=story.model, target=target, reason="it smells")


def make_cold(story: Story, major: int) -> None:
    """Unload a version everywhere, as a platform does with what was not needed for long."""
    for held in story.target._passes_left.values():
        held[DIGITS].pop(story.v(major).number, None)


@dataclass
class Waiting:
    """A task that waits in the triggerer."""

    task: Any
    deferred: TaskDeferred

    def trigger(self) -> LoadTrigger:
        """Make the trigger from what Airflow keeps of it, as each time it starts somewhere."""
        path, kwargs = self.deferred.trigger.serialize()
        assert path == "airflow_model_ops.triggers.loading.LoadTrigger"
        trigger = LoadTrigger(**kwargs)
        trigger.first_pause_seconds = trigger.look_seconds = trigger.pass_seconds = 0.005
        return trigger

    def event(self) -> dict[str, Any]:
        return asyncio.run(first_event(self.trigger()))

    def resume(self, event: dict[str, Any]) -> Any:
        assert self.deferred.method_name == "execute_loaded"
        return self.task.execute_loaded(context_of(), event, **(self.deferred.kwargs or {}))


def deferred(task: Any, **context: Any) -> Waiting:
    with pytest.raises(TaskDeferred) as waiting:
        task.execute(context_of(**context))
    return Waiting(task, waiting.value)


async def first_event(trigger: LoadTrigger) -> Any:
    async with asyncio.timeout(ANSWER_SECONDS):
        async for event in trigger.run():
            return event.payload
    raise AssertionError("the trigger ended without an event")


def starts(story: Story) -> int:
    """Count how often version 4 was put on trial."""
    return sum(entry.action is Action.START_CANARY and entry.version == story.v(4) for entry in story.entries)


def upkeep(story: Story) -> Any:
    return story.fleet.upkeep(origin=Origin(actor=AUTOMATION))


class TestAStart:
    def test_the_worker_is_free_within_seconds_and_the_trigger_finishes_the_load(self, story: Story) -> None:
        story.v(4)
        begun = story.clock.now()

        waiting = deferred(load(story))
        assert story.clock.now() - begun < 10
        event = waiting.event()
        handed_on = waiting.resume(event)

        assert event["result"] == "loaded"
        assert handed_on["version"] == "digits-v4.0.0"
        assert story.target.is_loaded(DIGITS, story.v(4))
        assert starts(story) == 1

    def test_an_event_about_another_load_does_not_end_it(self, story: Story) -> None:
        story.v(4)
        waiting = deferred(load(story))
        late = {"result": "pre_empted", "reason": "another attempt is live", "load": {"generation": 1}}

        with pytest.raises(TaskDeferred):
            waiting.resume(late)

        assert waiting.resume(waiting.event())["version"] == "digits-v4.0.0"

    def test_airflows_own_time_out_comes_after_the_loads(self, story: Story) -> None:
        story.v(4)

        timeout = deferred(load(story)).deferred.timeout

        assert timeout is not None
        assert 0 < timeout.total_seconds() - story.model.load_seconds < 180

    def test_two_triggers_of_one_load_and_a_restart_do_no_harm(self, story: Story) -> None:
        story.v(4)
        waiting = deferred(load(story))

        async def both() -> list[Any]:
            interrupted = asyncio.ensure_future(first_event(waiting.trigger()))
            await asyncio.sleep(0.03)
            interrupted.cancel()
            await asyncio.gather(interrupted, return_exceptions=True)
            return await asyncio.gather(first_event(waiting.trigger()), first_event(waiting.trigger()))

        events = asyncio.run(both())

        assert [event["result"] for event in events] == ["loaded", "loaded"]
        assert starts(story) == 1
        assert story.names[-1] == "applied"

    def test_a_retry_after_the_worker_was_killed_adopts_the_load(self, story: Story) -> None:
        story.v(4)
        deferred(load(story))

        again = deferred(load(story), try_number=2)
        again.resume(again.event())

        assert starts(story) == 1
        assert story.control().state.release is not None

    def test_a_load_that_fails_fails_the_task_in_the_platforms_words_without_a_retry(self, story: Story) -> None:
        story.v(4)
        waiting = deferred(load(story))
        story.target.broken_versions.add(story.v(4).number)

        event = waiting.event()

        assert event["result"] == "failed"
        with pytest.raises(AirflowFailException, match="cannot be loaded"):
            waiting.resume(event)

    def test_its_time_counts_from_the_commit_and_not_from_when_a_trigger_began(self, story: Story) -> None:
        story.v(4)
        waiting = deferred(load(story))
        story.target.load_passes = 10**6
        make_cold(story, 4)
        story.clock.advance(story.model.load_seconds)

        event = waiting.event()

        assert event["result"] == "timed out"
        assert "digits-v4.0.0 was not loaded within 600 s" in event["reason"]
        with pytest.raises(AirflowFailException, match="timed out"):
            waiting.resume(event)

    def test_a_rollback_meanwhile_ends_the_wait(self, story: Story) -> None:
        story.v(4)
        waiting = deferred(load(story))
        story.control(PERSON).rollback(reason="stop that")

        event = waiting.event()

        assert event["result"] == "pre-empted"
        assert "stop that" in event["reason"]
        assert story.split == {3: 100.0}

    def test_a_task_that_a_user_ends_aborts_its_release(self, story: Story) -> None:
        story.v(4)
        waiting = deferred(load(story))

        asyncio.run(waiting.trigger().on_kill())

        assert story.control().state.release is None
        assert story.split == {3: 100.0}

    def test_an_old_triggers_end_leaves_the_next_attempt_alone(self, story: Story) -> None:
        story.v(4)
        waiting = deferred(load(story))
        asyncio.run(waiting.trigger().on_kill())
        deferred(load(story), max_tries=7)

        asyncio.run(waiting.trigger().on_kill())

        live = story.control().state.release
        assert live is not None
        assert live.attempt == 5

    def test_the_watcher_leaves_it_alone_while_the_trigger_drives_it_and_takes_over_when_that_is_gone(
        self, story: Story
    ) -> None:
        story.v(4)
        waiting = deferred(load(story))
        story.clock.advance(5)
        assert upkeep(story).neglected().models == ()  # while the triggerer has not begun yet

        story.target.load_passes = 10**6
        make_cold(story, 4)

        def is_left_alone() -> bool:
            return upkeep(story).neglected().models == ()

        async def drive_until_it_is_left_alone() -> None:
            driving = asyncio.ensure_future(first_event(waiting.trigger()))
            await asyncio.to_thread(until, is_left_alone, what="the watcher leaves the load to the trigger")
            driving.cancel()
            await asyncio.gather(driving, return_exceptions=True)

        story.clock.advance(60)
        assert not is_left_alone()
        asyncio.run(drive_until_it_is_left_alone())
        # The end of the loop does not wait for the pass that is under way, which the clock must not overtake.
        all_ended(*(thread for thread in threading.enumerate() if thread.name.startswith("load")))
        assert is_left_alone()

        story.clock.advance(WORKING_SECONDS)
        assert upkeep(story).neglected().unapplied == (DIGITS,)
        assert upkeep(story).neglected().abandoned == ()  # the triggerer may be back within a minute

        story.clock.advance(60)
        assert upkeep(story).neglected().abandoned == (DIGITS,)

    def test_a_repository_that_is_away_for_a_moment_is_asked_again(
        self, story: Story, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        story.v(4)
        waiting = deferred(load(story))
        real, times = story.repository.log, iter(range(10**6))

        def away_at_times(model: str) -> Any:
            if next(times) % 7 == 3:
                raise RepositoryUnavailable("the bucket does not answer")
            return real(model)

        monkeypatch.setattr(story.repository, "log", away_at_times)

        assert waiting.event()["result"] == "loaded"

    def test_a_repository_that_is_away_during_a_long_pass_is_not_asked_without_a_pause(
        self, story: Story, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        story.v(4)
        trigger = deferred(load(story)).trigger()
        trigger.look_seconds = 0.05
        passing, looks = threading.Event(), list[float]()

        def make_pass(_: LoadWatch) -> None:
            passing.set()
            released.wait(ANSWER_SECONDS)

        def look_after(_: LoadWatch) -> None:
            if passing.is_set():
                looks.append(time.monotonic())
                raise RepositoryUnavailable("the bucket does not answer")

        monkeypatch.setattr(LoadWatch, "make_pass", make_pass)
        monkeypatch.setattr(LoadWatch, "look_after", look_after)
        released = threading.Event()

        async def drive_until_it_has_looked_five_times() -> None:
            driving = asyncio.ensure_future(first_event(trigger))
            await asyncio.to_thread(until, lambda: len(looks) >= 5, what="the trigger has looked five times")
            driving.cancel()
            await asyncio.gather(driving, return_exceptions=True)

        try:
            asyncio.run(drive_until_it_has_looked_five_times())
        finally:
            released.set()
        assert looks[4] - looks[0] >= 4 * trigger.look_seconds

    def test_servers_that_load_in_seconds_are_waited_for_as_before(self, story: Story) -> None:
        story.target.slow = False
        story.v(4)

        assert load(story).execute(context_of())["version"] == "digits-v4.0.0"


class TestARollback:
    def test_to_a_warm_version_never_waits_in_the_triggerer(self, story: Story) -> None:
        done = back(story, "previous").execute(context_of())

        assert done["version"] == "digits-v2.0.0"
        assert story.split == {2: 100.0}

    def test_to_a_cold_version_waits_there_and_goes_back_once(self, story: Story) -> None:
        make_cold(story, 1)

        waiting = deferred(back(story, "digits-v1.0.0"))
        assert story.split == {3: 100.0}  # what serves goes on serving
        done = waiting.resume(waiting.event())

        assert done["version"] == "digits-v1.0.0"
        assert story.split == {1: 100.0}
        assert story.names.count(Action.ROLLBACK.value) == 1

    def test_a_user_who_ends_its_task_does_not_undo_it(self, story: Story) -> None:
        make_cold(story, 1)
        waiting = deferred(back(story, "digits-v1.0.0"))

        asyncio.run(waiting.trigger().on_kill())

        assert story.control().state.stable == story.v(1)

    def test_the_watcher_leaves_it_to_the_trigger_too(self, story: Story) -> None:
        make_cold(story, 1)
        deferred(back(story, "digits-v1.0.0"))
        story.clock.advance(5)
        assert upkeep(story).neglected().models == ()

        story.clock.advance(WORKING_SECONDS)
        assert upkeep(story).neglected().unapplied == (DIGITS,)

    def test_another_one_meanwhile_ends_the_wait(self, story: Story) -> None:
        make_cold(story, 1)
        waiting = deferred(back(story, "digits-v1.0.0"))
        story.control(PERSON).rollback(reason="better this one", to="digits-v2.0.0")

        assert waiting.event()["result"] == "pre-empted"


class TestAPin:
    def test_of_a_cold_version_waits_in_the_triggerer(self, story: Story) -> None:
        make_cold(story, 1)

        waiting = deferred(PinGoldenOperator(task_id="pin", model=story.model, version="digits-v1.0.0"))
        done = waiting.resume(waiting.event())

        assert done["version"] == "digits-v1.0.0"
        assert story.target.is_loaded(DIGITS, story.v(1))
        assert story.names.count(Action.PIN_GOLDEN.value) == 1
