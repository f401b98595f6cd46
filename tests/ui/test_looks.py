"""Everybody can use the page: axe finds nothing grave in either theme or on a phone. Screenshots are kept to be looked at."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.e2e.story import MODEL, Story
from tests.ui.browser import NARROW, WIDTH, Person, Theme
from tests.ui.conftest import Opens

pytestmark = [pytest.mark.ui, pytest.mark.timeout(1200)]

_TABS = ("Overview", "Evidence", "Versions", "Timeline", "Lineage")


_LOOKS: dict[str, tuple[Theme, int]] = {"light": ("light", WIDTH), "dark": ("dark", WIDTH), "narrow": ("light", NARROW)}


@pytest.mark.usefixtures("apart")
@pytest.mark.parametrize("look", _LOOKS)
def test_everybody_can_use_every_page_and_dialog(story: Story, opens: Opens, shots: Path, look: str) -> None:
    story.live_canary()
    theme, width = _LOOKS[look]
    admin, faults = opens("admin", theme=theme, width=width), []
    admin.opens_list()
    expect(admin.page.get_by_role("link", name=MODEL, exact=True)).to_be_visible()
    faults += _looked_at(admin, shots / f"models-{look}.png")
    admin.opens_model(MODEL)
    for tab in _TABS:
        _shown(admin, tab)
        faults += _looked_at(admin, shots / f"model-{tab.lower()}-{look}.png")
        assert not admin.is_wider_than_the_screen(), tab

    admin.turns_to("Overview")
    admin.page.get_by_role("button", name="Roll back").click()
    foreseen = admin.page.get_by_role("region", name="What will happen")
    expect(foreseen.get_by_role("img", name="100 % ").first).to_be_visible()
    faults += _looked_at(admin, shots / f"dialog-{look}.png")
    admin.page.keyboard.press("Escape")
    expect(admin.page.get_by_role("dialog")).to_have_count(0)
    expect(admin.page.get_by_role("button", name="Roll back")).to_be_focused()
    assert not faults, "\n".join(faults)


@pytest.mark.usefixtures("apart")
def test_the_page_is_used_with_the_keyboard_alone(opens: Opens) -> None:
    admin = opens("admin")
    admin.opens_list()
    admin.page.get_by_role("link", name=MODEL, exact=True).press("Enter")
    overview = admin.page.get_by_role("tab", name="Overview")
    overview.focus()
    expect(overview).to_be_focused()
    admin.page.keyboard.press("ArrowRight")
    expect(admin.page.get_by_role("tab", name="Evidence")).to_be_focused()
    expect(admin.page.get_by_role("tabpanel", name="Evidence")).to_be_visible()
    admin.page.get_by_role("button", name="Roll back").press("Enter")
    dialog = admin.page.get_by_role("dialog")
    expect(admin.page.locator('[role="dialog"]:focus-within')).to_have_count(1)  # it takes the focus once it is there
    dialog.get_by_role("radio", name="the previous version").press("ArrowDown")
    expect(dialog.get_by_role("radio", name="the golden version")).to_be_checked()
    admin.page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)


def _shown(person: Person, tab: str) -> None:
    """Turn to a tab and wait until it shows what it is about, not only that it is reading."""
    panel = person.turns_to(tab)
    expect(panel.get_by_role("status", name="Reading")).to_have_count(0)


def _looked_at(person: Person, shot: Path) -> list[str]:
    """Keep a screenshot, and return the grave faults of what is shown."""
    person.is_pictured(shot)
    return [f"{shot.stem}: {fault}" for fault in person.grave_faults()]
