"""What a person changes by hand beside a way back: hold and resume, end a release, ban a version and lift that.

In a run that a person triggered, that person acts. Each wish is granted once, however often its task is retried. What moves
no traffic (hold, resume, lift) holds from its commit on, also while the fleet is down.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowFailException

from airflow_model_ops.core.errors import ModelOpsError
from airflow_model_ops.operators.base import APPLY_SECONDS, TrafficOperator, wish_of

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_model_ops.control.commit import Commit
    from airflow_model_ops.control.model_control import ModelControl

ASIDE_SECONDS = 10.0
"""Longest to wait for the fleet after a change that moves no traffic and holds from its commit on."""


class ChangeOperator(TrafficOperator):
    """Base of the changes by hand: commit what is wished, then apply it.

    :param reason: Why; it is kept in the log. (templated)
    """

    template_fields: Sequence[str] = ("choose", "reason")

    def __init__(self, *, reason: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.reason = reason

    @abstractmethod
    def commit(self, control: ModelControl) -> Commit:
        """Decide and commit."""

    def apply(self, control: ModelControl) -> dict[str, float]:
        """Wait until every router has confirmed it; return the split.

        :raises NotApplied: if the fleet does not follow in time; the watcher goes on.
        """
        return control.apply(deadline_seconds=max(APPLY_SECONDS, self.identity.load_seconds)).split

    def act(self, context: Context) -> dict[str, Any]:
        """Commit as the person who triggered the run, and apply."""
        control = self.control(context, for_person=True, request=wish_of(context, retries=self.retries))
        commit = self.commit(control)
        self.log.info("model=%s %s", control.model, commit.reason)
        split = self._applied(control, commit) if commit.generation else {}  # without a log there is nothing to apply
        return {"generation": commit.generation, "changed": commit.changed, "reason": commit.reason, "split": split}

    def _applied(self, control: ModelControl, commit: Commit) -> dict[str, float]:
        """Apply. A wish that found nothing to change left no entry for a retry to find, which would be granted anew."""
        try:
            return self.apply(control)
        except ModelOpsError as error:
            if commit.changed or commit.former is None:
                raise
            raise AirflowFailException(f"{commit.reason}; {error}") from error


class AsideOperator(ChangeOperator):
    """Base of the changes that move no traffic: a fleet that is down does not make them void."""

    def apply(self, control: ModelControl) -> dict[str, float]:
        """Apply if that is quick; else the watcher does."""
        try:
            return control.apply(deadline_seconds=ASIDE_SECONDS).split
        except ModelOpsError as error:
            self.log.warning("model=%s committed, and not yet applied; the watcher goes on: %s", control.model, error)
            return {}


class HoldModelOperator(AsideOperator):
    """Stop shifts and promotions until a person resumes; abort and rollback stay possible."""

    def commit(self, control: ModelControl) -> Commit:
        """Hold."""
        return control.hold(reason=self.reason)


class ResumeModelOperator(AsideOperator):
    """End a hold; only a person may."""

    def commit(self, control: ModelControl) -> Commit:
        """Resume."""
        return control.resume(reason=self.reason)


class AbortModelOperator(ChangeOperator):
    """End the live release, whichever it is: its canary gets nothing any more and stable is untouched."""

    is_way_back = True

    def commit(self, control: ModelControl) -> Commit:
        """Abort."""
        return control.abort(reason=self.reason, fence=None)


class QuarantineModelOperator(ChangeOperator):
    """Ban one version until a person lifts it; a canary or hold-back of it ends at once.

    :param version: Name of the version. (templated)
    :param force: Also ban what serves alone; it goes on serving until a rollback. (templated)
    """

    template_fields: Sequence[str] = ("choose", "reason", "version", "force")
    ui_color = "#fce8e6"
    is_way_back = True

    def __init__(self, *, version: str, force: bool | str = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.version = version
        self.force = force

    def commit(self, control: ModelControl) -> Commit:
        """Quarantine."""
        force = str(self.force).lower() == "true"  # a template makes text of it
        return control.quarantine(control.naming.parse(self.version), reason=self.reason, force=force)


class LiftQuarantineOperator(AsideOperator):
    """End a version's quarantine; only a person may.

    :param version: Name of the version. (templated)
    """

    template_fields: Sequence[str] = ("choose", "reason", "version")

    def __init__(self, *, version: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.version = version

    def commit(self, control: ModelControl) -> Commit:
        """Lift."""
        return control.lift(control.naming.parse(self.version), reason=self.reason)
