"""The trigger that watches one step of a release."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from airflow_model_ops.required_actions import WITHDRAWN, answer_to, withdraw
from airflow_model_ops.triggers.observing import ObservingTrigger, Watched

if TYPE_CHECKING:
    from airflow_model_ops.control.step_check import StepCheck

_log = logging.getLogger(__name__)


class CanaryStepTrigger(ObservingTrigger):
    """Watches one step until its checks decide; on HARM or BREACH it aborts the release before it fires.

    When a user marks its task failed or success, or clears it, the release is aborted: the canary must not go on without
    anybody who watches it.

    :param question: Id of the task instance that has put a question to a person, if the step waits for the answer.
    """

    def __init__(self, *, step: int, question: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.step = step
        self.question = question
        self._check: StepCheck | None = None

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what it takes to make this trigger again elsewhere."""
        path, kwargs = super().serialize()
        return path, {**kwargs, "step": self.step, "question": self.question}

    async def on_kill(self) -> None:
        """Abort the release: a user ended or cleared the task that watched it. Needs no metrics.

        Airflow 3.3 tells this of an answered question in the same way; the resumed task carries that answer out.
        """
        from airflow_model_ops.control.step_check import abandon

        if self.question and await answer_to(self.question):
            _log.info("release=%s step=%d was answered", self.release, self.step)
            return
        control = await self.control()
        reason = "the task that watched the canary was ended by a user"
        outcome = await asyncio.to_thread(lambda: abandon(control, fence=self.fence, reason=reason))
        _log.warning("release=%s attempt=%d %s", self.release, self.attempt, outcome)

    async def open(self) -> Watched:
        """Open the step."""
        from airflow_model_ops.control.step_check import StepCheck
        from airflow_model_ops.hooks.arms import arms_at
        from airflow_model_ops.hooks.wiring import aopen_source_of

        control = await self.control()
        self._check = StepCheck(
            control=control,
            source=await aopen_source_of(self.model_file),
            policy=self.model_file.policy(),
            step_index=self.step,
            fence=self.fence,
            version=control.naming.parse(self.version),
            arms_of=arms_at(self.model_file).compared,
            asked=self.question is not None,
        )
        return self._check

    async def interrupted(self) -> dict[str, Any] | None:
        """Return a person's answer, or that nobody need answer any longer."""
        if self.question is None:
            return None
        answer = await answer_to(self.question)
        if answer is not None or self._check is None or self._check.still_asks:
            return answer
        await withdraw(self.question)
        return dict(WITHDRAWN)
