"""The trigger that watches one step of a release."""

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
from airflow_model_ops.required_actions import WITHDRAWN, answer_to, withdraw

if TYPE_CHECKING:
    from airflow_model_ops.control.model_control import ModelControl
    from airflow_model_ops.control.step_check import StepCheck
    from airflow_model_ops.hooks.wiring import Fleet

_log = logging.getLogger(__name__)


class CanaryStepTrigger(BaseTrigger):
    """Watches one step until its checks decide; on HARM or BREACH it aborts the release before it fires.

    It may be restarted or run twice at any time: what it knows is in the repository's kept evidence, and all that it does is
    fenced by release and attempt. When a user marks its task failed or success, or clears it, the release is aborted: the
    canary must not go on without anybody who watches it.

    :param question: Id of the task instance that has put a question to a person, if the step waits for the answer.
    """

    look_seconds = 3.0
    """How often the lease is renewed and the log asked whether the release is still live."""
    first_pause_seconds = 1.0
    """A trigger that fires right after its task deferred can make Airflow 3.3 fail the task."""

    def __init__(
        self,
        *,
        model: dict[str, Any],
        release: str,
        attempt: int,
        version: str,
        step: int,
        run: dict[str, str],
        question: str | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.model = model
        self.release = release
        self.attempt = attempt
        self.version = version
        self.step = step
        self.run_place = run
        self.question = question

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what it takes to make this trigger again elsewhere."""
        return (
            "airflow_model_ops.triggers.canary.CanaryStepTrigger",
            {
                "model": self.model,
                "release": self.release,
                "attempt": self.attempt,
                "version": self.version,
                "step": self.step,
                "run": self.run_place,
                "question": self.question,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look after the release every few seconds and measure every interval."""
        await asyncio.sleep(self.first_pause_seconds)
        try:
            found = await self._watch()
        except ModelOpsError as error:  # one that asking again cannot mend
            yield TriggerEvent({"error": str(error)})
            return
        yield TriggerEvent(found)

    async def on_kill(self) -> None:
        """Abort the release: a user ended or cleared the task that watched it. Needs no metrics.

        Airflow 3.3 tells this of an answered question in the same way; the resumed task carries that answer out.
        """
        from airflow_model_ops.control.step_check import abandon

        if self.question and await answer_to(self.question):
            _log.info("release=%s step=%d was answered", self.release, self.step)
            return
        control = self._control(await self._open_fleet())
        reason = "the task that watched the canary was ended by a user"
        outcome = await asyncio.to_thread(lambda: abandon(control, fence=self._fence, reason=reason))
        _log.warning("release=%s attempt=%d %s", self.release, self.attempt, outcome)

    async def _watch(self) -> dict[str, Any]:
        """Return how the step ended, a person's answer, or that nobody need answer any longer."""
        loop = asyncio.get_running_loop()
        next_tick, check = loop.time(), None
        while True:
            if self.question and (answer := await answer_to(self.question)):
                return answer
            due = loop.time() >= next_tick
            try:
                check = check or await self._open()
                outcome = await asyncio.to_thread(check.tick if due else check.look_after)
            except ModelOpsError as error:
                if not error.retryable:
                    raise
                _log.warning("release=%s step=%d is asked again: %s", self.release, self.step, error)
                outcome = None
            if outcome is not None:
                return outcome.to_json()
            if self.question and check and not check.still_asks:
                await withdraw(self.question)
                return dict(WITHDRAWN)
            if due:
                next_tick = loop.time() + (check.interval_seconds if check else self.look_seconds)
            await asyncio.sleep(min(self.look_seconds, max(0.1, next_tick - loop.time())))

    async def _open(self) -> StepCheck:
        from airflow_model_ops.control.step_check import StepCheck
        from airflow_model_ops.hooks.wiring import aopen_source_of, arms_of

        control = self._control(await self._open_fleet())
        return StepCheck(
            control=control,
            source=await aopen_source_of(self._model_file.connections),
            policy=self._model_file.policy(),
            step_index=self.step,
            fence=self._fence,
            version=control.naming.parse(self.version),
            arms_of=arms_of,
            asked=self.question is not None,
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
