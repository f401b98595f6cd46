"""A release in memory under watch, for stories about steps: version 1 serves, version 2 is on trial."""

from __future__ import annotations

from typing import Any

from airflow_model_ops.control.evidence_book import EvidenceBook
from airflow_model_ops.control.model_control import ModelControl
from airflow_model_ops.control.step_check import StepCheck, StepOutcome
from airflow_model_ops.core.checks import Check, CheckKind
from airflow_model_ops.core.log import Entry, Origin
from airflow_model_ops.core.policy import OnDeadline, ReleasePolicy, Step
from airflow_model_ops.core.state import Actor, ActorKind, Fence, ServingState
from airflow_model_ops.core.versioning import Scheme, Version, VersionNaming
from airflow_model_ops.testing import InMemoryRepository, InMemoryTarget, ManualClock
from tests.control.counted_traffic import CountedTraffic, arms_of

NAMING = VersionNaming(scheme=Scheme.SEMANTIC, prefix="digits")
PERSON = Actor(kind=ActorKind.PERSON, name="ada")
AUTOMATION = Actor(kind=ActorKind.AUTOMATION, name="model_release_digits")
INTERVAL = 10.0


def v(major: int) -> Version:
    return NAMING.parse(f"digits-v{major}.0.0")


class WatchedRelease:
    """A model that serves version 1 and tries version 2, watched by a trigger that may be restarted at any time."""

    def __init__(
        self, *, stable: bool = True, on_deadline: OnDeadline = OnDeadline.HOLD, repository: Any = None
    ) -> None:
        """:param repository: One that holds the versions already; by default one in memory."""
        self.clock = ManualClock()
        self.repository: InMemoryRepository = repository or InMemoryRepository()
        self.target = InMemoryTarget()
        self.traffic = CountedTraffic(self.clock, split=lambda: self.target.observe("digits").split)
        self.policy = ReleasePolicy(
            model="digits",
            naming=NAMING,
            steps=(Step(percent=10, bake_seconds=60), Step(percent=50, bake_seconds=60)),
            checks=(
                Check(name="errors", kind=CheckKind.ERROR_RATE, max=0.2, margin=2),
                Check(name="muted", kind=CheckKind.ERROR_RATE, max=0.001, muted=True),
            ),
            interval_seconds=INTERVAL,
            deadline_seconds=300,
            on_deadline=on_deadline,
        )
        self.fence = Fence(release="r", attempt=1)
        for major in () if repository else (1, 2, 3):
            self.repository.add_version("digits", v(major))
        if stable:
            self.release(1, fence=Fence(release="first", attempt=1), percent=100)
            self.control().promote(v(1), fence=Fence(release="first", attempt=1), proof="good")
            self.apply()
        self.release(2, fence=self.fence, percent=10)

    def control(self, actor: Actor = AUTOMATION) -> ModelControl:
        return ModelControl(
            model="digits",
            naming=NAMING,
            repository=self.repository,
            target=self.target,
            initial=ServingState(fleet="main"),
            origin=Origin(actor=actor),
            clock=self.clock,
        )

    def apply(self) -> None:
        self.control().apply(deadline_seconds=5)

    def release(self, major: int, *, fence: Fence, percent: float) -> None:
        control = self.control()
        control.start_canary(v(major), fence=fence)
        self.shift(percent, fence=fence)

    def shift(self, percent: float, *, fence: Fence | None = None) -> None:
        self.control().shift(fence=fence or self.fence, percent=percent)
        self.apply()

    def check(self, *, step: int = 0, source: Any = None) -> StepCheck:
        """A watcher that remembers nothing, as after a restart."""
        return StepCheck(
            control=self.control(),
            source=source or self.traffic,
            policy=self.policy,
            step_index=step,
            fence=self.fence,
            version=v(2),
            arms_of=arms_of,
        )

    def ticks(self, times: int, *, check: StepCheck | None = None, step: int = 0) -> StepOutcome | None:
        """Measure every interval until the step is over; without ``check`` each time by another watcher."""
        for _ in range(times):
            self.clock.advance(INTERVAL)
            outcome = (check or self.check(step=step)).tick()
            if outcome is not None:
                return outcome
        return None

    @property
    def book(self) -> EvidenceBook:
        """What is kept, as one who comes fresh reads it."""
        book = EvidenceBook(self.repository, model="digits", fence=self.fence)
        book.load()
        return book

    def numbers(self, check: str = "errors") -> Any:
        """What is behind a check by what is kept."""
        summary = self.book.judge.summary(subject="it")
        return next(each.numbers for each in summary.assessments if each.check == check)

    def counted(self, check: str = "errors") -> tuple[float, list[tuple[str, str]]]:
        """How many canary requests are kept, and over which spans they were counted."""
        kept = [each for entry in self.book.entries() for each in entry.evidence if each.check == check]
        spans = [(each.begin or each.at, each.at) for each in kept if each.canary.samples]
        return sum(each.canary.samples or 0 for each in kept), spans

    @property
    def state(self) -> ServingState:
        return self.control().state

    @property
    def split(self) -> dict[int, float]:
        return {number // 10**8: percent for number, percent in self.target.observe("digits").split.items()}

    @property
    def entries(self) -> list[Entry]:
        return list(self.repository.log("digits").entries())

    @property
    def names(self) -> list[str]:
        return [entry.name for entry in self.entries]
