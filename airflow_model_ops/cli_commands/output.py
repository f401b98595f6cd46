"""How commands print: tables for people, JSON and YAML for programs, as Airflow's own commands do."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping, Sequence
from typing import Any


def print_rows(args: Namespace, rows: Sequence[Mapping[str, Any]]) -> None:
    """Print rows that share their columns."""
    from airflow.cli.simple_table import AirflowConsole
    from rich.markup import escape

    data = [dict(row) for row in rows]
    if args.output == "table":  # a reason may hold brackets, which rich would take for markup
        data = [{key: escape(str(_joined(value))) for key, value in row.items()} for row in data]
    AirflowConsole().print_as(data=data, output=args.output)


def print_fields(args: Namespace, fields: Mapping[str, Any]) -> None:
    """Print one thing: a line per field for people, one object for programs."""
    if args.output in {"json", "yaml"}:
        print_rows(args, [fields])
    else:
        print_rows(args, [{"field": name, "value": _shown(value)} for name, value in fields.items()])


def shares(split: Mapping[str, float]) -> str:
    """Return a split in words."""
    return ", ".join(f"{name} {percent:g} %" for name, percent in split.items()) or "nothing"


def _joined(value: Any) -> Any:
    return ", ".join(str(item) for item in value) if isinstance(value, list) else value


def _shown(value: Any) -> Any:
    if value is None or value in ("", [], {}, ()):
        return "-"
    if isinstance(value, Mapping):
        return "; ".join(f"{key}: {_shown(item)}" for key, item in value.items())
    return value
