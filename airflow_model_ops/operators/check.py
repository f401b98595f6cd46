"""Check: hold a step's share of traffic while its metrics are asked, without a worker slot."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow_model_ops.operators.base import (
    APPLY_SECONDS,
    LONGEST_WAIT,
    ReleaseOperator,
    check_outcome,
    fence_of,
    origin_of,
)

if TYPE_CHECKING:
    from airflow.sdk import Context


class CheckMetricsOperator(ReleaseOperator):
    """Watch one step of the ramp until its checks decide.

    It waits in the triggerer. On HARM or BREACH the trigger itself aborts the release at once, and this task fails; the
    abort does not wait for a task to be scheduled. Without data, with stale data or an unreachable source nothing acts:
    the step waits for its deadline and the policy's ``on_deadline``. Returns the verdict, its reason and the place of the
    kept evidence.

    :param release: What ``StartCanaryOperator`` returned. (templated)
    :param step: Index of the step in ``canary.steps``, from 0.
    """

    ui_color = "#fef7e0"

    def __init__(self, *, step: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.step = step

    def act(self, context: Context) -> dict[str, Any]:
        """Make sure that the step's share is what the router gives, then wait in the triggerer."""
        from airflow_model_ops.triggers.canary import CanaryStepTrigger

        control, fence = self.control(context), fence_of(self.release)
        version = control.naming.parse(self.release["version"])
        # A cleared check comes back after a new start at 0 %, and its shift is not cleared with it.
        control.leases.renew(fence, version)
        commit = control.shift(fence=fence, percent=self.model_file.policy().steps[self.step].percent)
        with control.leases.working(fence, version):
            control.apply(deadline_seconds=APPLY_SECONDS)
        self.log.info("model=%s release=%s step=%d watched: %s", control.model, fence.release, self.step, commit.reason)
        return self.defer(
            trigger=CanaryStepTrigger(
                model=self.model_file.model_dump(mode="json"),
                release=fence.release,
                attempt=fence.attempt,
                version=version.name,
                step=self.step,
                run=dict(origin_of(context).run),
            ),
            method_name="execute_complete",
            timeout=LONGEST_WAIT,
        )

    def execute_complete(
        self,
        context: Context,  # noqa: ARG002 (Airflow's signature)
        event: Mapping[str, Any],
    ) -> dict[str, Any]:
        """Return what the trigger decided, or fail with its words."""
        outcome = check_outcome(event)
        self.log.info(
            "step=%d result=%s verdict=%s reason=%s", self.step, outcome.result, outcome.verdict, outcome.reason
        )
        return outcome.to_json()
