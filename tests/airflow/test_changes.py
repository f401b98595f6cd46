"""What a person changes by hand: hold and resume, abort, quarantine and lift, as tasks and as DAGs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowFailException, ParamValidationError

from airflow_model_ops.config.model_file import parse_model_file
from airflow_model_ops.core.state import ActorKind
from airflow_model_ops.dag_builders import (
    build_abort_dag,
    build_hold_dag,
    build_lift_dag,
    build_quarantine_dag,
    build_resume_dag,
)
from airflow_model_ops.operators.changes import (
    AbortModelOperator,
    HoldModelOperator,
    LiftQuarantineOperator,
    QuarantineModelOperator,
    ResumeModelOperator,
)
from tests.airflow.release_story import YAML, Story, context_of

BUILDERS: dict[str, Callable[..., DAG]] = {
    "hold": build_hold_dag,
    "resume": build_resume_dag,
    "abort": build_abort_dag,
    "quarantine": build_quarantine_dag,
    "lift": build_lift_dag,
}
WITH_VERSION = {"quarantine", "lift"}


def run_of(action: str, **more: Any) -> Any:
    """Return the context of the acting task of a run of an action's DAG."""
    return context_of(dag_id=f"model_{action}", task_id=action, **more)


def hold(story: Story) -> HoldModelOperator:
    return HoldModelOperator(task_id="hold", model=story.model, reason="the demo")


def resume(story: Story) -> ResumeModelOperator:
    return ResumeModelOperator(task_id="resume", model=story.model, reason="the demo is over")


def abort(story: Story) -> AbortModelOperator:
    return AbortModelOperator(task_id="abort", model=story.model, reason="it smells")


def quarantine(story: Story, major: int, **more: Any) -> QuarantineModelOperator:
    return QuarantineModelOperator(
        task_id="quarantine", model=story.model, version=story.v(major).name, reason="it is biased", **more
    )


def lift(story: Story, major: int) -> LiftQuarantineOperator:
    return LiftQuarantineOperator(task_id="lift", model=story.model, version=story.v(major).name, reason="a mistake")


class TestHold:
    def test_the_person_who_triggered_the_run_holds_and_resumes(self, story: Story) -> None:
        story.serve(1)

        held = hold(story).execute(run_of("hold", user="ada"))
        state = story.control().state
        assert held["reason"] == "held by person ada: the demo"
        assert state.hold is not None
        assert state.hold.by_person

        resume(story).execute(run_of("resume", user="bob"))
        assert story.control().state.hold is None
        assert story.entries[-2].origin.actor.name == "bob"

    def test_it_holds_although_the_fleet_is_down(self, story: Story) -> None:
        story.serve(1)
        story.target.foreign_models.add("letters")

        result = hold(story).execute(run_of("hold"))

        assert story.control().state.hold is not None
        assert (result["changed"], result["split"]) == (True, {})

    def test_a_retry_does_not_hold_what_was_resumed_meanwhile(self, story: Story) -> None:
        story.serve(1)
        hold(story).execute(run_of("hold"))
        resume(story).execute(run_of("resume"))

        again = hold(story).execute(run_of("hold", try_number=2))

        assert story.control().state.hold is None
        assert again["reason"].startswith("already committed by an earlier try")

    def test_a_run_that_nobody_triggered_may_not_resume(self, story: Story) -> None:
        story.serve(1)
        hold(story).execute(run_of("hold"))

        with pytest.raises(AirflowFailException, match="only a person may resume, not automation model_resume"):
            resume(story).execute(run_of("resume", run_type="asset_triggered", user=None))

        assert story.control().state.hold is not None


class TestAbort:
    def test_the_live_release_ends_and_stable_goes_on(self, story: Story) -> None:
        story.serve(1)
        story.start(2)

        result = abort(story).execute(run_of("abort"))

        assert result["reason"] == "canary digits-v2.0.0 ends, digits-v1.0.0 keeps all traffic: it smells"
        assert story.split == {1: 100}
        assert result["split"] == {str(story.v(1).number): 100}

    def test_a_retry_does_not_end_the_release_that_began_meanwhile(self, story: Story) -> None:
        story.serve(1)
        story.start(2)
        abort(story).execute(run_of("abort"))
        story.start(3, release="next")

        abort(story).execute(run_of("abort", try_number=2))

        assert story.split == {1: 90, 3: 10}

    def test_a_wish_that_came_too_late_is_not_tried_again(self, story: Story) -> None:
        """A second try would not find the first one's entry, and end a release that began after the wish."""
        story.serve(1, 2)
        story.control().rollback(reason="somebody else's")
        story.target.unavailable_servers.add("server-1")

        with pytest.raises(
            AirflowFailException, match=r"nothing to abort: no release is live; .* does not serve the head"
        ):
            abort(story).execute(run_of("abort"))

    def test_a_fleet_that_does_not_follow_fails_the_task_after_the_commit(self, story: Story) -> None:
        story.serve(1)
        story.start(2)
        story.target.foreign_models.add("letters")

        with pytest.raises(AirflowFailException, match="adopt it first"):
            abort(story).execute(run_of("abort"))

        assert story.control().state.canary is None

    def test_of_a_model_that_never_served_there_is_nothing_to_abort(self, story: Story) -> None:
        result = abort(story).execute(run_of("abort"))

        assert (result["changed"], result["reason"]) == (False, "nothing to abort: no release is live")


