"""A ledger of many models in little time: some are recorded by the real recorder, the others are copies of their rows.

The recorder writes some hundred entries a second, and questions ask for one model: so what matters for their speed is that
the tables and their indexes are as large as they would be.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

from airflow_model_ops.adapters.lineage.recorder import MlmdLedger
from airflow_model_ops.adapters.lineage.settings import LedgerSettings
from airflow_model_ops.adapters.repository.posix_repository import PosixRepository

_TABLES = (
    *("Artifact", "ArtifactProperty", "Execution", "ExecutionProperty", "Context", "ContextProperty"),
    *("Event", "EventPath", "Association", "Attribution", "ParentContext"),
)
_IDS = frozenset({"id", "artifact_id", "execution_id", "context_id", "event_id", "parent_context_id"})
_NAMES = frozenset({"name", "external_id"})
_NODES = ("Artifact", "Execution", "Context")
_MODEL = re.compile(r"model-(\d+)")


def write_ledger(path: Path, repository: PosixRepository, models: Sequence[str], *, recorded: int) -> None:
    """Record the first models, and copy their rows for the others, ``recorded`` models at a time.

    :param models: ``model-00`` and so on; as many as a multiple of ``recorded``.
    """
    ledger = MlmdLedger(LedgerSettings(path=path))
    for model in models[:recorded]:
        ledger.catch_up(model, repository.log(model), partial(repository.manifest, model))
    with closing(sqlite3.connect(path)) as database, database:
        last = max(database.execute(f"SELECT max(id) FROM {table}").fetchone()[0] or 0 for table in _WITH_ID)  # noqa: S608
        for number in range(1, len(models) // recorded):
            _copy(database, offset=number * (last + 1), below=last + 1, models=number * recorded)


_WITH_ID = (*_NODES, "Event", "Association", "Attribution")


def _copy(database: sqlite3.Connection, *, offset: int, below: int, models: int) -> None:
    """Copy all rows with ids below a number, for models of higher numbers."""
    database.create_function("renamed", 1, partial(_renamed, by=models))
    for table in _TABLES:
        columns = [column for _, column, *_ in database.execute(f"PRAGMA table_info({table})")]
        is_node = table in _NODES
        taken = (_taken(column, offset, renames=is_node) for column in columns)
        first = next(column for column in columns if column in _IDS)
        database.execute(f"INSERT INTO {table} SELECT {', '.join(taken)} FROM {table} WHERE {first} < ?", (below,))  # noqa: S608


def _taken(column: str, offset: int, *, renames: bool) -> str:
    if column in _IDS:
        return f"{column} + {offset}"
    return f"renamed({column})" if renames and column in _NAMES else column


def _renamed(name: str | None, *, by: int) -> str | None:
    """Return a name of the same thing of another model; what belongs to no model gets a number."""
    if name is None:
        return None
    other = _MODEL.sub(lambda found: f"model-{int(found[1]) + by:02d}", name)
    return other if other != name else f"{name}~{by}"
