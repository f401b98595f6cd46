"""The words in which the end-to-end tests tell their stories, over a whole stack with the real Airflow."""

from __future__ import annotations

import json
import signal
import string
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import psutil

from airflow_model_ops.control.heads import Head, read_head
from airflow_model_ops.core.log import Entry
from airflow_model_ops.core.ports import Repository
from airflow_model_ops.core.state import ServingState
from demo.airflow_rest import AirflowRest, wait_until
from demo.stack import Stack

MODEL, FLEET = "digits", "default"
RELEASE, PATIENT, HURRIED = "model_release_digits", "patient_release_digits", "hurried_release_digits"
ASKING = "asking_release_digits"
WATCHED, UNPROVEN = "watched_release_digits", "unproven_release_digits"
ROLLBACK, HOUSEKEEPING, WATCH, GOLDEN = "model_rollback", "model_housekeeping", "model_watch", "model_pin_golden"
GUARD, UNWATCHED, SHOWN = "model_guard", "unwatched_release_digits", "shown_release_digits"
PIPELINE, PIPELINE_STORE = "pipeline_release_digits", "tfx.sqlite"
LOAD, SHIFT, CHECK = "load", "step_1_30_percent.shift", "step_1_30_percent.check"
RECOVERY_SECONDS = 30.0 + 15.0
"""DESIGN: killed at any point, a release is finished or taken back within the first, without a person. That is 20 s of lease
and a few of work; the rest is for a machine that has other work, too."""
PATIENCE = 300.0
"""How long to wait for what a busy machine may be slow at."""
_STEADY_SECONDS = 3
T = TypeVar("T")


