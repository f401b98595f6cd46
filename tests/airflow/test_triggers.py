"""The triggers: what waits in the triggerer, is restarted at any time, killed by a user, and still acts once."""

from __future__ import annotations

import asyncio
import importlib
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from airflow_model_ops.config.fleet_place import FleetPlace
from airflow_model_ops.config.model_file import parse_model_file
from airflow_model_ops.core.errors import RepositoryUnavailable
from airflow_model_ops.core.state import Fence
from airflow_model_ops.triggers import watch
from airflow_model_ops.triggers.canary import CanaryStepTrigger
from airflow_model_ops.triggers.turn import ResumeTrigger, TurnTrigger
from airflow_model_ops.triggers.version import MetricTrigger, VersionServesTrigger
from airflow_model_ops.triggers.watch import NeglectedModelsTrigger
from tests.airflow.firings import firings
from tests.airflow.release_story import PERSON, YAML, Story
from tests.waits import until_true

DIGITS = "digits"
ANSWER_SECONDS = 60.0


def canary(story: Story, release: dict[str, str], *, step: int = 0) -> CanaryStepTrigger:
    trigger = CanaryStepTrigger(
        model=story.model.model_dump(mode="json"),
        release=release["release"],
        attempt=int(release["attempt"]),
        version=release["version"],
        step=step,
        run={"dag_id": "model_release_digits", "run_id": "r", "task_id": "check", "try": "1"},
    )
    trigger.first_pause_seconds = 0.01
    trigger.look_seconds = 0.02
    return trigger


def waiting(story: Story, kind: type[Any], release: dict[str, str]) -> Any:
    trigger = kind(
        model=story.model.model_dump(mode="json"),
        version=release["version"],
        release=release["release"],
        attempt=int(release["attempt"]),
    )
    trigger.poll_seconds = 0.01
    return trigger


PLACE = FleetPlace(repository="models", target="fleet")


def watcher(**changes: Any) -> NeglectedModelsTrigger:
    return NeglectedModelsTrigger(**{"place": PLACE.to_text(), "poll_seconds": 0.01, "again_seconds": 0.2, **changes})


def wish(major: int, release: str) -> dict[str, str]:
    return {"release": release, "attempt": "1", "version": f"digits-v{major}.0.0"}


async def first_event(trigger: Any) -> Any:
    """Return the content of a trigger's first event."""
    async with asyncio.timeout(ANSWER_SECONDS):
        async for event in trigger.run():
            return event.payload
    raise AssertionError("the trigger ended without an event")


async def stays_silent(trigger: Any, *, while_: Callable[[], Any]) -> None:
    """Let a trigger run until the story has gone on, and make sure that it fired no event."""
    running = asyncio.ensure_future(first_event(trigger))
    await until_true(lambda: running.done() or while_())
    assert not running.done(), running.result()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


def run(work: Any) -> Any:
    return asyncio.run(work)


@pytest.mark.parametrize(
    "make",
    [
        lambda story: canary(story, wish(2, "r"), step=1),
        lambda story: waiting(story, TurnTrigger, wish(2, "r")),
        lambda story: waiting(story, ResumeTrigger, wish(2, "r")),
        lambda story: VersionServesTrigger(
            model=story.model.model_dump(mode="json"), version=None, label="stable", poll_seconds=1.5
        ),
        lambda story: MetricTrigger(
            model=story.model.model_dump(mode="json"),
            version=story.v(2).to_json(),
            check=story.model.checks[0].model_dump(mode="json"),
            poll_seconds=2.0,
        ),
        lambda story: watcher(),
    ],
)
def test_each_can_be_made_again_from_what_it_serializes(story: Story, make: Callable[[Story], Any]) -> None:
    from airflow.serialization.serialized_objects import BaseSerialization

    path, kwargs = make(story).serialize()
    stored = BaseSerialization.deserialize(BaseSerialization.serialize(kwargs))
    module, _, name = path.rpartition(".")
    again = getattr(importlib.import_module(module), name)(**stored)

    assert again.serialize() == (path, kwargs)


