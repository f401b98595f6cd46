"""What the tests of operators, sensors, triggers and commands share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.airflow.release_story import Story


@pytest.fixture
def story() -> Iterator[Story]:
    """A fleet in memory that takes the place of all connections."""
    from tests.airflow.release_story import on_stage

    with on_stage() as stage:
        yield stage
