"""The guard of stable on real parts: nobody releases, nobody looks, and stable answers with wrong digits."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime

import pytest

from airflow_model_ops.core.log import Entry
from tests.e2e.story import GUARD, MODEL, UNWATCHED, Run, Story

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]

BOUND_SECONDS = 90.0
"""From when the bad version serves everybody until a good one does: 40 requests a second, of which every second one is
answered wrongly where two in five may be, on a busy machine."""


@pytest.fixture
def guarded(story: Story) -> Iterator[Story]:
    """The story, with the guard on duty; the other tests do without, since it would be faster than what they tell of."""
    story.no_release_is_live()
    story.rest.unpause(GUARD)
    before = _kept(story)
    story.until(lambda: _kept(story) != before, what="the guard counts")
    yield story
    story.rest.unpause(GUARD, paused=True)


def bad_version_as_stable(story: Story) -> tuple[str, Entry]:
    """Promote a bad version that nobody has judged; return its name and the fact that it is applied."""
    mark = story.newest
    run = story.release("bad", dag=UNWATCHED).ends("success")
    promotion = next(entry for entry in story.entries(after=mark) if entry.name == "promote")
    applied = next(entry for entry in story.entries(after=promotion.sequence) if entry.name == "applied")
    return run.returned("push")["version"], applied


def test_a_stable_version_that_answers_wrongly_is_taken_back_while_nobody_looks(guarded: Story) -> None:
    story = guarded
    good, before = story.state.stable, story.rest.run_ids(GUARD)
    assert good is not None
    bad, serves = bad_version_as_stable(story)

    def taken_back() -> Entry | None:
        return next((entry for entry in story.entries(after=serves.sequence) if entry.name == "applied"), None)

    applied = story.until(taken_back, what="the guard takes the model back")

    assert story.state.stable == good, story.retold(after=serves.sequence)
    assert _seconds(applied) - _seconds(serves) < BOUND_SECONDS, story.retold(after=serves.sequence)
    back = next(entry for entry in story.entries(after=serves.sequence) if entry.name == "rollback")
    assert (back.origin.actor.name, back.origin.actor.is_person) == (GUARD, False)
    assert f"wrong_predictions of stable {bad}" in back.reason
    assert "above the allowed" in back.reason
    story.clients_see_only(str(good.number))
    assert _evidence(story, back)["version"] == bad
    (run_id,) = [each for each in story.rest.run_ids(GUARD) if each not in before]
    run = Run(rest=story.rest, dag_id=GUARD, run_id=run_id).ends("success")
    assert run.tasks == {"rollback": "success", "record": "success"}
    assert run.returned("rollback")[MODEL]["version"] == good.name


def _kept(story: Story) -> bytes | None:
    return story.repository.read_evidence(MODEL, "guard", "stable")


def _evidence(story: Story, entry: Entry) -> dict[str, object]:
    """Read what a log entry refers to: a path below the model's directory."""
    assert entry.evidence is not None
    content = (story.stack.repository / MODEL / entry.evidence).read_text(encoding="utf-8")
    found: dict[str, object] = json.loads(content)
    return found


def _seconds(entry: Entry) -> float:
    return datetime.fromisoformat(entry.at).timestamp()
