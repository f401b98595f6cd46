"""Durations as people write them: ``90s``, ``5m``, ``1h30m``, or a plain number of seconds."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator

_UNITS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
_WHOLE = re.compile(r"(?:\d+(?:\.\d+)?[dhms])+\Z")
_PART = re.compile(r"(\d+(?:\.\d+)?)([dhms])")


def seconds(value: Any) -> float:
    """Return a duration in seconds.

    >>> seconds("1h30m")
    5400.0

    :raises ValueError: if it is not a duration.
    """
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    text = str(value).strip().lower().replace(" ", "")
    if not _WHOLE.match(text):
        raise ValueError(f"{value!r} is not a duration; write seconds, or such as 90s, 5m, 1h30m")
    return float(sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text)))


Seconds = Annotated[float, BeforeValidator(seconds)]
"""A pydantic field that takes a duration and holds seconds."""
