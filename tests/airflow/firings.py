"""When a stream fires, by the moment it decides by: how much later its event is heard depends on how busy the machine is."""

from __future__ import annotations

from collections.abc import Collection, Hashable
from types import ModuleType

import pytest

from airflow_model_ops.control.pause import Pause


def firings(stream: ModuleType, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return a list that gets the moments, on the loop's clock, at which the streams of a module decide to fire."""
    at: list[float] = []

    class NotedPause(Pause):
        def is_over(self, things: Collection[Hashable], *, now: float) -> bool:
            if is_over := super().is_over(things, now=now):
                at.append(now)
            return is_over

    monkeypatch.setattr(stream, "Pause", NotedPause)
    return at
