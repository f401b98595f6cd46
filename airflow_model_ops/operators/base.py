"""What all operators share: the model's file, who acts, and which errors a retry can mend."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.sdk.exceptions import AirflowException, AirflowFailException

from airflow_model_ops.config.model_file import ModelFile, ModelIdentity, load_for_way_back, load_model_file
from airflow_model_ops.core.errors import InvalidConfig, ModelOnHold, ModelOpsError
from airflow_model_ops.core.log import Origin
from airflow_model_ops.core.question import Answer, Question
from airflow_model_ops.core.state import Actor, ActorKind, Fence
from airflow_model_ops.dag_names import release_id
from airflow_model_ops.operators.linked import LinkNotes
from airflow_model_ops.operators.outcomes import body_of, check_outcome
from airflow_model_ops.required_actions import is_answer, put, who_answered

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_model_ops.control.model_control import ModelControl
    from airflow_model_ops.control.step_check import StepCheck, StepOutcome
    from airflow_model_ops.hooks.wiring import Fleet

TRAFFIC_RETRIES = 3
TRAFFIC_RETRY_DELAY = timedelta(seconds=1)
APPLY_SECONDS = 60.0
"""Longest to wait for a fleet to confirm a change for which everything is loaded already."""
LONGEST_WAIT = timedelta(days=30)
"""What waits for a person is not ended by Airflow's own time-out before."""


@contextmanager
def told_to_airflow() -> Iterator[None]:
    """Turn this package's errors into Airflow's: one that no retry can mend fails the task at once."""
    try:
        yield
    except ModelOpsError as error:
        if error.retryable:
            raise AirflowException(str(error)) from error
        raise AirflowFailException(str(error)) from error


def origin_of(context: Context, *, for_person: bool = False, request: str | None = None) -> Origin:
    """Return who acts in a task.

    :param for_person: Whether the person who triggered the run acts through it, as in a rollback by hand. A release that a
        person started still acts as the automation: it must not go past that person's own hold.
    """
    run, ti = context["dag_run"], context["ti"]
    user = run.triggering_user_name if for_person and run.run_type == "manual" else None
    actor = Actor(kind=ActorKind.PERSON, name=user) if user else Actor(kind=ActorKind.AUTOMATION, name=run.dag_id)
    place = {"dag_id": run.dag_id, "run_id": run.run_id, "task_id": ti.task_id, "try": str(ti.try_number)}
    return Origin(actor=actor, run=place, request=request)


def attempt_of(context: Context, *, retries: int | None) -> int:
    """Return which attempt a task runs for: a person's clear starts a new one, an automatic retry does not.

    Source of the rule: Airflow adds the tries made so far to ``max_tries`` when it clears a task, and leaves it alone when
    it retries.
    """
    return int(context["ti"].max_tries - (retries or 0) + 1)


def wish_of(context: Context, *, retries: int | None) -> str:
    """Return what makes the tries of one wish one: a retry, or a task that waited, has it in common with the first try."""
    run, ti = context["dag_run"], context["ti"]
    return f"{release_id(run.dag_id, run.run_id)}/{ti.task_id}/{attempt_of(context, retries=retries)}"


def fence_of(release: Mapping[str, Any]) -> Fence:
    """Return the fence that ``StartCanaryOperator`` handed on by XCom.

    :raises AirflowFailException: if there is none, because that task did not run.
    """
    try:
        return Fence(release=str(release["release"]), attempt=int(release["attempt"]))
    except (KeyError, TypeError, ValueError) as error:
        raise AirflowFailException(
            f"no release to act for: {release!r} is not what StartCanaryOperator returns; pass its output"
        ) from error


def is_about(event: Mapping[str, Any], release: Mapping[str, Any]) -> bool:
    """Whether a trigger's event is about this attempt of a release; an answer of a person names none, and is.

    On SQLite, Airflow 3.3 gives the id of a trigger that was deleted to the next one: what the trigger of a cleared attempt
    told last then reaches the task that waits for the new attempt.
    """
    return "attempt" not in event or Fence(release=event["release"], attempt=int(event["attempt"])) == fence_of(release)


