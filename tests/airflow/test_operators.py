"""What each operator does to a fleet, and what Airflow is told when it cannot."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException, TaskDeferred

from airflow_model_ops.assets import ROLLBACK_ALIAS, model_asset
from airflow_model_ops.callbacks import AbortReleaseOfRun
from airflow_model_ops.core.errors import RepositoryUnavailable
from airflow_model_ops.core.state import ActorKind, Fence
from airflow_model_ops.operators.check import CheckMetricsOperator
from airflow_model_ops.operators.push import PushModelOperator
from airflow_model_ops.operators.rollback import PinGoldenOperator, RollbackModelOperator
from airflow_model_ops.operators.traffic import (
    AbortReleaseOperator,
    PromoteModelOperator,
    ReleaseGuardOperator,
    ShiftTrafficOperator,
    StartCanaryOperator,
)
from airflow_model_ops.operators.upkeep import ReconcileOperator
from airflow_model_ops.testing import InMemoryTarget
from tests.airflow.release_story import PERSON, Story, context_of, on_stage

DIGITS = "digits"


def start(story: Story, version: str) -> StartCanaryOperator:
    return StartCanaryOperator(task_id="load", model=story.model, version=version)


def shift(story: Story, release: Any, percent: float = 50) -> ShiftTrafficOperator:
    return ShiftTrafficOperator(task_id="shift", model=story.model, release=release, percent=percent)


def promote(story: Story, release: Any) -> PromoteModelOperator:
    return PromoteModelOperator(
        task_id="promote", model=story.model, release=release, proof={"reason": "errors within limits"}
    )


def abort(story: Story, release: Any) -> AbortReleaseOperator:
    return AbortReleaseOperator(task_id="abort", model=story.model, release=release)


def rollback(story: Story, target: str = "previous") -> RollbackModelOperator:
    return RollbackModelOperator(task_id="rollback", model=story.model, target=target, reason="it smells")


SAFE_EVENT = {"result": "passed", "verdict": "SAFE", "reason": "fine", "evidence": "evidence/r/x"}


class TestErrors:
    def test_an_error_that_no_retry_mends_fails_the_task_at_once(self, story: Story) -> None:
        story.serve(1)

        with pytest.raises(AirflowFailException, match=r"digits-v9\.0\.0"):
            start(story, "digits-v9.0.0").execute(context_of())

    def test_an_error_that_a_retry_may_mend_stays_retryable(self, story: Story) -> None:
        story.serve(1)
        story.v(2)
        story.target.unavailable_servers.add("server-1")

        with pytest.raises(AirflowException, match="server-1") as failed:
            start(story, "digits-v2.0.0").execute(context_of())

        assert not isinstance(failed.value, AirflowFailException)
        assert story.control().state.release is None

    def test_an_unknown_choice_of_a_model_names_the_known_ones(self, story: Story) -> None:
        task = RollbackModelOperator(
            task_id="rollback", model={DIGITS: story.model}, choose="letters", reason="why not"
        )

        with pytest.raises(AirflowFailException, match=r"'letters'.*\['digits'\]"):
            task.execute(context_of())

    def test_a_task_without_the_outcome_of_the_start_says_what_to_pass(self, story: Story) -> None:
        with pytest.raises(AirflowFailException, match="StartCanaryOperator"):
            shift(story, None).execute(context_of())


class TestPush:
    @pytest.fixture
    def saved_model(self, tmp_path: Path) -> Path:
        (tmp_path / "export").mkdir()
        (tmp_path / "export" / "saved_model.pb").write_bytes(b"graph")
        return tmp_path / "export"

    def push(self, story: Story, saved_model: Path, **fields: Any) -> PushModelOperator:
        return PushModelOperator(
            task_id="push", model=story.model, saved_model=str(saved_model), version="digits-v1.0.0", **fields
        )

    def test_it_tells_the_version_its_number_as_text_its_digest_and_its_size(
        self, story: Story, saved_model: Path
    ) -> None:
        context = context_of()

        result = self.push(story, saved_model, dataset_version="2024_06").execute(context)

        assert (result["version"], result["number"], result["size"]) == ("digits-v1.0.0", "100000000", "5")
        assert context["ti"].pushed["version_id"] == "digits-v1.0.0"
        assert (
            story.repository.manifest(DIGITS, story.model.naming().parse("digits-v1.0.0")).dataset_version == "2024_06"
        )

    def test_a_dataset_version_that_a_command_printed_is_the_one_without_its_line_feed(
        self, story: Story, saved_model: Path
    ) -> None:
        self.push(story, saved_model, dataset_version="digits@7\n").execute(context_of())
        pushed = story.repository.manifest(DIGITS, story.model.naming().parse("digits-v1.0.0"))
        assert pushed.dataset_version == "digits@7"

    def test_a_dataset_version_that_a_template_made_a_number_of_is_refused(
        self, story: Story, saved_model: Path
    ) -> None:
        with pytest.raises(AirflowFailException, match="dataset_version 7 is not a text"):
            self.push(story, saved_model, dataset_version=7).execute(context_of())
        assert story.names == []

    def test_a_retry_adopts_what_its_first_try_pushed(self, story: Story, saved_model: Path) -> None:
        first = self.push(story, saved_model).execute(context_of())
        again = self.push(story, saved_model).execute(context_of(try_number=2))

        assert again == first
        assert story.names == ["pushed"]

    def test_other_content_under_the_same_name_fails_at_once(self, story: Story, saved_model: Path) -> None:
        self.push(story, saved_model).execute(context_of())
        (saved_model / "saved_model.pb").write_bytes(b"other")

        with pytest.raises(AirflowFailException, match=r"digits-v1\.0\.0"):
            self.push(story, saved_model).execute(context_of(run_id="manual__2"))

    def test_without_a_saved_model_and_a_source_it_says_what_to_give(self, story: Story) -> None:
        task = PushModelOperator(task_id="push", model=story.model)

        with pytest.raises(AirflowFailException, match="names no saved_model"):
            task.execute(context_of())

    @pytest.mark.parametrize(("field", "value"), [("metrics", "0.9"), ("metrics", {"accuracy": "good"})])
    def test_metrics_that_are_no_numbers_fail_at_once(
        self, story: Story, saved_model: Path, field: str, value: Any
    ) -> None:
        with pytest.raises(AirflowFailException, match="metrics"):
            self.push(story, saved_model, **{field: value}).execute(context_of())


class TestStart:
    def test_it_loads_the_version_and_hands_on_the_fence(self, story: Story) -> None:
        story.serve(1)
        version = story.v(2)

        release = start(story, version.name).execute(context_of())

        assert release == {
            "release": "model_release_digits/manual__1",
            "attempt": "1",
            "version": "digits-v2.0.0",
            "number": "200000000",
        }
        assert story.target.is_loaded(DIGITS, version)
        assert story.split == {1: 100}

    def test_a_retry_goes_on_with_its_own_attempt(self, story: Story) -> None:
        story.serve(1)
        first = start(story, story.v(2).name).execute(context_of())

        assert start(story, "digits-v2.0.0").execute(context_of(try_number=2)) == first
        assert story.names.count("start_canary") == 2  # one of version 1, one of version 2

    def test_a_cleared_task_starts_a_new_attempt(self, story: Story) -> None:
        story.serve(1)
        start(story, story.v(2).name).execute(context_of())

        again = start(story, "digits-v2.0.0").execute(context_of(try_number=2, max_tries=4))

        assert again["attempt"] == "2"

    def test_it_takes_over_keep_warm_from_the_models_file(self, story: Story) -> None:
        story.serve(1)
        story.model = story.model.model_copy(update={"keep_warm": 3})

        start(story, story.v(2).name).execute(context_of())

        assert story.control().state.keep_warm == 3

    def test_a_retry_after_a_persons_abort_does_not_start_it_again(self, story: Story) -> None:
        story.serve(1)
        start(story, story.v(2).name).execute(context_of())
        story.control(PERSON).abort(reason="no", fence=None)

        with pytest.raises(AirflowFailException, match="no longer live"):
            start(story, "digits-v2.0.0").execute(context_of(try_number=2))

    def test_it_waits_in_the_triggerer_while_another_release_is_live(self, story: Story) -> None:
        story.serve(1)
        story.start(2)
        story.v(3)

        with pytest.raises(TaskDeferred) as waiting:
            start(story, "digits-v3.0.0").execute(context_of())

        assert waiting.value.method_name == "execute_turn"
        assert waiting.value.timeout is not None
        (lease,) = [lease for lease in story.repository.leases(DIGITS) if lease.waiting]
        assert lease.version.name == "digits-v3.0.0"

    def test_it_waits_while_a_person_holds_the_model(self, story: Story) -> None:
        story.serve(1)
        story.control(PERSON).hold(reason="audit")

        with pytest.raises(TaskDeferred):
            start(story, story.v(2).name).execute(context_of())

    def test_it_makes_way_for_a_newer_version_that_waits_too(self, story: Story) -> None:
        story.serve(1)
        story.v(2)
        task = start(story, "digits-v2.0.0")

        with pytest.raises(AirflowSkipException, match=r"digits-v3\.0\.0 is newer"):
            task.execute_turn(context_of(), {"superseded_by": "digits-v3.0.0"})

        assert not story.repository.leases(DIGITS)

    def test_it_starts_when_its_turn_has_come(self, story: Story) -> None:
        story.serve(1)
        story.v(2)

        release = start(story, "digits-v2.0.0").execute_turn(context_of(), {"superseded_by": ""})

        assert story.control().state.is_live(Fence(release=release["release"], attempt=1))


class TestShiftAndPromote:
    def test_a_shift_gives_the_canary_its_share(self, story: Story) -> None:
        story.serve(1)

        shift(story, story.start(2, percent=0), 25).execute(context_of())

        assert story.split == {1: 75, 2: 25}

    def test_a_promotion_touches_the_stable_asset_with_version_split_and_reason(self, story: Story) -> None:
        story.serve(1)
        context = context_of()
        task = promote(story, story.start(2))

        task.execute(context)

        assert story.split == {2: 100}
        extra = context["outlet_events"][model_asset(DIGITS)].extra
        assert (extra["version"], extra["split"], extra["run"]) == ("digits-v2.0.0", {"200000000": 100.0}, "r")
        assert "errors within limits" in extra["reason"]
        assert model_asset(DIGITS) in task.outlets

    def test_a_retried_promotion_changes_nothing_and_succeeds(self, story: Story) -> None:
        story.serve(1)
        release = story.start(2)
        promote(story, release).execute(context_of())

        promote(story, release).execute(context_of(try_number=2))

        assert story.names.count("promote") == 2  # one of version 1, one of version 2

    def test_a_promotion_whose_worker_died_after_the_commit_is_finished_though_the_next_release_started(
        self, story: Story
    ) -> None:
        story.serve(1)
        release = story.start(2)
        fence = Fence(release=release["release"], attempt=1)
        story.control().promote(story.v(2), fence=fence, proof="it was good")
        story.start(3, percent=0, release="next")
        context = context_of(try_number=2)

        promote(story, release).execute(context)

        assert context["outlet_events"][model_asset(DIGITS)].extra["version"] == "digits-v2.0.0"
        assert story.split == {2: 100}

    @pytest.mark.parametrize("make", [shift, promote])
    def test_a_late_one_fails_at_once_and_changes_nothing(
        self, story: Story, make: Callable[[Story, Any], ShiftTrafficOperator]
    ) -> None:
        story.serve(1)
        old = story.start(2)
        story.start(2, attempt=2)

        with pytest.raises(AirflowFailException, match="no longer live"):
            make(story, old).execute(context_of())

        assert story.split == {1: 90, 2: 10}

    @pytest.mark.parametrize("make", [shift, promote])
    def test_a_persons_hold_makes_it_wait_and_not_end_the_canary(
        self, story: Story, make: Callable[[Story, Any], ShiftTrafficOperator]
    ) -> None:
        story.serve(1)
        release = story.start(2)
        story.control(PERSON).hold(reason="audit")

        with pytest.raises(TaskDeferred) as waiting:
            make(story, release).execute(context_of())
        assert waiting.value.method_name == "execute_watched"
        assert story.split == {1: 90, 2: 10}

        story.control(PERSON).resume(reason="fine")
        make(story, release).execute_watched(context_of(), SAFE_EVENT)
        assert story.split[2] > 10

    @pytest.mark.parametrize("make", [shift, promote])
    def test_a_held_canary_with_traffic_is_watched_by_its_step_and_may_still_be_taken_back(
        self, story: Story, make: Callable[[Story, Any], ShiftTrafficOperator]
    ) -> None:
        """A hold stops the rise, never the way back; nobody must be on trial without a judge."""
        story.serve(1)
        release = story.start(2)
        story.control(PERSON).hold(reason="audit")

        with pytest.raises(TaskDeferred) as waiting:
            make(story, release).execute(context_of())
        path, kwargs = waiting.value.trigger.serialize()
        assert path.endswith("CanaryStepTrigger")
        assert (kwargs["release"], kwargs["step"]) == ("r", 0)

        harm = {"result": "aborted", "verdict": "HARM", "reason": "errors 9 %", "evidence": "e"}
        with pytest.raises(AirflowFailException, match="HARM: errors 9 %"):
            make(story, release).execute_watched(context_of(), harm)

    def test_a_held_canary_without_traffic_waits_for_the_resume_alone(self, story: Story) -> None:
        story.serve(1)
        release = story.start(2, percent=0)
        story.control(PERSON).hold(reason="audit")

        with pytest.raises(TaskDeferred) as waiting:
            shift(story, release).execute(context_of())
        assert waiting.value.method_name == "execute_resumed"

        story.control(PERSON).resume(reason="fine")
        shift(story, release).execute_resumed(context_of(), {"resumed": True})
        assert story.split[2] >= 10


class TestCheck:
    def check(self, story: Story, release: Any) -> CheckMetricsOperator:
        return CheckMetricsOperator(task_id="check", model=story.model, release=release, step=0)

    def test_it_restores_the_steps_share_after_a_clear_and_waits_in_the_triggerer(self, story: Story) -> None:
        story.serve(1)
        release = story.start(2, percent=0, attempt=2)

        with pytest.raises(TaskDeferred) as waiting:
            self.check(story, release).execute(context_of(task_id="check"))

        assert story.split == {1: 90, 2: 10}
        _, kwargs = waiting.value.trigger.serialize()
        assert (kwargs["release"], kwargs["attempt"], kwargs["step"]) == ("r", 2, 0)
        assert kwargs["run"]["task_id"] == "check"

    @pytest.mark.parametrize("result", ["passed", "passed_without_proof"])
    def test_a_step_that_passed_returns_its_verdict(self, story: Story, result: str) -> None:
        event = {"result": result, "verdict": "SAFE", "reason": "fine", "evidence": "evidence/r/x"}

        assert self.check(story, {}).execute_complete(context_of(), event) == event

    def test_what_the_trigger_of_a_cleared_attempt_told_last_does_not_end_the_new_one(self, story: Story) -> None:
        """On SQLite, Airflow gives the id of a deleted trigger to the next one, and the event with it."""
        story.serve(1)
        release = story.start(2, percent=0, attempt=2)
        late = {"result": "pre_empted", "verdict": None, "reason": "attempt 2 is live", "evidence": None}

        with pytest.raises(TaskDeferred) as waiting:
            self.check(story, release).execute_complete(context_of(), {**late, "release": "r", "attempt": 1})

        assert waiting.value.trigger.serialize()[1]["attempt"] == 2
        with pytest.raises(AirflowFailException, match="attempt 2 is live"):
            self.check(story, release).execute_complete(context_of(), {**late, "release": "r", "attempt": 2})

    @pytest.mark.parametrize(
        ("event", "words"),
        [
            ({"result": "aborted", "verdict": "HARM", "reason": "errors 9 %", "evidence": "e"}, "HARM: errors 9 %"),
            ({"result": "pre_empted", "verdict": None, "reason": "now 1 serves", "evidence": None}, "now 1 serves"),
            ({"error": "connection 'x' is not defined"}, "connection 'x'"),
        ],
    )
    def test_a_step_that_did_not_pass_fails_without_a_retry(self, story: Story, event: Any, words: str) -> None:
        with pytest.raises(AirflowFailException, match=words):
            self.check(story, {}).execute_complete(context_of(), event)


class TestAbort:
    def test_it_ends_the_canary(self, story: Story) -> None:
        story.serve(1)

        result = abort(story, story.start(2)).execute(context_of())

        assert result["changed"]
        assert story.split == {1: 100}

    def test_without_a_release_it_does_nothing(self, story: Story) -> None:
        story.serve(1)
        before = story.names

        assert abort(story, None).execute(context_of()) == {"changed": False, "reason": "the release never started"}
        assert story.names == before

    def test_a_start_that_was_killed_before_it_handed_on_its_fence_is_aborted(self, story: Story) -> None:
        story.serve(1)
        story.start(2, release="model_release_digits/manual__1")

        assert abort(story, None).execute(context_of())["changed"]
        assert story.split == {1: 100}

    def test_the_release_of_another_run_is_left_alone(self, story: Story) -> None:
        story.serve(1)
        story.start(2, release="model_release_digits/manual__2")

        assert not abort(story, None).execute(context_of())["changed"]
        assert story.split == {1: 90, 2: 10}

    def test_a_late_one_leaves_a_newer_attempt_alone(self, story: Story) -> None:
        story.serve(1)
        old = story.start(2)
        story.start(2, attempt=2)

        assert not abort(story, old).execute(context_of())["changed"]
        assert story.split == {1: 90, 2: 10}

    def test_a_late_one_does_not_wait_for_another_releases_load(self, story: Story) -> None:
        story.serve(1)
        old = story.start(2)
        story.control().abort(reason="no", fence=None)
        story.target.load_passes = 10**6
        story.control().start_canary(story.v(3), fence=Fence(release="next", attempt=1), percent=10)
        before = story.clock.now()

        assert not abort(story, old).execute(context_of())["changed"]
        assert story.clock.now() == before

    def test_it_touches_no_asset(self, story: Story) -> None:
        story.serve(1)
        context = context_of()
        task = abort(story, story.start(2))

        task.execute(context)

        assert not task.outlets
        assert not context["outlet_events"]


class TestGuard:
    def guard(self, story: Story, release: Any) -> ReleaseGuardOperator:
        return ReleaseGuardOperator(task_id="release_guard", model=story.model, release=release)

    def test_it_ends_a_release_that_is_still_live_and_fails(self, story: Story) -> None:
        story.serve(1)
        release = story.start(2)

        with pytest.raises(AirflowFailException, match="without a promotion"):
            self.guard(story, release).execute(context_of())

        assert story.split == {1: 100}

    def test_after_a_killed_load_it_ends_the_runs_own_release_and_fails(self, story: Story) -> None:
        story.serve(1)
        story.start(2, release="model_release_digits/manual__1")

        with pytest.raises(AirflowFailException, match="without a promotion"):
            self.guard(story, None).execute(context_of())

        assert story.split == {1: 100}

    def test_without_a_release_it_says_that_the_load_never_handed_one_on(self, story: Story) -> None:
        story.serve(1)

        with pytest.raises(AirflowFailException, match="never handed on its fence: its load failed or was killed"):
            self.guard(story, None).execute(context_of())

    def test_it_is_content_with_a_promotion_also_when_that_was_rolled_back_since(self, story: Story) -> None:
        story.serve(1)
        release = story.start(2)
        promote(story, release).execute(context_of())
        assert not self.guard(story, release).execute(context_of())["changed"]
        assert story.split == {2: 100}

        rollback(story).execute(context_of())
        assert not self.guard(story, release).execute(context_of())["changed"]
        assert story.split == {1: 100}


class TestRollback:
    def test_it_goes_back_and_touches_the_stable_asset_through_the_alias(self, story: Story) -> None:
        story.serve(1, 2)
        context = context_of(dag_id="model_rollback")

        result = rollback(story).execute(context)

        assert (result["version"], story.split) == ("digits-v1.0.0", {1: 100})
        ((asset, extra),) = context["outlet_events"][ROLLBACK_ALIAS].added
        assert asset == model_asset(DIGITS)
        assert (extra["version"], extra["run"]) == ("digits-v1.0.0", "model_rollback/manual__1")

    def test_ending_a_canary_leaves_the_stable_asset_as_it_was(self, story: Story) -> None:
        story.serve(1, 2)
        story.start(3)
        context = context_of()

        rollback(story).execute(context)

        assert story.split == {2: 100}
        assert not context["outlet_events"][ROLLBACK_ALIAS].added

    def test_a_retry_does_not_go_back_a_second_time(self, story: Story) -> None:
        story.serve(1, 2, 3)

        rollback(story).execute(context_of())
        again = rollback(story).execute(context_of(try_number=2))

        assert (again["version"], story.split) == ("digits-v2.0.0", {2: 100})

    def test_a_cleared_task_goes_back_once_more(self, story: Story) -> None:
        story.serve(1, 2, 3)

        rollback(story).execute(context_of())
        again = rollback(story).execute(context_of(try_number=2, max_tries=4))

        assert (again["version"], story.split) == ("digits-v1.0.0", {1: 100})

    def test_another_run_goes_back_once_more(self, story: Story) -> None:
        story.serve(1, 2, 3)

        rollback(story).execute(context_of())
        rollback(story).execute(context_of(run_id="manual__2"))

        assert story.split == {1: 100}

    def test_a_retry_touches_the_asset_that_its_first_try_could_not(self, story: Story) -> None:
        story.serve(1, 2)
        run = context_of()["dag_run"]
        lost = rollback(story).control(
            context_of(task_id="rollback"), for_person=True, request=f"{run.dag_id}/{run.run_id}/rollback/1"
        )
        lost.rollback(reason="it smells")
        context = context_of(task_id="rollback", try_number=2)

        rollback(story).execute(context)

        assert len(context["outlet_events"][ROLLBACK_ALIAS].added) == 1

    def test_the_person_who_triggered_the_run_acts(self, story: Story) -> None:
        story.serve(1, 2)

        rollback(story).execute(context_of(user="ada"))

        assert (story.entries[-2].origin.actor.kind, story.entries[-2].origin.actor.name) == (ActorKind.PERSON, "ada")

    @pytest.mark.parametrize(("run_type", "user"), [("asset_triggered", None), ("scheduled", "ada"), ("manual", None)])
    def test_a_run_that_nobody_triggered_acts_as_the_automation(
        self, story: Story, run_type: str, user: str | None
    ) -> None:
        story.serve(1, 2)

        rollback(story).execute(context_of(dag_id="model_rollback", run_type=run_type, user=user))

        actor = story.entries[-2].origin.actor
        assert (actor.kind, actor.name) == (ActorKind.AUTOMATION, "model_rollback")

    def test_a_release_acts_as_the_automation_even_when_a_person_started_it(self, story: Story) -> None:
        story.serve(1)
        start(story, story.v(2).name).execute(context_of(user="ada"))

        (entry,) = [each for each in story.entries if each.name == "start_canary" and each.version == story.v(2)]
        assert entry.origin.actor.kind is ActorKind.AUTOMATION

    def test_without_anything_to_go_back_to_it_fails_at_once(self, story: Story) -> None:
        story.serve(1)

        with pytest.raises(AirflowFailException, match="no version to roll back to"):
            rollback(story).execute(context_of())

        assert story.split == {1: 100}

    def test_it_works_while_a_server_and_the_metrics_are_down(self) -> None:
        with on_stage(target=InMemoryTarget(servers=("server-1", "server-2"))) as story:
            story.serve(1, 2)
            story.target.unavailable_servers.add("server-2")
            story.source.down()

            assert rollback(story).execute(context_of())["version"] == "digits-v1.0.0"
            assert story.split == {1: 100}
            assert story.source.asked == 0


class TestPin:
    def test_without_a_name_the_stable_version_is_pinned_by_the_person(self, story: Story) -> None:
        story.serve(1, 2)

        PinGoldenOperator(task_id="pin", model=story.model).execute(context_of())

        golden = story.control().state.golden
        assert golden is not None
        assert (golden.version.name, golden.by_person) == ("digits-v2.0.0", True)


class TestReconcile:
    def test_it_applies_what_a_killed_worker_left(self, story: Story) -> None:
        story.serve(1, 2)
        story.control().rollback(reason="killed before it could apply")

        done = ReconcileOperator(task_id="reconcile").execute(context_of())["done"]

        assert story.split == {1: 100}
        assert "applied" in done[DIGITS]

    def test_it_touches_the_stable_asset_of_a_model_whose_rollback_it_finished_and_of_no_other(
        self, story: Story
    ) -> None:
        story.serve(1, 2)
        idle, context = context_of(task_id="reconcile"), context_of(task_id="reconcile", run_id="manual__2")
        ReconcileOperator(task_id="reconcile").execute(idle)
        story.control().rollback(reason="killed before it could apply")

        ReconcileOperator(task_id="reconcile").execute(context)

        assert not idle["outlet_events"][ROLLBACK_ALIAS].added
        ((asset, extra),) = context["outlet_events"][ROLLBACK_ALIAS].added
        assert asset == model_asset(DIGITS)
        assert (extra["version"], extra["split"]) == ("digits-v1.0.0", {"100000000": 100.0})
        assert "killed before" in extra["reason"]

    def test_ending_an_abandoned_canary_touches_no_asset(self, story: Story) -> None:
        story.serve(1)
        story.start(2)
        story.clock.advance(10**6)
        context = context_of(task_id="reconcile")

        ReconcileOperator(task_id="reconcile").execute(context)

        assert story.split == {1: 100}
        assert not context["outlet_events"][ROLLBACK_ALIAS].added

    def test_a_model_that_cannot_be_brought_to_its_head_fails_the_task(self, story: Story) -> None:
        story.serve(1, 2)
        story.control(PERSON).rollback(reason="back", to="digits-v1.0.0")
        story.target.broken_versions.add(story.v(1).number)

        with pytest.raises(AirflowException, match="digits: version 100000000"):
            ReconcileOperator(task_id="reconcile").execute(context_of())


class TestFailureCallback:
    def call(self, story: Story, run_id: str = "manual__1", reason: str = "timed_out") -> None:
        dag = type("Dag", (), {"dag_id": "model_release_digits"})()
        AbortReleaseOfRun(story.model)({**context_of(run_id=run_id), "dag": dag, "reason": reason})

    def test_a_run_that_timed_out_loses_its_canary(self, story: Story) -> None:
        story.serve(1)
        story.start(2, release="model_release_digits/manual__1")

        self.call(story)

        assert story.split == {1: 100}
        assert "timed_out" in story.entries[-2].reason

    def test_the_release_of_another_run_is_left_alone(self, story: Story) -> None:
        story.serve(1)
        story.start(2, release="model_release_digits/manual__2")

        self.call(story)

        assert story.split == {1: 90, 2: 10}

    def test_what_started_after_the_run_had_ended_is_left_alone(self, story: Story) -> None:
        story.serve(1)
        story.clock.advance(10**9)  # the release starts far in this machine's future
        story.start(2, release="model_release_digits/manual__1")

        self.call(story)

        assert story.split == {1: 90, 2: 10}


def test_a_repository_that_is_away_is_worth_a_retry(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    story.serve(1, 2)

    def away(model: str) -> Any:
        raise RepositoryUnavailable("the file server does not answer; try again")

    monkeypatch.setattr(story.repository, "log", away)

    with pytest.raises(AirflowException, match="file server") as failed:
        rollback(story).execute(context_of())
    assert not isinstance(failed.value, AirflowFailException)
