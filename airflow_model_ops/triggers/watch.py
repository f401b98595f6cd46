"""The watcher: sees a committed head that nobody applies and a release that nobody looks after, within seconds."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Hashable
from typing import Any

from airflow.sdk.exceptions import AirflowException, AirflowRuntimeError
from airflow.triggers.base import BaseEventTrigger, TriggerEvent

from airflow_model_ops.config.fleet_place import FleetPlace
from airflow_model_ops.control.pause import Pause
from airflow_model_ops.core.errors import ModelOpsError
from airflow_model_ops.core.log import Origin
from airflow_model_ops.core.state import Actor, ActorKind

LONGEST_PAUSE_SECONDS = 300.0
"""Longest between two runs for the same heads: a server that is down all day must not start thousands of runs."""
_log = logging.getLogger(__name__)


class NeglectedModelsTrigger(BaseEventTrigger):
    """Fires for a fleet whose models need a hand; one stream looks after all models of the fleet.

    :param place: Where the fleet is, as one text: see :meth:`of`.
    :param poll_seconds: How often the logs are read.
    :param again_seconds: How long to wait before it fires again for the same heads, while the first run works on them;
        twice as long each time.
    """

    def __init__(self, *, place: str, poll_seconds: float = 2.0, again_seconds: float = 15.0) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.place = place
        self.poll_seconds = poll_seconds
        self.again_seconds = again_seconds

    @classmethod
    def of(cls, place: FleetPlace, **kwargs: float) -> NeglectedModelsTrigger:
        """Return the trigger that looks after a fleet."""
        return cls(place=place.to_text(), **kwargs)

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what it takes to make this trigger again elsewhere."""
        return (
            "airflow_model_ops.triggers.watch.NeglectedModelsTrigger",
            {
                "place": self.place,
                "poll_seconds": self.poll_seconds,
                "again_seconds": self.again_seconds,
            },
        )

    def shared_stream_key(self) -> Hashable | None:
        """Watchers of one fleet share one stream."""
        return ("airflow_model_ops.neglected", self.place)

    @classmethod
    async def open_shared_stream(cls, kwargs: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        """Read the logs again and again and yield what is neglected."""
        async for event in _neglected(**kwargs):
            yield event

    async def filter_shared_stream(self, shared_stream: AsyncIterator[Any]) -> AsyncIterator[TriggerEvent]:
        """Turn each finding into an event."""
        async for found in shared_stream:
            yield TriggerEvent(found)

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Watch alone, where the triggerer does not share streams."""
        async for found in _neglected(**self.serialize()[1]):
            yield TriggerEvent(found)


async def _neglected(*, place: str, poll_seconds: float, again_seconds: float) -> AsyncIterator[dict[str, Any]]:
    from airflow_model_ops.hooks.wiring import aopen_fleet_of

    fleet = FleetPlace.of(place)
    origin = Origin(actor=Actor(kind=ActorKind.AUTOMATION, name="watcher"))
    pause = Pause(first_seconds=again_seconds, longest_seconds=LONGEST_PAUSE_SECONDS)
    loop = asyncio.get_running_loop()
    while True:
        # After a restart of the triggerer, the triggers that look after releases come back with this one: let them first.
        await asyncio.sleep(poll_seconds)
        try:
            upkeep = (await aopen_fleet_of(fleet)).upkeep(origin=origin)
            while True:
                found = await asyncio.to_thread(upkeep.neglected)
                if pause.is_over(found.heads, now=loop.time()):
                    yield {
                        "unapplied": list(found.unapplied),
                        "abandoned": list(found.abandoned),
                        "astray": list(found.astray),
                    }
                await asyncio.sleep(poll_seconds)
        except (ModelOpsError, OSError, AirflowException, AirflowRuntimeError) as error:
            # The watcher must outlive what it watches: it says what is wrong and looks again.
            _log.warning("cannot look after fleet %r now: %s", fleet.shown, error)
