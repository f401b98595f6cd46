"""What a benchmark found: goals that hold or not, and tables in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One goal in one cell.

    :param goal: The promise, as people know it.
    :param cell: Under which conditions.
    :param rule: When it holds.
    :param measured: The numbers.
    """

    goal: str
    cell: str
    rule: str
    measured: str
    holds: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows under a title."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""

    def __str__(self) -> str:
        lines = [f"### {self.title}", "", _row(self.head), _row(["---"] * len(self.head)), *map(_row, self.rows)]
        return "\n".join([*lines, *(["", self.note] if self.note else [])])


@dataclass(slots=True, kw_only=True)
class Report:
    """All of one run of the benchmark."""

    findings: list[Finding] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)

    def goals(self) -> Table:
        """Give every finding as one row, in the order of the goals."""
        rows = [
            [each.goal, each.cell, each.rule, each.measured, "holds" if each.holds else "**FAILS**"]
            for each in self.findings
        ]
        return Table(title="Goals", head=["goal", "cell", "rule", "measured", "verdict"], rows=rows)

    @property
    def failed(self) -> list[Finding]:
        """The findings that do not hold."""
        return [each for each in self.findings if not each.holds]

    def markdown(self) -> str:
        """Give all tables."""
        return "\n\n".join(str(table) for table in [self.goals(), *self.tables])


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "/") for cell in cells) + " |"
