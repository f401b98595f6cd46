"""Check: hold a step's share of traffic while its metrics are asked, without a worker slot."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow_model_ops.operators.base import APPLY_SECONDS, ReleaseOperator, fence_of

if TYPE_CHECKING:
    from airflow.sdk import Context


class CheckMetricsOperator(ReleaseOperator):
    """Watch one step of the ramp until its checks decide.

    It waits in the triggerer. On HARM or BREACH the trigger itself aborts the release at once, and this task fails; the
    abort does not wait for a task to be scheduled. Without data, with stale data or an unreachable source nothing acts:
    the step waits for its deadline and the policy's ``on_deadline``. With ``ask`` this task puts the question under Airflow's
    required actions and goes on watching: what a person answers is used only while the same attempt is live and unharmed.
    Returns the verdict, its reason and the place of the kept evidence.

    :param release: What ``StartCanaryOperator`` returned. (templated)
    :param step: Index of the step in ``canary.steps``, from 0.
    """

    ui_color = "#fef7e0"
    asks_metrics = True

    def __init__(self, *, step: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.step = step

    def act(self, context: Context) -> dict[str, Any]:
        """Make sure that the step's share is what the router gives, then wait in the triggerer."""
        control, fence = self.control(context), fence_of(self.release)
        version = control.naming.parse(self.release["version"])
        # A cleared check comes back after a new start at 0 %, and its shift is not cleared with it.
        control.leases.renew(fence, version)
        commit = control.shift(fence=fence, percent=self.model_file.policy().steps[self.step].percent)
        with control.leases.working(fence, version):
            control.apply(deadline_seconds=APPLY_SECONDS)
        self.log.info("model=%s release=%s step=%d watched: %s", control.model, fence.release, self.step, commit.reason)
        return self.watch_step(context, step=self.step, method_name="execute_complete")

    def execute_complete(
        self,
        context: Context,
        event: Mapping[str, Any],
        step: int | None = None,
        watched: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Return what the trigger or the person it asked decided, or fail with its words."""
        index = self.step if step is None else step
        outcome = self.settled(context, event, step=index, watched=watched, method_name="execute_complete")
        self.log.info(
            "step=%d result=%s verdict=%s reason=%s", self.step, outcome.result, outcome.verdict, outcome.reason
        )
        return outcome.to_json()
