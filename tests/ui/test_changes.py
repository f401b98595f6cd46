"""The smaller buttons: each is a run of its DAG, in the name of who pressed it, and the page shows what came of it."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from airflow_model_ops.core.versioning import Version
from tests.e2e.scenario import ADMIN
from tests.e2e.story import MODEL, RELEASE, Story
from tests.ui.conftest import Opens

pytestmark = [pytest.mark.ui, pytest.mark.timeout(1200)]


@pytest.fixture
def banned(story: Story) -> Version:
    """A version that a judge has banned; a bad one is released only if there is none."""
    story.no_release_is_live()
    if not story.state.quarantined:
        story.release("bad", dag=RELEASE).ends("failed")
    return story.state.quarantined[-1]


def test_a_person_holds_the_model_resumes_it_lifts_a_quarantine_and_bans_again_with_the_buttons(
    story: Story, banned: Version, opens: Opens
) -> None:
    mark = story.newest
    admin = opens("admin")
    admin.opens_model(MODEL)
    page = admin.page

    admin.does("Hold", about=MODEL, confirm="Put on hold", reason="an audit is on")
    expect(page.get_by_text("an audit is on").first).to_be_visible()
    held = story.state.hold
    assert held is not None
    assert held.by_person
    assert "admin" in held.by

    admin.does("Resume", about=MODEL, confirm="End the hold", reason="the audit is over")
    expect(page.get_by_role("button", name="Hold", exact=True)).to_be_enabled()
    assert story.state.hold is None

    others = page.get_by_role("region", name="Other versions")
    expect(others.get_by_text(banned.name)).to_be_visible()
    lifted = {"confirm": "Lift the quarantine", "reason": "the labels were wrong", "version": banned.name}
    admin.does("Lift quarantine", about=MODEL, **lifted)
    expect(others.get_by_text(banned.name)).to_be_hidden()
    assert banned not in story.state.quarantined

    versions = admin.turns_to("Versions")
    versions.get_by_role("button", name=f"Details and actions of {banned.name}").click()
    again = {"confirm": "Quarantine", "reason": "they were right", "version": banned.name}
    admin.does("Quarantine", about=MODEL, **again)
    expect(versions.get_by_role("button", name=f"Lift quarantine: {banned.name}")).to_be_visible()
    assert banned in story.state.quarantined

    changes = story.changes(after=mark)
    names = ("hold", "resume", "lift", "quarantine")
    assert [(entry.name, entry.origin.actor) for entry in changes] == [(name, ADMIN) for name in names]
    assert [entry.origin.run["dag_id"] for entry in changes] == [f"model_{name}" for name in names]