def write_model_file(directory: Path, *, model: str, connections: str, target: str, trained: Path) -> Path:
    """Write the YAML file of a model: the template, with its target."""
    template = string.Template((Path(__file__).parent / "digits.yaml.template").read_text(encoding="utf-8"))
    path = directory / f"{model}.yaml"
    examples = trained / "examples.npz"
    text = template.substitute(model=model, connections=connections, target=target, examples=examples)
    path.write_text(text, encoding="utf-8")
    return path


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One DAG run, as its story needs it."""

    rest: AirflowRest
    dag_id: str
    run_id: str

    @property
    def release_id(self) -> str:
        """The id of the release that the run is."""
        return f"{self.dag_id}/{self.run_id}"

    @property
    def tasks(self) -> dict[str, str | None]:
        """The state of each task."""
        return self.rest.task_states(self.dag_id, self.run_id)

    @property
    def ended_at(self) -> float:
        """When the run ended, seconds since the epoch."""
        row = self.rest.request("GET", f"dags/{self.dag_id}/dagRuns/{quote(self.run_id, safe='')}")
        return datetime.fromisoformat(row["end_date"]).timestamp()

    def ends(self, state: str) -> Run:
        """Wait until the run ends in a state."""
        self.rest.wait_for_run(self.dag_id, self.run_id, states=[state], timeout=PATIENCE)
        return self

    def reaches(self, task: str, *states: str) -> str:
        """Wait until a task is in one of the states."""
        return self.rest.wait_for_task(self.dag_id, self.run_id, task, states=states, timeout=PATIENCE)

    def returned(self, task: str) -> Any:
        """Return what a task handed on by XCom."""
        return self.rest.xcom(self.dag_id, self.run_id, task)

    def log(self, task: str, *, try_number: int | None = None) -> str:
        """Return the log of a task's newest or given try."""
        return self.rest.task_log(self.dag_id, self.run_id, task, try_number=try_number)

    def links(self, task: str) -> dict[str, str | None]:
        """Return where the buttons on a task's page lead, by name."""
        path = f"dags/{self.dag_id}/dagRuns/{quote(self.run_id, safe='')}/taskInstances/{task}/links"
        return dict(self.rest.request("GET", path)["extra_links"])

    def row(self, task: str) -> dict[str, Any]:
        """Return Airflow's row of a task."""
        return next(row for row in self.rest.task_instances(self.dag_id, self.run_id) if row["task_id"] == task)

    def described(self) -> str:
        """Say how the run stands."""
        return self.rest.describe(self.dag_id, self.run_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """What a test asks for and looks at.

    :param trained: Directory of the trained models, as ``demo.train`` writes it.
    :param traffic: The clients' own account of their requests; see :mod:`demo.tally`.
    :param model: The one that is told of; its release DAG is the bundled one unless a test names another.
    """

    stack: Stack
    trained: Path
    rest: AirflowRest
    repository: Repository
    traffic: Callable[[], dict[str, Any]]
    model: str = MODEL

    @property
    def pipeline_store(self) -> Path:
        """Where the metadata of the story's training pipeline are; nothing is there until a test writes it."""
        return self.stack.work.parent / PIPELINE_STORE

    @property
    def head(self) -> Head:
        """The newest transition, and whether it is applied."""
        head = read_head(self.repository.log(self.model))
        assert head is not None, "nothing was released yet"
        return head

    @property
    def state(self) -> ServingState:
        """The newest committed serving state."""
        return self.head.state

    def entries(self, *, after: int = 0) -> list[Entry]:
        """Return the log's entries with a higher number, the chain of digests checked."""
        return list(self.repository.log(self.model).entries(after=after))

    def changes(self, *, after: int) -> list[Entry]:
        """Return the transitions with a higher number."""
        return [entry for entry in self.entries(after=after) if entry.is_transition]

    @property
    def newest(self) -> int:
        """The number of the newest log entry."""
        last = self.repository.log(self.model).last()
        return last.sequence if last else 0

    def retold(self, *, after: int = 0) -> str:
        """Return the log in lines, for the message of a failure."""
        return "\n".join(
            f"{entry.sequence} {entry.at[11:23]} {entry.name} by {entry.origin.actor}: {entry.reason}"
            for entry in self.entries(after=after)
        )

    def applied_after(self, transition: Entry) -> float:
        """Return when every router had confirmed a transition, seconds since the epoch."""

        def found() -> Entry | None:
            facts = (entry for entry in self.entries(after=transition.sequence) if entry.name == "applied")
            return next((fact for fact in facts if fact.detail["generation"] == transition.sequence), None)

        fact = self.until(found, what=f"{transition.name} is applied")
        return datetime.fromisoformat(fact.at).timestamp()

    def release(self, model: str, *, dag: str | None = None, **conf: Any) -> Run:
        """Trigger the release of a trained model, or of what ``saved_model`` names."""
        record = self.trained / f"{model}.json"
        known = json.loads(record.read_text(encoding="utf-8")) if record.exists() else {}
        conf = {"saved_model": str(self.trained / model), **known, **conf}
        return self.trigger(dag or f"model_release_{self.model}", conf)

    def rollback(self, *, target: str, reason: str) -> Run:
        """Trigger a rollback as the user ``admin`` does."""
        return self.trigger(ROLLBACK, {"model": self.model, "target": target, "reason": reason})

    def trigger(self, dag: str, conf: dict[str, Any] | None = None) -> Run:
        """Start a DAG run over REST."""
        return Run(rest=self.rest, dag_id=dag, run_id=self.rest.trigger(dag, conf=conf))

    def hasty_release(self, *, dag: str = PATIENT) -> Run:
        """Release a good model without its validation."""
        self.no_release_is_live()
        run = self.release("good-2", dag=dag)
        self.skips_validation(run)
        return run

    def skips_validation(self, run: Run) -> None:
        """Mark the validation of a run successful, as a person may: loading TensorFlow takes its time."""
        self.until(lambda: "validate" in run.tasks, what="the scheduler has begun the run")
        self.rest.mark_task(run.dag_id, run.run_id, "validate", state="success")

    def live_canary(self) -> Run:
        """Return the run of a canary that gets its share while its check waits in the triggerer: a new one if need be."""
        live = self.state.release
        if live is not None and live.id.startswith(f"{PATIENT}/"):
            run = Run(rest=self.rest, dag_id=PATIENT, run_id=live.id.removeprefix(f"{PATIENT}/"))
        else:
            run = self.hasty_release()
        self.until(lambda: self.is_watched(run), what="the trigger measures", about=run)
        run.reaches(CHECK, "deferred")
        return run

    def no_release_is_live(self) -> None:
        """End what an earlier test has left, by hand."""
        live = self.state.release
        if live is None:
            return
        self.rollback(target="previous", reason="the test is over").ends("success")
        dag_id, _, run_id = live.id.partition("/")
        Run(rest=self.rest, dag_id=dag_id, run_id=run_id).ends("failed")

    def is_watched(self, run: Run) -> bool:
        """Whether a trigger has measured for the live attempt of a run."""
        live = self.state.release
        if live is None or live.id != run.release_id:
            return False
        return self.repository.read_evidence(self.model, live.id, f"attempt-{live.attempt}-judge") is not None

    def until(
        self, found: Callable[[], T | None], *, what: str, within: float = PATIENCE, about: Run | None = None
    ) -> T:
        """Wait for a condition.

        :param about: The run that an error is to describe, too.
        """

        def in_vain() -> str:
            return f"in vain for {within:g} s: {what}\n{self.retold()}\n{about.described() if about else ''}"

        return wait_until(found, timeout=within, otherwise=in_vain)

    def serves_only_stable(self, *, since: float, after: int = 0) -> float:
        """Wait until no release is live and the head is applied and confirmed by the clients; return the seconds it took.

        :param since: The event's time, seconds since the epoch.
        :param after: Only a head with a higher number counts.
        """

        def settled() -> Head | None:
            head = self.head
            done = head.state.release is None and head.applied_at is not None and head.generation > after
            return head if done else None

        head = self.until(settled, what="no release is live, and the head is applied")
        assert head.state.stable is not None
        assert head.applied_at is not None
        self.clients_see_only(str(head.state.stable.number))
        return head.applied_at - since

    def clients_see_only(self, number: str) -> None:
        """Wait until every answer of the last seconds came from one version."""

        def steady() -> bool:
            newest = self.traffic()["timeline"][-_STEADY_SECONDS:]
            return len(newest) == _STEADY_SECONDS and all(set(second["versions"]) == {number} for second in newest)

        self.until(steady, what=f"the clients see version {number} only")

    def clients_saw(self, number: str) -> bool:
        """Whether a version has answered any request."""
        return number in self.traffic()["by_version"]

    @contextmanager
    def busy_fleet(self) -> Iterator[None]:
        """Hold the fleet's lock, as another worker does: whoever commits cannot apply meanwhile, and is killed in between."""
        with self.repository.fleet(FLEET).lock(wait_seconds=PATIENCE):
            yield

    @contextmanager
    def paused(self, dag: str) -> Iterator[None]:
        """Let no task of a DAG begin; one that runs goes on."""
        self.rest.unpause(dag, paused=True)
        try:
            yield
        finally:
            self.rest.unpause(dag)

    def kill_component(self, component: str) -> float:
        """Kill a component of Airflow and everything it started with SIGKILL; return when."""
        leader = psutil.Process(self.stack.airflow.pids[component])
        _kill([leader, *leader.children(recursive=True)])
        return time.time()

    def restart_component(self, component: str) -> None:
        """Start a killed component again, as a service manager does."""
        self.stack.airflow.start_component(component)

    def kill_worker_of(self, run: Run, task: str) -> float:
        """Kill the process of a running task and the executor's worker above it with SIGKILL; return when.

        As the kernel does when memory runs out: nobody is left who could tell Airflow.
        """
        runner = self._runner_of(run, task)
        above = runner.parent()
        _kill([above, runner] if above else [runner])
        return time.time()

    def kill_task_of(self, run: Run, task: str) -> float:
        """Kill the process of a running task alone; return when. The worker above it tells Airflow, which tries again."""
        _kill([self._runner_of(run, task)])
        return time.time()

    def _runner_of(self, run: Run, task: str) -> psutil.Process:
        title = f"airflow worker -- {run.row(task)['id']}"

        def running() -> psutil.Process | None:
            scheduler = psutil.Process(self.stack.airflow.pids["scheduler"])
            return next((child for child in scheduler.children(recursive=True) if _title(child) == title), None)

        return self.until(running, what=f"a process {title!r} below the scheduler")


def _title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline()).strip()
    except psutil.Error:
        return ""


def _kill(processes: Iterable[psutil.Process]) -> None:
    """Kill parents first, so that none can report its child's death."""
    for process in processes:
        try:
            process.send_signal(signal.SIGKILL)
        except psutil.NoSuchProcess:
            continue
