"""Who signs in finds the page in Airflow's menu, and the models in it."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.e2e.story import MODEL, RELEASE, Story
from tests.ui.conftest import Opens

pytestmark = [pytest.mark.ui, pytest.mark.timeout(1200)]


def test_a_person_signs_in_finds_the_page_in_the_menu_and_opens_a_model(story: Story, opens: Opens) -> None:
    admin = opens(None)
    admin.signs_in("admin", story.stack.airflow.password("admin"))
    admin.opens_by_menu()
    admin.page.get_by_role("link", name=MODEL, exact=True).click()
    expect(admin.page.get_by_role("heading", name=MODEL, exact=True, level=1)).to_be_visible()
    stable, golden = story.state.stable, story.state.golden
    assert stable is not None
    assert golden is not None
    overview = admin.page.get_by_role("tabpanel", name="Overview")
    expect(overview.get_by_role("img", name=f"100 % {stable.name}").first).to_be_visible()
    expect(overview.get_by_text(golden.version.name).first).to_be_visible()


def test_the_page_of_a_dag_has_a_tab_about_its_model(opens: Opens) -> None:
    admin = opens("admin")
    admin.page.goto(f"dags/{RELEASE}")
    admin.page.get_by_role("link", name="Model Ops").click()
    expect(admin.page.get_by_role("link", name=MODEL, exact=True).first).to_be_visible()
