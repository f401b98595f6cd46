"""Old work cannot win: a release that shifts or promotes while a person rolls back, in every order of their writes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import pytest

from airflow_model_ops.core.errors import PreEmpted
from airflow_model_ops.core.log import FactKind
from airflow_model_ops.core.state import Fence
from airflow_model_ops.core.transitions import Action
from tests.control.memory_fleet import PERSON, MemoryFleet, version
from tests.control.schedules import Schedule, all_schedules

FENCE = Fence(release="r3", attempt=1)
N1, N2, N3 = (version(major).number for major in (1, 2, 3))
_RELEASES = ("shift", "promote")
_DEEPER = pytest.mark.slow


@cache
def canary_at_ten_percent() -> Mapping[str, Any]:
    """Version 2 is stable, 1 was before, 3 is on trial with 10 %, all applied."""
    fleet = MemoryFleet(point=lambda _: None, waits=lambda: False)
    control = fleet.control()
    for major in (1, 2, 3):
        fence = Fence(release=f"r{major}", attempt=1)
        control.start_canary(version(major), fence=fence, percent=10)
        control.apply(deadline_seconds=5)
        if major < 3:
            control.promote(version(major), fence=fence, proof="it is good")
            control.apply(deadline_seconds=5)
    return fleet.snapshot()


class Story:
    """One run of a releasing worker and a person who rolls back."""

    def __init__(self, *, release: str, to: str | None) -> None:
        self.release = release
        self.to = to
        self.fleet = MemoryFleet(point=lambda _: None, waits=lambda: False)

    def run(self, schedule: Schedule) -> Schedule:
        self.fleet = MemoryFleet(point=schedule.point, waits=schedule.waits)
        self.fleet.restore(canary_at_ten_percent())
        schedule.run(release=self._release, person=self._rollback)
        return schedule

    def _release(self) -> None:
        control = self.fleet.control()
        try:
            if self.release == "shift":
                control.shift(fence=FENCE, percent=50)
            else:
                control.promote(version(3), fence=FENCE, proof="it is good")
        except PreEmpted:
            return
        control.apply(deadline_seconds=60)

    def _rollback(self) -> None:
        control = self.fleet.control(actor=PERSON)
        control.rollback(reason="wrong digits", to=self.to)
        control.apply(deadline_seconds=60)

    def expect_the_rollback_has_won(self, schedule: Schedule) -> None:
        control = self.fleet.control()
        state, generation = control.committer.head()
        head = self.fleet.repository.log("digits").read(generation)
        assert head is not None
        assert head.action is Action.ROLLBACK, schedule.trace
        assert state.stable == version(1 if self.to else 2), schedule.trace
        assert self.fleet.split() == {state.stable.number: 100.0}, schedule.trace
        assert self.fleet.unavailable() == set(), schedule.trace
        assert control.applier.unapplied() == (), schedule.trace
        assert generation in self._applied(), schedule.trace

    def _applied(self) -> list[int]:
        entries = self.fleet.repository.log("digits").entries()
        return [entry.detail["generation"] for entry in entries if entry.name == FactKind.APPLIED.value]


@pytest.mark.parametrize("preemptions", [3, pytest.param(5, marks=_DEEPER)])
@pytest.mark.parametrize("to", [None, "m-v1.0.0"])
@pytest.mark.parametrize("release", _RELEASES)
def test_in_every_interleaving_the_rollback_wins_and_stays(release: str, to: str | None, preemptions: int) -> None:
    story = Story(release=release, to=to)
    seen = 0
    for schedule in all_schedules(lambda choices: story.run(Schedule(choices=choices)), preemptions=preemptions):
        story.expect_the_rollback_has_won(schedule)
        seen += 1
    assert seen > 50


@pytest.mark.parametrize("preemptions", [2, pytest.param(4, marks=_DEEPER)])
@pytest.mark.parametrize("to", [None, "m-v1.0.0"])
@pytest.mark.parametrize("release", _RELEASES)
def test_with_a_lock_that_is_lost_at_any_point_the_rollback_wins_and_stays(
    release: str, to: str | None, preemptions: int
) -> None:
    """A worker that was stopped for longer than its lock lasts goes on writing what it had in hand."""
    story = Story(release=release, to=to)
    seen = 0
    for schedule in all_schedules(
        lambda choices: story.run(Schedule(choices=choices, lock_falls=True)), preemptions=preemptions
    ):
        story.expect_the_rollback_has_won(schedule)
        seen += 1
    assert seen > 30


def killed_at(story: Story, *, worker: str, place: int, lock_falls: bool) -> Callable[[Sequence[int]], Schedule]:
    return lambda choices: story.run(Schedule(choices=choices, kill=(worker, place), lock_falls=lock_falls))


@pytest.mark.parametrize("preemptions", [1, pytest.param(2, marks=_DEEPER)])
@pytest.mark.parametrize("lock_falls", [False, True])
@pytest.mark.parametrize("release", _RELEASES)
def test_a_stale_write_of_a_worker_that_then_dies_is_found_and_mended(
    release: str, lock_falls: bool, preemptions: int
) -> None:
    """Whatever the dead one left: either nothing is to do, or the watcher sees it and one apply mends it."""
    story = Story(release=release, to=None)
    mended, place, reached = 0, 1, True
    while reached:
        reached = False
        runs = killed_at(story, worker="release", place=place, lock_falls=lock_falls)
        for schedule in all_schedules(runs, preemptions=preemptions):
            reached |= schedule.killed
            control = story.fleet.control()
            if control.applier.unapplied():
                mended += 1
                control.apply(deadline_seconds=5)
            story.expect_the_rollback_has_won(schedule)
        place += 1
    assert place > 6
    assert mended > 0 or not lock_falls


@pytest.mark.parametrize("to", [None, "m-v1.0.0"])
def test_a_person_whose_worker_dies_after_the_commit_is_served_by_the_watcher(to: str | None) -> None:
    story = Story(release="shift", to=to)
    mended, place, reached = 0, 2, True  # point 1 is the commit itself
    while reached:
        reached = False
        for schedule in all_schedules(killed_at(story, worker="person", place=place, lock_falls=False), preemptions=1):
            reached |= schedule.killed
            control = story.fleet.control()
            if control.state.release is not None:
                continue  # it lost the race for its first entry and died before its second
            if control.applier.unapplied():
                mended += 1
                control.apply(deadline_seconds=5)
            story.expect_the_rollback_has_won(schedule)
        place += 1
    assert place > 6
    assert mended > 0
