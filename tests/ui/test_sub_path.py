"""Many installations have Airflow's UI below a path of their host: page, bundle, API and links follow it."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, expect

from tests.e2e.story import MODEL, Story
from tests.ui.browser import HOME, WIDTH, Profiles

pytestmark = [pytest.mark.ui, pytest.mark.timeout(1200)]


def test_the_page_works_where_airflow_is_below_a_path(story: Story, browser: Browser) -> None:
    airflow = story.stack.airflow
    with airflow.another_api_server(below="/team/airflow") as base_url:
        profiles = Profiles(browser, base_url=base_url, password=airflow.password)
        admin = profiles.tab("admin", theme="light", width=WIDTH)
        admin.opens_list()
        admin.page.get_by_role("link", name=MODEL, exact=True).click()
        expect(admin.page.get_by_role("tabpanel", name="Overview")).to_be_visible()
        assert admin.page.url == f"{base_url}/{HOME}/models/{MODEL}"
        assert admin.asks("GET", f"/models/{MODEL}")[0] == 200
        wish = {"to": "v-20200101-000000", "reason": "just to see"}
        status, answer = admin.asks("POST", f"/models/{MODEL}/rollback", body=wish)
        assert status == 202, answer
        admin.page.get_by_role("link", name="All models").click()
        expect(admin.page.get_by_role("heading", name="Model Ops", level=1)).to_be_visible()
        profiles.close()
