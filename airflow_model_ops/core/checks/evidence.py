"""Evidence: what a metric source answered about both arms in one interval, kept before it is judged.

It carries counts, not ratios, and survives JSON unchanged, so that a restart and a replay read it and never ask the
source again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from airflow_model_ops.core.errors import InvalidState

JsonObject = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One of the two versions that a check looks at, by the names under which it is measured.

    :param version_number: The serving number.
    :param cluster: The router's cluster of that version.
    :param version_name: The version's name; ``None`` if only the number is known.
    """

    version_number: str
    cluster: str
    version_name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Arms:
    """What is compared: the canary with stable, whose requests are counted in two groups.

    :param stable: ``None`` on a first release.
    :param control: The stable version again, with about the canary's share of requests: what differs between it and stable
        is noise, and tells how noisy the counts are. ``None`` when the router keeps none.
    """

    canary: Arm
    stable: Arm | None = None
    control: Arm | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """The answer about one arm. An answer of "nothing" or "unreachable" is a measurement too.

    :param value: The quantity: a share from 0 to 1, or whatever a query gives; ``None`` when there is none.
    :param samples: Requests (or labelled predictions, or scraped samples) behind the value; ``None`` when unknown. A whole
        number where events are counted.
    :param age_seconds: Age of the newest scraped sample behind the value; ``None`` when unknown.
    :param error: Why the metric source gave no answer; ``None`` when it answered.
    :param bad: The bad events among the samples, a whole number from 0 to ``samples``; ``None`` where none are counted.
    """

    value: float | None = None
    samples: float | None = None
    age_seconds: float | None = None
    error: str | None = None
    bad: float | None = None

    def to_json(self) -> JsonObject:
        """Give an object that strict JSON can hold; NaN and the infinities become strings."""
        return {
            "value": _number_to_json(self.value),
            "samples": _number_to_json(self.samples),
            "age_seconds": _number_to_json(self.age_seconds),
            "error": self.error,
            "bad": _number_to_json(self.bad),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Measurement:
        """Read what :meth:`to_json` gave.

        :raises InvalidState: if a field is missing or is no number.
        """
        try:
            value, samples, age, bad = (
                _number_from_json(data[key]) for key in ("value", "samples", "age_seconds", "bad")
            )
            error = None if data["error"] is None else str(data["error"])
        except (KeyError, OverflowError, TypeError, ValueError) as fault:
            raise InvalidState(
                f"measurement {data!r} cannot be read ({fault!r}); it was not written by this package"
            ) from fault
        return cls(value=value, samples=samples, age_seconds=age, error=error, bad=bad)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """All arms of one check over the same interval, asked at the same instant.

    :param check: The check's name.
    :param canary: The arm on trial.
    :param stable: The arm it is compared with; ``None`` when it was not asked (a first release).
    :param control: Stable's second group; ``None`` when it was not asked.
    :param at: The interval's end on the source's clock, ISO 8601 with an offset. It is the interval's identity: what comes
        with the same end again holds nothing new.
    :param begin: The interval's start; ``None`` where nothing is counted over a span.
    """

    check: str
    canary: Measurement
    stable: Measurement | None = None
    control: Measurement | None = None
    at: str
    begin: str | None = None

    def __post_init__(self) -> None:
        _ = self.instant
        if self.begin is not None:
            _time(self.begin, check=self.check)

    @property
    def instant(self) -> datetime:
        """The interval's end as a time.

        :raises InvalidState: if ``at`` is no ISO 8601 time with an offset.
        """
        return _time(self.at, check=self.check)

    def to_json(self) -> JsonObject:
        """Give an object that strict JSON can hold."""
        return {
            "check": self.check,
            "at": self.at,
            "begin": self.begin,
            "canary": self.canary.to_json(),
            "stable": None if self.stable is None else self.stable.to_json(),
            "control": None if self.control is None else self.control.to_json(),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Evidence:
        """Read what :meth:`to_json` gave.

        :raises InvalidState: if a field is missing or malformed.
        """
        missing = [key for key in ("check", "at", "begin", "canary", "stable", "control") if key not in data]
        if missing:
            raise InvalidState(f"evidence {data!r} lacks {', '.join(missing)}; it was not written by this package")
        stable, control = (
            None if data[arm] is None else Measurement.from_json(data[arm]) for arm in ("stable", "control")
        )
        return cls(
            check=str(data["check"]),
            at=str(data["at"]),
            begin=None if data["begin"] is None else str(data["begin"]),
            canary=Measurement.from_json(data["canary"]),
            stable=stable,
            control=control,
        )


def _time(written: str, *, check: str) -> datetime:
    try:
        instant = datetime.fromisoformat(written)
    except (TypeError, ValueError):
        instant = None
    if instant is None or instant.tzinfo is None:
        raise InvalidState(
            f"evidence of {check!r} is dated {written!r}; "
            "write ISO 8601 with an offset, such as 2023-06-01T12:00:00+00:00"
        )
    return instant


def _number_to_json(number: float | None) -> float | str | None:
    return number if number is None or math.isfinite(number) else repr(float(number))


def _number_from_json(number: float | str | None) -> float | None:
    if number is None:
        return None
    read = float(number)
    return number if type(number) is int else read  # what is written again must be the same, character by character
