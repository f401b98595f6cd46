"""A pipeline's store of ML Metadata behind an ``mlmd`` connection: reading only, in tasks and in triggers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_model_ops.core.candidates import CandidateKind
from airflow_model_ops.hooks.mlmd import ledger_settings_of
from airflow_model_ops.hooks.wiring import afetch_connection, fetch_connection

if TYPE_CHECKING:
    from airflow_model_ops.adapters.lineage.pipeline_candidates import Look
    from airflow_model_ops.adapters.lineage.pipeline_store import PipelineStore

MOST_CANDIDATES = 10
"""How many of the newest candidates are looked at for one that is to be released."""


def open_pipeline_store(mlmd_conn_id: str) -> PipelineStore:
    """Open the store of a connection, in a task.

    :raises ConnectionUnavailable: if there is no such connection, or Airflow does not answer.
    :raises LedgerUnavailable: if the store cannot be opened.
    """
    from airflow_model_ops.adapters.lineage.pipeline_store import PipelineStore

    return PipelineStore(ledger_settings_of(fetch_connection(mlmd_conn_id)))


def look_at(
    mlmd_conn_id: str, *, kind: CandidateKind, pipeline: str, limit: int = MOST_CANDIDATES, after: str = ""
) -> Look:
    """Return the newest candidates, in a task.

    :param after: Only those ready after this moment, milliseconds since the epoch; empty: all.
    """
    from airflow_model_ops.adapters.lineage.pipeline_candidates import Look, newest_candidates

    store = open_pipeline_store(mlmd_conn_id)
    found = newest_candidates(store, kind=kind, pipeline=pipeline, limit=limit, after=after)
    return Look(candidates=tuple(each.of(mlmd_conn_id) for each in found.candidates), note=found.note)


async def alook_at(
    mlmd_conn_id: str, *, kind: CandidateKind, pipeline: str, limit: int = MOST_CANDIDATES, after: str = ""
) -> Look:
    """Return the newest candidates, inside a trigger: the store is read by a process of its own."""
    from airflow_model_ops.adapters.lineage.pipeline_candidates import Look
    from airflow_model_ops.adapters.lineage.pipeline_process import look

    settings = ledger_settings_of(await afetch_connection(mlmd_conn_id))
    found = await look(settings, kind=kind, pipeline=pipeline, limit=limit, after=after)
    return Look(candidates=tuple(each.of(mlmd_conn_id) for each in found.candidates), note=found.note)
