"""The trigger that watches a promoted version."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_model_ops.config.model_file import ModelFile
from airflow_model_ops.core.errors import ModelOpsError
from airflow_model_ops.core.log import Origin
from airflow_model_ops.core.state import Actor, ActorKind, Fence

if TYPE_CHECKING:
    from airflow_model_ops.control.model_control import ModelControl
    from airflow_model_ops.control.watch_check import WatchCheck, WatchOutcome
    from airflow_model_ops.hooks.wiring import Fleet

_log = logging.getLogger(__name__)


class PromotionWatchTrigger(BaseTrigger):
    """Watches what a release has promoted until the watch is over; on HARM or BREACH it rolls back before it fires.

    It may be restarted or run twice at any time: what it knows is in the repository, and all that it does is fenced by release
    and attempt. When a user marks its task failed or success, or clears it, the hold-back ends and the promoted version keeps
    all traffic.
    """

    look_seconds = 3.0
    """How often the lease is renewed and the log asked whether there is still something to watch."""
    first_pause_seconds = 1.0
    """A trigger that fires right after its task deferred can make Airflow 3.3 fail the task."""

    def __init__(self, *, model: dict[str, Any], release: str, attempt: int, version: str, run: dict[str, str]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.model = model
        self.release = release
        self.attempt = attempt
        self.version = version
        self.run_place = run

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what it takes to make this trigger again elsewhere."""
        return (
            "airflow_model_ops.triggers.promotion_watch.PromotionWatchTrigger",
            {
                "model": self.model,
                "release": self.release,
                "attempt": self.attempt,
                "version": self.version,
                "run": self.run_place,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look after the watch every few seconds and measure every interval."""
        await asyncio.sleep(self.first_pause_seconds)
        try:
            outcome = await self._watch()
        except ModelOpsError as error:  # one that asking again cannot mend
            yield TriggerEvent({"error": str(error)})
            return
        yield TriggerEvent(outcome.to_json())

    async def on_kill(self) -> None:
        """End the hold-back: a user ended or cleared the task that watched. Needs no metrics, and undoes no promotion."""
        from airflow_model_ops.control.watch_check import stop_watching

        control = self._control(await self._open_fleet())
        reason = "the task that watched the promoted version was ended by a user"
        outcome = await asyncio.to_thread(lambda: stop_watching(control, fence=self._fence, reason=reason))
        _log.warning("release=%s attempt=%d %s", self.release, self.attempt, outcome)

    async def _watch(self) -> WatchOutcome:
        loop = asyncio.get_running_loop()
        next_tick, check = loop.time(), None
        while True:
            due = loop.time() >= next_tick
            try:
                check = check or await self._open()
                outcome = await asyncio.to_thread(check.tick if due else check.look_after)
            except ModelOpsError as error:
                if not error.retryable:
                    raise
                _log.warning("release=%s is watched further, and asked again: %s", self.release, error)
                outcome = None
            if outcome is not None:
                return outcome
            if due:
                next_tick = loop.time() + (check.interval_seconds if check else self.look_seconds)
            await asyncio.sleep(min(self.look_seconds, max(0.1, next_tick - loop.time())))

    async def _open(self) -> WatchCheck:
        from airflow_model_ops.control.watch_check import WatchCheck
        from airflow_model_ops.hooks.wiring import aopen_source_of, arms_of

        control = self._control(await self._open_fleet())
        return WatchCheck(
            control=control,
            source=await aopen_source_of(self._model_file.connections),
            policy=self._model_file.policy(),
            fence=self._fence,
            version=control.naming.parse(self.version),
            arms_of=arms_of,
        )

    async def _open_fleet(self) -> Fleet:
        from airflow_model_ops.hooks.wiring import aopen_fleet_of

        return await aopen_fleet_of(self._model_file.connections)

    def _control(self, fleet: Fleet) -> ModelControl:
        actor = Actor(kind=ActorKind.AUTOMATION, name=self.run_place.get("dag_id", "trigger"))
        return fleet.control(self._model_file, origin=Origin(actor=actor, run=self.run_place))

    @property
    def _model_file(self) -> ModelFile:
        return ModelFile.model_validate(self.model)

    @property
    def _fence(self) -> Fence:
        return Fence(release=self.release, attempt=self.attempt)