class TestQuarantine:
    def test_a_banned_canary_ends_at_once_and_may_be_lifted(self, story: Story) -> None:
        story.serve(1)
        story.start(2)

        quarantine(story, 2).execute(run_of("quarantine", user="ada"))
        assert story.split == {1: 100}
        assert story.control().state.quarantined == (story.v(2),)

        lifted = lift(story, 2).execute(run_of("lift", user="ada"))
        assert lifted["reason"] == "the quarantine of digits-v2.0.0 is lifted by person ada: a mistake"
        assert story.control().state.quarantined == ()

    @pytest.mark.parametrize("force", ["False", "True"])
    def test_what_serves_alone_is_banned_by_force_only(self, story: Story, force: str) -> None:
        story.serve(1)

        if force == "False":
            with pytest.raises(AirflowFailException, match="or use force"):
                quarantine(story, 1, force=force).execute(run_of("quarantine"))
        else:
            quarantine(story, 1, force=force).execute(run_of("quarantine"))

        assert (story.v(1) in story.control().state.quarantined) is (force == "True")
        assert story.split == {1: 100}

    def test_a_retry_does_not_ban_what_was_lifted_meanwhile(self, story: Story) -> None:
        story.serve(1, 2)
        quarantine(story, 1).execute(run_of("quarantine"))
        lift(story, 1).execute(run_of("lift"))

        quarantine(story, 1).execute(run_of("quarantine", try_number=2))

        assert story.control().state.quarantined == ()

    @pytest.mark.parametrize("name", ["digits-v9.0.0", "nonsense"])
    def test_a_version_that_is_not_there_cannot_be_banned(self, story: Story, name: str) -> None:
        story.serve(1)
        banning = QuarantineModelOperator(task_id="quarantine", model=story.model, version=name, reason="why")

        with pytest.raises(AirflowFailException, match=name):
            banning.execute(run_of("quarantine"))


class TestDags:
    @pytest.mark.parametrize("action", BUILDERS)
    def test_a_form_asks_for_what_is_missing_and_one_task_acts_before_the_record(self, action: str) -> None:
        models = {"digits": parse_model_file(YAML), "letters": parse_model_file(YAML.replace("digits", "letters", 1))}
        dag = BUILDERS[action](models)

        assert (dag.dag_id, dag.is_paused_upon_creation) == (f"model_{action}", False)
        assert dag.get_task(action).downstream_task_ids == {"record"}
        assert dag.params.get_param("model").schema["enum"] == ["digits", "letters"]
        with pytest.raises(ParamValidationError):
            dag.params.validate()
        dag.params["model"], dag.params["reason"] = "letters", "so be it"
        if action in WITH_VERSION:
            with pytest.raises(ParamValidationError):
                dag.params.validate()
            dag.params["version"] = "letters-v1.0.0"
        assert dag.params.validate()["model"] == "letters"
        with pytest.raises(ParamValidationError):
            dag.params["reason"] = "no"

    @pytest.mark.parametrize("action", BUILDERS)
    def test_every_parameter_reaches_the_task(self, action: str, story: Story) -> None:
        story.serve(1, 2)
        params = {"model": "digits", "reason": "a good one", "version": "digits-v1.0.0", "force": False}
        task: Any = BUILDERS[action]({"digits": story.model}).get_task(action)

        task.render_template_fields({"params": params})
        task.execute(run_of(action))

        last = [entry for entry in story.entries if entry.origin.run.get("dag_id") == f"model_{action}"]
        changed = {"hold": "held by person ada: a good one", "quarantine": "digits-v1.0.0 is quarantined: a good one"}
        assert [entry.reason for entry in last[:1]] == ([changed[action]] if action in changed else [])
        assert all(entry.origin.actor.kind is ActorKind.PERSON for entry in last)
