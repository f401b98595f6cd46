"""The way back that the guard of stable asks for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException

from airflow_model_ops.assets import ROLLBACK_ALIAS
from airflow_model_ops.config.model_file import ModelFile, ModelIdentity
from airflow_model_ops.core.errors import ModelOpsError, NoRollbackTarget, TransitionRefused
from airflow_model_ops.dag_names import release_id
from airflow_model_ops.operators.base import APPLY_SECONDS, TrafficOperator, attempt_of, origin_of
from airflow_model_ops.operators.loading import LoadingOperator
from airflow_model_ops.operators.rollback import touch_stable

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_model_ops.control.apply import Applied
    from airflow_model_ops.control.commit import Commit
    from airflow_model_ops.control.loading import Load
    from airflow_model_ops.control.model_control import ModelControl

SETTLE_SECONDS = 3_600.0
"""How long the guard leaves a version alone that it has put there itself: what two versions have in common is no fault of
the newer one, and going back once more would only lead to ever older ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Alarm:
    model: str
    version: str
    reason: str
    evidence: str | None

    @classmethod
    def from_payload(cls, payload: Mapping[str, Any]) -> _Alarm:
        return cls(
            model=str(payload["model"]),
            version=str(payload["version"]),
            reason=str(payload["reason"]),
            evidence=payload.get("evidence"),
        )