class ModelOperator(LinkNotes):
    """Base of operators that act on one model. They tell their lineage to Airflow's OpenLineage provider, if it is installed,
    and what is new of the model to whoever its YAML file names.

    :param model: The model's YAML file: its path, or as loaded by ``load_model_file``; or several by name, as
        ``load_model_files`` returns them, of which ``choose`` names one at run time.
    :param choose: Name of the model, when ``model`` holds several. (templated)
    """

    template_fields: Sequence[str] = ("choose",)

    ui_color = "#e8f0fe"

    def __init__(
        self,
        *,
        model: ModelIdentity | Mapping[str, ModelIdentity] | str | Path,
        choose: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.model = model
        self.choose = choose
        self.operator_extra_links = self.links_of(model)

    @property
    def model_file(self) -> ModelFile:
        """The loaded file of the model, which must be right as a whole."""
        if isinstance(self.model, (str, Path)):
            return load_model_file(self.model)
        file = self.identity
        if not isinstance(file, ModelFile):
            raise InvalidConfig(
                f"the YAML file of model {file.model!r} has a mistake, so it can only be taken back; mend the file"
            )
        return file

    @property
    def identity(self) -> ModelIdentity:
        """What a way back needs of it, whatever else is wrong there."""
        if isinstance(self.model, ModelIdentity):
            return self.model
        if isinstance(self.model, Mapping):
            if self.choose is None or self.choose not in self.model:
                raise AirflowFailException(
                    f"no model {self.choose!r} is configured; choose one of {sorted(self.model)}"
                )
            return self.model[self.choose]
        return load_for_way_back(self.model)

    def open_fleet(self) -> Fleet:
        """Open the model's repository and fleet."""
        from airflow_model_ops.hooks.wiring import open_fleet_of

        return open_fleet_of(self.identity.place)

    def control(self, context: Context, *, for_person: bool = False, request: str | None = None) -> ModelControl:
        """Return the model's controls, acting for this task."""
        origin = origin_of(context, for_person=for_person, request=request)
        control = self.open_fleet().control(self.identity, origin=origin)
        self.note(control)
        return control

    def execute(self, context: Context) -> Any:
        """Do the operator's work; an error that no retry can mend fails the task without retries."""
        with self.telling(context), self.linking(context), told_to_airflow():
            return self.act(context)

    def models_given(self) -> tuple[ModelIdentity, ...]:
        """Return the models that the task may act on."""
        return tuple(self.model.values()) if isinstance(self.model, Mapping) else (self.identity,)

    def opened(self, context: Context) -> None:
        """Open the model that the task acts on, which notes it."""
        self.control(context)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Go on after the triggerer; only then see to news and lineage, so that nothing waits for them."""
        try:
            with self.telling(context, resumed=True):
                return super().resume_execution(next_method, next_kwargs, context)
        finally:
            self.note_resumed(context)

    def act(self, context: Context) -> Any:
        """Do the operator's work."""
        raise NotImplementedError(f"{type(self).__name__} must implement act")


class TrafficOperator(ModelOperator):
    """Base of operators that change traffic: retried 3 times, 1 s apart, and safe to retry."""

    ui_color = "#d2e3fc"

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("retries", TRAFFIC_RETRIES)
        kwargs.setdefault("retry_delay", TRAFFIC_RETRY_DELAY)
        super().__init__(**kwargs)


class ReleaseOperator(TrafficOperator):
    """Base of operators that act for a started release.

    When a person holds the model, the task waits in the triggerer until it is resumed, and then acts. A canary that gets
    traffic meanwhile is watched by the checks of its step as before: a hold stops its rise, not its way back.

    :param release: What ``StartCanaryOperator`` returned. (templated)
    """

    template_fields: Sequence[str] = ("choose", "release")

    def __init__(self, *, release: Mapping[str, Any] | Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.release = release

    def execute(self, context: Context) -> Any:
        """Act, or wait for a person's resume first."""
        with self.telling(context), self.linking(context):
            with told_to_airflow():
                try:
                    return self.act(context)
                except ModelOnHold as held:
                    self.log.info("model=%s waits: %s", self.model_file.model, held)
            return self._wait_for_resume(context)

    def execute_watched(
        self,
        context: Context,
        event: Mapping[str, Any],
        step: int | None = None,
        watched: Mapping[str, Any] | None = None,
    ) -> Any:
        """Go on when the step is safe and nobody holds; fail with the trigger's words if the release ended."""
        self.settled(context, event, step=step, watched=watched, method_name="execute_watched")
        return self.execute(context)

    def settled(
        self,
        context: Context,
        event: Mapping[str, Any],
        *,
        step: int | None,
        watched: Mapping[str, Any] | None,
        method_name: str,
    ) -> StepOutcome:
        """Return how a watched step ended. If it did not: put its question to a person or carry out an answer, and wait on.

        :param watched: The release that was watched and asked about; by now ``release`` may be a newer attempt.
        """
        from airflow_model_ops.control.step_check import StepResult

        of, index = watched or self.release, step or 0
        if not is_about(event, of):
            self.log.warning("an event of attempt %s came late; this attempt is watched on", event.get("attempt"))
            self.watch_step(context, step=index, of=of, method_name=method_name)
        if event.get("withdrawn"):
            self.watch_step(context, step=index, of=of, method_name=method_name)
        outcome = self._answered(context, event, step=index, of=of) if is_answer(event) else check_outcome(event)
        if outcome is None:
            self.watch_step(context, step=index, of=of, method_name=method_name)
        if outcome.result is StepResult.ASKED:
            put(self._question(step=index, of=of), task=str(context["ti"].id), body=body_of(outcome))
            self.log.info("step=%d asks a person, under this run's required actions: %s", index, outcome.reason)
            self.watch_step(context, step=index, of=of, method_name=method_name, asked=True)
        return outcome

    def watch_step(
        self,
        context: Context,
        *,
        step: int,
        method_name: str,
        of: Mapping[str, Any] | None = None,
        asked: bool = False,
    ) -> NoReturn:
        """Let the triggerer watch a step's share of traffic until something is decided.

        :param of: The release; ``None``: the one that this task was given.
        :param asked: Whether this task has a question open.
        """
        from airflow_model_ops.triggers.canary import CanaryStepTrigger

        watched = dict(self.release if of is None else of)
        fence = fence_of(watched)
        self.link_checks(context, of=str(watched["version"]))
        self.defer(
            trigger=CanaryStepTrigger(
                model=self.model_file.model_dump(mode="json"),
                version=str(watched["version"]),
                release=fence.release,
                attempt=fence.attempt,
                step=step,
                run=dict(origin_of(context).run),
                question=str(context["ti"].id) if asked else None,
            ),
            method_name=method_name,
            kwargs={"step": step, "watched": watched},
            timeout=LONGEST_WAIT,
        )

    def _answered(
        self, context: Context, event: Mapping[str, Any], *, step: int, of: Mapping[str, Any]
    ) -> StepOutcome | None:
        """Carry out a person's answer, if it is one to the step that was watched; ``None``: the step is watched further."""
        chosen, by = list(event["chosen_options"]), who_answered(event)
        question = self._question(step=step, of=of)
        choice = question.choice_of(chosen)
        self.log.info("release=%s step=%d by=%s answer=%s", of["release"], step, by, chosen)
        if choice is None:
            self.log.error(
                "the answer %s of %s is void: it is none of %s. Airflow shows the question that this task put first, about "
                "another version; resume or abort the release from the command line",
                chosen,
                by,
                list(question.options),
            )
            return None
        with told_to_airflow():
            outcome = self._step_check(context, step=step, of=of).answer(Answer(choice=choice, by=by))
        return None if outcome is None else check_outcome(outcome.to_json())

    def _step_check(self, context: Context, *, step: int, of: Mapping[str, Any]) -> StepCheck:
        from airflow_model_ops.control.step_check import StepCheck
        from airflow_model_ops.hooks.arms import arms_at
        from airflow_model_ops.hooks.wiring import open_source_of

        control = self.control(context)
        return StepCheck(
            control=control,
            source=open_source_of(self.model_file),
            policy=self.model_file.policy(),
            step_index=step,
            fence=fence_of(of),
            version=control.naming.parse(str(of["version"])),
            arms_of=arms_at(self.model_file).compared,
        )

    def _question(self, *, step: int, of: Mapping[str, Any]) -> Question:
        policy = self.model_file.policy()
        version = policy.naming.parse(str(of["version"]))
        return Question(model=policy.model, version=version, percent=policy.steps[step].percent)

    def execute_resumed(self, context: Context, event: Mapping[str, Any]) -> Any:
        """Go on; if the release has ended meanwhile, the rules of the state say so."""
        self.log.info("model=%s resumed=%s", self.model_file.model, event.get("resumed"))
        return self.execute(context)

    def _wait_for_resume(self, context: Context) -> NoReturn:
        from airflow_model_ops.triggers.turn import ResumeTrigger

        fence = fence_of(self.release)
        step = self._step_with_traffic(context)
        if step is not None:
            self.watch_step(context, step=step, method_name="execute_watched")
        self.defer(
            trigger=ResumeTrigger(
                model=self.model_file.model_dump(mode="json"),
                version=str(self.release["version"]),
                release=fence.release,
                attempt=fence.attempt,
            ),
            method_name="execute_resumed",
            timeout=LONGEST_WAIT,
        )

    def _step_with_traffic(self, context: Context) -> int | None:
        """Return the index of the step whose share the canary gets now; ``None`` if it gets none or no step's."""
        with told_to_airflow():
            state, steps = self.control(context).state, self.model_file.policy().steps
        if state.canary is None or state.canary.percent == 0:
            return None
        if state.stable is None:  # a first release gets everything at once, and its last step judges
            return len(steps) - 1
        return next((index for index, step in enumerate(steps) if step.percent == state.canary.percent), None)
