"""What the triggers share that look after one attempt of a release and measure it: a step's, and the watch's."""

from __future__ import annotations

import asyncio
import logging
from abc import abstractmethod
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, Protocol

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_model_ops.config.model_file import ModelFile
from airflow_model_ops.core.errors import ModelOpsError
from airflow_model_ops.core.log import Origin
from airflow_model_ops.core.state import Actor, ActorKind, Fence
from airflow_model_ops.triggers.telling import BackgroundTeller

if TYPE_CHECKING:
    from airflow_model_ops.control.model_control import ModelControl
    from airflow_model_ops.hooks.wiring import Fleet

_log = logging.getLogger(__name__)


class Outcome(Protocol):
    """How something that was watched ended."""

    def to_json(self) -> dict[str, Any]:
        """Return the form a trigger event carries."""
        ...


class Watched(Protocol):
    """What a trigger watches."""

    @property
    def interval_seconds(self) -> float:
        """Seconds between two measurements."""
        ...

    def tick(self) -> Outcome | None:
        """Measure once; return the outcome if it is over."""
        ...

    def look_after(self) -> Outcome | None:
        """Renew the lease; return the outcome if it is over."""
        ...


class ObservingTrigger(BaseTrigger):
    """Looks after one attempt of a release every few seconds and measures it every interval, until it is over.

    It may be restarted or run twice at any time: what it knows is in the repository, and all that it does is fenced by release
    and attempt.
    """

    look_seconds = 3.0
    """How often the lease is renewed and the log asked whether there is still something to look after."""
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
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                "model": self.model,
                "release": self.release,
                "attempt": self.attempt,
                "version": self.version,
                "run": self.run_place,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look after the release every few seconds and measure every interval."""
        await asyncio.sleep(self.first_pause_seconds)
        try:
            found = await self._watch()
        except ModelOpsError as error:  # one that asking again cannot mend
            found = {"error": str(error)}
        # Of which attempt, since an event may reach a task that waits for a later one.
        yield TriggerEvent({**found, "release": self.release, "attempt": self.attempt})

    @abstractmethod
    async def open(self) -> Watched:
        """Open what is to be watched."""

    async def interrupted(self) -> dict[str, Any] | None:
        """Return the content of an event that comes from elsewhere, if there is one; asked every few seconds."""
        return None

    async def _watch(self) -> dict[str, Any]:
        loop = asyncio.get_running_loop()
        next_tick, watched, teller = loop.time(), None, BackgroundTeller(self.model_file)
        while True:
            if (event := await self.interrupted()) is not None:
                return event
            due = loop.time() >= next_tick
            try:
                watched = watched or await self.open()
                outcome = await asyncio.to_thread(watched.tick if due else watched.look_after)
            except ModelOpsError as error:
                if not error.retryable:
                    raise
                _log.warning("release=%s attempt=%d is asked again: %s", self.release, self.attempt, error)
                outcome = None
            if outcome is not None:
                return outcome.to_json()
            if due:
                await teller.look(self.control)
                next_tick = loop.time() + (watched.interval_seconds if watched else self.look_seconds)
            await asyncio.sleep(min(self.look_seconds, max(0.1, next_tick - loop.time())))

    async def open_fleet(self) -> Fleet:
        """Open the model's repository and fleet."""
        from airflow_model_ops.hooks.wiring import aopen_fleet_of

        return await aopen_fleet_of(self.model_file.place)

    async def control(self) -> ModelControl:
        """Return the model's controls, acting for the task that waits."""
        actor = Actor(kind=ActorKind.AUTOMATION, name=self.run_place.get("dag_id", "trigger"))
        fleet = await self.open_fleet()
        return fleet.control(self.model_file, origin=Origin(actor=actor, run=self.run_place))

    @property
    def model_file(self) -> ModelFile:
        """The model's file as it was when the task began to wait."""
        return ModelFile.model_validate(self.model)

    @property
    def fence(self) -> Fence:
        """The release and attempt that are looked after."""
        return Fence(release=self.release, attempt=self.attempt)
