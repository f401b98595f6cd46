"""The rules of an endpoint, without one: from what was seen to the next calls."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_model_ops.adapters.serving import vertex_plan as planning
from airflow_model_ops.adapters.serving.vertex_book import Book
from airflow_model_ops.adapters.serving.vertex_seen import (
    Deployment,
    EndpointSeen,
    Fault,
    Kind,
    RegistrySeen,
    RegistryVersion,
)
from airflow_model_ops.core.errors import InvalidConfig, InvalidState
from airflow_model_ops.core.ports import ModelPlan
from airflow_model_ops.core.state import Canary, Golden, ServingState
from airflow_model_ops.core.versioning import Version
from tests.adapters.vertex_story import MODEL, V1, V2, V3, id_of, plan_of, state_of, version

HAND_MADE = Deployment(id="77", name=V1.name)
"""A version of ours that a person deployed: its id is not the one that its name gives."""
QUOTA = Fault(status="RESOURCE_EXHAUSTED", message="no machines")
WRONG = Fault(status="INVALID_ARGUMENT", message="no such machine type")

versions = st.sampled_from([version(second) for second in range(1, 7)])


def endpoint_of(
    *deployed: Version, split: dict[Version, int] | None = None, generation: int | None = 1, others: int = 0
) -> EndpointSeen:
    """Return an endpoint; ``others`` is the percentage of a deployment that is not ours."""
    shares = {id_of(which): percent for which, percent in (split or {}).items()}
    return EndpointSeen(
        etag="e",
        generation=generation,
        split={**shares, "77": others} if others else shares,
        deployments=(*(Deployment(id=id_of(each), name=each.name) for each in deployed), HAND_MADE),
    )


def registry_of(*uploaded: Version, **aliases: Version) -> RegistrySeen:
    return RegistrySeen(
        exists=bool(uploaded),
        versions=tuple(
            RegistryVersion(
                id=str(number),
                aliases=frozenset({each.name, *(alias for alias, of in aliases.items() if of == each)}),
                number=each.number,
            )
            for number, each in enumerate(uploaded, 1)
        ),
    )


def model_plan(generation: int, state: ServingState, **more: object) -> ModelPlan:
    return plan_of(generation, state, **more).models[MODEL]  # type: ignore[arg-type]


@st.composite
def states(draw: st.DrawFn) -> ServingState:
    stable = draw(st.none() | versions)
    canary = draw(st.none() | versions.filter(lambda each: each != stable))
    golden = draw(st.none() | versions)
    earlier = draw(st.lists(versions.filter(lambda each: each not in {stable, canary}), unique=True, max_size=2))
    return ServingState(
        fleet="vertex",
        stable=stable,
        canary=Canary(version=canary, percent=draw(st.integers(0, 100))) if canary else None,
        golden=Golden(version=golden, by_person=True) if golden else None,
        earlier=tuple(earlier),
    )


@st.composite
def endpoints(draw: st.DrawFn) -> EndpointSeen:
    deployed = draw(st.lists(versions, unique=True, max_size=6))
    others = draw(st.sampled_from([0, 0, 10]))
    split: dict[Version, int] = {}
    if deployed:
        first = draw(st.integers(0, 100 - others))
        split = {deployed[0]: first} if first else {}
        if rest := 100 - others - first:
            split[deployed[-1]] = split.get(deployed[-1], 0) + rest
    return endpoint_of(
        *deployed, split=split, generation=draw(st.none() | st.integers(1, 9)), others=others if deployed else 0
    )


@given(state=states(), endpoint=endpoints(), urgent=st.booleans())
def test_a_split_is_full_and_goes_to_deployed_versions_only_and_never_takes_or_gives_anything_of_others(
    state: ServingState, endpoint: EndpointSeen, urgent: bool
) -> None:
    decided = planning.traffic(model_plan(9, state, urgent=urgent), endpoint, Book())
    if decided.shift is None:
        return
    assert sum(decided.shift.split.values()) in ({0, 100} if not state.split else {100})
    assert decided.shift.split.keys() <= {each.id for each in endpoint.deployments}
    assert {key: value for key, value in decided.shift.split.items() if key == "77"} == dict(endpoint.foreign_traffic)
    assert decided.shift.generation == 9
    assert decided.shift.whole == decided.follows


@given(state=states(), endpoint=endpoints(), uploaded=st.lists(versions, unique=True, max_size=6))
def test_every_warm_version_ends_up_deployed_when_each_call_does_what_it_says(
    state: ServingState, endpoint: EndpointSeen, uploaded: list[Version]
) -> None:
    plan, registry, book = model_plan(9, state), registry_of(*uploaded), Book()
    for _ in range(2 * len(state.warm) + 1):
        for call in planning.loads(plan, endpoint, registry, book, now=0.0):
            if isinstance(call, planning.Upload):
                ours = [each.number for each in registry.versions]
                registry = registry_of(*(version(number % 100) for number in ours if number), call.version)
            else:
                assert planning.registry_version(call.version, registry, book) == call.registry_version
                made = Deployment(id=id_of(call.version), name=call.version.name)
                endpoint = replace(endpoint, deployments=(*endpoint.deployments, made))
    assert {each.name for each in state.warm} <= endpoint.ours.keys()
    assert planning.loads(plan, endpoint, registry, book, now=0.0) == ()


@given(state=states(), endpoint=endpoints(), settled=st.sampled_from([None, 0.0, 59.0, 60.0, 900.0]))
def test_nothing_is_undeployed_that_is_warm_or_has_traffic_or_has_not_drained_or_is_not_ours(
    state: ServingState, endpoint: EndpointSeen, settled: float | None
) -> None:
    plan = model_plan(5, state, settled_seconds=settled)
    gone = planning.surplus(plan, endpoint, Book(), drain_seconds=60.0)
    names = {call.version.name for call in gone}
    assert not names & {each.name for each in state.warm}
    assert not names & endpoint.traffic.keys()
    assert names <= endpoint.ours.keys()
    if settled is None or settled < 60 or endpoint.generation != 5:
        assert not gone


@given(state=states(), data=st.data())
def test_after_the_moves_every_alias_names_what_the_label_says_and_moving_again_is_not_needed(
    state: ServingState, data: st.DataObject
) -> None:
    uploaded = sorted({*state.warm, *data.draw(st.lists(versions, max_size=3))})
    wrong = {alias: data.draw(st.sampled_from(uploaded)) for alias in planning.ALIASES if uploaded}
    registry = registry_of(*uploaded, **wrong)
    plan = model_plan(5, state)
    for move in planning.aliases(plan, registry, Book()):
        moved = []
        for each in registry.versions:
            names = set(each.aliases) - ({move.alias} if each.id in move.held_by else set())
            moved.append(replace(each, aliases=frozenset(names | ({move.alias} if each.id == move.to else set()))))
        registry = replace(registry, versions=tuple(moved))
    for alias in planning.ALIASES:
        named = registry.by_alias(alias)
        assert (named.number if named else None) == (state.labels[alias].number if alias in state.labels else None)
    assert planning.aliases(plan, registry, Book()) == ()


def test_a_way_back_to_a_deployed_version_shifts_at_once_and_waits_for_no_label() -> None:
    state = state_of(V1, golden=V3, quarantined=(V2,))  # golden is not deployed
    endpoint = endpoint_of(V1, V2, split={V1: 90, V2: 10})
    decided = planning.traffic(model_plan(2, state, urgent=True), endpoint, Book())
    assert decided.shift is not None
    assert decided.follows
    assert decided.shift.split == {id_of(V1): 100}
    assert decided.shift.generation == 2


def test_while_a_way_back_waits_for_its_version_the_canary_loses_its_traffic_and_the_generation_stays() -> None:
    state = state_of(V3, left=(V1,), quarantined=(V2,))
    endpoint = endpoint_of(V1, V2, split={V1: 90, V2: 10})
    decided = planning.traffic(model_plan(2, state, urgent=True), endpoint, Book())
    assert decided.shift == planning.Shift(
        split={id_of(V1): 100},
        generation=2,
        reason=decided.shift.reason,  # type: ignore[union-attr]
        whole=False,
    )
    assert not decided.follows


def test_a_way_back_beside_traffic_of_others_moves_what_is_ours_and_leaves_them_theirs() -> None:
    endpoint = endpoint_of(V1, V2, split={V1: 60, V2: 30}, others=10)
    decided = planning.traffic(model_plan(2, state_of(V1), urgent=True), endpoint, Book())
    assert decided.shift is not None
    assert decided.shift.split == {"77": 10, id_of(V1): 90}
    assert not decided.follows


def test_a_version_without_a_replica_or_about_to_be_undeployed_gets_no_traffic() -> None:
    plan, endpoint = model_plan(2, state_of(V1)), endpoint_of(V1)
    sick = replace(endpoint, deployments=(Deployment(id=id_of(V1), name=V1.name, without_replicas="no machine"),))
    assert planning.traffic(plan, sick, Book()).shift is None
    assert "no replica: no machine" in planning.waits_for(plan, sick, Book(), now=0.0)
    leaving = Book().begun(Kind.UNDEPLOY, V1, at=0.0)
    assert planning.traffic(plan, endpoint, leaving).shift is None
    assert "is being undeployed" in planning.waits_for(plan, endpoint, leaving, now=0.0)


def test_a_share_that_is_no_whole_percent_is_refused_with_what_to_write() -> None:
    with pytest.raises(InvalidConfig, match=r"99\.5 % of the traffic.*whole numbers"):
        planning.percents(state_of(V1, canary=(V2, 0.5)))


def test_only_one_upload_begins_while_there_is_no_parent_model() -> None:
    plan = model_plan(1, state_of(V1, canary=(V2, 10)))
    (only,) = planning.loads(plan, endpoint_of(), RegistrySeen(exists=False), Book(), now=0.0)
    assert isinstance(only, planning.Upload)
    running = Book().begun(Kind.UPLOAD, V1, at=0.0).named((Kind.UPLOAD, V1.name), "o")
    assert planning.loads(plan, endpoint_of(), RegistrySeen(exists=False), running, now=0.0) == ()
    both = planning.loads(plan, endpoint_of(), registry_of(V3), Book(), now=0.0)
    assert [call.version for call in both] == [V1, V2]


def test_nothing_begins_while_the_answer_to_a_call_is_unknown() -> None:
    plan = model_plan(1, state_of(V1, canary=(V2, 10)))
    unknown = Book().begun(Kind.UPLOAD, V1, at=0.0)
    assert planning.loads(plan, endpoint_of(), registry_of(V2), unknown, now=0.0) == ()
    surplus = endpoint_of(V3)
    applied = model_plan(1, state_of(V1), settled_seconds=99.0)
    assert planning.surplus(applied, surplus, unknown, drain_seconds=0.0) == ()


def test_a_shortage_is_tried_again_later_and_later_and_a_permanent_failure_for_a_later_generation_only() -> None:
    plan, key, waits = model_plan(3, state_of(V1)), (Kind.DEPLOY, V1.name), []
    book = Book()
    for _ in range(8):
        book = book.begun(Kind.DEPLOY, V1, at=0.0).failed(key, QUOTA, generation=3, at=1000.0)
        waits.append(book.troubles[key].until - 1000.0)
    assert waits == [15, 30, 60, 120, 240, 480, 600, 600]
    assert planning.loads(plan, endpoint_of(), registry_of(V1), book, now=1599.0) == ()
    assert len(planning.loads(plan, endpoint_of(), registry_of(V1), book, now=1600.0)) == 1
    assert planning.failure(plan, endpoint_of(), book, now=1001.0) is None
    assert len(planning.loads(model_plan(4, state_of(V1)), endpoint_of(), registry_of(V1), book, now=1001.0)) == 1
    wrong = Book().failed(key, WRONG, generation=3, at=0.0)
    assert planning.failure(plan, endpoint_of(), wrong, now=9e9) == (V1, wrong.troubles[key])
    again = model_plan(4, state_of(V1))
    assert planning.failure(again, endpoint_of(), wrong, now=0.0) is None
    assert len(planning.loads(again, endpoint_of(), registry_of(V1), wrong, now=0.0)) == 1


def test_an_operation_for_what_no_head_needs_is_cancelled_once() -> None:
    key = (Kind.DEPLOY, V2.name)
    book = Book().begun(Kind.DEPLOY, V2, at=0.0).named(key, "o")
    plan = model_plan(2, state_of(V1), spare=(V2,))
    assert [call.version for call in planning.needless(plan, book)] == [V2.name]
    assert planning.needless(plan, book.cancelling(key)) == ()


def test_a_book_reads_back_what_it_wrote_and_says_what_to_do_with_one_that_cannot_be_read() -> None:
    key = (Kind.UPLOAD, V1.name)
    book = Book().begun(Kind.UPLOAD, V1, at=1.5).named(key, "o").ended(key, registry_version="4")
    book = book.begun(Kind.DEPLOY, V1, at=2.0).begun(Kind.CREATE, None, at=3.0)
    book = book.failed((Kind.DEPLOY, V1.name), QUOTA, generation=2, at=4.0)
    assert Book.from_bytes(book.to_bytes()) == book
    assert Book.from_bytes(None) == Book()
    with pytest.raises(InvalidState, match=r"vertex_operations.*made anew"):
        Book.from_bytes(b'{"running": 3}')


def test_when_stable_vanished_the_nearest_rollback_target_answers_until_it_is_back_and_the_canary_never() -> None:
    there = endpoint_of(V2, V3, split={V2: 10, V1: 90})  # V1 is gone and keeps its share
    state = state_of(V1, canary=(V2, 10), earlier=(V3,))
    decided = planning.traffic(model_plan(1, state), there, Book())
    assert decided.shift is not None
    assert decided.shift.split == {id_of(V3): 100}
    assert not decided.shift.whole
    assert planning.traffic(model_plan(1, state_of(V1, canary=(V2, 10))), there, Book()).shift is None
