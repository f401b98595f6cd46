"""The fakes shipped for tests: the target's passes, the clock, and a whole release over them."""

from __future__ import annotations

import doctest
from collections.abc import Callable

import pytest

from airflow_model_ops import testing
from airflow_model_ops.control.model_control import ModelControl
from airflow_model_ops.core.errors import FleetNotAdopted, LoadFailed, NotApplied, PreEmpted, ServerUnreachable
from airflow_model_ops.core.log import Origin
from airflow_model_ops.core.ports import FleetPlan, ModelPlan
from airflow_model_ops.core.state import Actor, ActorKind, Canary, Fence, ServingState
from airflow_model_ops.core.versioning import Version, VersionNaming
from airflow_model_ops.testing import InMemoryRepository, InMemoryTarget, ManualClock

NAMING = VersionNaming()
V1, V2, V3 = (NAMING.parse(f"v-20230601-12000{second}") for second in (1, 2, 3))
DIGITS = frozenset({"digits"})


def plan(
    state: ServingState, *, generation: int = 1, urgent: bool = False, spare: tuple[Version, ...] = ()
) -> FleetPlan:
    wanted = ModelPlan(
        model="digits",
        generation=generation,
        state=state,
        spare=spare,
        urgent=urgent,
        applied=False,
        settled_seconds=0.0,
    )
    return FleetPlan(fleet="main", models={"digits": wanted})


STABLE = ServingState(fleet="main", stable=V1)
ON_TRIAL = ServingState(fleet="main", stable=V1, canary=Canary(version=V2, percent=25.0))


def test_the_example_in_the_module_runs() -> None:
    assert doctest.testmod(testing, raise_on_error=True).attempted == 3


class TestTarget:
    def test_a_version_takes_its_passes_to_load_before_it_gets_traffic(self) -> None:
        target = InMemoryTarget(servers=("a", "b"), load_passes=2)
        for _ in range(2):
            progress = target.apply(plan(STABLE), focus=DIGITS)
            assert progress.pending == {"digits": f"version {V1.number} is not available on every server yet"}
            assert target.documents == []
            assert target.observe("digits").split == {}
        assert target.apply(plan(STABLE), focus=DIGITS).applied == {"digits": {str(V1.number): 100.0}}
        assert target.documents == [{"digits": (1, {V1.number: 100.0})}]

    def test_what_really_serves_can_be_observed(self) -> None:
        target = InMemoryTarget(servers=("a", "b"))
        target.apply(plan(ON_TRIAL, generation=7), focus=DIGITS)
        target.unavailable_servers.add("b")
        seen = target.observe("digits")
        assert seen.generation == 7
        assert seen.split == {V1.number: 75.0, V2.number: 25.0}
        assert seen.loaded == {"a": frozenset({V1.number, V2.number}), "b": None}
        assert seen.labels == {"stable": V1.number, "canary": V2.number}
        assert target.document_generations() == {"digits": 7}

    def test_a_shift_waits_for_every_server_but_a_way_back_does_not(self) -> None:
        target = InMemoryTarget(servers=("a", "b"))
        target.apply(plan(ON_TRIAL), focus=DIGITS)
        target.unavailable_servers.add("b")
        more = ServingState(fleet="main", stable=V1, canary=Canary(version=V2, percent=50.0))
        assert target.apply(plan(more, generation=2), focus=DIGITS).pending.keys() == DIGITS
        assert target.observe("digits").split[V2.number] == 25.0
        back = target.apply(plan(STABLE, generation=3, urgent=True), focus=DIGITS)
        assert back.applied == {"digits": {str(V1.number): 100.0}}

    def test_a_way_back_needs_one_server_that_answers(self) -> None:
        target = InMemoryTarget()
        target.apply(plan(ON_TRIAL), focus=DIGITS)
        target.unavailable_servers.add("server-1")
        assert target.apply(plan(STABLE, generation=2, urgent=True), focus=DIGITS).pending.keys() == DIGITS
        assert not target.is_loaded("digits", V1)
        with pytest.raises(ServerUnreachable, match="server-1 does not answer"):
            target.check()
        target.unavailable_servers.clear()
        target.check()
        assert target.is_loaded("digits", V1)
        assert not target.is_loaded("digits", V3)

    def test_a_version_that_cannot_be_loaded_fails_its_model_alone(self) -> None:
        target = InMemoryTarget()
        target.broken_versions.add(V2.number)
        other = ModelPlan(model="letters", generation=2, state=STABLE, spare=(), urgent=False, applied=False)
        both = FleetPlan(fleet="main", models={**plan(ON_TRIAL).models, "letters": other})
        progress = target.apply(both, focus=frozenset(both.models))
        assert isinstance(progress.failed["digits"], LoadFailed)
        assert progress.applied.keys() == {"letters"}

    def test_a_model_out_of_focus_is_looked_at_only_when_its_document_is_of_another_generation(self) -> None:
        target = InMemoryTarget()
        assert target.apply(plan(STABLE), focus=frozenset()).applied.keys() == DIGITS
        assert target.apply(plan(STABLE), focus=frozenset()).applied == {}
        assert target.apply(plan(STABLE, generation=2), focus=frozenset()).applied.keys() == DIGITS

    def test_unloading_spares_what_any_plan_names_and_what_still_gets_traffic(self) -> None:
        target = InMemoryTarget(servers=("a", "b"))
        target.apply(plan(ON_TRIAL), focus=DIGITS)
        unloaded = plan(ServingState(fleet="main", stable=V1), generation=2)
        assert target.unload(unloaded) == {"digits": frozenset({V1.number, V2.number})}
        target.apply(unloaded, focus=DIGITS)
        assert target.unload(plan(STABLE, generation=2, spare=(V2,))) == {"digits": frozenset({V1.number, V2.number})}
        target.unavailable_servers.add("b")
        assert target.unload(unloaded) == {"digits": frozenset({V1.number, V2.number})}, "b keeps what it has"
        target.unavailable_servers.clear()
        assert target.unload(unloaded) == {"digits": frozenset({V1.number})}

    def test_a_fleet_that_serves_foreign_models_is_left_alone(self) -> None:
        target = InMemoryTarget()
        target.foreign_models.add("letters")
        with pytest.raises(FleetNotAdopted, match="serves letters, which no log knows; adopt it first"):
            target.apply(plan(STABLE), focus=DIGITS)
        assert target.documents == []


