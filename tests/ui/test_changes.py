"""The smaller buttons: each is a run of its DAG, in the name of who pressed it, and the page shows what came of it."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from airflow_model_ops.core.versioning import Version
from tests.e2e.scenario import ADMIN
from tests.e2e.story import MODEL, RELEASE, Story
from tests.ui.conftest import Opens

pytestmark = [pytest.mark.ui, pytest.mark.timeout(1200)]

_DONE_MS = 180_000


@pytest.fixture
def banned(story: Story) -> Version:
    """A version that a judge has banned; a bad one is released only if there is none."""
    story.no_release_is_live()
    if not story.state.quarantined:
        story.release("bad", dag=RELEASE).ends("failed")
    return story.state.quarantined[-1]


def _does(page: Page, action: str, *, confirm: str, reason: str, version: Version | None = None) -> None:
    """Press a button, that of a version if one is given, say why, and wait until the page says that it is done."""
    button = action if version is None else f"{action}: {version.name}"
    page.get_by_role("button", name=button, exact=True).first.click()
    dialog = page.get_by_role("dialog", name=f"{action}: {MODEL}")
    dialog.get_by_role("textbox", name="Reason").fill(reason)
    dialog.get_by_role("button", name=confirm, exact=True).click()
    expect(dialog.get_by_text(f"{confirm}: done")).to_be_visible(timeout=_DONE_MS)
    dialog.get_by_role("button", name="Close").first.click()


def test_a_person_holds_the_model_resumes_it_and_lifts_a_quarantine_with_the_buttons(
    story: Story, banned: Version, opens: Opens
) -> None:
    mark = story.newest
    admin = opens("admin")
    admin.opens_model(MODEL)
    page = admin.page

    _does(page, "Hold", confirm="Put on hold", reason="an audit is on")
    expect(page.get_by_text("an audit is on").first).to_be_visible()
    held = story.state.hold
    assert held is not None
    assert held.by_person
    assert "admin" in held.by

    _does(page, "Resume", confirm="End the hold", reason="the audit is over")
    expect(page.get_by_role("button", name="Hold", exact=True)).to_be_enabled()
    assert story.state.hold is None

    others = page.get_by_role("region", name="Other versions")
    expect(others.get_by_text(banned.name)).to_be_visible()
    _does(page, "Lift quarantine", confirm="Lift the quarantine", reason="the labels were wrong", version=banned)
    expect(others.get_by_text(banned.name)).to_be_hidden()
    assert banned not in story.state.quarantined

    changes = story.changes(after=mark)
    assert [(entry.name, entry.origin.actor) for entry in changes] == [
        (name, ADMIN) for name in ("hold", "resume", "lift")
    ]
    assert [entry.origin.run["dag_id"] for entry in changes] == ["model_hold", "model_resume", "model_lift"]
