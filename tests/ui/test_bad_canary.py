"""A bad canary, seen on the page as it goes: nobody reloads, and the page asks only as often as something happens."""

from __future__ import annotations

import re
from collections import Counter

import pytest
from playwright.sync_api import expect

from tests.e2e.story import MODEL, SHOWN, Story
from tests.ui.browser import Asked
from tests.ui.conftest import Opens

pytestmark = [pytest.mark.ui, pytest.mark.timeout(1200)]

_VERDICT_MS = 240_000
"""From a canary's first share until the page tells its end, on a busy machine; a quiet one takes 25 s."""
_A_SECOND = 8
"""More requests than this within one second are a storm: opening a tab asks for all that it shows."""
_EACH_SECOND = 2.0
"""The same on average while something is live."""


def test_a_bad_canary_turns_to_rollback_on_the_open_page_without_a_reload(story: Story, opens: Opens) -> None:
    story.no_release_is_live()
    admin = opens("admin")
    admin.opens_list()
    run = story.release("bad", dag=SHOWN)
    story.skips_validation(run)
    story.until(lambda: story.state.release, what="the release is live", about=run)
    version = run.returned("push")["version"]

    admin.opens_model(MODEL)
    admin.page.evaluate("window.notReloaded = true")
    canary = admin.page.get_by_role("region", name="Canary")
    expect(canary.get_by_text("30 %").first).to_be_visible()
    expect(canary.get_by_text(version).first).to_be_visible()  # the sentence of each check names it, too
    expect(admin.page.get_by_role("img", name=re.compile(rf"30 % {version} \(canary\)")).first).to_be_visible()
    expect(canary.get_by_text(re.compile("not judged yet|undecided|no data")).first).to_be_visible()

    change = admin.page.get_by_role("region", name="Newest change")
    expect(change.get_by_text("aborted")).to_be_visible(timeout=_VERDICT_MS)
    expect(change.get_by_text(re.compile("HARM.*wrong_predictions"))).to_be_visible()
    expect(canary.get_by_text("No canary runs and no release is live.")).to_be_visible()
    expect(admin.page.get_by_role("region", name="Other versions").get_by_text(version)).to_be_visible()
    stable = story.state.stable
    assert stable is not None
    serves = admin.page.get_by_role("region", name="What serves now")
    expect(serves.get_by_role("img", name=f"100 % {stable.name} (stable)")).to_be_visible()
    assert admin.page.evaluate("window.notReloaded") is True
    _no_storm(admin.asked)
    run.ends("failed")


def _no_storm(asked: list[Asked]) -> None:
    seconds = Counter(int(each.at) for each in asked)
    assert max(seconds.values()) <= _A_SECOND, asked
    assert len(asked) <= _EACH_SECOND * (asked[-1].at - asked[0].at) + _A_SECOND, asked
