"""What the stories of operators and triggers need: a fleet in memory in the place of all connections, and task contexts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

from airflow_model_ops.config.fleet import parse_fleet
from airflow_model_ops.config.model_file import ModelFile, parse_model_file
from airflow_model_ops.control.model_control import ModelControl
from airflow_model_ops.core.log import Entry, Origin
from airflow_model_ops.core.state import Actor, ActorKind, Fence
from airflow_model_ops.core.versioning import Version
from airflow_model_ops.hooks.wiring import Fleet, standing_in
from airflow_model_ops.testing import InMemoryRepository, InMemoryTarget, ManualClock
from tests.control.counted_traffic import CountedTraffic

YAML = """
model: digits
versions: {scheme: semantic, prefix: digits}
canary:
  steps: [{percent: 10, bake: 30s}, {percent: 50, bake: 30s}]
  interval: 10s
  deadline: 10m
checks:
  - {name: errors, kind: error_rate, max: 0.2, margin: 3}
"""
PERSON = Actor(kind=ActorKind.PERSON, name="ada")
AUTOMATION = Actor(kind=ActorKind.AUTOMATION, name="model_release_digits")


class TellingSource(CountedTraffic):
    """Traffic that goes as the story tells it to."""

    def safe(self) -> None:
        self.good()

    def harm(self) -> None:
        self.harmful()

    def breach(self) -> None:
        self.awful()

    def nothing(self) -> None:
        self.rps = 0.0

    def stale(self) -> None:
        self.behind = 3600.0

    def down(self) -> None:
        self.trouble = "connection refused"

    def few(self) -> None:
        self.rps = 10.0


@dataclass(kw_only=True)
class Story:
    """A fleet that serves ``digits``."""

    clock: ManualClock = field(default_factory=ManualClock)
    repository: InMemoryRepository = field(default_factory=InMemoryRepository)
    target: InMemoryTarget = field(default_factory=InMemoryTarget)
    model: ModelFile = field(default_factory=lambda: parse_model_file(YAML))

    def __post_init__(self) -> None:
        self.source = TellingSource(self.clock, split=lambda: self.target.observe("digits").split)
        form = {"servers": "a:1/2", "router_config_dir": "live", "router_admin": "http://b:1", "initially": "empty"}
        self.fleet = Fleet(
            name="main",
            repository=self.repository,
            target=self.target,
            config=parse_fleet({**form, "fleet": "main"}, source="story"),
            clock=self.clock,
        )

    def v(self, major: int) -> Version:
        """Return version ``major``, pushed."""
        version = self.model.naming().parse(f"digits-v{major}.0.0")
        self.repository.add_version("digits", version)
        return version

    def control(self, actor: Actor = AUTOMATION) -> ModelControl:
        return self.fleet.control(self.model, origin=Origin(actor=actor))

    def serve(self, *majors: int) -> None:
        """Let versions have become stable one after the other."""
        for major in majors:
            control, fence = self.control(), Fence(release=f"before-{major}", attempt=1)
            control.start_canary(self.v(major), fence=fence)
            control.shift(fence=fence, percent=50)
            control.promote(self.v(major), fence=fence, proof="it was good")
            control.apply(deadline_seconds=5)
        self.clock.advance(600)

    def start(self, major: int, *, percent: float = 10, release: str = "r", attempt: int = 1) -> dict[str, str]:
        """Let a release be live and applied; return what ``StartCanaryOperator`` hands on."""
        control, fence, version = self.control(), Fence(release=release, attempt=attempt), self.v(major)
        control.start_canary(version, fence=fence)
        if percent:
            control.shift(fence=fence, percent=percent)
        control.apply(deadline_seconds=5)
        return {
            "release": release,
            "attempt": str(attempt),
            "version": version.name,
            "number": str(version.number),
        }

    @property
    def split(self) -> dict[int, float]:
        """What the routers give now, by major version."""
        return {number // 10**8: percent for number, percent in self.target.observe("digits").split.items()}

    @property
    def entries(self) -> list[Entry]:
        return list(self.repository.log("digits").entries())

    @property
    def names(self) -> list[str]:
        return [entry.name for entry in self.entries]


class OutletEvents(dict[Any, Any]):
    """What Airflow hands to a task for its outlets: an accessor per asset or alias."""

    def __missing__(self, key: Any) -> Any:
        accessor = SimpleNamespace(extra={}, added=[])
        accessor.add = lambda asset, extra: accessor.added.append((asset, extra))
        self[key] = accessor
        return accessor


def context_of(
    *,
    dag_id: str = "model_release_digits",
    run_id: str = "manual__1",
    task_id: str = "task",
    run_type: str = "manual",
    user: str | None = "ada",
    try_number: int = 1,
    max_tries: int = 3,
) -> Any:
    """Return the context of a task, as far as operators of this package look at it."""
    pushed: dict[str, Any] = {}
    run = SimpleNamespace(
        dag_id=dag_id,
        run_id=run_id,
        run_type=run_type,
        triggering_user_name=user,
        run_after=datetime(2023, 6, 1, 12, tzinfo=UTC),
        end_date=None,
    )
    ti = SimpleNamespace(
        task_id=task_id,
        try_number=try_number,
        max_tries=max_tries,
        xcom_push=lambda *, key, value: pushed.update({key: value}),
        pushed=pushed,
    )
    return {"dag_run": run, "ti": ti, "run_id": run_id, "outlet_events": OutletEvents()}


@contextmanager
def on_stage(**changes: Any) -> Iterator[Story]:
    """A story whose fleet takes the place of all connections."""
    story = Story(**changes)
    with standing_in(story.fleet, metrics=story.source):
        yield story
