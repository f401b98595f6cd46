"""What the ledger tells of a page of versions: how they were validated, and by whom and in which run they were pushed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from airflow_model_ops.adapters.lineage import schema
from airflow_model_ops.adapters.lineage.mlmd_store import LedgerStore
from airflow_model_ops.adapters.lineage.nodes import Direction
from airflow_model_ops.adapters.lineage.protos import Stored
from airflow_model_ops.adapters.lineage.rows import HistoryRow, VersionRow, entry_of, history_row, version_row
from airflow_model_ops.adapters.lineage.text import stored_name
from airflow_model_ops.core.log import FactKind

_PUSH = schema.EXECUTION_TYPES[FactKind.PUSHED]


@dataclass(frozen=True, slots=True, kw_only=True)
class ToldVersion:
    """One version as the ledger knows it.

    :param pushed: The entry by which it came into the repository; ``None`` for one that was only adopted.
    """

    row: VersionRow
    pushed: HistoryRow | None


def told_of(store: LedgerStore, model: str, versions: Iterable[str]) -> Mapping[str, ToldVersion]:
    """Return what is known of versions, by name: a look-up for each, and two for all. One that is not recorded is missing."""
    found = {name: store.artifact(schema.MODEL_VERSION, stored_name(f"{model}/{name}")) for name in versions}
    known = {name: stored for name, stored in found.items() if stored is not None}
    pushes = _pushes(store, [stored.id for stored in known.values()])
    return {
        name: ToldVersion(
            row=version_row(stored), pushed=history_row(entry_of(pushes[stored.id])) if stored.id in pushes else None
        )
        for name, stored in known.items()
    }


def _pushes(store: LedgerStore, versions: list[int]) -> dict[int, Stored]:
    """Return the execution that wrote each version first, if that was a push: an adoption writes, too."""
    wrote: dict[int, set[int]] = {}
    for edge in store.edges_of_artifacts(versions) if versions else ():
        if edge.direction is Direction.OUTPUT:
            wrote.setdefault(edge.artifact_id, set()).add(edge.execution_id)
    wanted = {artifact: sorted(executions)[:2] for artifact, executions in wrote.items()}
    executions = {
        each.id: each for each in store.executions_by_id(sorted({one for ids in wanted.values() for one in ids}))
    }
    return {
        artifact: push
        for artifact, ids in wanted.items()
        if (push := next((executions[one] for one in ids if one in executions and executions[one].type == _PUSH), None))
    }
