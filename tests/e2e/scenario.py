"""The scenario that every target passes: a first release, a good one, a bad one that is taken back, a rollback by hand."""

from __future__ import annotations

import time

from airflow_model_ops.core.log import Entry
from airflow_model_ops.core.state import Actor, ActorKind
from tests.e2e.story import Run, Story

ADMIN = Actor(kind=ActorKind.PERSON, name="admin")
ROLLBACK_SECONDS = 30.0
"""From a person's request until the version serves everybody: a task has to be scheduled and started meanwhile."""


def entries_of(story: Story, run: Run) -> list[Entry]:
    """Return what the tasks of a run have written to the log."""
    return [entry for entry in story.entries() if belongs(entry.origin.run, run)]


def belongs(origin: object, run: Run) -> bool:
    """Whether an entry's origin is a task of a run."""
    return isinstance(origin, dict) and (origin.get("dag_id"), origin.get("run_id")) == (run.dag_id, run.run_id)


def it_served_everybody_once_its_absolute_checks_passed(story: Story, first: Run) -> None:
    """The first release of a model: there is no stable version to compare with."""
    actions = [entry.name for entry in entries_of(story, first) if entry.name != "validated"]
    assert actions[:3] == ["pushed", "start_canary", "applied"], story.retold()
    assert actions[-2:] == ["promote", "applied"], story.retold()
    assert story.clients_saw(first.returned("push")["number"])
    assert {first.tasks[task] for task in ("abort", "release_guard")} == {"skipped", "success"}


def it_went_through_its_canary_to_stable(story: Story, good: Run) -> None:
    """A good candidate: each step is measured and shown safe."""
    number, name = (good.returned("push")[key] for key in ("number", "version"))
    mine = entries_of(story, good)
    shares = [
        entry.state.canary.percent for entry in mine if entry.name == "shift" and entry.state and entry.state.canary
    ]
    assert shares == [30.0, 60.0]
    assert [entry.detail["verdict"] for entry in mine if entry.name == "verdict"] == ["SAFE", "SAFE"]
    promotion = next(entry for entry in mine if entry.name == "promote")
    assert promotion.state is not None
    assert promotion.state.stable is not None
    assert promotion.state.stable.name == name
    assert story.clients_saw(number)
    event = asset_event(story, good)
    assert event["version"] == name
    assert event["split"] == {number: 100.0}
    assert event["run"] == good.release_id


def it_was_taken_back_and_quarantined(story: Story, bad: Run, *, good: Run) -> None:
    """A bad candidate: traffic shows it, and stable is untouched."""
    name = bad.returned("push")["version"]
    abort = next(entry for entry in entries_of(story, bad) if entry.name == "abort")
    assert "HARM" in abort.reason
    assert abort.evidence is not None
    assert abort.state is not None
    assert [version.name for version in abort.state.quarantined] == [name]
    assert abort.state.stable is not None
    assert abort.state.stable.name == good.returned("push")["version"]
    tasks = bad.tasks
    assert tasks["promote"] == "upstream_failed"
    assert tasks["record"] == "success"
    assert "HARM" in bad.log("step_1_30_percent.check")


def a_person_takes_it_back(story: Story, *, target: str, expected: str) -> float:
    """Roll back over REST as a user, and return the seconds from the request until every router had confirmed.

    :param expected: Name of the version that serves afterwards.
    """
    mark, since = story.newest, time.time()
    reason = f"customers complain, back to {target}"
    run = story.rollback(target=target, reason=reason).ends("success")
    entry = next(entry for entry in story.entries(after=mark) if belongs(entry.origin.run, run))
    assert entry.name == "rollback"
    assert reason in entry.reason
    assert entry.origin.actor == ADMIN
    assert run.returned("rollback")["version"] == expected
    seconds = story.serves_only_stable(since=since, after=mark)
    assert asset_event(story, run)["version"] == expected
    return seconds


def asset_event(story: Story, run: Run) -> dict[str, object]:
    """Return what the one event carries that a run has emitted on the model's stable asset."""
    params = {"source_dag_id": run.dag_id, "source_run_id": run.run_id}
    events = story.rest.request("GET", "assets/events", params=params)["asset_events"]
    assert len(events) == 1
    extra: dict[str, object] = events[0]["extra"]
    return extra
