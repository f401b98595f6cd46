"""An Airflow of its own for these tests: set before anything imports Airflow, without a database and without examples."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.airflow_home import private_airflow_home

if TYPE_CHECKING:
    from tests.airflow.release_story import Story

private_airflow_home()


@pytest.fixture
def story() -> Iterator[Story]:
    """A fleet in memory that takes the place of all connections."""
    from tests.airflow.release_story import on_stage

    with on_stage() as stage:
        yield stage