class GuardRollbackOperator(LoadingOperator, TrafficOperator):
    """Take back every model whose stable version the guard found above a ceiling, as the run's asset events tell.

    It goes to the automatic target; a live canary ends with it. It changes nothing once another version is stable. A model
    that a person holds, that has no target, or that the guard itself took back within the last hour is left as it is, and
    the task fails with the reason. One model's trouble does not stop the others. Where a version takes minutes to load, the task
    waits in the triggerer, and then goes through all of them again: what was committed before is adopted.
    """

    ui_color = "#fce8e6"
    asks_metrics = True
    is_way_back = True

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.outlets = [*self.outlets, ROLLBACK_ALIAS]

    def act(self, context: Context) -> dict[str, Any]:
        """Commit all ways back first, then wait until every router has confirmed them."""
        alarms = _newest(_alarms_of(context))
        if not alarms:
            raise AirflowSkipException("no alarm started this run; the guard starts one when stable is above a ceiling")
        failed: dict[str, Exception] = {}
        committed = self._commit_all(context, alarms, failed)
        done, waiting = {}, []
        for control, identity, commit in committed:
            try:
                load = self._load_of(control, identity, commit)
                applied = self.apply_now(control, load)
            except ModelOpsError as error:
                failed[control.model] = error
            else:
                if applied is None:
                    waiting.append((control, identity, load))
                else:
                    done[control.model] = self._told(context, control, commit, applied)
        self._link(context, alarms[0])
        if waiting:
            control, identity, load = waiting[0]
            self.wait_for_load(context, control, load, identity=identity)
        self._tell_refused(context, alarms, failed)  # last: nobody's way back waits for a message
        if failed:
            _raise(failed)
        return done

    def _link(self, context: Context, alarm: _Alarm) -> None:
        """Link to the first model; nobody's way back waited for that."""
        identity = self.model.get(alarm.model) if isinstance(self.model, Mapping) else self._own()
        if isinstance(identity, ModelFile):
            self.link_model(context, identity=identity)
            self.link_checks(context, of=alarm.version, alone=True, identity=identity)

    def _commit_all(
        self, context: Context, alarms: Iterable[_Alarm], failed: dict[str, Exception]
    ) -> list[tuple[ModelControl, ModelIdentity, Commit]]:
        committed: list[tuple[ModelControl, ModelIdentity, Commit]] = []
        for alarm in alarms:
            try:
                identity = self._identity_of(alarm.model)
                control = self._control_of(identity, context)
                committed.append((control, identity, self._go_back(control, alarm)))
            except (ModelOpsError, AirflowException) as error:
                failed[alarm.model] = error
        return committed

    def _tell_refused(self, context: Context, alarms: Iterable[_Alarm], failed: Mapping[str, Exception]) -> None:
        controls = {control.model: control for control in self.noted_controls}
        for alarm in alarms:
            refused = failed.get(alarm.model)
            if isinstance(refused, TransitionRefused) and alarm.model in controls:
                why = f"{alarm.reason}; {refused}"
                opened = partial(controls.__getitem__, alarm.model)
                self.tell_stuck(context, opened, version=alarm.version, why=why)

    def _go_back(self, control: ModelControl, alarm: _Alarm) -> Commit:
        from airflow_model_ops.control.stable_guard import recent_way_back

        version = control.naming.parse(alarm.version)
        if control.state.stable == version:
            since = control.clock.now() - SETTLE_SECONDS
            recent = recent_way_back(control.committer.log, actor=control.origin.actor, since=since)
            if recent is not None:
                raise TransitionRefused(
                    f"{version} is above a ceiling, too ({alarm.reason}), and the guard has put it there itself "
                    f"within the last hour ({recent}); so it may not be the version's fault: look for a common cause, or roll "
                    "back by hand"
                )
        commit = control.rollback_guarded(version=version, reason=alarm.reason, evidence=alarm.evidence)
        self.log.info("model=%s %s", control.model, commit.reason)
        return commit

    def _load_of(self, control: ModelControl, identity: ModelIdentity, commit: Commit) -> Load:
        from airflow_model_ops.control.loading import Load, Purpose

        stable = commit.state.stable
        if stable is None:
            raise NoRollbackTarget(f"model {control.model!r} has no stable version to apply; release one")
        longest = max(APPLY_SECONDS, identity.load_seconds)
        return Load.of_head(control, stable, Purpose.STABLE, longest_seconds=longest, fence=None)

    def _told(self, context: Context, control: ModelControl, commit: Commit, applied: Applied) -> dict[str, Any]:
        touch_stable(context, model=control.model, commit=commit, split=applied.split)
        return {
            "version": commit.state.stable.name if commit.state.stable else None,
            "split": applied.split,
            "reason": commit.reason,
            "seconds": round(applied.seconds, 3),
        }

    def _identity_of(self, model: str) -> ModelIdentity:
        if isinstance(self.model, Mapping):
            found = self.model.get(model)
        else:
            found = self.identity if self.identity.model == model else None
        if found is None:
            raise AirflowFailException("it is not configured (any more); roll it back by hand")
        return found

    def _control_of(self, identity: ModelIdentity, context: Context) -> ModelControl:
        from airflow_model_ops.hooks.wiring import open_fleet_of

        run, ti = context["dag_run"], context["ti"]
        attempt = attempt_of(context, retries=self.retries)
        request = f"{release_id(run.dag_id, run.run_id)}/{ti.task_id}/{attempt}"
        control = open_fleet_of(identity.place).control(identity, origin=origin_of(context, request=request))
        self.note(control)
        return control


def _alarms_of(context: Context) -> Iterable[_Alarm]:
    """Yield the alarms that started a run, oldest first."""
    events = [event for group in context["triggering_asset_events"].values() for event in group]
    for event in sorted(events, key=lambda each: each.timestamp):
        payload = event.extra.get("payload")
        if isinstance(payload, Mapping) and {"model", "version", "reason"} <= payload.keys():
            yield _Alarm.from_payload(payload)


def _newest(alarms: Iterable[_Alarm]) -> list[_Alarm]:
    return list({alarm.model: alarm for alarm in alarms}.values())


def _raise(failed: Mapping[str, Exception]) -> None:
    """Fail the task in the models' words; with retries if one of them may be helped by one."""
    told = "; ".join(f"{model}: {error}" for model, error in sorted(failed.items()))
    helps = any(
        isinstance(each, ModelOpsError) and each.retryable and not isinstance(each, TransitionRefused)
        for each in failed.values()
    )
    raise (AirflowException if helps else AirflowFailException)(f"not every model was taken back: {told}")
