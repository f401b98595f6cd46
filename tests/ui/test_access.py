"""Who may do what on the page, by a real browser's own session: the cookie that Airflow's form has set."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import expect

from tests.e2e.story import MODEL, Story
from tests.ui.browser import API, HOME
from tests.ui.conftest import Opens

pytestmark = [pytest.mark.ui, pytest.mark.timeout(1200)]

_WISHES: dict[str, dict[str, Any]] = {
    "rollback": {"to": "golden", "reason": "just to see"},
    "pin": {},
    "hold": {"reason": "just to see"},
    "resume": {"reason": "just to see"},
    "abort": {"reason": "just to see"},
    "lift": {"version": "v-20200101-000000", "reason": "just to see"},
    "quarantine": {"version": "v-20200101-000000", "reason": "just to see"},
}
_BUTTONS = ("Roll back", "Pin", "Hold", "Resume", "Abort", "Lift", "Quarantine")


def test_a_viewer_reads_everything_sees_no_button_and_is_refused_by_the_api(story: Story, opens: Opens) -> None:
    viewer = opens("viewer")
    mark = story.newest
    viewer.opens_model(MODEL)
    for tab in viewer.tabs:
        viewer.turns_to(tab)
        for button in _BUTTONS:
            expect(viewer.page.get_by_role("button", name=button)).to_have_count(0)
    assert viewer.asks("GET", f"/models/{MODEL}")[0] == 200
    for action, wish in _WISHES.items():
        status, answer = viewer.asks("POST", f"/models/{MODEL}/{action}", body=wish)
        assert status == 403, (action, answer)
    assert story.changes(after=mark) == [], story.retold(after=mark)


def test_somebody_who_has_not_signed_in_gets_nothing_but_the_form(story: Story, opens: Opens) -> None:
    nobody = opens(None)
    nobody.page.goto(f"{HOME}/models/{MODEL}")
    expect(nobody.page.get_by_role("button", name="Sign in")).to_be_visible()
    for path in ("/models", f"/models/{MODEL}", f"/models/{MODEL}/timeline"):
        assert nobody.asks("GET", path)[0] == 401, path
    for action, wish in _WISHES.items():
        assert nobody.asks("POST", f"/models/{MODEL}/{action}", body=wish)[0] == 401, action


def test_a_page_of_another_site_cannot_act_in_the_name_of_who_is_signed_in(story: Story, opens: Opens) -> None:
    admin = opens("admin")
    mark, address = story.newest, f"{API}/models/{MODEL}/rollback"
    for stranger in ({"Origin": "https://shop.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}, {}):
        answer = admin.page.context.request.post(address, data=_WISHES["rollback"], headers=stranger)
        assert answer.status == 403, (stranger, answer.text())

    # The same by the browser itself, from a page that a stranger has written.
    whole = f"{story.stack.airflow.base_url}/{address}"
    admin.page.route("http://shop.example/", lambda route: route.fulfill(content_type="text/html", body=_trap(whole)))
    with admin.page.expect_response(whole) as refused:
        admin.page.goto("http://shop.example/")
    assert refused.value.status in {401, 403}
    assert story.changes(after=mark) == [], story.retold(after=mark)


def test_an_action_cannot_be_asked_for_by_following_a_link(story: Story, opens: Opens) -> None:
    admin = opens("admin")
    mark = story.newest
    admin.opens_list()
    for action in _WISHES:
        assert admin.asks("GET", f"/models/{MODEL}/{action}")[0] in {404, 405}, action
    assert story.newest == mark


def _trap(address: str) -> str:
    """A page that posts a form to an address as soon as it is opened."""
    form = f'<form method="post" action="{address}"><input name="to" value="golden"></form>'
    return f"{form}<script>document.forms[0].submit()</script>"
