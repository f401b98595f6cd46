"""The triggers that wait for others: for a model's live release to end, and for a person to resume a held model."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_model_ops.config.model_file import ModelFile
from airflow_model_ops.control.leases import WAITING_SECONDS
from airflow_model_ops.core.errors import ModelOpsError
from airflow_model_ops.core.log import Origin
from airflow_model_ops.core.state import Actor, ActorKind, Fence

if TYPE_CHECKING:
    from airflow_model_ops.control.model_control import ModelControl
    from airflow_model_ops.core.versioning import Version

_log = logging.getLogger(__name__)


class _WaitingTrigger(BaseTrigger):
    """Polls the log of a model for one attempt of a release; a repository that cannot be reached is asked again."""

    poll_seconds: ClassVar[float] = 2.0

    def __init__(self, *, model: dict[str, Any], version: str, release: str, attempt: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.model = model
        self.version = version
        self.release = release
        self.attempt = attempt

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what it takes to make this trigger again elsewhere."""
        kwargs = {"model": self.model, "version": self.version, "release": self.release, "attempt": self.attempt}
        return f"{type(self).__module__}.{type(self).__qualname__}", kwargs

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Poll the log until there is an answer."""
        control = None
        while True:
            await asyncio.sleep(self.poll_seconds)
            try:
                control = control or await self._open()
                answer = await asyncio.to_thread(self._look, control, control.naming.parse(self.version))
            except ModelOpsError as error:
                if not error.retryable:
                    raise
                _log.warning("release=%s looks again: %s", self.release, error)
                continue
            if answer is not None:
                yield TriggerEvent(answer)
                return

    def _look(self, control: ModelControl, version: Version) -> dict[str, Any] | None:
        """Renew the lease, and return the event's content if the wait is over."""
        raise NotImplementedError(f"{type(self).__name__} must implement _look")

    @property
    def _fence(self) -> Fence:
        return Fence(release=self.release, attempt=self.attempt)

    async def _open(self) -> ModelControl:
        from airflow_model_ops.hooks.wiring import aopen_fleet_of

        model = ModelFile.model_validate(self.model)
        origin = Origin(actor=Actor(kind=ActorKind.AUTOMATION, name=self.release))
        return (await aopen_fleet_of(model.place)).control(model, origin=origin)


class TurnTrigger(_WaitingTrigger):
    """Fires when nothing keeps a release from starting: no other one is live and looked after, and nobody holds the model.

    It says whether a newer version waits too.
    """

    async def on_kill(self) -> None:
        """Leave the queue."""
        control = await self._open()
        await asyncio.to_thread(control.leases.end, self._fence)

    def _look(self, control: ModelControl, version: Version) -> dict[str, Any] | None:
        control.leases.renew(self._fence, version, seconds=WAITING_SECONDS, waiting=True)
        state = control.state
        if state.hold is not None or (state.release is not None and not control.leases.has_expired(state.release)):
            return None
        newer = control.leases.newer_waiting(version, release=self.release)
        return {"superseded_by": newer.version.name if newer else ""}


class ResumeTrigger(_WaitingTrigger):
    """Fires when a person resumes the held model, or the live release that waits for it has ended meanwhile."""

    async def on_kill(self) -> None:
        """Abort the release: a user ended or cleared the task that waited with it."""
        from airflow_model_ops.control.step_check import abandon

        control = await self._open()
        reason = "the task that waited with the canary was ended by a user"
        outcome = await asyncio.to_thread(lambda: abandon(control, fence=self._fence, reason=reason))
        _log.warning("release=%s attempt=%d %s", self.release, self.attempt, outcome)

    def _look(self, control: ModelControl, version: Version) -> dict[str, Any] | None:
        state = control.state
        if not state.is_live(self._fence):
            return {"resumed": False}
        control.leases.renew(self._fence, version, seconds=WAITING_SECONDS)
        return None if state.hold is not None else {"resumed": True}
