"""The guard's eyes: one stream that looks after the stable versions of all guarded models of a fleet."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Hashable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowException, AirflowRuntimeError
from airflow.triggers.base import BaseEventTrigger, TriggerEvent

from airflow_model_ops.config.model_file import ModelFile
from airflow_model_ops.control.pause import Pause
from airflow_model_ops.core.errors import ModelOpsError

if TYPE_CHECKING:
    from airflow_model_ops.control.stable_guard import StableGuard

LONGEST_PAUSE_SECONDS = 3_600.0
"""Longest between two alarms about the same head: a person who holds a bad version on purpose is not told every minute."""
_AT_ONCE = 8
"""How many models are asked about at once: a source that does not answer must not stop the others' turns for long. The
threads are the guard's own: the loop's few are shared by all triggers, and those that watch a canary must not wait for them."""
_log = logging.getLogger(__name__)


class StableGuardTrigger(BaseEventTrigger):
    """Fires when the stable version of a model is above a ceiling; one stream measures all models it is given.

    Without fresh data it says nothing. What was counted is kept in the repository, so it may be restarted at any time.

    :param models: The models' files, each with a guard, as one JSON text. Airflow 3.3 silently starts no trigger of an asset
        whose arguments hold a mapping: read from its database, its hash is another one.
    :param again_seconds: How long to wait before it fires again for the same head, since the rollback may have been refused;
        twice as long each time.
    """

    def __init__(self, *, models: str, again_seconds: float = 60.0) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.models = models
        self.again_seconds = again_seconds

    @classmethod
    def of(cls, files: Iterable[ModelFile], *, again_seconds: float = 60.0) -> StableGuardTrigger:
        """Return the trigger that guards these models."""
        models = [file.model_dump(mode="json") for file in sorted(files, key=lambda file: file.model)]
        return cls(models=json.dumps(models, sort_keys=True), again_seconds=again_seconds)

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what it takes to make this trigger again elsewhere."""
        return (
            "airflow_model_ops.triggers.guard.StableGuardTrigger",
            {"models": self.models, "again_seconds": self.again_seconds},
        )

    def shared_stream_key(self) -> Hashable | None:
        """Guards of the same models share one stream."""
        return ("airflow_model_ops.guard", self.models, self.again_seconds)

    @classmethod
    async def open_shared_stream(cls, kwargs: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        """Measure the models again and again and yield each alarm."""
        async for alarm in _alarms(**kwargs):
            yield alarm

    async def filter_shared_stream(self, shared_stream: AsyncIterator[Any]) -> AsyncIterator[TriggerEvent]:
        """Turn each alarm into an event."""
        async for alarm in shared_stream:
            yield TriggerEvent(alarm)

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Guard alone, where the triggerer does not share streams."""
        async for alarm in _alarms(**self.serialize()[1]):
            yield TriggerEvent(alarm)


async def _alarms(*, models: str, again_seconds: float) -> AsyncIterator[dict[str, Any]]:
    files = [ModelFile.model_validate(data) for data in json.loads(models)]
    found: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    threads = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="guard")
    guards = {
        asyncio.create_task(_Watch(file, again_seconds=again_seconds, threads=threads).go_on(found)) for file in files
    }
    waiting = asyncio.ensure_future(found.get())
    try:
        while True:
            done, _ = await asyncio.wait({waiting, *guards}, return_when=asyncio.FIRST_COMPLETED)
            for ended in done & guards:
                await ended  # raises what has ended it: a guard that stopped in silence would guard nothing
            yield waiting.result()
            waiting = asyncio.ensure_future(found.get())
    finally:
        everything = [waiting, *guards]
        for task in everything:
            task.cancel()
        await asyncio.gather(*everything, return_exceptions=True)
        threads.shutdown(wait=False, cancel_futures=True)


class _Watch:
    """Looks after one model for ever."""

    def __init__(self, file: ModelFile, *, again_seconds: float, threads: ThreadPoolExecutor) -> None:
        self._file = file
        self._pause = Pause(first_seconds=again_seconds, longest_seconds=LONGEST_PAUSE_SECONDS)
        self._threads = threads

    async def go_on(self, found: asyncio.Queue[dict[str, Any]]) -> None:
        """Measure each interval; put alarms into a queue."""
        guard: StableGuard | None = None
        interval = self._file.guard.interval
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            try:
                guard = guard or await self._open()
                alarm = await self._look(guard)
                if alarm is not None:
                    await found.put(alarm)
            except (ModelOpsError, OSError, AirflowException, AirflowRuntimeError) as error:
                # The guard must outlive what it asks: it says what is wrong and looks again, from fresh connections.
                _log.warning("model=%s cannot be guarded now: %s", self._file.model, error)
                guard = None
            due = max(due + interval, loop.time())
            await asyncio.sleep(due - loop.time())

    async def _look(self, guard: StableGuard) -> dict[str, Any] | None:
        loop, context = asyncio.get_running_loop(), copy_context()
        found = await loop.run_in_executor(self._threads, context.run, guard.look)
        now = loop.time()
        if found is None or not self._pause.is_over([found.generation], now=now):
            return None
        evidence = await asyncio.to_thread(guard.keep_alarm, found)
        _log.warning("model=%s version=%s alarm: %s", found.model, found.version, found.alarm.reason)
        return {
            "model": found.model,
            "version": found.version.name,
            "reason": found.alarm.reason,
            "evidence": evidence,
        }

    async def _open(self) -> StableGuard:
        from airflow_model_ops.control.stable_guard import StableGuard
        from airflow_model_ops.hooks.arms import arms_at
        from airflow_model_ops.hooks.wiring import aopen_fleet_of, aopen_source_of

        fleet = await aopen_fleet_of(self._file.place)
        guard = self._file.guard_policy()
        if guard is None:
            raise ValueError(f"model {self._file.model!r} has no guard; do not give it to StableGuardTrigger")
        return StableGuard(
            repository=fleet.repository,
            source=await aopen_source_of(self._file),
            model=self._file.model,
            guard=guard,
            arms_of=arms_at(self._file).guarded,
            clock=fleet.clock,
        )
