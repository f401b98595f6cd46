"""Evidence: what a metric source answered about both arms in one interval, kept before it is judged.

It carries counts beside ratios, so that a stricter judge can be put in the place of plain thresholds without measuring
anything else, and it survives JSON unchanged, so that a restart and a replay read it and never ask the source again.
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
class Measurement:
    """The answer about one arm. An answer of "nothing" or "unreachable" is a measurement too.

    :param value: The quantity: a share from 0 to 1, or whatever a query gives; ``None`` when there is none.
    :param samples: Requests (or labelled predictions, or scraped samples) behind the value; ``None`` when unknown.
    :param age_seconds: Age of the newest scraped sample behind the value; ``None`` when unknown.
    :param error: Why the metric source gave no answer; ``None`` when it answered.
    """

    value: float | None = None
    samples: float | None = None
    age_seconds: float | None = None
    error: str | None = None

    @property
    def bad(self) -> float | None:
        """The number of bad events when the value is a share of the samples, else ``None``."""
        return None if self.value is None or self.samples is None else self.value * self.samples

    def to_json(self) -> JsonObject:
        """Give an object that strict JSON can hold; NaN and the infinities become strings."""
        return {
            "value": _number_to_json(self.value),
            "samples": _number_to_json(self.samples),
            "age_seconds": _number_to_json(self.age_seconds),
            "error": self.error,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Measurement:
        """Read what :meth:`to_json` gave.

        :raises InvalidState: if a field is missing or is no number.
        """
        try:
            value, samples, age = (_number_from_json(data[key]) for key in ("value", "samples", "age_seconds"))
            error = None if data["error"] is None else str(data["error"])
        except (KeyError, TypeError, ValueError) as fault:
            raise InvalidState(
                f"measurement {data!r} cannot be read ({fault!r}); it was not written by this package"
            ) from fault
        return cls(value=value, samples=samples, age_seconds=age, error=error)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Both arms of one check over the same interval, asked at the same instant.

    :param check: The check's name.
    :param canary: The arm on trial.
    :param stable: The arm it is compared with; ``None`` when it was not asked (a first release).
    :param at: The interval's end, ISO 8601 with an offset. It is the interval's identity: measuring twice is no proof.
    """

    check: str
    canary: Measurement
    stable: Measurement | None = None
    at: str

    def __post_init__(self) -> None:
        _ = self.instant

    @property
    def instant(self) -> datetime:
        """The interval's end as a time.

        :raises InvalidState: if ``at`` is no ISO 8601 time with an offset.
        """
        try:
            instant = datetime.fromisoformat(self.at)
        except (TypeError, ValueError):
            instant = None
        if instant is None or instant.tzinfo is None:
            raise InvalidState(
                f"evidence of {self.check!r} is dated {self.at!r}; "
                "write ISO 8601 with an offset, such as 2023-06-01T12:00:00+00:00"
            )
        return instant

    def to_json(self) -> JsonObject:
        """Give an object that strict JSON can hold."""
        stable = None if self.stable is None else self.stable.to_json()
        return {"check": self.check, "at": self.at, "canary": self.canary.to_json(), "stable": stable}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Evidence:
        """Read what :meth:`to_json` gave.

        :raises InvalidState: if a field is missing or malformed.
        """
        missing = [key for key in ("check", "at", "canary", "stable") if key not in data]
        if missing:
            raise InvalidState(f"evidence {data!r} lacks {', '.join(missing)}; it was not written by this package")
        stable = None if data["stable"] is None else Measurement.from_json(data["stable"])
        canary = Measurement.from_json(data["canary"])
        return cls(check=str(data["check"]), at=str(data["at"]), canary=canary, stable=stable)


def _number_to_json(number: float | None) -> float | str | None:
    return number if number is None or math.isfinite(number) else repr(float(number))


def _number_from_json(number: float | str | None) -> float | None:
    return None if number is None else float(number)
