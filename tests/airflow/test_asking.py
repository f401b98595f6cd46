"""A check that asks: the question lies under Airflow's required actions while the trigger watches on, and ends with the task."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowRuntimeError, ErrorType, TaskDeferred
from airflow.sdk.execution_time import hitl
from airflow.sdk.execution_time.comms import ErrorResponse

from airflow_model_ops.config.model_file import parse_model_file
from airflow_model_ops.core.question import KEEP_WAITING
from airflow_model_ops.operators.check import CheckMetricsOperator
from airflow_model_ops.operators.traffic import ShiftTrafficOperator
from airflow_model_ops.triggers.canary import CanaryStepTrigger
from tests.airflow.release_story import PERSON, YAML, Story, context_of, on_stage

ANSWER_SECONDS = 60.0
PASS, ABORT = "Let digits-v2.0.0 pass 10 % without proof", "Abort digits-v2.0.0"
ALICE = {"id": "7", "name": "alice"}
ASKING = YAML.replace("deadline: 10m", "deadline: 60s\n  on_deadline: ask")
STEPS = 7
"""So many measurements, 10 s apart, pass the deadline."""


@dataclass
class RequiredActions:
    """Airflow 3.3's store of questions: one a task, which keeps the first text and forgets the answer when asked again."""

    questions: dict[UUID, dict[str, Any]] = field(default_factory=dict)
    answers: dict[UUID, Any] = field(default_factory=dict)

    def upsert(self, ti_id: UUID, **question: Any) -> None:
        self.questions.setdefault(ti_id, question)
        self.answers.pop(ti_id, None)

    def read(self, ti_id: UUID) -> Any:
        if ti_id not in self.questions:
            raise AirflowRuntimeError(ErrorResponse(error=ErrorType.GENERIC_ERROR, detail={"reason": "not_found"}))
        nothing = SimpleNamespace(response_received=False, responded_by_user=None, chosen_options=None)
        return self.answers.get(ti_id, nothing)

    def close(self, ti_id: UUID, chosen_options: list[str], params_input: dict[str, Any]) -> None:
        if ti_id in self.answers:
            raise AirflowRuntimeError(ErrorResponse(error=ErrorType.GENERIC_ERROR, detail={"reason": "conflict"}))
        self.answer(ti_id, chosen_options[0], by=None)

    def answer(self, ti_id: UUID, chosen: str, *, by: dict[str, str] | None = ALICE) -> None:
        user = SimpleNamespace(**by) if by else None
        self.answers[ti_id] = SimpleNamespace(response_received=True, responded_by_user=user, chosen_options=[chosen])


@pytest.fixture
def actions(monkeypatch: pytest.MonkeyPatch) -> RequiredActions:
    store = RequiredActions()
    monkeypatch.setattr(hitl, "upsert_hitl_detail", store.upsert)
    monkeypatch.setattr(hitl, "get_hitl_detail_content_detail", store.read)
    monkeypatch.setattr(hitl, "update_hitl_detail_response", store.close)
    return store


@dataclass
class Asking:
    """A task that watches the first step of a release, at whose deadline nothing is known."""

    story: Story
    actions: RequiredActions
    task: UUID = field(default_factory=uuid4)
    release: dict[str, str] = field(default_factory=dict)

    def begin(self) -> Asking:
        self.story.serve(1)
        self.story.source.few()
        self.release = self.story.start(2)
        return self

    @property
    def context(self) -> Any:
        context = context_of()
        context["ti"].id = self.task
        return context

    @property
    def check(self) -> CheckMetricsOperator:
        return CheckMetricsOperator(task_id="check", model=self.story.model, release=self.release, step=0)

    def deferred(self, waiting: TaskDeferred) -> CanaryStepTrigger:
        """The trigger that a deferral leads to, as the triggerer makes it."""
        path, kwargs = waiting.trigger.serialize()
        assert path.endswith("CanaryStepTrigger")
        trigger = CanaryStepTrigger(**kwargs)
        trigger.first_pause_seconds, trigger.look_seconds = 0.01, 0.02
        return trigger

    def resumed(self, waiting: TaskDeferred, event: dict[str, Any]) -> Any:
        """Let a new worker go on with the task."""
        return getattr(self.check, str(waiting.method_name))(self.context, event=event, **(waiting.kwargs or {}))

    def asked(self) -> TaskDeferred:
        """Let the deadline pass; return the deferral with the question open."""
        waiting = self.starts()
        event = self.measured(waiting)
        assert event["result"] == "asked"
        return self.defers(waiting, event)

    def starts(self) -> TaskDeferred:
        with pytest.raises(TaskDeferred) as waiting:
            self.check.execute(self.context)
        return waiting.value

    def defers(self, waiting: TaskDeferred, event: dict[str, Any]) -> TaskDeferred:
        with pytest.raises(TaskDeferred) as again:
            self.resumed(waiting, event)
        return again.value

    def measured(self, waiting: TaskDeferred, *, times: int = STEPS) -> dict[str, Any]:
        """Measure every ten seconds, each time with a restarted trigger, until one fires."""
        for _ in range(times):
            self.story.clock.advance(10)
            if (event := asyncio.run(fired(self.deferred(waiting), self.story))) is not None:
                return event
        raise AssertionError("no event")

    @property
    def answer(self) -> dict[str, Any]:
        """The event with which Airflow hands an approval to a deferred task."""
        return answer_of(PASS)


