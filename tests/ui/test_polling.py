"""The page asks again only while something is live and somebody looks, and still misses nothing."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.e2e.scenario import ADMIN
from tests.e2e.story import MODEL, Story
from tests.ui.browser import Person
from tests.ui.conftest import Opens

pytestmark = [pytest.mark.ui, pytest.mark.timeout(1200)]

_MINUTE, _STRIDE = 60_000, 5_000


def test_the_page_asks_again_only_while_something_is_live_and_somebody_looks_and_misses_no_end(
    story: Story, opens: Opens
) -> None:
    run, mark = story.live_canary(), story.newest
    reason = f"the timeline is open, entry {mark}"
    admin = opens("admin")
    admin.page.clock.install()
    admin.opens_model(MODEL)
    timeline = admin.turns_to("Timeline")
    expect(timeline.get_by_text("canary started").first).to_be_visible()
    assert _asked_in_a_minute(story, admin) > 0, "live, and somebody looks"
    admin.looks_away()
    assert _asked_in_a_minute(story, admin) == 0, "nobody looks"
    admin.looks_again()
    assert _asked_in_a_minute(story, admin) > 0, "somebody looks again"

    someone = opens("admin")
    someone.opens_model(MODEL)
    someone.does("Abort release", about=MODEL, confirm="Abort the release", reason=reason)
    abort = story.changes(after=mark)[-1]
    assert (abort.name, abort.origin.actor, abort.origin.run["dag_id"]) == ("abort", ADMIN, "model_abort")
    expect(timeline.get_by_text(reason).first).to_be_visible()
    run.ends("failed")
    story.until(lambda: story.head.applied_at, what="the head is applied")
    admin.turns_to("Overview")
    expect(admin.page.get_by_text("No canary runs and no release is live.")).to_be_visible()
    expect(admin.page.get_by_text("the servers follow")).to_be_visible()
    assert _asked_in_a_minute(story, admin) == 0, "nothing is live"


def _asked_in_a_minute(story: Story, person: Person) -> int:
    """Return how many requests the page makes while its clock goes on by a minute; those under way have ended before.

    In strides: the same clock counts how long the page waits for an answer, and all at once would be longer than that.
    """
    story.until(lambda: person.has_its_answers, what="the page has its answers")
    before = len(person.asked)
    for _ in range(_MINUTE // _STRIDE):
        person.page.clock.run_for(_STRIDE)
        story.until(lambda: person.has_its_answers, what="the page has its answers")
    return len(person.asked) - before
