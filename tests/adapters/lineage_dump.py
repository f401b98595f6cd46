"""A metadata database as what it says, without ids and times: two that say the same are equal."""

# ruff: noqa: S608 (only names of tables are put into the SQL)

from __future__ import annotations

import sqlite3
from collections import Counter
from pathlib import Path
from typing import Any

_PROPERTIES = "is_custom_property, int_value, double_value, string_value, byte_value, proto_value, bool_value"
_NODES = (("Artifact", "artifact_id"), ("Execution", "execution_id"), ("Context", "context_id"))


def dump_of(path: Path) -> dict[str, Any]:
    """Return types, nodes by type and name, their properties, events with their paths, and contexts."""
    with sqlite3.connect(path) as database:
        names = {kind: _names(database, kind) for kind, _ in _NODES}
        said: dict[str, Any] = {"types": _types(database)}
        for kind, key in _NODES:
            said[kind] = sorted(names[kind].values())
            said[f"{kind} keys"] = _rows(database, f"SELECT id, external_id {_more(kind)} FROM {kind}", (names[kind],))
            said[f"{kind} properties"] = _rows(
                database, f"SELECT {key}, name, {_PROPERTIES} FROM {kind}Property", (names[kind],)
            )
        artifacts, executions, contexts = (names[kind] for kind, _ in _NODES)
        said["events"] = _events(database, artifacts, executions)
        said["executions of contexts"] = _rows(
            database, "SELECT context_id, execution_id FROM Association", (contexts, executions)
        )
        said["artifacts of contexts"] = _rows(
            database, "SELECT context_id, artifact_id FROM Attribution", (contexts, artifacts)
        )
        return said


def rows_of_others(path: Path, prefix: str) -> dict[str, list[Any]]:
    """Return every row, ids and times included, that belongs to a type whose name does not begin with a prefix."""
    with sqlite3.connect(path) as database:
        others = f"type_id IN (SELECT id FROM Type WHERE substr(name, 1, {len(prefix)}) != '{prefix}')"
        rows: dict[str, list[Any]] = {
            "Type": database.execute(
                f"SELECT * FROM Type WHERE substr(name, 1, {len(prefix)}) != '{prefix}' ORDER BY id"
            ).fetchall(),
            "TypeProperty": sorted(database.execute(f"SELECT * FROM TypeProperty WHERE {others}")),
            "ParentType": sorted(database.execute(f"SELECT * FROM ParentType WHERE {others}")),
        }
        for kind, key in _NODES:
            rows[kind] = database.execute(f"SELECT * FROM {kind} WHERE {others} ORDER BY id").fetchall()
            ids = f"SELECT id FROM {kind} WHERE {others}"
            rows[f"{kind}Property"] = sorted(
                database.execute(f"SELECT * FROM {kind}Property WHERE {key} IN ({ids})"), key=repr
            )
        theirs = {kind: f"SELECT id FROM {kind} WHERE {others}" for kind, _ in _NODES}
        for table, key, kind in (
            ("Event", "execution_id", "Execution"),
            ("Association", "execution_id", "Execution"),
            ("Attribution", "artifact_id", "Artifact"),
            ("ParentContext", "context_id", "Context"),
        ):
            rows[table] = sorted(database.execute(f"SELECT * FROM {table} WHERE {key} IN ({theirs[kind]})"))
        return rows


def _types(database: sqlite3.Connection) -> list[Any]:
    declared = database.execute(
        "SELECT Type.name, Type.type_kind, TypeProperty.name, TypeProperty.data_type"
        " FROM Type LEFT JOIN TypeProperty ON Type.id = TypeProperty.type_id"
    )
    return sorted(declared, key=repr)


def _names(database: sqlite3.Connection, kind: str) -> dict[int, tuple[str, str]]:
    found = database.execute(f"SELECT {kind}.id, Type.name, {kind}.name FROM {kind} JOIN Type ON Type.id = type_id")
    return {number: (type_name, name) for number, type_name, name in found}


def _more(kind: str) -> str:
    return {"Artifact": ", uri, state", "Execution": ", last_known_state"}.get(kind, "")


def _rows(database: sqlite3.Connection, query: str, by_column: tuple[dict[int, tuple[str, str]], ...]) -> Counter[Any]:
    """Return rows with the first columns, which are ids, as types and names."""
    return Counter(
        (*(names[row[place]] for place, names in enumerate(by_column)), *row[len(by_column) :])
        for row in database.execute(query)
    )


def _events(
    database: sqlite3.Connection, artifacts: dict[int, tuple[str, str]], executions: dict[int, tuple[str, str]]
) -> Counter[Any]:
    paths: dict[int, list[Any]] = {}
    for event, *step in database.execute(
        "SELECT event_id, is_index_step, step_index, step_key FROM EventPath ORDER BY rowid"
    ):
        paths.setdefault(event, []).append(tuple(step))
    return Counter(
        (executions[execution], artifacts[artifact], kind, *paths.get(event, []))
        for event, artifact, execution, kind in database.execute(
            "SELECT id, artifact_id, execution_id, type FROM Event"
        )
    )
