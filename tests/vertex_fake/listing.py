"""Filters, order and pages of the list methods, as their requests' comments describe them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from tests.vertex_fake.refusal import Refused

_TERM = re.compile(
    r"""(?P<field>[A-Za-z_]+)(?:\.(?P<key>"[^"]+"|[^\s=!:"]+))?\s*(?P<operator>!=|=|:)\s*(?P<value>"[^"]*"|[^\s]+)\Z"""
)
_PAGE = 100
T = TypeVar("T")


def matches(item: Any, expression: str) -> bool:
    """Return whether a resource with ``name``, ``display_name`` and ``labels`` is chosen by an AND of simple terms."""
    terms = [term.strip() for term in re.split(r"\s+AND\s+", expression.strip()) if term.strip()]
    return all(_holds(item, term) for term in terms)


def page(found: Sequence[T], *, size: int, token: str) -> tuple[list[T], str]:
    """Cut one page out; return it with the token of the next one, empty at the end."""
    begin = int(token) if token.isdigit() else 0
    if token and not token.isdigit():
        raise Refused("INVALID_ARGUMENT", f"Invalid page_token {token!r}.")
    end = begin + (size or _PAGE)
    return list(found[begin:end]), str(end) if end < len(found) else ""


def ordered(found: Sequence[T], by: str) -> list[T]:
    """Sort by ``create_time desc, display_name`` and the like."""
    result = list(found)
    for clause in reversed([each.split() for each in by.split(",") if each.strip()]):
        name = _snake(clause[0])
        if name not in {"display_name", "create_time", "update_time"}:
            raise Refused("INVALID_ARGUMENT", f"Cannot order by {clause[0]!r}.")
        key: Callable[[Any], Any] = lambda item, name=name: getattr(item, name)  # noqa: E731
        result.sort(key=key, reverse=clause[1:] == ["desc"])
    return result


def _holds(item: Any, term: str) -> bool:
    found = _TERM.match(term)
    if found is None:
        raise Refused("INVALID_ARGUMENT", f"Invalid filter: cannot read {term!r}.")
    field, key = _snake(found["field"]), (found["key"] or "").strip('"')
    operator, value = found["operator"], found["value"].strip('"')
    if field == "labels":
        labels = dict(item.labels)
        if operator == ":":
            return (key or value) in labels
        return (labels.get(key) == value) is (operator == "=")
    if field not in {"display_name", "endpoint", "model"} or key or operator == ":":
        raise Refused("INVALID_ARGUMENT", f"Invalid filter: {term!r} is not supported.")
    actual = item.display_name if field == "display_name" else item.name.rsplit("/", 1)[-1].partition("@")[0]
    return (actual == value) is (operator == "=")


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z])([A-Z])", lambda found: "_" + found[1].lower(), name)
