"""The operators of a release that change traffic: start, shift, promote, abort."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from airflow_model_ops.assets import model_asset
from airflow_model_ops.control.leases import WAITING_SECONDS
from airflow_model_ops.core.errors import ModelOnHold, ModelOpsError, ReleaseBusy
from airflow_model_ops.core.state import Fence
from airflow_model_ops.dag_names import release_id
from airflow_model_ops.operators.base import (
    APPLY_SECONDS,
    ReleaseOperator,
    TrafficOperator,
    attempt_of,
    fence_of,
    origin_of,
    told_to_airflow,
)
from airflow_model_ops.operators.loading import LoadingOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_model_ops.control.model_control import ModelControl
    from airflow_model_ops.core.versioning import Version

WAIT_FOR_TURN = timedelta(days=7)


class StartCanaryOperator(LoadingOperator, TrafficOperator):
    """Load a version on every server and start its release.

    While another release of the model is live or a person holds it, it waits in the triggerer. When its turn comes and a
    newer version waits too, it is skipped: the newest goes next. Where a load takes minutes it waits there for that,
    too. Returns ``release``, ``attempt``, ``version`` and ``number`` for the tasks that follow; they are the fence that
    keeps late actors of older attempts from doing anything.

    :param version: Name of the version. (templated)
    :param percent: Share of traffic to start with; 0 loads it and sends it nothing yet.
    """

    template_fields: Sequence[str] = ("choose", "version")

    def __init__(self, *, version: str, percent: float = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.version = version
        self.percent = percent

    def act(self, context: Context) -> dict[str, str]:
        """Start, or wait for the turn."""
        from airflow_model_ops.hooks.tf_serving import check_latency_bounds

        fleet, fence = self.open_fleet(), self._fence(context)
        check_latency_bounds(self.model_file.policy().checks, config=fleet.config)
        control = fleet.control(self.identity, origin=origin_of(context))
        self.note(control)
        version = control.naming.parse(self.version)
        try:
            return self._start(context, control, fence, version)
        except (ReleaseBusy, ModelOnHold) as busy:
            self.log.info("model=%s waits: %s", control.model, busy)
        control.leases.renew(fence, version, seconds=WAITING_SECONDS, waiting=True)
        return self._wait(fence, version)

    def _wait(self, fence: Fence, version: Version) -> NoReturn:
        from airflow_model_ops.triggers.turn import TurnTrigger

        self.defer(
            trigger=TurnTrigger(
                model=self.model_file.model_dump(mode="json"),
                version=version.name,
                release=fence.release,
                attempt=fence.attempt,
            ),
            method_name="execute_turn",
            timeout=WAIT_FOR_TURN,
        )

    def execute_turn(self, context: Context, event: Mapping[str, Any]) -> dict[str, str]:
        """Go on when the turn has come."""
        with told_to_airflow():
            if event.get("superseded_by"):
                control, fence = self.control(context), self._fence(context)
                control.leases.end(fence)
                raise AirflowSkipException(f"{self.version} makes way: {event['superseded_by']} is newer and waits too")
            return self.act(context)

    def _start(self, context: Context, control: ModelControl, fence: Fence, version: Version) -> dict[str, str]:
        from airflow_model_ops.control.loading import Load, Purpose

        if not control.state.is_live(fence):  # a retry goes on with what its first try has committed
            self._look_ahead(control, version, fence)
            commit = control.start_canary(version, fence=fence, percent=self.percent)
            self.log.info("model=%s release=%s %s", control.model, fence, commit.reason)
        longest = self.model_file.policy().load_seconds
        load = Load.of_head(control, version, Purpose.RELEASE, longest_seconds=longest, fence=fence)
        with control.leases.working(fence, version):
            applied = self.apply_now(control, load)
        if applied is None:
            self.wait_for_load(context, control, load)
        return {
            "release": fence.release,
            "attempt": str(fence.attempt),
            "version": version.name,
            "number": str(version.number),
        }

    def _look_ahead(self, control: ModelControl, version: Version, fence: Fence) -> None:
        """Tell how long the checks will need; refuse a release that cannot be decided, if the policy says so.

        A metric source that is away stops no start: the checks will wait for it.
        """
        from airflow_model_ops.control.heads import read_head
        from airflow_model_ops.control.preflight import StableShare, look_ahead
        from airflow_model_ops.hooks.arms import arms_at
        from airflow_model_ops.hooks.wiring import open_source_of

        policy = self.model_file.policy()
        try:
            source = open_source_of(self.model_file)
            arms = arms_at(self.model_file).compared(control.model, version, control.state.stable)
            share = StableShare.of(read_head(control.repository.log(control.model)))
            ahead = look_ahead(policy, source=source, arms=arms, now=control.clock.now(), stable_share=share)
        except ModelOpsError as error:
            self.log.warning("model=%s nothing can be forecast: %s", control.model, error)
            return
        for line in ahead.lines:
            self.log.info("forecast: %s", line)
        for problem in ahead.problems:
            self.log.warning("%s", problem)
        if ahead.problems and policy.refuse_undecidable:
            control.leases.end(fence)  # it may have waited for its turn, and would make older ones give way
            raise AirflowFailException(
                f"{version.name} is not released (judge.undecidable): {'; '.join(ahead.problems)}"
            )

    def _fence(self, context: Context) -> Fence:
        run = context["dag_run"]
        # A retry belongs to the same attempt: else it would undo a person's abort.
        return Fence(release=release_id(run.dag_id, run.run_id), attempt=attempt_of(context, retries=self.retries))


class ShiftTrafficOperator(ReleaseOperator):
    """Give the canary another share of the traffic.

    :param percent: The share, above 0 to 100; without a stable version the canary gets all of it.
    """

    def __init__(self, *, percent: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.percent = percent

    def act(self, context: Context) -> dict[str, Any]:
        """Shift and wait until every router has confirmed it."""
        control, fence = self.control(context), fence_of(self.release)
        version = control.naming.parse(self.release["version"])
        control.leases.renew(fence, version)
        commit = control.shift(fence=fence, percent=self.percent)
        self.log.info("model=%s release=%s %s", control.model, fence.release, commit.reason)
        with control.leases.working(fence, version):
            applied = control.apply(deadline_seconds=APPLY_SECONDS)
        return {"version": version.name, "split": applied.split, "seconds": round(applied.seconds, 3)}


class PromoteModelOperator(ReleaseOperator):
    """Make the canary stable; emits the model's stable asset.

    With ``watch.hold_back`` in the model's file the version before it keeps that share for ``WatchPromotionOperator``, which
    must follow: a hold-back that nobody watches ends within minutes.

    :param proof: The evidence in a sentence. (templated)
    """

    template_fields: Sequence[str] = ("choose", "release", "proof")

    def __init__(self, *, model: Any, proof: str | Any = "promoted by hand", **kwargs: Any) -> None:
        super().__init__(model=model, **kwargs)
        self.proof = proof
        self.outlets = [*self.outlets, model_asset(self.model_file.model)]

    def act(self, context: Context) -> dict[str, Any]:
        """Promote and wait until every router has confirmed it."""
        control, fence = self.control(context), fence_of(self.release)
        version = control.naming.parse(self.release["version"])
        watch = self.model_file.policy().watch
        commit = control.promote(
            version,
            fence=fence,
            proof=_sentence(self.proof),
            hold_back=watch.hold_back,
            hold_back_seconds=watch.seconds,
        )
        self.log.info("model=%s release=%s %s", control.model, fence.release, commit.reason)
        # A late retry may find the next release, whose load the fleet's apply waits for, or a way back; where loads take minutes
        # the worker waits for neither, and the retries after it find that done or leave it to its own task.
        waits = not commit.changed and not control.target.loads_slowly
        seconds = max(APPLY_SECONDS, self.model_file.policy().load_seconds) if waits else APPLY_SECONDS
        applied = control.apply(deadline_seconds=seconds)
        stable = commit.state.stable or version
        extra: dict[str, Any] = {
            "version": stable.name,
            "split": applied.split,
            "reason": commit.reason,
            "run": fence.release,
        }
        context["outlet_events"][model_asset(control.model)].extra.update(extra)
        return {"version": version.name, "split": applied.split, "seconds": round(applied.seconds, 3)}


class AbortReleaseOperator(ReleaseOperator):
    """End the release if it is still live: the canary gets nothing any more and stable is untouched.

    It does nothing for a release that has ended or whose newer attempt is live, so it may run any number of times.

    :param reason: Why. (templated)
    """

    template_fields: Sequence[str] = ("choose", "release", "reason")
    is_way_back = True

    def __init__(self, *, reason: str = "a task of the release failed or was stopped", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.reason = reason

    def act(self, context: Context) -> dict[str, Any]:
        """Abort; when the release never started there is nothing to do."""
        control = self.control(context)
        fence = self._fence(context, control)
        if fence is None:
            return {"changed": False, "reason": "the release never started"}
        commit = control.abort(reason=self.reason, fence=fence)
        self.log.info("model=%s release=%s %s", control.model, fence.release, commit.reason)
        if commit.generation and control.state.release is None:  # what another release does now is not waited for
            control.apply(deadline_seconds=APPLY_SECONDS)
        return {"changed": commit.changed, "reason": commit.reason}

    def _fence(self, context: Context, control: ModelControl) -> Fence | None:
        """Return the fence; the start may have been committed and its task killed before it could hand it on."""
        if self.release:
            return fence_of(self.release)
        run = context["dag_run"]
        live = control.state.release
        return live.fence if live and live.id == release_id(run.dag_id, run.run_id) else None


class ReleaseGuardOperator(AbortReleaseOperator):
    """The teardown of a release: ends it if it is still live, and fails unless it was promoted.

    A run that is marked failed runs its teardown alone, skips the rest, and would then count as successful (Airflow 3.3).
    """

    def act(self, context: Context) -> dict[str, Any]:
        """Abort, then tell Airflow how the release ended."""
        fence = self._fence(context, self.control(context))
        result = super().act(context)
        if fence is None:
            raise AirflowFailException(
                "the release never handed on its fence: its load failed or was killed; nothing of it is live, see the load's log"
            )
        if not self.control(context).was_promoted(fence):
            raise AirflowFailException(
                f"release {fence.release!r} ended without a promotion; the canary gets no traffic"
            )
        return result


def _sentence(proof: Any) -> str:
    """Return the reason of a check's result, or the given text."""
    if isinstance(proof, Mapping):
        return str(proof.get("reason", proof))
    return str(proof) if proof else "without proof"
