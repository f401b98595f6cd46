"""The way back by hand or by an alert, and the pin of the version that is known to be good."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow_model_ops.assets import ROLLBACK_ALIAS, model_asset
from airflow_model_ops.dag_names import release_id
from airflow_model_ops.operators.base import APPLY_SECONDS, TrafficOperator, wish_of
from airflow_model_ops.operators.loading import LoadingOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_model_ops.control.apply import Applied
    from airflow_model_ops.control.commit import Commit
    from airflow_model_ops.control.model_control import ModelControl


class RollbackModelOperator(LoadingOperator, TrafficOperator):
    """Take the model back, pre-empting any release. Needs the repository and the fleet only.

    A live canary is ended first; otherwise ``previous`` goes to the newest earlier stable version that is usable, else to
    golden. A retry does not go back a second time; a cleared task is a new wish and does. Back to a version that is still
    loaded takes seconds; where another one takes minutes to load, the task waits in the triggerer.

    :param target: ``previous``, ``golden``, or a version's name. (templated)
    :param reason: Why; it is kept in the log. (templated)
    :param seen: The generation that the person who asks has looked at: with ``previous``, another way back since then has
        fulfilled the wish. Empty: the head when the task starts. (templated)
    :param affected: Names of versions that must not serve, instead of ``target``: the model goes to the newest earlier stable
        version that is none of them, if one of them serves or is on trial; else nothing changes. (templated)
    """

    template_fields: Sequence[str] = ("choose", "target", "reason", "seen", "affected")
    ui_color = "#fce8e6"
    is_way_back = True

    def __init__(
        self,
        *,
        target: str = "previous",
        reason: str,
        seen: int | str | None = None,
        affected: Sequence[str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.target = target
        self.reason = reason
        self.seen = seen
        self.affected = affected
        if ROLLBACK_ALIAS not in self.outlets:  # of a mapped task Airflow reads them before this is called
            self.outlets = [*self.outlets, ROLLBACK_ALIAS]

    def act(self, context: Context) -> dict[str, Any]:
        """Roll back and wait until every router has confirmed it."""
        control = self.control(context, for_person=True, request=wish_of(context, retries=self.retries))
        commit = self._go_back(control)
        self.log.info("model=%s %s", control.model, commit.reason)
        if self.affected is not None and not commit.changed and commit.former is not None:
            return {"version": _stable_name(commit), "split": {}, "reason": commit.reason, "seconds": 0.0}
        applied = self._apply(context, control, commit)
        touch_stable(context, model=self.identity.model, commit=commit, split=applied.split)
        return {
            "version": _stable_name(commit),
            "split": applied.split,
            "reason": commit.reason,
            "seconds": round(applied.seconds, 3),
        }

    def _apply(self, context: Context, control: ModelControl, commit: Commit) -> Applied:
        from airflow_model_ops.control.loading import Load, Purpose

        longest, stable = max(APPLY_SECONDS, self.identity.load_seconds), commit.state.stable
        if stable is None:
            return control.apply(deadline_seconds=APPLY_SECONDS)
        load = Load.of_head(control, stable, Purpose.STABLE, longest_seconds=longest, fence=None)
        return self.apply_or_defer(context, control, load)

    def _go_back(self, control: ModelControl) -> Commit:
        from airflow_model_ops.control.blast_radius import leave_affected

        if self.affected is None:
            return control.rollback(reason=self.reason, to=self.target, seen=int(self.seen) if self.seen else None)
        return leave_affected(control, self.affected, reason=self.reason)


def _stable_name(commit: Commit) -> str | None:
    return commit.state.stable.name if commit.state.stable else None


def touch_stable(context: Context, *, model: str, commit: Commit, split: dict[str, float]) -> None:
    """Touch the stable asset of a model if a rollback changed stable: an aborted canary leaves it as it was."""
    stable = commit.state.stable
    # A retry adopts what its first try committed, perhaps before that could tell anybody, and does not see the state
    # before it.
    same = commit.former.stable == stable if commit.former is not None else commit.version != stable
    if stable is None or same:
        return
    run = context["dag_run"]
    extra: dict[str, Any] = {
        "version": stable.name,
        "split": split,
        "reason": commit.reason,
        "run": release_id(run.dag_id, run.run_id),
    }
    context["outlet_events"][ROLLBACK_ALIAS].add(model_asset(model), extra=extra)


class PinGoldenOperator(LoadingOperator):
    """Pin the known-good version: the last resort of every rollback, kept loaded and never retired.

    :param version: Name of the version; empty: the stable one. (templated)
    """

    template_fields: Sequence[str] = ("choose", "version")

    def __init__(self, *, version: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.version = version

    def act(self, context: Context) -> dict[str, Any]:
        """Pin and wait until it is loaded."""
        from airflow_model_ops.control.loading import Load, Purpose

        control = self.control(context, for_person=True, request=wish_of(context, retries=self.retries))
        version = control.naming.parse(self.version) if self.version else control.require_stable()
        commit = control.pin_golden(version)
        version = commit.version or version  # what an earlier try has pinned, whatever is stable by now
        self.log.info("model=%s %s", control.model, commit.reason)
        longest = max(APPLY_SECONDS, self.identity.load_seconds)
        load = Load.of_head(control, version, Purpose.GOLDEN, longest_seconds=longest, fence=None)
        self.apply_or_defer(context, control, load)
        return {"version": version.name, "reason": commit.reason}
