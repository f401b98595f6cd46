"""Values of manifests and ledgers as an answer may hold them: JSON has no NaN, and people may have written anything."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any


def figures(values: Mapping[str, Any]) -> dict[str, float]:
    """Return the finite numbers among some values."""
    return {name: float(value) for name, value in values.items() if is_figure(value)}


def is_figure(value: Any) -> bool:
    """Whether a value is a finite number; true is none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def plain(value: Any) -> Any:
    """Return a value with a text in place of each number that JSON does not know."""
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def told(value: Any) -> float | str | None:
    """Return a value for a cell of a table: a number, or a text."""
    if value is None or isinstance(value, str):
        return value
    return value if is_figure(value) else json.dumps(plain(value), ensure_ascii=False, sort_keys=True)


def moment(text: str | None) -> datetime | None:
    """Return an ISO 8601 time, in UTC if it does not say; ``None`` for what is none."""
    try:
        found = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
