"""Scenes: what happens in one release, as the settings a generator draws counts from."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Fault(StrEnum):
    """What goes wrong between the servers and the judge, never with the canary itself."""

    OUTAGE = "outage"
    """The metric source refuses connections."""
    NAN = "NaN"
    """It answers NaN."""
    EMPTY = "empty"
    """It answers that there is nothing."""
    STALE = "stale"
    """It goes on answering what was so ten minutes ago or more, and says how old that is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Faulty:
    """When a fault is on.

    :param kind: Which one.
    :param from_seconds: It begins then.
    :param share: Share of the intervals from then on that are hit, each by its own coin.
    :param canary_only: Whether the other arms still answer.
    """

    kind: Fault
    from_seconds: float = 0.0
    share: float = 1.0
    canary_only: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """One release as the world sees it.

    :param rps: Requests per second of all arms together, at the day's mean.
    :param base: Stable's share of bad requests, at the day's mean.
    :param ratio: The canary's share of bad requests is this many times stable's.
    :param canary_base: The canary's share of bad requests where stable has none; ``None``: ``base`` times ``ratio``.
    :param onset_seconds: The canary is as good as stable until then.
    :param seconds: How long the release is watched.
    :param peek_seconds: How often a judge looks; a whole number of peeks makes a minute, or of minutes a peek.
    :param ramp: Percent of traffic of the canary, as (from which second, percent). Control gets the same, stable the rest.
    :param diurnal: Whether traffic swings by 60 % and the base rate by 50 % over the day.
    :param incidents: Times that all arms err five times as often for six minutes.
    :param burst_cv2: Squared coefficient of variation of each arm's own gamma-distributed rate; 0: independent requests.
    :param burst_seconds: How long one burst lasts.
    :param calibration_seconds: Span of stable against control that is known before the release.
    :param negligible: Bad rate that is nothing to act on, as the check says.
    :param margin: Ratio that must be excluded for SAFE, as the check says.
    """

    name: str
    rps: float
    base: float = 0.01
    ratio: float = 1.0
    canary_base: float | None = None
    onset_seconds: float = 0.0
    seconds: float = 3_600.0
    peek_seconds: float = 60.0
    ramp: tuple[tuple[float, float], ...] = ((0.0, 10.0),)
    diurnal: bool = False
    incidents: int = 0
    burst_cv2: float = 0.0
    burst_seconds: float = 60.0
    calibration_seconds: float = 21_600.0
    negligible: float = 0.001
    margin: float = 1.5
    faulty: Faulty | None = None

    @property
    def peeks(self) -> int:
        """How often a judge looks in the whole release."""
        return round(self.seconds / self.peek_seconds)
