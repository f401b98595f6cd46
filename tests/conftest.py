"""What holds for all tests: nobody waits for long, and no test fails because the machine is busy."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import mock

import pytest
from hypothesis import HealthCheck, settings

from tests.airflow_home import private_airflow_home
from tests.machine import forget_the_machine

if TYPE_CHECKING:
    from tests.e2e.story import Run, Story

# Here, before any test module is collected: one that imports Airflow first would bind this process to the user's own home.
forget_the_machine()
private_airflow_home()

_ROOT = Path(__file__).resolve().parents[1]

_OF_ITSELF_SECONDS = 100.0
"""Many times what the slowest test takes that starts no other process; those that do have pytest's own time-out or a mark."""
_STARTS_PROCESSES = ("integration", "e2e", "ui", "slow", "timeout")

# A profile that CI sets (drawn alike each time, no deadline) stays in force but for this.
settings.register_profile(
    "unhurried", parent=settings.default, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("unhurried")


def pytest_unconfigure() -> None:
    # Not at exit: the workers of a parallel run leave without ceremony.
    shutil.rmtree(private_airflow_home(), ignore_errors=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if not any(item.get_closest_marker(mark) for mark in _STARTS_PROCESSES):
            item.add_marker(pytest.mark.timeout(_OF_ITSELF_SECONDS))


@pytest.fixture(scope="session", autouse=True)
def _no_wait_for_the_disk() -> Iterator[None]:
    """Let this process' files be written when the system likes: no test pulls the plug, and a busy disk takes most of the time.

    Processes that tests start wait for the disk as ever.
    """
    with mock.patch.object(os, "fsync", return_value=None):
        yield


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's models, trained once."""
    out = tmp_path_factory.mktemp("trained")
    subprocess.run([sys.executable, "-m", "demo.train", "--out", str(out)], cwd=_ROOT, check=True, timeout=240)
    return out


@pytest.fixture(scope="session")
def whole_story(tmp_path_factory: pytest.TempPathFactory, trained: Path) -> Iterator[Story]:
    """One stack for all tests that are marked e2e or ui; it serves nothing yet.

    Model servers, Envoy, labelled traffic, Prometheus and the real Airflow: two of them are too much for one machine.
    """
    from tests.e2e.staging import staged

    with staged(tmp_path_factory.mktemp("stack"), trained=trained) as story:
        yield story


@pytest.fixture(scope="session")
def first_release(whole_story: Story) -> Run:
    """The run of the very first release; whichever test comes first asks for it."""
    return whole_story.release("good-1").ends("success")
