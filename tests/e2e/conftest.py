"""What each end-to-end test begins with, on the one stack that all share; see :mod:`tests.e2e.staging`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.story import Run, Story


@pytest.fixture
def story(whole_story: Story, first_release: Run) -> Iterator[Story]:
    """A stack with a stable version and without a live release; no request may fail while a test uses it."""
    yield whole_story
    account = whole_story.traffic()
    assert account["failed"] == 0, f"{account['failures']}\n{whole_story.retold()}"
