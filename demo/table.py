"""The table at the demo's end: what happened to each version, and at what cost to the traffic."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

HEADINGS = ("version", "verdict", "why", "recovery", "sent", "failed")
WHY_CHARS = 40
_GAP = "  "
_NOTHING = "-"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseRow:
    """One line of the table.

    :param version: The version that was released, or rolled back to. A newline in it goes on in the next line.
    :param verdict: What became of it: `promoted`, `rolled back`, ...; newlines as above.
    :param why: The reason, a sentence; wrapped over several lines if long.
    :param recovery_seconds: From the first bad evidence to the last answer by the bad version; `None` where nothing had
        to recover.
    :param sent: Requests sent meanwhile.
    :param failed: Those of them that failed.
    """

    version: str
    verdict: str
    why: str
    recovery_seconds: float | None
    sent: int
    failed: int

    def __post_init__(self) -> None:
        if not 0 <= self.failed <= self.sent:
            raise ValueError(f"{self.failed!r} failed of {self.sent!r} sent: give a part of the requests sent")


def format_table(rows: Sequence[ReleaseRow]) -> str:
    """Return the table as text, columns aligned, numbers to the right, with a line of totals."""
    total = ("all", "", "", "", _count(sum(row.sent for row in rows)), _count(sum(row.failed for row in rows)))
    blocks = [_block(row) for row in rows]
    lines = [HEADINGS, *(line for block in blocks for line in block), total]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADINGS))]
    rule = _GAP.join("-" * width for width in widths)
    body = [_line(line, widths=widths) for block in blocks for line in block]
    return "\n".join([_line(HEADINGS, widths=widths), rule, *body, rule, _line(total, widths=widths)])


def _block(row: ReleaseRow) -> list[tuple[str, ...]]:
    """Return the row's cells, with further lines where a text is long."""
    why = textwrap.wrap(row.why, width=WHY_CHARS) or [_NOTHING]
    recovery = _NOTHING if row.recovery_seconds is None else f"{row.recovery_seconds:.1f} s"
    texts = zip_longest(row.version.split("\n"), row.verdict.split("\n"), why, fillvalue="")
    first, *more = [tuple(line) for line in texts]
    return [(*first, recovery, _count(row.sent), _count(row.failed)), *((*line, "", "", "") for line in more)]


def _count(number: int) -> str:
    return f"{number:,}"


def _line(cells: Sequence[str], *, widths: Sequence[int]) -> str:
    words = [cell.ljust(width) for cell, width in zip(cells[:3], widths[:3], strict=True)]
    numbers = [cell.rjust(width) for cell, width in zip(cells[3:], widths[3:], strict=True)]
    return _GAP.join([*words, *numbers]).rstrip()
