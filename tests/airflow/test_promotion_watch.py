"""The watch after a promotion as Airflow runs it: what its task tells, what its trigger does, what a user's click ends."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Iterator
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, TaskDeferred

from airflow_model_ops.assets import ROLLBACK_ALIAS, model_asset
from airflow_model_ops.config.model_file import parse_model_file
from airflow_model_ops.core.errors import RepositoryUnavailable
from airflow_model_ops.core.state import Fence
from airflow_model_ops.operators.promotion_watch import TellRollbackOperator, WatchPromotionOperator
from airflow_model_ops.operators.traffic import AbortReleaseOperator, PromoteModelOperator, ReleaseGuardOperator
from airflow_model_ops.triggers.promotion_watch import PromotionWatchTrigger
from tests.airflow.release_story import PERSON, YAML, Story, context_of, on_stage

WATCHED = YAML + "watch: {duration: 10m, hold_back: 5}\n"
ANSWER_SECONDS = 60.0


@pytest.fixture
def story() -> Iterator[Story]:
    """Version 1 serves; releases of the model are watched."""
    with on_stage(model=parse_model_file(WATCHED)) as stage:
        stage.serve(1)
        yield stage


@pytest.fixture
def release(story: Story) -> dict[str, str]:
    """What the load of a release has handed on whose version 2 was promoted."""
    release = story.start(2)
    promote = PromoteModelOperator(task_id="promote", model=story.model, release=release, proof="it was good")
    promote.execute(context_of())
    return release


def watch(story: Story, release: Any) -> WatchPromotionOperator:
    return WatchPromotionOperator(task_id="watch", model=story.model, release=release)


def trigger_of(story: Story, release: Any) -> PromotionWatchTrigger:
    with pytest.raises(TaskDeferred) as waiting:
        watch(story, release).execute(context_of(task_id="watch"))
    trigger = waiting.value.trigger
    assert isinstance(trigger, PromotionWatchTrigger)
    trigger.first_pause_seconds, trigger.look_seconds = 0.01, 0.02
    return trigger


def told(trigger: PromotionWatchTrigger) -> dict[str, Any]:
    """Return what a trigger fires with its first measurement."""

    async def first() -> list[Any]:
        async with asyncio.timeout(ANSWER_SECONDS):
            return [event.payload async for event in trigger.run()]

    (event,) = asyncio.run(first())
    return dict(event)


class TestPromotion:
    def test_it_leaves_the_former_version_its_share(self, story: Story, release: dict[str, str]) -> None:
        assert story.split == {1: 5, 2: 95}
        assert story.control().state.holdback is not None

    def test_its_retry_keeps_the_hold_back(self, story: Story, release: dict[str, str]) -> None:
        PromoteModelOperator(task_id="promote", model=story.model, release=release, proof="x").execute(
            context_of(try_number=2)
        )

        assert story.split == {1: 5, 2: 95}

    @pytest.mark.parametrize("kind", [AbortReleaseOperator, ReleaseGuardOperator])
    def test_nothing_of_the_release_undoes_it(
        self, story: Story, release: dict[str, str], kind: type[AbortReleaseOperator]
    ) -> None:
        result = kind(task_id="end", model=story.model, release=release).execute(context_of())

        assert result["changed"] is False
        assert story.split == {1: 5, 2: 95}


class TestTask:
    def test_it_waits_in_the_triggerer_for_longer_than_the_watch_lasts(
        self, story: Story, release: dict[str, str]
    ) -> None:
        with pytest.raises(TaskDeferred) as waiting:
            watch(story, release).execute(context_of())

        assert waiting.value.method_name == "execute_complete"
        assert waiting.value.timeout is not None
        assert waiting.value.timeout.total_seconds() > 600

    def test_it_promises_to_look_after_the_hold_back(self, story: Story, release: dict[str, str]) -> None:
        story.clock.advance(100)
        trigger_of(story, release)

        assert story.control().leases.remaining_seconds(Fence(release="r", attempt=1)) > 100

    def test_without_a_promotion_it_says_where_it_belongs(self, story: Story) -> None:
        with pytest.raises(AirflowFailException, match="after its promotion"):
            watch(story, story.start(2)).execute(context_of())

    def test_a_rollback_fails_it_in_words_that_say_what_was_rolled_back_and_why(
        self, story: Story, release: dict[str, str]
    ) -> None:
        event = {"result": "rolled_back", "verdict": "HARM", "reason": "errors 8 %", "evidence": "e"}

        with pytest.raises(AirflowFailException, match=r"digits-v2\.0\.0 was rolled back .*HARM: errors 8 %"):
            watch(story, release).execute_complete(context_of(), event)

    def test_a_late_event_of_another_attempt_does_not_end_it(self, story: Story, release: dict[str, str]) -> None:
        late = {"result": "superseded", "verdict": None, "reason": "attempt 1 is live", "evidence": None}

        with pytest.raises(TaskDeferred):
            watch(story, release).execute_complete(context_of(), {**late, "release": "r", "attempt": 0})

    def test_a_way_back_that_is_refused_fails_it_too(self, story: Story, release: dict[str, str]) -> None:
        event = {"result": "not_rolled_back", "verdict": "BREACH", "reason": "errors 50 %; pinned", "evidence": "e"}

        with pytest.raises(AirflowFailException, match="goes on serving"):
            watch(story, release).execute_complete(context_of(), event)

    @pytest.mark.parametrize("result", ["ended", "superseded"])
    def test_any_other_end_is_a_success_that_tells_itself(
        self, story: Story, release: dict[str, str], result: str
    ) -> None:
        event = {"result": result, "verdict": None, "reason": "why", "evidence": None}

        assert watch(story, release).execute_complete(context_of(), event) == event

    def test_an_error_that_no_waiting_mends_ends_the_hold_back_and_fails_it(
        self, story: Story, release: dict[str, str]
    ) -> None:
        with pytest.raises(AirflowFailException, match="kept evidence cannot be read"):
            watch(story, release).execute_complete(context_of(), {"error": "kept evidence cannot be read"})

        assert story.split == {2: 100}


class TestTrigger:
    def test_it_can_be_made_again_from_what_it_serializes(self, story: Story, release: dict[str, str]) -> None:
        from airflow.serialization.serialized_objects import BaseSerialization

        path, kwargs = trigger_of(story, release).serialize()
        stored = BaseSerialization.deserialize(BaseSerialization.serialize(kwargs))
        module, _, name = path.rpartition(".")

        assert getattr(importlib.import_module(module), name)(**stored).serialize() == (path, kwargs)

    def test_harm_has_gone_back_before_the_event_fires(self, story: Story, release: dict[str, str]) -> None:
        story.source.harm()
        story.clock.advance(30)

        event = told(trigger_of(story, release))

        assert (event["result"], event["verdict"]) == ("rolled_back", "HARM")
        assert story.split == {1: 100}
        assert story.v(2) in story.control().state.quarantined

    def test_a_watch_that_ends_well_gives_stable_everything(self, story: Story, release: dict[str, str]) -> None:
        story.clock.advance(600)

        event = told(trigger_of(story, release))

        assert event["result"] == "ended"
        assert story.split == {2: 100}

    def test_a_repository_that_is_away_is_asked_again(
        self, story: Story, release: dict[str, str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        trigger = trigger_of(story, release)
        story.control(PERSON).rollback(reason="no")
        real = story.repository.log
        refused: list[str] = []

        def away(model: str) -> Any:
            if len(refused) < 3:
                refused.append(model)
                raise RepositoryUnavailable("the file server does not answer")
            return real(model)

        monkeypatch.setattr(story.repository, "log", away)

        assert told(trigger)["result"] == "superseded"
        assert len(refused) == 3

    def test_a_user_who_ends_its_task_ends_the_hold_back_and_nothing_more(
        self, story: Story, release: dict[str, str]
    ) -> None:
        asyncio.run(trigger_of(story, release).on_kill())

        assert story.split == {2: 100}
        assert story.control().state.quarantined == ()

    def test_it_leaves_the_next_release_alone_when_its_task_is_ended(
        self, story: Story, release: dict[str, str]
    ) -> None:
        trigger = trigger_of(story, release)
        story.start(3, release="next")
        before = story.names

        asyncio.run(trigger.on_kill())

        assert story.names == before


class TestTelling:
    def tell(self, story: Story, release: Any) -> tuple[dict[str, Any], list[Any]]:
        context = context_of()
        result = TellRollbackOperator(task_id="tell", model=story.model, release=release).execute(context)
        return result, context["outlet_events"][ROLLBACK_ALIAS].added

    def test_a_rollback_of_the_watch_touches_the_stable_asset(self, story: Story, release: dict[str, str]) -> None:
        story.source.harm()
        story.clock.advance(30)
        told(trigger_of(story, release))

        result, ((asset, extra),) = self.tell(story, release)

        assert result["told"] is True
        assert asset == model_asset("digits")
        assert (extra["version"], extra["split"], extra["run"]) == ("digits-v1.0.0", {"100000000": 100.0}, "r")
        assert "HARM after the promotion" in extra["reason"]

    def test_a_persons_rollback_is_told_by_the_task_that_did_it(self, story: Story, release: dict[str, str]) -> None:
        story.control(PERSON).rollback(reason="no")

        assert self.tell(story, release) == ({"told": False}, [])

    @pytest.mark.parametrize("started", [True, False])
    def test_a_release_that_promoted_nothing_has_nothing_to_tell(self, story: Story, started: bool) -> None:
        assert self.tell(story, story.start(2) if started else None) == ({"told": False}, [])
