"""Durations as people write them: ``90s``, ``5m``, ``1h30m``, or a plain number of seconds."""

from __future__ import annotations

import math
import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, WithJsonSchema

_LONGEST = 36_525 * 86_400
"""A hundred years: clocks and time-outs cannot be told of much more."""
_UNITS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
_WHOLE = re.compile(r"(?:\d+(?:\.\d+)?[dhms])+\Z")
_PLAIN = re.compile(r"\d+(?:\.\d+)?\Z")
_PART = re.compile(r"(\d+(?:\.\d+)?)([dhms])")


def seconds(value: Any) -> float:
    """Return a duration in seconds.

    >>> seconds("1h30m")
    5400.0

    :raises ValueError: if it is not a duration.
    """
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if value < 0:
            raise ValueError(f"{value!r} is not a duration; it cannot be negative")
        return _usable(value)
    text = str(value).strip().lower().replace(" ", "")
    if _PLAIN.match(text):  # a connection's form gives numbers as text
        return _usable(float(text))
    if not _WHOLE.match(text):
        raise ValueError(f"{value!r} is not a duration; write seconds, or such as 90s, 5m, 1h30m")
    return _usable(sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text)))


def _usable(value: float) -> float:
    if _LONGEST < value < math.inf:  # what is infinite is refused as such
        raise ValueError("longer than a hundred years is no duration that anything could wait for")
    return float(value)


_SCHEMA = WithJsonSchema(
    {"anyOf": [{"type": "number", "minimum": 0}, {"type": "string", "pattern": r"^\s*(\d+(\.\d+)?\s*[dhmsDHMS]\s*)+$"}]}
)
Seconds = Annotated[float, BeforeValidator(seconds), _SCHEMA]
"""A pydantic field that takes a duration and holds seconds."""
LongerThanZero = Annotated[float, Field(gt=0), BeforeValidator(seconds), _SCHEMA]
"""A duration that cannot be nothing, such as a time-out."""
