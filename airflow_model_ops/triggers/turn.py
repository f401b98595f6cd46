"""The trigger that waits until a model has no live release."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_model_ops.config.model_file import ModelFile
from airflow_model_ops.core.log import Origin
from airflow_model_ops.core.state import Actor, ActorKind, Fence

if TYPE_CHECKING:
    from airflow_model_ops.control.model_control import ModelControl

_POLL_SECONDS = 2.0
_WAITING_SECONDS = 60.0


class TurnTrigger(BaseTrigger):
    """Fires when the model's live release has ended or was abandoned, saying whether a newer version waits too."""

    def __init__(self, *, model: dict[str, Any], version: str, release: str, attempt: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.model = model
        self.version = version
        self.release = release
        self.attempt = attempt

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what it takes to make this trigger again elsewhere."""
        kwargs = {"model": self.model, "version": self.version, "release": self.release, "attempt": self.attempt}
        return "airflow_model_ops.triggers.turn.TurnTrigger", kwargs

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Poll the log and keep the place in the queue."""
        control = await self._open()
        while True:
            await asyncio.sleep(_POLL_SECONDS)
            newer = await asyncio.to_thread(self._look, control)
            if newer is not None:
                yield TriggerEvent({"superseded_by": newer})
                return

    async def on_kill(self) -> None:
        """Leave the queue."""
        control = await self._open()
        await asyncio.to_thread(control.leases.end, self._fence)

    @property
    def _fence(self) -> Fence:
        return Fence(release=self.release, attempt=self.attempt)

    def _look(self, control: ModelControl) -> str | None:
        """Return ``None`` while the model is busy, then the newer version that waits, or an empty string."""
        version = control.naming.parse(self.version)
        control.leases.renew(self._fence, version, seconds=_WAITING_SECONDS, waiting=True)
        live = control.state.release
        if live is not None and not control.leases.has_expired(live):
            return None
        newer = control.leases.newer_waiting(version, release=self.release)
        return newer.version.name if newer else ""

    async def _open(self) -> ModelControl:
        from airflow_model_ops.hooks.wiring import afetch_connections, open_fleet

        model = ModelFile.model_validate(self.model)
        connections = await afetch_connections(model.connections)
        origin = Origin(actor=Actor(kind=ActorKind.AUTOMATION, name=self.release))
        return await asyncio.to_thread(lambda: open_fleet(connections).control(model, origin=origin))
