"""A share that is held back after a promotion: who looks after it, what ends it, and how the automation goes back."""

from __future__ import annotations

from typing import cast

import pytest

from airflow_model_ops.control.commit import iso_time
from airflow_model_ops.control.heads import fleet_plan, read_heads
from airflow_model_ops.control.leases import HANDOVER_SECONDS, WORKING_SECONDS
from airflow_model_ops.control.model_control import ModelControl
from airflow_model_ops.control.upkeep import Neglected, Upkeep
from airflow_model_ops.core.errors import LoadFailed, ModelOnHold, NoRollbackTarget, PreEmpted, VersionAltered
from airflow_model_ops.core.log import Origin
from airflow_model_ops.core.ports import Repository
from airflow_model_ops.core.state import Actor, ActorKind, Fence, ServingState
from airflow_model_ops.core.transitions import Action
from airflow_model_ops.core.versioning import Scheme, Version, VersionNaming
from airflow_model_ops.testing import InMemoryRepository, InMemoryTarget, ManualClock
from tests.control.memory_fleet import MemoryFleet, version

NAMING = VersionNaming(scheme=Scheme.SEMANTIC, prefix="m")
PERSON = Actor(kind=ActorKind.PERSON, name="ada")
AUTOMATION = Actor(kind=ActorKind.AUTOMATION, name="model_release")
FIRST, SECOND, THIRD = (Fence(release=f"r{number}", attempt=1) for number in (1, 2, 3))


def v(major: int) -> Version:
    return NAMING.parse(f"m-v{major}.0.0")


class Altered(InMemoryRepository):
    """Has versions whose files somebody has changed."""

    def __init__(self) -> None:
        super().__init__()
        self.altered: set[Version] = set()

    def verify(self, model: str, version: Version) -> None:
        if version in self.altered:
            raise VersionAltered(f"{version} is not as it was pushed")
        super().verify(model, version)


