"""What a command answers and how it is printed: tables for people, JSON and YAML for programs, as Airflow's own commands do."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a command answers.

    :param rows: Rows that share their columns.
    :param single: Whether the one row is about one thing: people then get a line per field.
    :param note: What it comes to in one line, for people; it goes to standard error.
    :param failed: Why the command failed although it has something to show; ``None``: it did not.
    :param then: What is done when the answer is out, since nobody should have to wait for it; returns a note, if it has one.
    """

    rows: Sequence[Mapping[str, Any]]
    single: bool = False
    note: str | None = None
    failed: str | None = None
    then: Callable[[], str | None] | None = None


def about(fields: Mapping[str, Any], *, then: Callable[[], str | None] | None = None) -> Outcome:
    """Return the outcome that is about one thing."""
    return Outcome(rows=[fields], single=True, then=then)


def print_outcome(args: Namespace, outcome: Outcome) -> None:
    """Print to standard output in the format that was asked for."""
    from airflow.cli.simple_table import AirflowConsole
    from rich.markup import escape

    rows = [dict(row) for row in outcome.rows]
    if outcome.single and args.output in {"table", "plain"}:
        rows = [{"field": name, "value": _shown(value)} for row in rows for name, value in row.items()]
    if args.output == "table":  # a reason may hold brackets, which rich would take for markup
        rows = [{name: escape(str(_joined(value))) for name, value in row.items()} for row in rows]
    AirflowConsole().print_as(data=rows, output=args.output)


def _joined(value: Any) -> Any:
    if value is None:
        return "-"
    return ", ".join(str(item) for item in value) if isinstance(value, list) else value


def _shown(value: Any) -> Any:
    if value is None or value in ("", [], {}, ()):
        return "-"
    if isinstance(value, Mapping):
        return "; ".join(f"{key}: {_shown(item)}" for key, item in value.items())
    return value
