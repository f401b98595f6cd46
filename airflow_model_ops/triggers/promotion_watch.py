"""The trigger that watches a promoted version."""

from __future__ import annotations

import asyncio
import logging

from airflow_model_ops.triggers.observing import ObservingTrigger, Watched

_log = logging.getLogger(__name__)


class PromotionWatchTrigger(ObservingTrigger):
    """Watches what a release has promoted until the watch is over; on HARM or BREACH it rolls back before it fires.

    When a user marks its task failed or success, or clears it, the hold-back ends and the promoted version keeps all traffic.
    """

    async def on_kill(self) -> None:
        """End the hold-back: a user ended or cleared the task that watched. Needs no metrics, and undoes no promotion."""
        from airflow_model_ops.control.watch_check import stop_watching

        control = await self.control()
        reason = "the task that watched the promoted version was ended by a user"
        outcome = await asyncio.to_thread(lambda: stop_watching(control, fence=self.fence, reason=reason))
        _log.warning("release=%s attempt=%d %s", self.release, self.attempt, outcome)

    async def open(self) -> Watched:
        """Open the watch."""
        from airflow_model_ops.control.watch_check import WatchCheck
        from airflow_model_ops.hooks.arms import arms_at
        from airflow_model_ops.hooks.wiring import aopen_source_of

        control = await self.control()
        return WatchCheck(
            control=control,
            source=await aopen_source_of(self.model_file),
            policy=self.model_file.policy(),
            fence=self.fence,
            version=control.naming.parse(self.version),
            arms_of=arms_at(self.model_file).compared,
        )
