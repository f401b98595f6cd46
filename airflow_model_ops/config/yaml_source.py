"""YAML with places: which line of which file a value stands on, so that every mistake can be found."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from airflow_model_ops.core.errors import InvalidConfig

_M = TypeVar("_M", bound=BaseModel)
_KEYS = re.compile(r"[a-z][a-z0-9_]*(?:\.[a-z0-9_]+)*")


@dataclass(frozen=True, slots=True, kw_only=True)
class YamlSource:
    """A parsed YAML document that still knows its lines."""

    name: str
    data: Any
    root: yaml.Node | None

    def line(self, place: Sequence[str | int]) -> int:
        """Return the line of a value, or of the nearest part of its path that is there."""
        node, line = self.root, 1
        for step in place:
            found = _child(node, step)
            if found is None:
                break
            key, node = found
            line = key.start_mark.line + 1
        return line

    def validate(self, model: type[_M]) -> _M:
        """Return the document as a pydantic model.

        :raises InvalidConfig: with every mistake, each with file and line.
        """
        try:
            return model.model_validate(self.data)
        except ValidationError as error:
            raise InvalidConfig("\n".join(line for mistake in error.errors() for line in self._told(mistake))) from None

    def _told(self, mistake: Any) -> Iterator[str]:
        cause = mistake.get("ctx", {}).get("error")
        if isinstance(cause, InvalidConfig) and cause.mistakes:
            for each in cause.mistakes:
                yield self._told_at((*mistake["loc"], *_place_in(each)), each, prefix=mistake["loc"])
            return
        text = mistake["msg"].removeprefix("Value error, ")
        if mistake["type"] == "extra_forbidden":
            text = "unknown key; check its spelling and indentation"
        elif mistake["type"] == "missing":
            text = "is missing; add it"
        given = (
            ""
            if mistake["type"] in {"missing", "value_error", "extra_forbidden"}
            else f" (given: {mistake['input']!r})"
        )
        yield self._told_at(mistake["loc"], f"{text}{given}", prefix=mistake["loc"] or ("document",))

    def _told_at(self, place: Sequence[str | int], text: str, *, prefix: Sequence[str | int]) -> str:
        shown = ".".join(str(step) for step in prefix)
        return f"{self.name}:{self.line(place)}: {shown + ': ' if shown else ''}{text}"


def read_yaml(path: Path) -> YamlSource:
    """Read a YAML file.

    :raises InvalidConfig: if it cannot be read or is not YAML, or a key is given twice.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidConfig(f"{path}: cannot be read ({error}); give the path of a YAML file in UTF-8") from error
    return parse_yaml(text, name=str(path))


def parse_yaml(text: str, *, name: str) -> YamlSource:
    """Parse YAML text; see :func:`read_yaml`."""
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InvalidConfig(_not_yaml(error, text=text, name=name)) from None
    except (RecursionError, ValueError) as error:  # ValueError: a date such as 2023-02-31
        raise InvalidConfig(f"{name}:1: this YAML cannot be used ({error}); write plain keys and values") from None
    _refuse_repeated_keys(root, name)
    if not isinstance(data, dict):
        raise InvalidConfig(f"{name}:1: the file must be a mapping of keys, starting with `model:`")
    return YamlSource(name=name, data=data, root=root)


def _not_yaml(error: yaml.YAMLError, *, text: str, name: str) -> str:
    if isinstance(error, yaml.MarkedYAMLError):
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        return f"{name}:{line}: this is not YAML: {error.problem or error.context}"
    position = getattr(error, "position", 0)
    return f"{name}:{text.count(chr(10), 0, position) + 1}: this is not YAML: {str(error).splitlines()[0]}"


def _place_in(mistake: str) -> tuple[str, ...]:
    """Return the key that a mistake of core is about: its first word, such as ``canary.steps``."""
    found = _KEYS.match(mistake)
    return tuple(found[0].split(".")) if found else ()


def _child(node: yaml.Node | None, step: str | int) -> tuple[yaml.Node, yaml.Node] | None:
    if isinstance(node, yaml.MappingNode):
        return next(((key, value) for key, value in node.value if key.value == str(step)), None)
    if isinstance(node, yaml.SequenceNode) and str(step).isdecimal() and int(step) < len(node.value):
        return node.value[int(step)], node.value[int(step)]
    return None


def _refuse_repeated_keys(node: yaml.Node | None, name: str, visited: set[int] | None = None) -> None:
    """YAML lets the last of two equal keys win in silence; here that would be a limit that nobody checks.

    :param visited: Nodes that were looked at: an anchor may be named many times, even inside itself.
    """
    visited = set() if visited is None else visited
    if node is None or id(node) in visited:
        return
    visited.add(id(node))
    if isinstance(node, yaml.MappingNode):
        seen: dict[str, int] = {}
        for key, value in node.value:
            if key.value in seen:
                raise InvalidConfig(
                    f"{name}:{key.start_mark.line + 1}: key {key.value!r} is given twice (first on line {seen[key.value]}); "
                    "keep one"
                )
            seen[key.value] = key.start_mark.line + 1
            _refuse_repeated_keys(value, name, visited)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _refuse_repeated_keys(item, name, visited)
