"""What the page's tests look at: a repository on this disk with five models, and what has become of each.

- ``digits``: a canary at 10 %, its second step, live and undecided; the first passed without proof. Runs of its DAG are behind it.
- ``spam``: a canary was aborted by HARM, so that its version is quarantined; then ada rolled stable back.
- ``tags``: steady since it was adopted by a release; ada pinned its golden version.
- ``churn``: promoted, the former version is held back at 5 %, and bob holds the model.
- ``fresh``: a YAML file and nothing else.

The clock is one that tests move; the story ends about now.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from airflow_model_ops.adapters.repository.posix_repository import PosixRepository
from airflow_model_ops.config.fleet import parse_fleet
from airflow_model_ops.config.model_file import ModelFile, parse_model_file
from airflow_model_ops.control.model_control import ModelControl
from airflow_model_ops.control.step_check import StepCheck, StepOutcome
from airflow_model_ops.core.log import Origin
from airflow_model_ops.core.ports import PushRequest
from airflow_model_ops.core.state import Actor, ActorKind, Fence
from airflow_model_ops.core.versioning import Version
from airflow_model_ops.hooks.wiring import Fleet, standing_in
from airflow_model_ops.testing import InMemoryTarget, ManualClock
from tests.control.counted_traffic import CountedTraffic, arms_of

ADA = Actor(kind=ActorKind.PERSON, name="ada")
BOB = Actor(kind=ActorKind.PERSON, name="bob")
MODELS = ("churn", "digits", "fresh", "spam", "tags")

_YAML = """
model: {model}
versions: {{scheme: timestamp}}
canary:
  steps: [{{percent: 5, bake: 30s}}, {{percent: 10, bake: 30s}}, {{percent: 50, bake: 30s}}]
  interval: 10s
  deadline: 2m
  on_deadline: promote
checks:
  - {{name: errors, kind: error_rate, max: 0.2, margin: 1.5}}
  - {{name: slow, kind: latency, latency_bound_ms: 100, margin: 1.5}}
