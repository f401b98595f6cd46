"""Everything that a store of ML Metadata holds, without its ids and times: two ledgers of the same logs are equal in it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from google.protobuf.json_format import MessageToDict

from airflow_model_ops.adapters.lineage.mlmd_access import StoreAccess
from airflow_model_ops.adapters.lineage.settings import LedgerSettings

Dump = dict[str, list[Any]]


def dump(settings: LedgerSettings) -> Dump:
    """Return types, nodes, events and contexts; executions in the order of their ids, so that it shows the log's order."""
    access = StoreAccess(settings)
    store = access.open(create=False)
    artifacts = {row.id: row for row in store.get_artifacts()}
    executions = {row.id: row for row in store.get_executions()}
    contexts = store.get_contexts()
    names = {
        kind: {key: f"{row.type}:{row.name}" for key, row in rows.items()}
        for kind, rows in (("a", artifacts), ("e", executions))
    }
    events = store.get_events_by_execution_ids(list(executions))
    return {
        "types": sorted(
            (type(row).__name__, row.name, sorted(row.properties.items()))
            for rows in (store.get_artifact_types(), store.get_execution_types(), store.get_context_types())
            for row in rows
            if row.name.startswith("airflow_model_ops.")
        ),
        "artifacts": sorted(_nodes(artifacts.values()), key=_text),
        "executions": _nodes(row for _, row in sorted(executions.items())),
        "contexts": sorted(_nodes(contexts), key=_text),
        "events": sorted(
            (names["e"][event.execution_id], names["a"][event.artifact_id], event.type, str(MessageToDict(event.path)))
            for event in events
        ),
        "members": sorted(
            (f"{context.type}:{context.name}", names["e"][row.id])
            for context in contexts
            for row in store.get_executions_by_context(context.id)
        ),
    }


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _nodes(rows: Iterable[Any]) -> list[dict[str, Any]]:
    left_out = {"id", "typeId", "createTimeSinceEpoch", "lastUpdateTimeSinceEpoch"}
    return [{key: value for key, value in MessageToDict(row).items() if key not in left_out} for row in rows]
