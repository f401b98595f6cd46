"""What somebody must do though nobody asked: heads that a killed worker left, releases that nobody looks after, drift."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_model_ops.control.commit import seconds_of
from airflow_model_ops.control.leases import WORKING_SECONDS
from airflow_model_ops.control.model_control import ModelControl
from airflow_model_ops.control.upkeep import GRACE_SECONDS, LOOK_SECONDS, Neglected, Upkeep
from airflow_model_ops.core.errors import CommitConflict, RepositoryUnavailable
from airflow_model_ops.core.log import Origin
from airflow_model_ops.core.state import Actor, ActorKind, Fence, ServingState
from airflow_model_ops.core.versioning import Scheme, Version, VersionNaming
from airflow_model_ops.testing import InMemoryRepository, InMemoryTarget, ManualClock

NAMING = VersionNaming(scheme=Scheme.SEMANTIC, prefix="m")
WATCHER = Origin(actor=Actor(kind=ActorKind.AUTOMATION, name="watcher"))
LIVE = Fence(release="r", attempt=1)


def v(major: int) -> Version:
    return NAMING.parse(f"m-v{major}.0.0")


class Fleet:
    """Several models, of which each serves version 2 and served 1 before."""

    def __init__(self, *models: str) -> None:
        self.clock = ManualClock()
        self.repository, self.target = InMemoryRepository(), InMemoryTarget()
        self.upkeep = Upkeep(
            repository=self.repository, target=self.target, fleet="main", clock=self.clock, origin=WATCHER
        )
        for model in models:
            for major in (1, 2, 3):
                self.repository.add_version(model, v(major))
            for major in (1, 2):
                fence = Fence(release=f"before-{major}", attempt=1)
                self.control(model).start_canary(v(major), fence=fence)
                self.control(model).promote(v(major), fence=fence, proof="good")
                self.control(model).apply(deadline_seconds=5)
        self.clock.advance(600)

    def control(self, model: str = "a") -> ModelControl:
        return ModelControl(
            model=model,
            naming=NAMING,
            repository=self.repository,
            target=self.target,
            initial=ServingState(fleet="main"),
            origin=WATCHER,
            clock=self.clock,
        )

    def start(self, model: str = "a") -> ModelControl:
        """Let a release be live and applied."""
        control = self.control(model)
        control.start_canary(v(3), fence=LIVE, percent=10)
        control.apply(deadline_seconds=5)
        return control

    def split(self, model: str = "a") -> dict[int, float]:
        return {number // 10**8: percent for number, percent in self.target.observe(model).split.items()}

    def neglected_after(self, seconds: float) -> Neglected:
        self.clock.advance(seconds)
        return self.upkeep.neglected()


@pytest.fixture
def fleet() -> Fleet:
    return Fleet("a", "b")


class TestNeglected:
    def test_a_fleet_that_follows_its_heads_needs_nobody(self, fleet: Fleet) -> None:
        assert fleet.upkeep.neglected().models == ()

    def test_a_head_that_is_not_applied_needs_a_hand_after_the_grace(self, fleet: Fleet) -> None:
        fleet.control().rollback(reason="killed here")

        assert fleet.neglected_after(GRACE_SECONDS).models == ()
        assert fleet.neglected_after(1) == Neglected(unapplied=("a",))

    def test_its_author_is_left_alone_as_long_as_the_lease_is_renewed(self, fleet: Fleet) -> None:
        control = fleet.control()
        control.start_canary(v(3), fence=LIVE)  # a load that takes minutes
        for _ in range(20):
            control.leases.renew(LIVE, v(3))
            assert fleet.neglected_after(WORKING_SECONDS / 4).models == ()

        assert fleet.neglected_after(WORKING_SECONDS / 4) == Neglected(unapplied=("a",))

    def test_the_lease_of_a_watched_step_does_not_hide_a_head_that_nobody_applies(self, fleet: Fleet) -> None:
        control = fleet.start()
        control.hold(reason="a person's command line was killed before it could apply this")
        for _ in range(3):
            control.leases.renew(LIVE, v(3), seconds=120)
            fleet.clock.advance(3)

        assert fleet.upkeep.neglected() == Neglected(unapplied=("a",))

    def test_a_release_whose_lease_ran_out_is_abandoned(self, fleet: Fleet) -> None:
        fleet.start("b")

        assert fleet.neglected_after(WORKING_SECONDS).models == ()
        assert fleet.neglected_after(1) == Neglected(abandoned=("b",))

    def test_documents_of_another_generation_need_a_hand(self, fleet: Fleet) -> None:
        fleet.control().rollback(reason="back")
        fleet.control().apply(deadline_seconds=5)
        fleet.target._routes["a"] = (1, {v(2).number: 100.0})  # a stale write by a worker that died at once

        assert fleet.neglected_after(10) == Neglected(unapplied=("a",))

    def test_models_of_another_fleet_are_not_looked_at(self, fleet: Fleet) -> None:
        other = Upkeep(
            repository=fleet.repository, target=fleet.target, fleet="other", clock=fleet.clock, origin=WATCHER
        )
        fleet.control().rollback(reason="killed here")
        fleet.clock.advance(60)

        assert other.neglected().models == ()

    def test_it_needs_no_servers_answer(self, fleet: Fleet) -> None:
        fleet.target.unavailable_servers.add("server-1")
        fleet.control().rollback(reason="killed here")

        assert fleet.neglected_after(10).models == ("a",)

    def test_a_server_that_lost_what_an_applied_head_needs_is_seen_within_seconds_and_filled_again(
        self, fleet: Fleet
    ) -> None:
        assert fleet.upkeep.neglected().models == ()
        del fleet.target._passes_left["server-1"]["a"][v(1).number]  # the way back is not warm any longer

        assert fleet.neglected_after(LOOK_SECONDS) == Neglected(astray=("a",))
        assert fleet.neglected_after(2) == Neglected(astray=("a",))  # until the next look
        assert fleet.upkeep.reconcile(deadline_seconds=5).failed == {}
        assert fleet.neglected_after(LOOK_SECONDS).models == ()


class TestReconcile:
    def test_a_killed_rollback_is_finished(self, fleet: Fleet) -> None:
        fleet.control().rollback(reason="killed here")

        result = fleet.upkeep.reconcile(deadline_seconds=5)

        assert fleet.split() == {1: 100}
        assert (set(result.done), result.failed) == ({"a"}, {})

    def test_an_abandoned_release_is_ended_and_its_version_stays_a_candidate(self, fleet: Fleet) -> None:
        fleet.start()
        fleet.clock.advance(WORKING_SECONDS + 1)

        result = fleet.upkeep.reconcile(deadline_seconds=5)

        assert fleet.split() == {2: 100}
        assert "abandoned" in result.done["a"]
        assert result.done["a"].endswith("; applied")
        assert not fleet.control().state.quarantined

    def test_a_release_that_is_looked_after_is_left_alone(self, fleet: Fleet) -> None:
        fleet.start()

        assert fleet.upkeep.reconcile(deadline_seconds=5).done == {}
        assert fleet.split() == {2: 90, 3: 10}

    def test_a_second_time_there_is_nothing_to_do(self, fleet: Fleet) -> None:
        fleet.control().rollback(reason="killed here")
        fleet.upkeep.reconcile(deadline_seconds=5)
        entries = len(list(fleet.repository.log("a").entries()))

        assert fleet.upkeep.reconcile(deadline_seconds=5).done == {}
        assert len(list(fleet.repository.log("a").entries())) == entries

    def test_drift_that_no_commit_made_is_mended(self, fleet: Fleet) -> None:
        generation, _ = fleet.target._routes["a"]
        fleet.target._routes["a"] = (generation, {v(1).number: 100.0})  # somebody edited the routes by hand

        fleet.upkeep.reconcile(deadline_seconds=5)

        assert fleet.split() == {2: 100}

    def test_one_model_that_cannot_be_mended_does_not_keep_the_others_from_it(self, fleet: Fleet) -> None:
        fleet.target.broken_versions.add(v(3).number)
        fleet.control("a").rollback(reason="back", to="m-v1.0.0")
        fleet.control("b").start_canary(v(3), fence=LIVE, percent=10)
        fleet.clock.advance(WORKING_SECONDS - 1)

        result = fleet.upkeep.reconcile(deadline_seconds=1)

        assert fleet.split("a") == {1: 100}
        assert set(result.failed) == {"b"}
        assert "cannot be loaded" in result.failed["b"]

    def test_a_log_that_cannot_be_won_does_not_keep_the_others_from_it(
        self, fleet: Fleet, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        fleet.start("a")
        fleet.clock.advance(WORKING_SECONDS + 1)
        fleet.control("b").rollback(reason="killed here")

        def busy(entry: object) -> bool:
            raise CommitConflict("other writers won")

        monkeypatch.setattr(fleet.repository.log("a"), "put_if_absent", busy)
        result = fleet.upkeep.reconcile(deadline_seconds=1)

        assert fleet.split("b") == {1: 100}
        assert "other writers won" in result.failed["a"]

    def test_a_load_that_its_author_works_on_is_neither_waited_for_nor_a_failure(self, fleet: Fleet) -> None:
        fleet.target.load_passes = 10**6
        fleet.control().start_canary(v(3), fence=LIVE, percent=10)
        fleet.control().leases.renew(LIVE, v(3))
        before = fleet.clock.now()

        result = fleet.upkeep.reconcile(deadline_seconds=60)

        assert result.failed == {}
        assert fleet.clock.now() - before < 1


class TestModelsThatGetStuck:
    def stick(self, fleet: Fleet, *models: str) -> None:
        fleet.target.load_passes = 10**6
        for model in models:
            fleet.control(model).start_canary(v(3), fence=LIVE, percent=10)
            fleet.control(model).leases.renew(LIVE, v(3), seconds=300)  # between two tasks

    def test_they_share_one_deadline(self, fleet: Fleet) -> None:
        self.stick(fleet, "a", "b")
        before = fleet.clock.now()

        assert set(fleet.upkeep.reconcile(deadline_seconds=10).failed) == {"a", "b"}
        assert fleet.clock.now() - before < 11

    def test_a_way_back_that_is_committed_meanwhile_does_not_wait_for_them(
        self, fleet: Fleet, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.stick(fleet, "a")
        committed: list[float] = []
        sleep = fleet.clock.sleep

        def sleep_and_go_back(seconds: float) -> None:
            sleep(seconds)
            if not committed:
                committed.append(fleet.clock.now())
                fleet.control("b").rollback(reason="its author is killed here")

        monkeypatch.setattr(fleet.clock, "sleep", sleep_and_go_back)
        fleet.upkeep.reconcile(deadline_seconds=60)

        (applied,) = [e for e in fleet.repository.log("b").entries() if e.name == "applied" and e.sequence > 6]
        assert seconds_of(applied.at) - committed[0] < 1


class TestOneModelsFilesThatCannotBeRead:
    def test_a_log_is_reported_and_stops_no_other_model(self, fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
        fleet.control("b").rollback(reason="killed here")
        monkeypatch.setattr(fleet.repository.log("a"), "last", away)

        assert fleet.neglected_after(10) == Neglected(unapplied=("b",))
        result = fleet.upkeep.reconcile(deadline_seconds=5)

        assert fleet.split("b") == {1: 100}
        assert result.failed == {"a": "the file server does not answer"}

    def test_a_lease_is_reported_and_stops_no_other_model(self, fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
        fleet.start("a")
        fleet.control("b").rollback(reason="killed here")
        real = fleet.repository.leases
        monkeypatch.setattr(fleet.repository, "leases", lambda model: away() if model == "a" else real(model))

        assert fleet.neglected_after(10) == Neglected(unapplied=("b",))
        result = fleet.upkeep.reconcile(deadline_seconds=5)

        assert fleet.split("b") == {1: 100}
        assert result.failed == {"a": "the file server does not answer"}

    def test_a_log_that_cannot_be_written_stops_no_other_model(
        self, fleet: Fleet, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for model in ("a", "b"):
            fleet.control(model).rollback(reason="killed here")
        monkeypatch.setattr(fleet.repository.log("a"), "put_if_absent", away)

        result = fleet.upkeep.reconcile(deadline_seconds=1)

        assert fleet.split("b") == {1: 100}
        assert (set(result.done), set(result.failed)) == ({"b"}, {"a"})


def away(*_: object) -> Any:
    raise RepositoryUnavailable("the file server does not answer")
