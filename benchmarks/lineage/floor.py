"""The machine's floor: the same rows, read with plain sqlite3 by an index; each call opens the file, as ours opens the store."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from airflow_model_ops.core.log import Entry

_ARTIFACT_TYPE = 1
_ARTIFACTS = """
    SELECT a.name, p.name, p.string_value, p.proto_value
    FROM Artifact a JOIN ArtifactProperty p ON p.artifact_id = a.id
    WHERE a.type_id = (SELECT id FROM Type WHERE name = ? AND type_kind = ?) AND a.name IN ({marks})
"""
_EXECUTIONS = """
    SELECT e.external_id, p.proto_value
    FROM Execution e JOIN ExecutionProperty p ON p.execution_id = e.id AND p.name = 'entry'
    WHERE e.external_id IN ({marks})
"""
_EXECUTIONS_OF = """
    SELECT e.name, p.proto_value
    FROM Artifact a JOIN Event v ON v.artifact_id = a.id JOIN Execution e ON e.id = v.execution_id
    JOIN ExecutionProperty p ON p.execution_id = e.id AND p.name = 'entry'
    WHERE a.type_id = (SELECT id FROM Type WHERE name = ? AND type_kind = ?) AND a.name IN ({marks})
"""


def read_artifacts(path: Path, *, type_name: str, names: Sequence[str]) -> list[Any]:
    """Return all properties of the artifacts of these names."""
    return _rows(path, _ARTIFACTS, (type_name, _ARTIFACT_TYPE), names)


def read_executions(path: Path, *, external_ids: Sequence[str]) -> list[Any]:
    """Return the entries that the executions of these external ids keep."""
    return _rows(path, _EXECUTIONS, (), external_ids)


def read_executions_of(path: Path, *, type_name: str, names: Sequence[str]) -> list[Any]:
    """Return the entries of the executions that read or wrote the artifacts of these names."""
    return _rows(path, _EXECUTIONS_OF, (type_name, _ARTIFACT_TYPE), names)


def write_entries(path: Path, entries: Iterable[Entry], *, batch: int) -> float:
    """Write entries' bytes under unique keys, ``batch`` of them per transaction; return how many per second."""
    told = list(entries)
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE entries (key TEXT UNIQUE, content BLOB)")
        database.commit()
        begin = time.perf_counter()
        for start in range(0, len(told), batch):
            rows = [(f"{entry.sequence:020d}", entry.to_bytes()) for entry in told[start : start + batch]]
            database.executemany("INSERT INTO entries VALUES (?, ?)", rows)
            database.commit()
        seconds = time.perf_counter() - begin
    return len(told) / seconds


def _rows(path: Path, query: str, before: tuple[Any, ...], keys: Sequence[str]) -> list[Any]:
    marks = ", ".join("?" * len(keys))
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        rows = database.execute(query.format(marks=marks), (*before, *keys)).fetchall()
    if not rows:
        raise LookupError(f"{path.name} has none of {list(keys)[:3]}: the floor would measure nothing")
    return rows