class TestClock:
    def test_time_passes_when_told_to_or_slept(self) -> None:
        clock = ManualClock(start=100.0)
        clock.sleep(0.5)
        clock.advance(10)
        assert clock.now() == 110.5

    def test_time_does_not_go_back(self) -> None:
        with pytest.raises(ValueError, match="time does not go back: give 0 or more"):
            ManualClock().advance(-1)


@pytest.fixture
def control() -> Callable[..., ModelControl]:
    repository, target, clock = InMemoryRepository(), InMemoryTarget(load_passes=3), ManualClock()
    for version in (V1, V2):
        repository.add_version("digits", version)

    def make(*, person: bool = False) -> ModelControl:
        kind = ActorKind.PERSON if person else ActorKind.AUTOMATION
        return ModelControl(
            model="digits",
            naming=NAMING,
            repository=repository,
            target=target,
            initial=ServingState(fleet="main"),
            origin=Origin(actor=Actor(kind=kind, name="story")),
            clock=clock,
        )

    return make


def test_a_whole_release_and_its_rollback_run_over_the_fakes(control: Callable[..., ModelControl]) -> None:
    releases = control()
    for version in (V1, V2):
        fence = Fence(release=f"release of {version}", attempt=1)
        releases.start_canary(version, fence=fence, percent=25.0)
        releases.apply(deadline_seconds=10)
        releases.promote(version, fence=fence, proof="SAFE")
        releases.apply(deadline_seconds=10)
    control(person=True).rollback(reason="page at 3 a.m.")
    applied = releases.apply(deadline_seconds=10)
    assert applied.split == {str(V1.number): 100.0}
    target, repository = releases.target, releases.repository
    assert isinstance(target, InMemoryTarget)
    assert isinstance(repository, InMemoryRepository)
    assert [document["digits"][1] for document in target.documents] == [
        {V1.number: 100.0},
        {V1.number: 100.0},
        {V1.number: 75.0, V2.number: 25.0},
        {V2.number: 100.0},
        {V1.number: 100.0},
    ]
    assert repository.links("digits") == {"stable": V1}
    assert [entry.name for entry in repository.log("digits").entries()][-2:] == ["rollback", "applied"]


def test_a_fleet_that_does_not_answer_leaves_the_head_unapplied_until_it_does(
    control: Callable[..., ModelControl],
) -> None:
    releases = control()
    fence = Fence(release="r1", attempt=1)
    releases.start_canary(V1, fence=fence, percent=100)
    target = releases.target
    assert isinstance(target, InMemoryTarget)
    target.unavailable_servers.add("server-1")
    with pytest.raises(NotApplied, match="is not available on every server yet"):
        releases.apply(deadline_seconds=5)
    target.unavailable_servers.clear()
    assert releases.apply(deadline_seconds=5).split == {str(V1.number): 100.0}


def test_a_retried_start_after_a_persons_abort_leaves_the_fleet_alone(control: Callable[..., ModelControl]) -> None:
    """Between two tries of StartCanary a person ends the release; the second try must not bring it back."""
    releases = control()
    fence = Fence(release="r1", attempt=1)
    releases.start_canary(V1, fence=fence, percent=100)
    control(person=True).abort(reason="no", fence=None)
    with pytest.raises(PreEmpted, match="release 'r1' attempt 1 is no longer live"):
        releases.start_canary(V1, fence=fence, percent=100)
    assert releases.state.split == ()
