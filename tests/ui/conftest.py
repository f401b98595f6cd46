"""What the page's tests share: a browser, people who are signed in, and models with a past."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from airflow_model_ops.core.versioning import Version
from tests.e2e.story import GOLDEN, MODEL, UNWATCHED, Run, Story
from tests.ui.browser import WIDTH, Person, Profiles, Theme, chromium

_ROOT = Path(__file__).resolve().parents[2]
Opens = Callable[..., Person]
"""Gives a person at a browser; see :func:`opens`."""


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """One browser for all; each user has a profile of their own in it."""
    with chromium() as started:
        yield started


@pytest.fixture(scope="session")
def profiles(whole_story: Story, browser: Browser) -> Iterator[Profiles]:
    """The profiles of all who have signed in."""
    airflow = whole_story.stack.airflow
    profiles = Profiles(browser, base_url=airflow.base_url, password=airflow.password)
    yield profiles
    profiles.close()


@pytest.fixture
def story(whole_story: Story, first_release: Run) -> Iterator[Story]:
    """A stack with a stable version and a golden one; no request may fail while a test uses it."""
    if whole_story.state.golden is None:
        whole_story.trigger(GOLDEN, {"model": MODEL}).ends("success")
    yield whole_story
    account = whole_story.traffic()
    assert account["failed"] == 0, f"{account['failures']}\n{whole_story.retold()}"


@pytest.fixture
def apart(story: Story) -> tuple[Version, Version]:
    """The stable version and the golden one, which is another; a release is made only where they are the same."""
    stable, golden = story.state.stable, story.state.golden
    assert golden is not None
    if golden.version == stable:
        story.no_release_is_live()
        story.release("good-2", dag=UNWATCHED).ends("success")
        stable = story.state.stable
    assert stable is not None
    return stable, golden.version


@pytest.fixture
def opens(story: Story, profiles: Profiles) -> Iterator[Opens]:
    """Give people a tab of their browsers: ``opens("admin")``, or ``opens(None)`` for somebody who has not signed in.

    A test fails in which a page has a script's error.
    """
    people: list[Person] = []

    def give(user: str | None, *, theme: Theme = "light", width: int = WIDTH) -> Person:
        people.append(profiles.tab(user, theme=theme, width=width))
        return people[-1]

    yield give
    for person in people:
        person.page.close()
    faults = [fault for person in people for fault in person.script_errors]
    assert not faults, faults


@pytest.fixture(scope="session")
def shots() -> Path:
    """Where the screenshots are kept."""
    directory = Path(os.environ.get("MODEL_OPS_SHOTS") or _ROOT / ".cache" / "ui-shots")
    directory.mkdir(parents=True, exist_ok=True)
    return directory