"""
_BEGAN_SECONDS_AGO = 6 * 3600.0


@dataclass(kw_only=True)
class PageStory:
    """A fleet ``main`` that serves the five models, on a directory of the test.

    :param directory: Where the repository and the YAML files are made.
    """

    directory: Path
    clock: ManualClock = field(default_factory=lambda: ManualClock(start=time.time() - _BEGAN_SECONDS_AGO))
    target: InMemoryTarget = field(default_factory=lambda: InMemoryTarget(servers=("server-1", "server-2")))
    models: dict[str, ModelFile] = field(default_factory=dict)
    looked_at: str = "digits"
    """Whose split the metric source counts by."""

    def __post_init__(self) -> None:
        self.models_dir = self.directory / "models"
        self.models_dir.mkdir()
        root = self.directory / "repository"
        root.mkdir()
        self.repository = PosixRepository(root)
        self.source = CountedTraffic(self.clock, split=lambda: self.target.observe(self.looked_at).split)
        form = {"servers": "a:1/2", "router_config_dir": "live", "router_admin": "http://b:1", "initially": "empty"}
        self.fleet = Fleet(
            name="main",
            repository=self.repository,
            target=self.target,
            config=parse_fleet({**form, "fleet": "main"}, source="story"),
            clock=self.clock,
        )

    def add_model(self, model: str, *, text: str | None = None) -> ModelFile:
        """Write a model's YAML file."""
        text = text or _YAML.format(model=model)
        (self.models_dir / f"{model}.yaml").write_text(text)
        self.models[model] = parse_model_file(text)
        return self.models[model]

    def version(self, model: str, number: int) -> Version:
        """Return a model's version of a number: the day of June 2023 on which it was made."""
        return self.models[model].naming().parse(f"v-202306{number:02}-120000")

    def control(self, model: str, *, actor: Actor | None = None, run: Mapping[str, str] | None = None) -> ModelControl:
        """Return a model's controls in the hands of its release DAG, or of a person."""
        actor = actor or Actor(kind=ActorKind.AUTOMATION, name=f"model_release_{model}")
        return self.fleet.control(self.models[model], origin=Origin(actor=actor, run=run or {}))

    def push(self, model: str, number: int, *, run: Mapping[str, str] | None = None) -> Version:
        """Push a version with offline metrics, data and hyperparameters."""
        version = self.version(model, number)
        directory = self.directory / "trained" / model / str(number)
        directory.mkdir(parents=True)
        (directory / "saved_model.pb").write_bytes(f"{model} {number}".encode())
        request = PushRequest(
            directory=directory,
            created=f"2023-06-{number:02}T12:00:00+00:00",
            source={"path": str(directory), "run": release_of(model, number)},
            dataset_version=f"mnist-{number}",
            hyperparameters={"learning_rate": 0.1 / number, "layers": [16, 8]},
            metrics={"accuracy": 0.9 + number / 100, "loss": 0.5 / number},
        )
        self.control(model, run=run or run_of(model, number, "push")).push(request, name=version.name)
        return version

    def start(self, model: str, number: int, *, percent: float) -> Fence:
        """Let a release be live, its canary having a share that is applied."""
        version = self.push(model, number)
        fence = Fence(release=release_of(model, number), attempt=1)
        self._as(model, number, "validate").record_validation(
            version, blessed=True, reason=f"{version} loads and answers", detail={"checks": ["loads"]}
        )
        self._as(model, number, "load").start_canary(version, fence=fence)
        self.shift(model, number, percent=percent)
        return fence

    def shift(self, model: str, number: int, *, percent: float) -> None:
        """Give a live release's canary another share, and apply it."""
        control = self._as(model, number, "shift")
        control.shift(fence=Fence(release=release_of(model, number), attempt=1), percent=percent)
        self._apply(control)

    def release(self, model: str, number: int, *, hold_back: float = 0) -> None:
        """Make a version stable."""
        fence = self.start(model, number, percent=50)
        self.clock.advance(60)
        control = self._as(model, number, "promote")
        control.promote(
            self.version(model, number), fence=fence, proof="errors: no worse than stable", hold_back=hold_back
        )
        self._apply(control)

    def check(self, model: str, number: int, *, step: int) -> StepCheck:
        """Return the check of a step of a release, which judges by counted traffic."""
        self.looked_at = model
        return StepCheck(
            control=self._as(model, number, "check"),
            source=self.source,
            policy=self.models[model].policy(),
            step_index=step,
            fence=Fence(release=release_of(model, number), attempt=1),
            version=self.version(model, number),
            arms_of=arms_of,
        )

    def judge(self, model: str, number: int, *, step: int, ticks: int) -> StepOutcome | None:
        """Measure and judge every ten seconds until the step is over, at most a number of times."""
        check = self.check(model, number, step=step)
        for _ in range(ticks):
            self.clock.advance(10)
            outcome = check.tick()
            if outcome is not None:
                return outcome
        return None

    def _as(self, model: str, number: int, task_id: str) -> ModelControl:
        return self.control(model, run=run_of(model, number, task_id))

    def _apply(self, control: ModelControl) -> None:
        control.apply(deadline_seconds=5)
        self.clock.advance(5)

    def tell(self) -> PageStory:
        """Let all of it happen."""
        for model in MODELS:
            self.add_model(model)
        self._tell_tags()
        self._tell_spam()
        self._tell_churn()
        self._tell_digits()
        return self

    def _tell_tags(self) -> None:
        self.release("tags", 1)
        self.release("tags", 2)
        self._done_by("tags", ADA).pin_golden(self.version("tags", 1))
        self._apply(self.control("tags"))

    def _tell_spam(self) -> None:
        for number in (1, 2):
            self.release("spam", number)
        self.start("spam", 3, percent=5)
        self.source.harmful()
        outcome = self.judge("spam", 3, step=0, ticks=60)
        assert outcome is not None
        assert str(outcome.verdict) == "HARM"
        self.source.good()
        self.clock.advance(600)
        back = self._done_by("spam", ADA, dag_id="model_rollback")
        back.rollback(reason="customers complain about lost mail")
        self._apply(back)

    def _tell_churn(self) -> None:
        self.release("churn", 1)
        self.release("churn", 2, hold_back=5)
        self._done_by("churn", BOB).hold(reason="the audit is on")
        self._apply(self.control("churn"))

    def _tell_digits(self) -> None:
        for number in (1, 2):
            self.release("digits", number)
        self.clock.advance(time.time() - 900 - self.clock.now())
        self.source.rps, self.source.canary_bad, self.source.stable_bad = 60.0, 0.05, 0.05
        self.start("digits", 3, percent=5)
        passed = self.judge("digits", 3, step=0, ticks=60)
        assert passed is not None
        assert str(passed.verdict) == "UNDECIDED"
        self.shift("digits", 3, percent=10)
        assert self.judge("digits", 3, step=1, ticks=6) is None

    def _done_by(self, model: str, person: Actor, *, dag_id: str = "model_pin_golden") -> ModelControl:
        run = {"dag_id": dag_id, "run_id": f"manual__{person.name}_{model}", "task_id": "act", "try": "1"}
        return self.control(model, actor=person, run=run)


def release_of(model: str, number: int) -> str:
    """Return the id of the release that made, or tried, a version: its DAG and run."""
    return f"model_release_{model}/manual__{number}"


def run_of(model: str, number: int, task_id: str) -> dict[str, str]:
    """Return the DAG run behind a release, as a log entry carries it."""
    return {"dag_id": f"model_release_{model}", "run_id": f"manual__{number}", "task_id": task_id, "try": "1"}


@contextmanager
def told_in(directory: Path) -> Iterator[PageStory]:
    """Tell the story in a directory; its fleet takes the place of all connections."""
    story = PageStory(directory=directory).tell()
    with standing_in(story.fleet, metrics=story.source):
        yield story