def answer_of(chosen: str, *, by: dict[str, str] | None = ALICE) -> dict[str, Any]:
    return {"chosen_options": [chosen], "params_input": {}, "responded_by_user": by, "timedout": False}


async def fired(trigger: CanaryStepTrigger, story: Story) -> dict[str, Any] | None:
    """Return a trigger's event; ``None`` if it has measured, has looked around once more and is silent."""
    asked, looks, silent = story.source.asked, 0, asyncio.Event()
    interrupted = trigger.interrupted

    async def noticed() -> Any:
        nonlocal looks
        looks += story.source.asked > asked
        if looks == 2:  # what it measured told it nothing, nor did its first look after that
            silent.set()
        return await interrupted()

    async def first() -> Any:
        async for event in trigger.run():
            return event.payload
        raise AssertionError("ended without an event")

    trigger.interrupted = noticed  # type: ignore[method-assign]
    running, silence = asyncio.ensure_future(first()), asyncio.ensure_future(silent.wait())
    async with asyncio.timeout(ANSWER_SECONDS):
        await asyncio.wait([running, silence], return_when=asyncio.FIRST_COMPLETED)
    for task in (running, silence):
        if not task.done():
            task.cancel()
    await asyncio.gather(running, silence, return_exceptions=True)
    return None if running.cancelled() else dict(running.result())


@pytest.fixture
def asking(actions: RequiredActions) -> Iterator[Asking]:
    with on_stage(model=parse_model_file(ASKING)) as story:
        yield Asking(story, actions).begin()


class TestTheQuestion:
    def test_at_the_deadline_it_is_put_and_the_canary_is_watched_on(self, asking: Asking) -> None:
        waiting = asking.asked()

        question = asking.actions.questions[asking.task]
        assert question["options"] == [PASS, ABORT, KEEP_WAITING]
        assert "digits-v2.0.0" in question["subject"]
        assert "UNDECIDED" in question["body"]
        assert asking.deferred(waiting).question == str(asking.task)
        assert asking.story.control().state.hold is not None
        assert asking.story.split == {1: 90, 2: 10}

    def test_while_it_is_open_harm_ends_the_canary_and_fails_the_task(self, asking: Asking) -> None:
        waiting = asking.asked()
        asking.story.source.rps = 1000
        asking.story.source.harm()

        event = asking.measured(waiting)

        assert (event["result"], event["verdict"]) == ("aborted", "HARM")
        assert asking.story.split == {1: 100}
        with pytest.raises(AirflowFailException, match="HARM"):
            asking.resumed(waiting, event)

    def test_an_automatic_retry_asks_again(self, asking: Asking) -> None:
        asking.asked()
        asking.actions.answer(asking.task, PASS)  # and the worker that was to carry it out died

        waiting = asking.starts()
        again = asking.defers(waiting, asking.measured(waiting, times=1))

        assert asking.deferred(again).question == str(asking.task)
        assert asking.task not in asking.actions.answers

    def test_a_resume_by_other_means_withdraws_it_and_the_watch_goes_on(self, asking: Asking) -> None:
        waiting = asking.asked()
        asking.story.source.nothing()
        asyncio.run(fired(asking.deferred(waiting), asking.story))
        asking.story.control(PERSON).resume(reason="let it run")

        event = asking.measured(waiting, times=1)
        again = asking.defers(waiting, event)

        assert asking.actions.read(asking.task).chosen_options == [KEEP_WAITING]
        assert asking.deferred(again).question is None
        assert asyncio.run(fired(asking.deferred(again), asking.story)) is None

    def test_the_way_back_by_hand_ends_the_task_and_with_it_the_question(self, asking: Asking) -> None:
        waiting = asking.asked()
        asking.story.control(PERSON).rollback(reason="customers complain")

        event = asking.measured(waiting, times=1)

        assert event["result"] == "pre_empted"
        with pytest.raises(AirflowFailException, match="pre-empted"):
            asking.resumed(waiting, event)


