"""Watch: hold what was promoted against the version before it for a while, without a worker slot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowFailException

from airflow_model_ops.assets import ROLLBACK_ALIAS, model_asset
from airflow_model_ops.operators.base import (
    LONGEST_WAIT,
    ModelOperator,
    ReleaseOperator,
    fence_of,
    is_about,
    origin_of,
    told_to_airflow,
)

if TYPE_CHECKING:
    from airflow.sdk import Context


class WatchPromotionOperator(ReleaseOperator):
    """Watch what a release has promoted for the policy's ``watch.duration``.

    It waits in the triggerer. On HARM or BREACH the trigger itself rolls back at once, and this task fails with the reason.
    Without data nothing acts. When the time is over the hold-back ends; when something else ends the watch, such as the next
    release, the task succeeds and says so. Returns the result, the verdict, its reason and the place of the kept evidence.

    :param release: What ``StartCanaryOperator`` returned. (templated)
    """

    ui_color = "#fef7e0"
    asks_metrics = True

    def act(self, context: Context) -> dict[str, Any]:
        """Make sure that there was a promotion, then wait in the triggerer."""
        from airflow_model_ops.triggers.promotion_watch import PromotionWatchTrigger

        control, fence = self.control(context), fence_of(self.release)
        version = control.naming.parse(self.release["version"])
        if not control.was_promoted(fence):
            raise AirflowFailException(
                f"release {fence.release!r} attempt {fence.attempt} has promoted nothing, so there is nothing to watch; put "
                "this task after its promotion"
            )
        control.keep_watched(fence, version)
        self.link_checks(context, of=version.name)
        seconds = self.model_file.policy().watch.seconds
        self.log.info("model=%s release=%s %s is watched for %g s", control.model, fence.release, version, seconds)
        return self.defer(
            trigger=PromotionWatchTrigger(
                model=self.model_file.model_dump(mode="json"),
                release=fence.release,
                attempt=fence.attempt,
                version=version.name,
                run=dict(origin_of(context).run),
            ),
            method_name="execute_complete",
            timeout=timedelta(seconds=seconds) + LONGEST_WAIT,
        )

    def execute_complete(self, context: Context, event: Mapping[str, Any]) -> dict[str, Any]:
        """Return how the watch ended, or fail with its words."""
        from airflow_model_ops.control.watch_check import WatchOutcome, WatchResult, stop_watching

        if not is_about(event, self.release):
            self.log.warning("an event of attempt %s came late; this attempt is watched on", event.get("attempt"))
            with told_to_airflow():
                return self.act(context)
        if "error" in event:
            with told_to_airflow():
                reason = f"it cannot be watched any longer: {event['error']}"
                stop_watching(self.control(context), fence=fence_of(self.release), reason=reason)
            raise AirflowFailException(f"{event['error']}; the promoted version keeps all traffic and is not watched")
        outcome = WatchOutcome.from_json(event)
        self.log.info("watch result=%s verdict=%s reason=%s", outcome.result, outcome.verdict, outcome.reason)
        if outcome.result is WatchResult.NOT_ROLLED_BACK:
            opened = partial(self.control, context)
            self.tell_stuck(context, opened, version=self.release["version"], why=outcome.reason)
        if outcome.result in {WatchResult.ROLLED_BACK, WatchResult.NOT_ROLLED_BACK}:
            what = "was rolled back" if outcome.result is WatchResult.ROLLED_BACK else "goes on serving"
            verdict = outcome.verdict.value if outcome.verdict else "-"
            raise AirflowFailException(
                f"{self.release['version']} {what} after its promotion: {verdict}: {outcome.reason}"
            )
        return outcome.to_json()


class TellRollbackOperator(ModelOperator):
    """Touch the model's stable asset if the watch of a release has rolled back what it promoted; else do nothing.

    A task of its own, since the task that watched fails then, and Airflow lets no failed task touch an asset.

    :param release: What ``StartCanaryOperator`` returned. (templated)
    """

    template_fields: Sequence[str] = ("choose", "release")

    def __init__(self, *, release: Mapping[str, Any] | Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.release = release
        self.outlets = [*self.outlets, ROLLBACK_ALIAS]

    def act(self, context: Context) -> dict[str, Any]:
        """Look for the rollback in the log."""
        from airflow_model_ops.control.watch_check import rollback_of

        if not self.release:
            return {"told": False}
        control, fence = self.control(context), fence_of(self.release)
        entry = rollback_of(control, fence=fence)
        if entry is None or entry.state is None or entry.state.stable is None:
            return {"told": False}
        extra: dict[str, Any] = {
            "version": entry.state.stable.name,
            "split": {str(version.number): percent for version, percent in entry.state.split},
            "reason": entry.reason,
            "run": fence.release,
        }
        context["outlet_events"][ROLLBACK_ALIAS].add(model_asset(control.model), extra=extra)
        return {"told": True, **extra}
