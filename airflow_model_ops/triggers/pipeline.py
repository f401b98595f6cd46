"""The eyes on a pipeline's store: for a sensor that waits, and for the asset whose events start releases."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk.exceptions import AirflowException, AirflowRuntimeError
from airflow.triggers.base import BaseEventTrigger, BaseTrigger, TriggerEvent

from airflow_model_ops.core.candidates import CandidateKind
from airflow_model_ops.core.errors import ModelOpsError
from airflow_model_ops.core.tellings import MOST_TIMES, Telling
from airflow_model_ops.hooks.pipeline import alook_at

if TYPE_CHECKING:
    from airflow_model_ops.adapters.lineage.pipeline_candidates import Look
    from airflow_model_ops.core.candidates import Candidate
    from airflow_model_ops.core.ports import Repository

_TOLD = "model_ops_told"
"""The key in the asset's state store under which a watcher keeps what it told last."""
_log = logging.getLogger(__name__)


class CandidateTrigger(BaseTrigger):
    """Fires when a pipeline has a blessed, or pushed, model; a store that is away is looked at again.

    :param kind: ``blessed`` or ``pushed``.
    :param after: Only one ready after this moment, milliseconds since the epoch; empty: any.
    """

    first_pause_seconds: ClassVar[float] = 1.0
    """A trigger that fires right after its task deferred can make Airflow 3.3 fail the task."""

    def __init__(self, *, mlmd_conn_id: str, kind: str, pipeline: str, after: str, poll_seconds: float) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.mlmd_conn_id = mlmd_conn_id
        self.kind = kind
        self.pipeline = pipeline
        self.after = after
        self.poll_seconds = poll_seconds

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what it takes to make this trigger again elsewhere."""
        kwargs = {
            "mlmd_conn_id": self.mlmd_conn_id,
            "kind": self.kind,
            "pipeline": self.pipeline,
            "after": self.after,
            "poll_seconds": self.poll_seconds,
        }
        return "airflow_model_ops.triggers.pipeline.CandidateTrigger", kwargs

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look until there is one; the task's own time-out ends it."""
        pause = self.first_pause_seconds
        while True:
            await asyncio.sleep(pause)
            pause = self.poll_seconds
            try:
                look = await alook_at(
                    self.mlmd_conn_id,
                    kind=CandidateKind(self.kind),
                    pipeline=self.pipeline,
                    limit=1,
                    after=self.after,
                )
            except ModelOpsError as error:
                if not error.retryable:
                    yield TriggerEvent({"error": str(error)})
                    return
                _log.warning("connection=%s looks again: %s", self.mlmd_conn_id, error)
                continue
            if look.candidates:
                yield TriggerEvent(look.candidates[0].to_json())
                return
            _log.info("connection=%s no %s model yet. %s", self.mlmd_conn_id, self.kind, look.note)


class PipelineWatchTrigger(BaseEventTrigger):
    """Fires for the newest blessed, or pushed, model of a pipeline that is still to be released.

    Whether it is, the model's log tells: the push of an artifact is in it, whoever asked for that push. So a restart, a
    second triggerer or a paused DAG loses nothing. Until the log names the artifact it is told of again, each time after
    twice as long, eight times at most; how often it was is kept with the asset, so that a restart does not begin anew.

    All arguments are plain values: Airflow 3.3 silently starts no trigger of an asset whose arguments hold a mapping.

    :param repository: Id of the connection of the model's repository.
    :param again_seconds: How long to wait before the same candidate is told of again.
    """

    first_pause_seconds: ClassVar[float] = 2.0

    def __init__(
        self,
        *,
        model: str,
        repository: str,
        mlmd_conn_id: str,
        kind: str,
        pipeline: str,
        poll_seconds: float,
        again_seconds: float = 120.0,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.model = model
        self.repository = repository
        self.mlmd_conn_id = mlmd_conn_id
        self.kind = kind
        self.pipeline = pipeline
        self.poll_seconds = poll_seconds
        self.again_seconds = again_seconds
        self._telling: Telling | None = None
        self._chosen: tuple[object, Candidate | None] | None = None

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what it takes to make this trigger again elsewhere."""
        kwargs = {
            "model": self.model,
            "repository": self.repository,
            "mlmd_conn_id": self.mlmd_conn_id,
            "kind": self.kind,
            "pipeline": self.pipeline,
            "poll_seconds": self.poll_seconds,
            "again_seconds": self.again_seconds,
        }
        return "airflow_model_ops.triggers.pipeline.PipelineWatchTrigger", kwargs

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Watch for ever; what cannot be read is said and looked at again."""
        pause = self.first_pause_seconds
        while True:
            await asyncio.sleep(pause)
            pause = self.poll_seconds
            try:
                candidate = await self._to_be_told()
            except (ModelOpsError, OSError, AirflowException, AirflowRuntimeError) as error:
                _log.warning("model=%s pipeline of %r cannot be watched now: %s", self.model, self.mlmd_conn_id, error)
                continue
            if candidate is not None:
                _log.info("model=%s tells of artifact=%s", self.model, candidate.artifact)
                yield TriggerEvent(candidate.to_json())

    async def _to_be_told(self) -> Candidate | None:
        look = await alook_at(self.mlmd_conn_id, kind=CandidateKind(self.kind), pipeline=self.pipeline)
        candidate = await self._released_next(look)
        if candidate is None:
            return None
        telling, now = await self._told_last(), time.time()
        if not telling.is_due(candidate.key, now=now, first_pause_seconds=self.again_seconds):
            return None
        told = telling.told(candidate.key, now=now)
        await self._remember(told)
        if told.times == MOST_TIMES:
            _log.warning(
                "model=%s artifact=%s is told of for the last time: no run has pushed it; release it by hand",
                self.model,
                candidate.artifact,
            )
        return candidate

    async def _released_next(self, look: Look) -> Candidate | None:
        from airflow_model_ops.config.model_file import ConnectionsPart
        from airflow_model_ops.hooks.wiring import aopen_repository_of

        if not look.candidates:
            return None
        repository = await aopen_repository_of(ConnectionsPart(repository=self.repository))
        return await asyncio.to_thread(self._choose, look, repository)

    def _choose(self, look: Look, repository: Repository) -> Candidate | None:
        """Choose, anew only if there is another candidate or log entry: the whole log is read for it."""
        from airflow_model_ops.control.candidates import choose_candidate

        last = repository.log(self.model).last()
        seen = (look.candidates, last.digest if last else "")
        if self._chosen is None or self._chosen[0] != seen:
            choice = choose_candidate(candidates=look.candidates, repository=repository, model=self.model, again=False)
            self._chosen = seen, choice.candidate
        return self._chosen[1]

    async def _told_last(self) -> Telling:
        if self._telling is None:
            kept = None if self.asset_state_store is None else await self.asset_state_store.aget(_TOLD)
            self._telling = Telling.from_json(kept)
        return self._telling

    async def _remember(self, telling: Telling) -> None:
        """Keep it before it is told: told twice is harmless, told for ever is not."""
        if self.asset_state_store is not None:
            await self.asset_state_store.aset(_TOLD, telling.to_json())
        self._telling = telling
