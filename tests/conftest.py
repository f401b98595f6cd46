"""What holds for all tests: nobody waits for long, and no test fails because the machine is busy."""

from __future__ import annotations

import pytest
from hypothesis import settings

_OF_ITSELF_SECONDS = 100.0
"""Many times what the slowest test takes that starts no other process; those that do have pytest's own time-out or a mark."""
_STARTS_PROCESSES = ("integration", "e2e", "slow", "timeout")

# A profile that CI sets (drawn alike each time, no deadline) stays in force but for this.
settings.register_profile("unhurried", parent=settings.default, deadline=None)
settings.load_profile("unhurried")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if not any(item.get_closest_marker(mark) for mark in _STARTS_PROCESSES):
            item.add_marker(pytest.mark.timeout(_OF_ITSELF_SECONDS))