class Story:
    """Version 2 was promoted over 1 with a hold-back of 5 % for an hour, by the release r2."""

    def __init__(self) -> None:
        self.clock, self.repository, self.target = ManualClock(), Altered(), InMemoryTarget()
        for major in (1, 2, 3):
            self.repository.add_version("digits", v(major))
        control = self.control()
        control.start_canary(v(1), fence=FIRST, percent=100)
        control.promote(v(1), fence=FIRST, proof="good")
        control.start_canary(v(2), fence=SECOND, percent=50)
        self.promote()
        self.apply()

    def promote(self) -> None:
        self.control().promote(v(2), fence=SECOND, proof="good", hold_back=5, hold_back_seconds=3600)

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

    @property
    def upkeep(self) -> Upkeep:
        origin = Origin(actor=Actor(kind=ActorKind.AUTOMATION, name="watcher"))
        return Upkeep(repository=self.repository, target=self.target, fleet="main", clock=self.clock, origin=origin)

    @property
    def split(self) -> dict[int, float]:
        return {number // 10**8: percent for number, percent in self.target.observe("digits").split.items()}

    @property
    def leases(self) -> list[str]:
        return [lease.release for lease in self.repository.leases("digits")]


@pytest.fixture
def story() -> Story:
    return Story()


def test_the_hold_back_serves_and_tells_how_long_it_is_meant_to(story: Story) -> None:
    holdback = story.control().state.holdback
    assert story.split == {2: 95, 1: 5}
    assert holdback is not None
    assert holdback.until == iso_time(story.clock.now() + 3600)


class TestSomebodyLooksAfterIt:
    def test_the_promotion_leaves_a_lease_that_lasts_until_its_watch_begins(self, story: Story) -> None:
        story.clock.advance(HANDOVER_SECONDS - 1)
        assert story.upkeep.neglected() == Neglected()
        story.clock.advance(2)
        assert story.upkeep.neglected() == Neglected(abandoned=("digits",))

    def test_as_long_as_its_watch_renews_the_lease_it_goes_on(self, story: Story) -> None:
        for _ in range(10):
            story.clock.advance(HANDOVER_SECONDS - 1)
            story.control().leases.renew(SECOND, v(2), seconds=HANDOVER_SECONDS)
            assert story.upkeep.reconcile(deadline_seconds=5).done == {}
        assert story.split == {2: 95, 1: 5}

    def test_when_nobody_does_stable_gets_everything_and_stays(self, story: Story) -> None:
        story.clock.advance(HANDOVER_SECONDS + 1)

        result = story.upkeep.reconcile(deadline_seconds=5)

        assert story.split == {2: 100}
        assert "the watch of release 'r2' attempt 1 was abandoned" in result.done["digits"]
        assert story.leases == []
        assert story.upkeep.neglected() == Neglected()

    def test_a_late_abort_of_its_release_does_not_take_its_lease_away(self, story: Story) -> None:
        """The teardown of a release aborts it whatever has become of it."""
        assert not story.control().abort(reason="teardown", fence=SECOND).changed
        assert story.leases == ["r2"]

    def test_a_late_retry_of_the_promotion_leaves_a_lease_again(self, story: Story) -> None:
        story.clock.advance(HANDOVER_SECONDS - 1)
        story.promote()
        story.clock.advance(10)
        assert story.upkeep.neglected() == Neglected()

    def test_its_watch_does_not_count_as_somebody_who_applies_the_next_head(self, story: Story) -> None:
        story.control(PERSON).pin_golden(v(1))  # and the command line is killed here
        story.control().leases.renew(SECOND, v(2), seconds=WORKING_SECONDS)
        story.clock.advance(5)
        assert story.upkeep.neglected() == Neglected(unapplied=("digits",))

    def test_a_promotion_without_one_leaves_no_lease(self, story: Story) -> None:
        story.control().start_canary(v(3), fence=THIRD, percent=50)
        story.control().promote(v(3), fence=THIRD, proof="good")
        assert story.leases == []
        assert story.upkeep.neglected().abandoned == ()

    def test_a_promotion_that_comes_too_late_holds_nothing_back(self, story: Story) -> None:
        story.control().start_canary(v(3), fence=THIRD, percent=50)
        story.control().abort(reason="a person's wish", fence=None)
        with pytest.raises(PreEmpted):
            story.control().promote(v(3), fence=THIRD, proof="good", hold_back=5)
        assert story.control().state.holdback is None


class TestItEnds:
    def test_by_its_watch_and_the_lease_with_it(self, story: Story) -> None:
        commit = story.control().end_hold_back(reason="an hour without harm", fence=SECOND)
        story.apply()
        assert (commit.changed, story.split, story.leases) == (True, {2: 100}, [])

    def test_not_by_the_watch_of_another_attempt(self, story: Story) -> None:
        late = Fence(release="r2", attempt=2)
        assert not story.control().end_hold_back(reason="over", fence=late).changed
        assert story.control().state.holdback is not None

    def test_by_a_person_even_while_the_model_is_held(self, story: Story) -> None:
        story.control(PERSON).hold(reason="audit")
        assert story.control(PERSON).end_hold_back(reason="enough", fence=None).changed
        assert story.leases == []

    def test_by_the_next_release_whose_lease_takes_its_place(self, story: Story) -> None:
        story.control().start_canary(v(3), fence=THIRD, percent=10)
        story.apply()
        assert story.split == {2: 90, 3: 10}
        assert story.leases == ["r3"]

    def test_while_servers_are_down_it_is_committed_and_applied_later(self, story: Story) -> None:
        story.target.unavailable_servers.add("server-1")
        assert story.control().end_hold_back(reason="over", fence=SECOND).changed
        story.target.unavailable_servers.clear()
        story.clock.advance(10)
        story.upkeep.reconcile(deadline_seconds=5)
        assert story.split == {2: 100}


class TestItsWatchGoesBack:
    def test_harm_brings_back_the_version_that_was_held_back_and_bans_the_other(self, story: Story) -> None:
        commit = story.control().rollback_watched(fence=SECOND, reason="ratio 4", harmed=True, evidence="evidence/r2")
        story.apply()
        entry = story.repository.log("digits").read(commit.generation)
        assert story.split == {1: 100}
        assert (commit.state.quarantined, commit.version, story.leases) == ((v(2),), v(1), [])
        assert entry is not None
        assert (entry.action, entry.release, entry.evidence) == (Action.ROLLBACK, SECOND, "evidence/r2")

    def test_it_goes_back_at_once_though_a_server_is_silent(self, story: Story) -> None:
        story.target.servers = ("server-1", "server-2")
        story.target._passes_left["server-2"] = {}
        story.target.unavailable_servers.add("server-2")
        story.control().rollback_watched(fence=SECOND, reason="ratio 4", harmed=True)
        story.apply()
        assert story.split == {1: 100}

    def test_a_second_time_nothing_changes(self, story: Story) -> None:
        story.control().rollback_watched(fence=SECOND, reason="over 5 %")
        again = story.control().rollback_watched(fence=SECOND, reason="over 5 %")
        assert (again.changed, again.state.stable) == (False, v(1))

    def test_a_person_who_was_faster_is_not_gone_past(self, story: Story) -> None:
        story.control(PERSON).rollback(reason="complaints")
        assert not story.control().rollback_watched(fence=SECOND, reason="ratio 4", harmed=True).changed
        assert story.control().state.quarantined == ()

    def test_nor_is_a_persons_pin(self, story: Story) -> None:
        story.control(PERSON).pin_golden(v(2))
        with pytest.raises(NoRollbackTarget, match=r"m-v2\.0\.0 goes on serving"):
            story.control().rollback_watched(fence=SECOND, reason="ratio 4", harmed=True)
        assert story.control().state.holdback is not None


class TestTheGuardGoesBack:
    def test_to_what_is_usable_and_says_what_is_not(self, story: Story) -> None:
        story.control().end_hold_back(reason="over", fence=SECOND)
        story.target._passes_left["server-1"]["digits"].pop(v(1).number)
        story.repository.altered.add(v(1))
        with pytest.raises(NoRollbackTarget, match=r"m-v1\.0\.0 is not as it was pushed"):
            story.control().rollback_guarded(version=v(2), reason="9 % wrong")
        assert story.control().state.stable == v(2)

    def test_while_a_release_is_live_it_ends_that_too(self, story: Story) -> None:
        story.control().start_canary(v(3), fence=THIRD, percent=10)
        commit = story.control().rollback_guarded(version=v(2), reason="9 % wrong", evidence="evidence/guard")
        story.apply()
        assert (story.split, commit.state.release, story.leases) == ({1: 100}, None, [])

    def test_once_for_one_alarm(self, story: Story) -> None:
        story.control().rollback_guarded(version=v(2), reason="9 % wrong")
        assert not story.control().rollback_guarded(version=v(2), reason="9 % wrong").changed
        assert story.control().state.stable == v(1)

    def test_but_not_for_a_model_that_a_person_holds(self, story: Story) -> None:
        story.control(PERSON).hold(reason="I am on it")
        with pytest.raises(ModelOnHold, match="I am on it"):
            story.control().rollback_guarded(version=v(2), reason="9 % wrong")


class TestOnTheFleet:
    """With the plans and routes of TF Serving behind Envoy."""

    @pytest.fixture
    def fleet(self) -> MemoryFleet:
        fleet = MemoryFleet(point=lambda _: None, waits=lambda: False)
        control = fleet.control()
        for major, hold_back in ((1, 0), (2, 5)):
            fence = Fence(release=f"r{major}", attempt=1)
            control.start_canary(version(major), fence=fence, percent=50)
            control.apply(deadline_seconds=5)
            control.promote(version(major), fence=fence, proof="good", hold_back=hold_back)
            control.apply(deadline_seconds=5)
        return fleet

    def test_the_share_of_the_version_that_is_held_back_is_routed_to_it(self, fleet: MemoryFleet) -> None:
        assert fleet.split() == {version(2).number: 95, version(1).number: 5}
        assert fleet.unavailable() == set()

    def test_a_promotion_is_not_applied_before_every_server_has_both(self, fleet: MemoryFleet) -> None:
        control = fleet.control()
        control.start_canary(version(3), fence=THIRD, percent=50)
        control.apply(deadline_seconds=5)
        fleet.server.broken.add(version(2).number)  # the stable version fell over
        control.promote(version(3), fence=THIRD, proof="good", hold_back=5)
        with pytest.raises(LoadFailed, match=str(version(2).number)):
            control.apply(deadline_seconds=1)

    def test_what_was_held_back_stays_loaded_until_nothing_can_send_to_it(self, fleet: MemoryFleet) -> None:
        """A late worker of the generation before may still write its routes."""
        fleet.control().quarantine(version(1), reason="leaks")
        heads = read_heads(cast("Repository", fleet.repository), fleet="main")
        (plan,) = fleet_plan(heads, fleet="main", now=fleet.clock.now()).models.values()
        assert plan.state.split == ((version(2), 100.0),)
        assert version(1) not in plan.state.warm
        assert version(1) in plan.spare

    def test_a_router_that_is_stuck_does_not_keep_the_watch_from_deciding(self, fleet: MemoryFleet) -> None:
        fleet.router.stuck = True
        commit = fleet.control().rollback_watched(fence=SECOND, reason="ratio 4", harmed=True)
        assert commit.state.split == ((version(1), 100.0),)
