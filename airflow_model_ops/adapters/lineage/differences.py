"""How what is stored differs from what the log gives, in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from airflow_model_ops.adapters.lineage.nodes import Node
from airflow_model_ops.adapters.lineage.protos import Stored

_LONGEST_SHOWN = 80


class FindingKind(StrEnum):
    """What happened to the log or the ledger."""

    EDITED = "edited"
    MISSING = "missing"
    SWAPPED = "swapped"
    SURPLUS = "surplus"
    TRUNCATED = "truncated"
    REWRITTEN = "rewritten"
    BEHIND = "behind"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One difference between a log and the ledger.

    :param what: The part that differs.
    :param where: The number of the log entry that it belongs to.
    """

    kind: FindingKind
    what: str
    where: int
    expected: str
    found: str

    @property
    def is_fault(self) -> bool:
        """Whether something was altered or lost; a ledger that is only behind catches up."""
        return self.kind is not FindingKind.BEHIND

    def __str__(self) -> str:
        return f"entry {self.where}: {self.kind.value}: {self.what}: expected {self.expected}, found {self.found}"


def node_findings(expected: Node, found: Stored, *, where: int, kind: str) -> Iterator[Finding]:
    """Yield what differs between an artifact or execution of the log and the stored one.

    :param kind: ``artifact`` or ``execution``, for the words.
    """
    name = f"{kind} {expected.name!r}"
    identity = (
        ("type", expected.type, found.type),
        ("name", expected.name, found.name),
        ("uri", expected.uri, found.uri),
        ("external id", expected.external_id, found.external_id),
    )
    for part, wanted, stored in identity:
        if wanted != stored:
            yield _edited(f"{part} of {name}", wanted, stored, where)
    yield from _values("property", expected.properties, found.properties, name, where)
    yield from _values("STRUCT", expected.structs, found.structs, name, where)


def artifact_findings(expected: Node, found: Stored, *, where: int) -> Iterator[Finding]:
    """Yield what differs in an artifact that is never changed once stored; its external id may carry another ordinal."""
    if expected.external_id and found.external_id:
        same = expected.external_id.rpartition("/")[0] == found.external_id.rpartition("/")[0]
        expected = replace(expected, external_id=found.external_id) if same else expected
    yield from node_findings(expected, found, where=where, kind="artifact")


def _values(
    kind: str, expected: Mapping[str, str], found: Mapping[str, str], name: str, where: int
) -> Iterator[Finding]:
    for key in sorted({*expected, *found}):
        if expected.get(key) != found.get(key):
            yield _edited(f"{kind} {key!r} of {name}", expected.get(key), found.get(key), where)


def _edited(what: str, expected: str | None, found: str | None, where: int) -> Finding:
    wanted, stored = _around_the_difference(expected, found)
    return Finding(kind=FindingKind.EDITED, what=what, where=where, expected=wanted, found=stored)


def _around_the_difference(expected: str | None, found: str | None) -> tuple[str, str]:
    """Show both from shortly before the first character that differs: long texts may differ far behind."""
    if expected is None or found is None:
        return _shown(expected, 0), _shown(found, 0)
    same = next(
        (place for place, (one, other) in enumerate(zip(expected, found, strict=False)) if one != other),
        min(len(expected), len(found)),
    )
    start = max(0, same - _LONGEST_SHOWN // 4) if max(len(expected), len(found)) > _LONGEST_SHOWN else 0
    return _shown(expected, start), _shown(found, start)


def _shown(text: str | None, start: int) -> str:
    if text is None:
        return "nothing"
    end = start + _LONGEST_SHOWN
    return f"{'…' if start else ''}{text[start:end]!r}{'…' if len(text) > end else ''}"
