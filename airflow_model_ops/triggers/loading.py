"""The trigger that waits for a load which takes minutes, and drives it meanwhile: no worker does."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_model_ops.config.model_file import ModelIdentity
from airflow_model_ops.core.errors import ModelOpsError
from airflow_model_ops.core.log import Origin
from airflow_model_ops.core.state import Actor, ActorKind

if TYPE_CHECKING:
    from airflow_model_ops.control.loading import Load, LoadOutcome, LoadWatch
    from airflow_model_ops.control.model_control import ModelControl

_log = logging.getLogger(__name__)


class LoadTrigger(BaseTrigger):
    """Drives a fleet to a model's head pass by pass, until a version is loaded, has failed, ran out of time or is not wanted.

    It may be restarted or run twice at any time: what it knows is in the repository, and what it does only brings the fleet
    nearer to the head. When a user marks its task failed or success, or clears it, the release that it loads for is aborted; a
    way back goes on, driven by the watcher.

    :param model: What a way back needs of the model's file, as JSON.
    :param load: What is loaded: :class:`~airflow_model_ops.control.loading.Load`, as JSON.
    :param run: Place of the task that waits.
    """

    look_seconds = 3.0
    """How often the leases are renewed and the log asked whether the load is still wanted."""
    pass_seconds = 5.0
    """Pause between two passes: each costs calls to the platform."""
    first_pause_seconds = 1.0
    """A trigger that fires right after its task deferred can make Airflow 3.3 fail the task."""

    def __init__(self, *, model: dict[str, Any], load: dict[str, Any], run: dict[str, str]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.model = model
        self.load = load
        self.run_place = run

    @classmethod
    def of(cls, identity: ModelIdentity, load: Load, *, run: dict[str, str]) -> LoadTrigger:
        """Return the trigger of a load."""
        model = identity.model_dump(mode="json", include=set(ModelIdentity.model_fields))
        return cls(model=model, load=load.to_json(), run=run)

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what it takes to make this trigger again elsewhere."""
        kwargs = {"model": self.model, "load": self.load, "run": self.run_place}
        return "airflow_model_ops.triggers.loading.LoadTrigger", kwargs

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Drive the load to its end."""
        await asyncio.sleep(self.first_pause_seconds)
        # Of its own: a platform that answers slowly must not take the threads that all triggers share.
        threads = ThreadPoolExecutor(1, thread_name_prefix="load")
        try:
            outcome = await self._drive(threads)
            found = outcome.to_json()
        except ModelOpsError as error:  # one that asking again cannot mend
            found = {"error": str(error)}
        finally:
            threads.shutdown(wait=False, cancel_futures=True)
        # Of which load, since an event may reach a task that waits for a later one.
        yield TriggerEvent({**found, "load": self.load})

    async def on_kill(self) -> None:
        """Abort the release that is loaded for: a user ended or cleared the task. A way back is never undone by that."""
        from airflow_model_ops.control.loading import Purpose
        from airflow_model_ops.control.step_check import abandon

        load = self._load
        if load.purpose is not Purpose.RELEASE or load.fence is None:
            _log.warning(
                "model=%s nobody waits any longer for %s to be loaded; the watcher goes on with it",
                self.model["model"],
                load.version,
            )
            return
        fence, control = load.fence, await self._control()
        reason = f"the task that waited for {load.version} to be loaded was ended by a user"
        outcome = await asyncio.to_thread(lambda: abandon(control, fence=fence, reason=reason))
        _log.warning("release=%s attempt=%d %s", fence.release, fence.attempt, outcome)

    async def _drive(self, threads: ThreadPoolExecutor) -> LoadOutcome:
        """Look after the load every few seconds, however long one pass takes."""
        loop = asyncio.get_running_loop()
        watch: LoadWatch | None = None
        passing: asyncio.Future[LoadOutcome | None] | None = None
        next_pass = loop.time()
        while True:
            try:
                watch = watch or await self._open()
                outcome = await asyncio.to_thread(watch.look_after)
                if passing is None and outcome is None and loop.time() >= next_pass:
                    passing = loop.run_in_executor(threads, copy_context().run, watch.make_pass)
                if passing is not None and outcome is None:
                    await asyncio.wait({passing}, timeout=self.look_seconds)
                    if passing.done():
                        done, passing, next_pass = passing, None, loop.time() + self.pass_seconds
                        outcome = done.result()
            except ModelOpsError as error:
                if not error.retryable:
                    raise
                _log.warning("model=%s looks again: %s", self.model["model"], error)
                outcome, watch = None, None
                await asyncio.sleep(self.look_seconds)  # a pass under way may take longer than the trouble lasts
            if outcome is not None:
                return outcome
            if passing is None:
                await asyncio.sleep(min(self.look_seconds, max(0.01, next_pass - loop.time())))

    async def _open(self) -> LoadWatch:
        from airflow_model_ops.control.loading import LoadWatch

        return LoadWatch(control=await self._control(), load=self._load)

    async def _control(self) -> ModelControl:
        from airflow_model_ops.hooks.wiring import aopen_fleet_of

        identity = ModelIdentity.model_validate(self.model)
        actor = Actor(kind=ActorKind.AUTOMATION, name=self.run_place.get("dag_id", "trigger"))
        return (await aopen_fleet_of(identity.place)).control(identity, origin=Origin(actor=actor, run=self.run_place))

    @property
    def _load(self) -> Load:
        from airflow_model_ops.control.loading import Load

        return Load.from_json(self.load)
