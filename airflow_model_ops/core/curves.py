"""How versions did over time, for people to look at: figures at moments, without any judgement. Values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """One metric of some versions over time.

    :param unit: Of the values, e.g. ``ms``; ``share`` is a part of all, 0 to 1; empty if nobody knows it.
    :param step_seconds: How far apart neighbouring points are; where they are farther apart, nothing was measured between.
    :param lines: By version: moments in seconds since the epoch, and values; finite, oldest first.
    """

    metric: str
    unit: str
    step_seconds: float
    lines: Mapping[str, tuple[tuple[float, float], ...]]