class TestTheAnswer:
    def test_an_approval_lets_the_step_pass_in_the_name_of_the_person(self, asking: Asking) -> None:
        waiting = asking.asked()

        result = asking.resumed(waiting, asking.answer)

        assert result["result"] == "passed_without_proof"
        assert result["reason"].startswith("without proof, approved by alice: UNDECIDED")
        resume = next(entry for entry in reversed(asking.story.entries) if entry.name == "resume")
        assert str(resume.origin.actor) == "person alice"
        assert asking.story.control().state.hold is None

    def test_an_abort_fails_the_task_in_the_words_of_the_person(self, asking: Asking) -> None:
        waiting = asking.asked()

        with pytest.raises(AirflowFailException, match="ended by alice when asked"):
            asking.resumed(waiting, answer_of(ABORT))

        assert asking.story.split == {1: 100}

    def test_keep_waiting_watches_on_without_a_question(self, asking: Asking) -> None:
        again = asking.defers(asking.asked(), answer_of(KEEP_WAITING))

        assert asking.deferred(again).question is None
        assert asking.story.control().state.hold is None

    def test_one_that_came_before_the_task_had_deferred_is_found_by_the_trigger(self, asking: Asking) -> None:
        waiting = asking.asked()
        asking.actions.answer(asking.task, PASS)

        event = asking.measured(waiting, times=1)

        assert (event["chosen_options"], event["responded_by_user"]) == ([PASS], ALICE)
        assert asking.resumed(waiting, event)["result"] == "passed_without_proof"

    def test_one_that_airflow_kept_from_another_version_is_void_and_the_step_stays_frozen(self, asking: Asking) -> None:
        waiting = asking.asked()

        again = asking.defers(waiting, answer_of("Let digits-v1.9.0 pass 10 % without proof"))

        assert asking.story.control().state.hold is not None
        assert asking.measured(again, times=1)["result"] == "asked"

    def test_after_harm_it_is_void_and_the_task_says_why(self, asking: Asking) -> None:
        waiting = asking.asked()
        asking.story.source.rps = 1000
        asking.story.source.harm()
        asking.measured(waiting)

        with pytest.raises(AirflowFailException, match=r"answer of alice .* is void.*HARM"):
            asking.resumed(waiting, asking.answer)

    def test_the_approval_of_one_attempt_is_void_for_the_next(self, asking: Asking) -> None:
        waiting = asking.asked()
        asking.release = asking.story.start(2, attempt=2)

        with pytest.raises(AirflowFailException, match="void"):
            asking.resumed(waiting, asking.answer)

        assert asking.story.split == {1: 90, 2: 10}

    def test_a_stale_question_of_a_cleared_task_answered_early_changes_nothing(self, asking: Asking) -> None:
        waiting = asking.starts()

        again = asking.defers(waiting, asking.answer)

        assert asking.deferred(again).question is None
        assert "resume" not in asking.story.names

    def test_a_later_task_that_waits_on_a_persons_hold_asks_and_hears_like_the_check(self, asking: Asking) -> None:
        asking.story.control(PERSON).hold(reason="wait")
        asking.story.control().apply(deadline_seconds=5)
        shift = ShiftTrafficOperator(task_id="shift", model=asking.story.model, release=asking.release, percent=50)
        with pytest.raises(TaskDeferred) as waiting:
            shift.execute(asking.context)
        asyncio.run(fired(asking.deferred(waiting.value), asking.story))
        asking.story.control(PERSON).resume(reason="go on")
        event = asking.measured(waiting.value, times=STEPS + 1)
        with pytest.raises(TaskDeferred) as asked:
            shift.execute_watched(asking.context, event=event, **(waiting.value.kwargs or {}))

        shift.execute_watched(asking.context, event=asking.answer, **(asked.value.kwargs or {}))

        assert asking.story.split == {1: 50, 2: 50}


class TestTheTriggersEnd:
    """Airflow 3.3 tells a trigger of an answered question what it tells that of a task which a user has ended."""

    def test_an_answer_does_not_abort_the_release(self, asking: Asking) -> None:
        trigger = asking.deferred(asking.asked())
        asking.actions.answer(asking.task, PASS)

        asyncio.run(trigger.on_kill())

        assert asking.story.split == {1: 90, 2: 10}

    def test_a_user_who_ends_the_task_does(self, asking: Asking) -> None:
        trigger = asking.deferred(asking.asked())

        asyncio.run(trigger.on_kill())

        assert asking.story.split == {1: 100}

    def test_so_does_one_who_clears_it_whose_question_has_another_id_then(self, asking: Asking) -> None:
        trigger = asking.deferred(asking.asked())
        asking.actions.questions.clear()

        asyncio.run(trigger.on_kill())

        assert asking.story.split == {1: 100}
