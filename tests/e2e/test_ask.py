"""A step that asks, in the real Airflow: the question is an action that is required, and the canary is watched meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

import pytest

from airflow_model_ops.core.state import Actor, ActorKind
from tests.e2e.story import ASKING, CHECK, MODEL, Run, Story

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]

ADMIN = Actor(kind=ActorKind.PERSON, name="admin")


def pending(story: Story, run: Run) -> list[dict[str, Any]]:
    """What Airflow lists as required of people, as its UI asks for it."""
    path = f"dags/{ASKING}/dagRuns/{quote(run.run_id, safe='')}/hitlDetails"
    params = {"response_received": False, "state": ["deferred", "awaiting_input"]}
    rows: list[dict[str, Any]] = story.rest.request("GET", path, params=params)["hitl_details"]
    return rows


def answer(story: Story, run: Run, word: str) -> None:
    """Choose the option that begins with a word, as a person does in the UI."""
    option = next(each for each in question(story, run)["options"] if each.startswith(word))
    path = f"dags/{ASKING}/dagRuns/{quote(run.run_id, safe='')}/taskInstances/{CHECK}/-1/hitlDetails"
    story.rest.request("PATCH", path, json={"chosen_options": [option], "params_input": {}})


def question(story: Story, run: Run) -> dict[str, Any]:
    """Wait for the question, and until the trigger has measured beside it: Airflow 3.3 may fail a task resumed at once."""

    def measured() -> list[bytes | None]:
        pages = [f"attempt-1-evidence-{number}" for number in range(1, 10)]
        return [story.repository.read_evidence(MODEL, run.release_id, page) for page in pages]

    story.until(lambda: pending(story, run), what="the step asks")
    before = measured()
    story.until(lambda: measured() != before, what="the trigger measures while the question is open")
    return pending(story, run)[0]


@contextmanager
def asked(story: Story) -> Iterator[Run]:
    """A release whose step has asked; its hold is the automation's, and its canary has its share."""
    run = story.hasty_release(dag=ASKING)
    asked_about = question(story, run)["subject"]
    assert run.returned("push")["version"] in asked_about
    state = story.state
    assert state.hold is not None
    assert not state.hold.by_person
    assert "a person is asked" in state.hold.reason
    assert state.canary is not None
    assert state.canary.percent == 30
    yield run
    assert pending(story, run) == []


def test_an_approval_lets_the_step_pass_and_is_kept_with_the_name_of_the_person(story: Story) -> None:
    mark = story.newest
    with asked(story) as run:
        answer(story, run, "Let")
        run.ends("success")

    entries = [entry for entry in story.entries(after=mark) if entry.origin.run.get("run_id") == run.run_id]
    by_name = {entry.name: entry for entry in entries}
    assert by_name["resume"].origin.actor == ADMIN
    assert by_name["verdict"].detail["result"] == "passed_without_proof"
    assert by_name["verdict"].detail["answered_by"] == "admin"
    assert "without proof, approved by admin" in by_name["promote"].reason
    assert "abort" not in by_name, "Airflow tells the trigger of an answer what it tells of a killed task"


@pytest.mark.slow
def test_keep_waiting_asks_again_and_an_abort_leaves_stable_as_it_was(story: Story) -> None:
    stable, mark = story.state.stable, story.newest
    with asked(story) as run:
        answer(story, run, "Keep")
        story.until(lambda: _names(story, mark).count("hold") == 2, what="the step asks again")
        answer(story, run, "Abort")
        run.ends("failed")

    abort = next(entry for entry in story.entries(after=mark) if entry.name == "abort")
    assert abort.origin.actor == ADMIN
    assert "ended by admin when asked" in abort.reason
    assert _names(story, mark).count("resume") == 1
    assert story.state.stable == stable


@pytest.mark.slow
def test_a_way_back_by_hand_takes_the_question_with_it(story: Story) -> None:
    with asked(story) as run:
        story.rollback(target="previous", reason="enough").ends("success")
        run.ends("failed")
        assert "pre-empted" in run.log(CHECK)


def _names(story: Story, mark: int) -> list[str]:
    return [entry.name for entry in story.entries(after=mark)]
