"""What every operator on a model tells people, in one place: whatever is new of the models that the task opened.

It reads that from the models' logs when the task has done its work, failed or begins to wait. So it tells, too, what a trigger
did, what a killed worker left for the watcher to finish, and what a person did at the command line.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk.exceptions import AirflowFailException, AirflowTaskTimeout, TaskDeferred

from airflow_model_ops.config.model_file import ModelFile, ModelIdentity
from airflow_model_ops.core.notice import stuck_notice
from airflow_model_ops.notifications import base_url, has_hooks, tell_news, tell_once
from airflow_model_ops.operators.lineage_notes import LineageNotes

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_model_ops.control.model_control import ModelControl
    from airflow_model_ops.core.versioning import Version


class NewsTeller(LineageNotes):
    """Base of operators that tell what is new of the models they act on."""

    is_way_back: ClassVar[bool] = False
    """Whether it takes traffic from a version, which waits for no message and no link."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._is_telling = False

    @abstractmethod
    def models_given(self) -> Iterable[ModelIdentity]:
        """Yield the models that the operator may act on."""

    @contextmanager
    def telling(self, context: Context, *, resumed: bool = False) -> Iterator[None]:
        """Tell what is new once the work in it is done, has failed, or waits; never if the task is being ended.

        A way back that is tried again or waits for a load is not done: it tells after that. Within another one it tells nothing.

        :param resumed: Whether the task came back from the triggerer, and so may not have opened its model itself.
        """
        if self._is_telling:
            yield
            return
        self._is_telling = True
        try:
            yield
        except (Exception, TaskDeferred) as ended:
            if not self.is_way_back or isinstance(ended, AirflowFailException):
                self.tell(context, resumed=resumed)
            raise
        finally:
            self._is_telling = False
        self.tell(context, resumed=resumed)

    def tell(self, context: Context, *, resumed: bool = False) -> None:
        """Tell what is new. What goes wrong is logged: it must not fail a task."""
        try:
            files = self._files()
            if files and resumed and not self.noted_controls:
                self.opened(context)
            for control in self.noted_controls if files else ():
                if control.model in files:
                    tell_news(
                        files[control.model], repository=control.repository, clock=control.clock, context={**context}
                    )
        except (Exception, AirflowTaskTimeout):  # whatever went wrong: the work is done
            self.log.exception("what is new cannot be told")

    def tell_stuck(
        self, context: Context, opened: Callable[[], ModelControl], *, version: Version | str, why: str
    ) -> None:
        """Tell that a version should have been taken back and was not, once per run. What goes wrong is logged.

        :param opened: Gives the model's controls.
        """
        try:
            files = self._files()
            if not files:
                return
            control = opened()
            file = files.get(control.model)
            if file is None:
                return
            run = control.origin.run
            notice = stuck_notice(
                model=control.model,
                version=str(version),
                why=why,
                state=control.state,
                run=run,
                who=str(control.origin.actor),
                key=f"stuck-{run.get('dag_id')}-{run.get('run_id')}-{run.get('task_id')}",
                base_url=base_url(),
            )
            tell_once(file, notice, repository=control.repository, clock=control.clock, context={**context})
        except (Exception, AirflowTaskTimeout):  # whatever went wrong: the task fails in its own words
            self.log.exception("that %s goes on serving cannot be told", version)

    def _files(self) -> dict[str, ModelFile]:
        given = [model for model in self.models_given() if isinstance(model, ModelFile) and has_hooks(model)]
        return {file.model: file for file in given}
