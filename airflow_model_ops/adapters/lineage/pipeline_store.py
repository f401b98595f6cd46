"""Somebody else's store of ML Metadata, as TFX or Kubeflow Pipelines write it: reading only.

Nothing is registered and nothing is written; a SQLite file is opened read-only. Calls are those that newer ML Metadata
keeps: ids, events, contexts by name, and lists ordered by id of which only the newest are read. Source of the limits: ML
Metadata 1.17.1, measured; its client reads all pages of a list unless it is given a limit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from airflow_model_ops.adapters.lineage.mlmd_access import StoreAccess
from airflow_model_ops.adapters.lineage.settings import LedgerSettings, load_ml_metadata
from airflow_model_ops.core.errors import LedgerUnavailable

PIPELINE_CONTEXTS = ("pipeline", "system.Pipeline")
"""Types of the context that names a pipeline: TFX, both layouts; Kubeflow Pipelines."""
_PAGE = 100
_HIGHEST_ID = 2**63 - 1
_WINDOWS = (50, 400, 2_000)
"""How many of the newest artifacts are read, and how many when that was not enough: a list has no other cursor that ML
Metadata's own client offers. About two hundred runs of a pipeline with ten artifacts each."""


class PipelineStore:
    """An open store. Not for use across a fork or by several threads: open one for each look.

    :raises LedgerUnavailable: if it cannot be opened.
    :raises LedgerUnsuitable: if ML Metadata is not installed, or the store is of another version of it.
    """

    def __init__(self, settings: LedgerSettings) -> None:
        self.shown = settings.shown.replace("ledger", "metadata store", 1)
        module = load_ml_metadata()
        self._list_options = partial(module.ListOptions, order_by=module.OrderByField.ID, is_asc=False)
        self._access = StoreAccess(settings)
        self._store = self._opened_file(settings.path) if settings.path else self._access.open(create=False)

    def _opened_file(self, path: Path) -> Any:
        if not path.is_file():
            raise LedgerUnavailable(
                f"{self.shown} does not exist on this machine; mount it, let the pipeline run first, or correct the connection"
            )
        return self._access.open(create=False, read_only=True)

    def artifact(self, artifact_id: int) -> Any | None:
        """Return an artifact, or ``None``."""
        return next(iter(self.artifacts([artifact_id])), None) if 0 < artifact_id <= _HIGHEST_ID else None

    def artifacts(self, ids: Iterable[int]) -> list[Any]:
        """Return the artifacts there are of these, in no order."""
        return self._paged("read artifacts", self._store.get_artifacts_by_id, ids)

    def executions(self, ids: Iterable[int]) -> list[Any]:
        """Return the executions there are of these, in no order."""
        return self._paged("read executions", self._store.get_executions_by_id, ids)

    def events_of_artifacts(self, ids: Iterable[int]) -> list[Any]:
        """Return who read or wrote these artifacts."""
        return self._paged("read events", self._store.get_events_by_artifact_ids, ids)

    def events_of_executions(self, ids: Iterable[int]) -> list[Any]:
        """Return what these executions read or wrote."""
        return self._paged("read events", self._store.get_events_by_execution_ids, ids)

    def contexts_of(self, execution_id: int) -> list[Any]:
        """Return the contexts of an execution, lowest id first."""
        found = self._access.insist("read contexts", lambda: self._store.get_contexts_by_execution(execution_id))
        return sorted(found, key=lambda context: int(context.id))

    def pipeline(self, name: str) -> Any | None:
        """Return the context of a pipeline, or ``None`` if it never ran."""
        for kind in PIPELINE_CONTEXTS:
            found = self._access.insist(
                f"look for pipeline {name!r}", partial(self._store.get_context_by_type_and_name, kind, name)
            )
            if found is not None:
                return found
        return None

    def newest_artifacts(self, *, pipeline: Any | None) -> Iterator[Any]:
        """Yield the newest artifacts, newest first, as far back as anybody looks; few are read unless many are taken.

        :param pipeline: The context whose artifacts these are; ``None``: all of the store.
        """
        seen: set[int] = set()
        for limit in _WINDOWS:
            options = self._list_options(limit=limit)
            if pipeline is None:
                listing = partial(self._store.get_artifacts, options)
            else:
                listing = partial(self._store.get_artifacts_by_context, pipeline.id, options)
            rows = self._access.insist("list the newest artifacts", listing)
            yield from (row for row in rows if row.id not in seen)
            seen.update(row.id for row in rows)
            if len(rows) < limit:
                return

    def _paged(self, what: str, get: Callable[[Sequence[int]], Sequence[Any]], ids: Iterable[int]) -> list[Any]:
        wanted = sorted(set(ids))
        found: list[Any] = []
        for start in range(0, len(wanted), _PAGE):
            found += self._access.insist(what, partial(get, wanted[start : start + _PAGE]))
        return found
