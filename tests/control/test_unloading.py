"""An unloading that loses its lock: the list that is too short comes after a newer one, and must not stay."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import cast

import pytest

from airflow_model_ops.control.upkeep import LOOK_SECONDS, Upkeep
from airflow_model_ops.core.errors import FleetBusy, ServerRefused
from airflow_model_ops.core.log import Origin
from airflow_model_ops.core.ports import Repository
from airflow_model_ops.core.state import Fence
from tests.control.memory_fleet import AUTOMATION, PERSON, MemoryFleet, version
from tests.waits import all_ended

N1 = version(1).number


class Killed(BaseException):
    """The worker is gone at this point."""


class Story:
    """Version 4 serves, 1 is about to be un-listed; right before that list is sent, a person goes back to 1.

    :param after: Happens at the unloading's first write after its list.
    """

    def __init__(self, *, after: Callable[[], None] = lambda: None) -> None:
        self.fleet = MemoryFleet(point=self.point, waits=lambda: False)
        self.before: Callable[[], None] | None = None
        self.after = after
        self.sent = False
        for major in (1, 2, 3, 4):
            fence = Fence(release=f"r{major}", attempt=1)
            self.fleet.control().start_canary(version(major), fence=fence, percent=10)
            self.fleet.control().promote(version(major), fence=fence, proof="it is good")
            self.fleet.control().apply(deadline_seconds=5)
        self.fleet.clock.sleep(600)

    def point(self, name: str) -> None:
        if self.sent:
            self.sent = False
            self.after()
        if name == "server reload" and self.before is not None:
            before, self.before = self.before, None
            before()
            self.sent = True

    def unload(self) -> None:
        self.before = self.go_back
        self.fleet.control().applier.unload(deadline_seconds=0)

    def go_back(self) -> None:
        """By another worker, who takes the lock from one that was stopped for too long."""

        def work() -> None:
            person = self.fleet.control(actor=PERSON)
            person.rollback(reason="wrong digits", to="m-v1.0.0")
            person.apply(deadline_seconds=5)

        worker = threading.Thread(target=work, daemon=True)
        worker.start()
        all_ended(worker)
        assert self.fleet.split() == {N1: 100.0}

    def upkeep(self) -> Upkeep:
        return Upkeep(
            repository=cast("Repository", self.fleet.repository),
            target=self.fleet.control().target,
            fleet="main",
            clock=self.fleet.clock,
            origin=Origin(actor=AUTOMATION),
        )


def test_a_lock_that_was_lost_is_reported_once_everything_is_as_the_heads_say() -> None:
    story = Story()
    with pytest.raises(FleetBusy):
        story.unload()
    assert story.fleet.unavailable() == set()


def test_after_any_other_error_too() -> None:
    def refuse() -> None:
        raise ServerRefused("the list was taken in part")

    story = Story(after=refuse)
    with pytest.raises(ServerRefused):
        story.unload()
    assert story.fleet.unavailable() == set()


def test_a_worker_that_dies_of_it_is_found_within_seconds_and_its_list_replaced() -> None:
    def die() -> None:
        raise Killed

    story = Story(after=die)
    watcher = story.upkeep()
    assert watcher.neglected().models == ()
    with pytest.raises(Killed):
        story.unload()
    assert story.fleet.unavailable() == {N1}
    story.fleet.clock.sleep(LOOK_SECONDS)
    assert watcher.neglected().astray == ("digits",)
    assert watcher.reconcile(deadline_seconds=5).failed == {}
    assert story.fleet.unavailable() == set()


def test_a_server_that_was_restarted_without_labels_is_labelled_again() -> None:
    story = Story()
    story.fleet.server.labels = {}
    watcher = story.upkeep()
    assert watcher.neglected().astray == ("digits",)
    assert watcher.reconcile(deadline_seconds=5).failed == {}
    assert story.fleet.server.labels == {"digits": {"stable": version(4).number}}
    story.fleet.clock.sleep(LOOK_SECONDS)
    assert watcher.neglected().models == ()
