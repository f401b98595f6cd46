"""A person takes the model back with the button; who it was is told by the log, the DAG run and Airflow's audit log."""

from __future__ import annotations

import re
from urllib.parse import quote

import pytest
from playwright.sync_api import expect

from airflow_model_ops.core.versioning import Version
from tests.e2e.scenario import ADMIN
from tests.e2e.story import MODEL, ROLLBACK, Story
from tests.ui.browser import DONE
from tests.ui.conftest import Opens

pytestmark = [pytest.mark.ui, pytest.mark.timeout(1200)]


def test_a_person_rolls_back_to_golden_with_the_button_and_is_named_wherever_one_looks(
    story: Story, apart: tuple[Version, Version], opens: Opens
) -> None:
    story.no_release_is_live()
    (former, golden), mark = apart, story.newest
    reason = f"customers report odd digits since entry {mark}"
    before = set(story.rest.run_ids(ROLLBACK))
    admin = opens("admin")
    admin.opens_model(MODEL)
    page = admin.page

    page.get_by_role("button", name="Roll back").click()
    dialog = page.get_by_role("dialog", name=f"Roll back: {MODEL}")
    dialog.get_by_text("the golden version").click()
    expect(dialog.get_by_role("radio", name="the golden version")).to_be_checked()
    foreseen = dialog.get_by_role("region", name="What will happen")
    expect(foreseen.get_by_text(golden.name).first).to_be_visible()
    expect(foreseen.get_by_role("img", name=f"100 % {golden.name}")).to_be_visible()
    expect(foreseen.get_by_role("img", name=f"100 % {former.name}")).to_be_visible()

    confirm = dialog.get_by_role("button", name="Roll back")
    confirm.click()
    expect(dialog.get_by_text("Say why")).to_be_visible()
    assert story.changes(after=mark) == [], "without a reason nothing is done"
    dialog.get_by_role("textbox", name="Reason").fill(reason)
    confirm.click()
    expect(dialog.get_by_text("Roll back: done")).to_be_visible(timeout=DONE)
    dialog.get_by_role("button", name="Close").first.click()

    serves = page.get_by_role("region", name="What serves now")
    expect(serves.get_by_role("img", name=f"100 % {golden.name} (stable)")).to_be_visible()
    timeline = admin.turns_to("Timeline")
    entry = timeline.get_by_role("listitem").filter(has_text="rolled back").filter(has_text=reason).first
    expect(entry).to_be_visible()
    expect(entry.get_by_text(re.compile(r"\badmin\b")).first).to_be_visible()

    (run_id,) = set(story.rest.run_ids(ROLLBACK)) - before
    expect(entry.get_by_role("link", name=re.compile("run"))).to_have_attribute(
        "href", re.compile(quote(run_id, safe=""))
    )
    run = story.rest.request("GET", f"dags/{ROLLBACK}/dagRuns/{quote(run_id, safe='')}")
    assert run["triggering_user_name"] == "admin"
    rows = story.rest.request("GET", "eventLogs", params={"dag_id": ROLLBACK, "order_by": "-when"})["event_logs"]
    audited = [row for row in rows if row["event"] == "trigger_dag_run" and reason in str(row["extra"])]
    assert [row["owner"] for row in audited] == ["admin"], rows[:5]
    (rollback,) = [each for each in story.entries(after=mark) if each.name == "rollback"]
    assert rollback.origin.actor == ADMIN
    assert reason in rollback.reason
    story.clients_see_only(str(golden.number))