class TestCanaryStep:
    def harmful(self, story: Story) -> CanaryStepTrigger:
        """A watched step whose next measurement makes HARM."""
        story.serve(1)
        trigger = canary(story, story.start(2))
        story.source.harm()
        story.clock.advance(10)
        return trigger

    def measured(self, story: Story, trigger: CanaryStepTrigger, times: int) -> None:
        """Let a trigger measure as often as told, each time anew as after a restart, 10 s apart.

        Each in a loop of its own, whose end waits for the thread that measures: the clock must not move meanwhile.
        """
        for _ in range(times):
            asked = story.source.asked
            run(stays_silent(trigger, while_=lambda asked=asked: self.kept(story) and story.source.asked > asked))
            story.clock.advance(10)

    def kept(self, story: Story) -> bytes | None:
        return story.repository.read_evidence(DIGITS, "r", "attempt-1-judge")

    def test_harm_has_taken_the_canary_out_of_traffic_before_the_event_fires(self, story: Story) -> None:
        event = run(first_event(self.harmful(story)))

        assert (event["result"], event["verdict"]) == ("aborted", "HARM")
        assert story.split == {1: 100}
        assert story.v(2) in story.control().state.quarantined
        abort, applied, verdict = story.entries[-3:]
        assert [abort.name, applied.name, verdict.name] == ["abort", "applied", "verdict"]
        assert abort.origin.run["task_id"] == "check"
        assert abort.evidence == verdict.evidence == event["evidence"]

    def test_a_restart_goes_on_from_the_kept_evidence_and_does_not_bake_again(self, story: Story) -> None:
        story.serve(1)
        release = story.start(2)
        story.clock.advance(10)

        self.measured(story, canary(story, release), 2)
        story.clock.advance(10)
        event = run(first_event(canary(story, release)))

        assert event["result"] == "passed"
        assert story.source.asked == 3

    def test_a_second_trigger_at_the_same_instant_proves_nothing_more(self, story: Story) -> None:
        trigger = self.harmful(story)
        story.source.rps = 100.0  # too few to show harm at once, enough if they were counted twice

        for _ in range(4):  # the story's clock stands still, so every measurement is of the same instant
            asked = story.source.asked
            run(stays_silent(trigger, while_=lambda asked=asked: story.source.asked > asked))

        assert story.split == {1: 90, 2: 10}

    def test_a_repository_that_is_away_is_asked_again(self, story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
        story.serve(1)
        release = story.start(2)
        story.control(PERSON).abort(reason="no", fence=None)
        real, refused = story.repository.log, []

        def away(model: str) -> Any:
            if len(refused) < 3:
                refused.append(model)
                raise RepositoryUnavailable("the file server does not answer")
            return real(model)

        monkeypatch.setattr(story.repository, "log", away)

        assert run(first_event(canary(story, release)))["result"] == "pre_empted"
        assert len(refused) == 3

    def test_an_error_that_asking_again_cannot_mend_ends_the_wait(self, story: Story) -> None:
        story.serve(1)
        release = story.start(2)
        story.repository.write_evidence(DIGITS, "r", "attempt-1-judge", b"{}")

        assert "kept evidence cannot be read" in run(first_event(canary(story, release)))["error"]

    def test_a_rollback_ends_it(self, story: Story) -> None:
        story.serve(1, 2)
        release = story.start(3)

        async def tell() -> Any:
            running = asyncio.ensure_future(first_event(canary(story, release)))
            await until_true(lambda: story.source.asked)
            story.control(PERSON).rollback(reason="I do not like it")
            return await running

        assert run(tell())["result"] == "pre_empted"

    def test_the_lease_is_renewed_between_measurements_that_are_far_apart(self, story: Story) -> None:
        story.model = parse_model_file(YAML.replace("interval: 10s", "interval: 5m"))
        story.serve(1)
        release = story.start(2)

        def until_when() -> float:
            (lease,) = [lease for lease in story.repository.leases(DIGITS) if lease.release == "r"]
            return lease.until

        async def tell() -> None:
            running = asyncio.ensure_future(first_event(canary(story, release)))
            await until_true(lambda: story.source.asked)
            story.clock.advance(100)
            await until_true(lambda: until_when() > story.clock.now() + 60)
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

        run(tell())
        assert story.source.asked == 1

    def test_a_user_who_ends_its_task_ends_the_canary(self, story: Story) -> None:
        story.serve(1)
        trigger = canary(story, story.start(2))

        run(trigger.on_kill())

        assert story.split == {1: 100}
        assert story.v(2) not in story.control().state.quarantined

    def test_the_on_kill_of_an_older_attempt_does_nothing(self, story: Story) -> None:
        story.serve(1)
        old = canary(story, story.start(2))
        story.start(2, attempt=2)
        before = story.names

        run(old.on_kill())

        assert story.names == before
        assert story.split == {1: 90, 2: 10}

    def test_killing_it_needs_no_metric_source(self, story: Story) -> None:
        from airflow_model_ops.hooks.wiring import standing_in

        story.serve(1)
        trigger = canary(story, story.start(2))
        with standing_in(story.fleet, metrics=None):  # no Prometheus connection is defined
            run(trigger.on_kill())

        assert story.split == {1: 100}


class TestTurn:
    def test_it_fires_when_the_live_release_has_ended(self, story: Story) -> None:
        story.serve(1)
        story.start(2)
        story.v(3)
        trigger = waiting(story, TurnTrigger, wish(3, "next"))

        async def tell() -> Any:
            running = asyncio.ensure_future(first_event(trigger))
            await until_true(lambda: any(lease.waiting for lease in story.repository.leases(DIGITS)))
            assert not running.done()
            story.control().abort(reason="done", fence=None)
            return await running

        assert run(tell()) == {"superseded_by": ""}

    def test_it_fires_when_the_live_release_was_abandoned(self, story: Story) -> None:
        story.serve(1)
        story.start(2)
        story.clock.advance(10_000)

        assert run(first_event(waiting(story, TurnTrigger, wish(3, "next")))) == {"superseded_by": ""}

    def test_it_names_a_newer_version_that_waits_too(self, story: Story) -> None:
        story.serve(1)
        newer = Fence(release="newest", attempt=1)
        story.control().leases.renew(newer, story.v(4), seconds=60, waiting=True)

        assert run(first_event(waiting(story, TurnTrigger, wish(3, "next")))) == {"superseded_by": "digits-v4.0.0"}

    def test_it_waits_while_a_person_holds_the_model(self, story: Story) -> None:
        story.serve(1)
        story.control(PERSON).hold(reason="audit")
        trigger = waiting(story, TurnTrigger, wish(2, "next"))

        async def tell() -> Any:
            running = asyncio.ensure_future(first_event(trigger))
            await until_true(lambda: story.repository.leases(DIGITS))
            await asyncio.sleep(0.05)
            assert not running.done()
            story.control(PERSON).resume(reason="fine")
            return await running

        assert run(tell()) == {"superseded_by": ""}

    def test_a_user_who_ends_its_task_takes_it_out_of_the_queue(self, story: Story) -> None:
        story.serve(1)
        story.control().leases.renew(Fence(release="next", attempt=1), story.v(2), seconds=60, waiting=True)

        run(waiting(story, TurnTrigger, wish(2, "next")).on_kill())

        assert not story.repository.leases(DIGITS)


class TestResume:
    def test_it_keeps_the_lease_until_a_person_resumes(self, story: Story) -> None:
        story.serve(1)
        release = story.start(2)
        story.control(PERSON).hold(reason="audit")
        trigger = waiting(story, ResumeTrigger, release)

        async def tell() -> Any:
            running = asyncio.ensure_future(first_event(trigger))
            story.clock.advance(100)
            await until_true(lambda: max(lease.until for lease in story.repository.leases(DIGITS)) > story.clock.now())
            assert not running.done()
            story.control(PERSON).resume(reason="fine")
            return await running

        assert run(tell()) == {"resumed": True}

    def test_it_ends_when_the_release_has_ended(self, story: Story) -> None:
        story.serve(1)
        release = story.start(2)
        story.control(PERSON).hold(reason="audit")
        story.control(PERSON).rollback(reason="no")

        assert run(first_event(waiting(story, ResumeTrigger, release))) == {"resumed": False}

    def test_a_user_who_ends_its_task_ends_the_canary(self, story: Story) -> None:
        story.serve(1)
        trigger = waiting(story, ResumeTrigger, story.start(2))

        run(trigger.on_kill())

        assert story.split == {1: 100}


class TestVersionServes:
    def trigger(self, story: Story, version: str | None) -> VersionServesTrigger:
        return VersionServesTrigger(
            model=story.model.model_dump(mode="json"), version=version, label="stable", poll_seconds=0.01
        )

    def test_it_fires_when_the_version_serves_and_not_when_it_is_only_committed(self, story: Story) -> None:
        story.serve(1)
        release = story.start(2)
        fence = Fence(release=release["release"], attempt=1)

        async def tell() -> Any:
            running = asyncio.ensure_future(first_event(self.trigger(story, "digits-v2.0.0")))
            story.control().promote(story.v(2), fence=fence, proof="good")
            await asyncio.sleep(0.05)
            assert not running.done()
            story.control().apply(deadline_seconds=5)
            return await running

        assert run(tell()) == {"name": "digits-v2.0.0", "number": "200000000"}

    def test_without_a_version_any_will_do(self, story: Story) -> None:
        story.serve(1)

        assert run(first_event(self.trigger(story, None)))["name"] == "digits-v1.0.0"


class TestMetric:
    def trigger(self, story: Story) -> MetricTrigger:
        return MetricTrigger(
            model=story.model.model_dump(mode="json"),
            version=story.v(1).to_json(),
            check={"name": "errors", "kind": "error_rate", "max": 0.2},
            poll_seconds=0.01,
        )

    @pytest.mark.parametrize(("tell", "verdict"), [("safe", "SAFE"), ("breach", "BREACH")])
    def test_it_fires_on_an_answer(self, story: Story, tell: str, verdict: str) -> None:
        story.serve(1)
        getattr(story.source, tell)()
        story.clock.advance(time.time() - story.clock.now())  # the sensor looks back from now

        assert run(first_event(self.trigger(story)))["verdict"] == verdict

    @pytest.mark.parametrize("tell", ["nothing", "stale", "down", "few"])
    def test_no_answer_is_asked_for_again(self, story: Story, tell: str) -> None:
        getattr(story.source, tell)()

        run(stays_silent(self.trigger(story), while_=lambda: story.source.asked > 3))


class TestWatcher:
    def neglect(self, story: Story) -> None:
        story.serve(1, 2)
        story.control().rollback(reason="killed before it could apply")
        story.clock.advance(10)

    def test_it_fires_for_a_head_that_nobody_applies(self, story: Story) -> None:
        self.neglect(story)

        assert run(first_event(watcher())) == {"unapplied": [DIGITS], "abandoned": [], "astray": []}

    def test_it_gives_the_author_of_a_head_a_few_seconds(self, story: Story) -> None:
        story.serve(1, 2)
        story.control().rollback(reason="its author is about to apply it")

        async def tell() -> Any:
            running = asyncio.ensure_future(first_event(watcher()))
            await asyncio.sleep(0.1)
            assert not running.done()
            story.clock.advance(10)
            return await running

        assert run(tell())["unapplied"] == [DIGITS]

    def test_it_leaves_a_head_alone_that_is_being_worked_on(self, story: Story) -> None:
        story.serve(1)
        control, fence, version = story.control(), Fence(release="r", attempt=1), story.v(2)
        control.start_canary(version, fence=fence)
        story.clock.advance(60)
        control.leases.renew(fence, version)

        async def tell() -> Any:
            running = asyncio.ensure_future(first_event(watcher()))
            await asyncio.sleep(0.1)
            assert not running.done()
            story.clock.advance(15)  # two renewals were missed
            return await running

        assert run(tell()) == {"unapplied": [DIGITS], "abandoned": [], "astray": []}

    def test_it_fires_for_a_release_that_nobody_looks_after(self, story: Story) -> None:
        story.serve(1)
        story.start(2)
        story.clock.advance(10_000)

        assert run(first_event(watcher())) == {"unapplied": [], "abandoned": [DIGITS], "astray": []}

    def test_it_fires_again_for_what_stays_neglected_later_each_time(
        self, story: Story, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.neglect(story)
        at = firings(watch, monkeypatch)

        async def tell() -> None:
            events = 0
            async with asyncio.timeout(ANSWER_SECONDS):
                async for _ in watcher(again_seconds=0.2).run():
                    events += 1
                    if events == 3:
                        return
            raise AssertionError("it ended")

        run(tell())
        first, second, third = at

        assert second - first >= 0.2
        assert third - second >= 0.4

    def test_a_newer_head_of_the_same_model_does_not_wait_for_the_pause_of_the_former(self, story: Story) -> None:
        self.neglect(story)

        async def tell() -> int:
            events = 0
            async with asyncio.timeout(ANSWER_SECONDS):
                async for _ in watcher(again_seconds=10 * ANSWER_SECONDS).run():
                    events += 1
                    if events == 2:
                        return events
                    story.control().hold(reason="killed before it could apply, too")
                    story.clock.advance(10)
            raise AssertionError("it ended")

        assert run(tell()) == 2

    def test_it_survives_a_repository_that_is_away_and_an_undefined_connection(
        self, story: Story, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from airflow_model_ops.core.errors import InvalidConfig
        from airflow_model_ops.hooks import wiring

        self.neglect(story)
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

        assert run(first_event(watcher()))["unapplied"] == [DIGITS]
        assert not failures

    def test_watchers_of_one_fleet_share_a_stream(self, story: Story) -> None:
        self.neglect(story)
        one, other = watcher(), watcher(poll_seconds=5.0)

        async def first_shared() -> Any:
            stream: AsyncIterator[Any] = NeglectedModelsTrigger.open_shared_stream(one.serialize()[1])
            async with asyncio.timeout(ANSWER_SECONDS):
                async for event in one.filter_shared_stream(stream):
                    return event.payload
            raise AssertionError("it ended")

        assert one.shared_stream_key() == other.shared_stream_key()
        elsewhere = FleetPlace(repository="models", target="other")
        assert one.shared_stream_key() != watcher(place=elsewhere.to_text()).shared_stream_key()
        assert run(first_shared())["unapplied"] == [DIGITS]
