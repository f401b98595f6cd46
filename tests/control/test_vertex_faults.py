"""Odd things that happen to an endpoint of Vertex AI between the calls of its workers, and two workers in every order."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import pytest

from airflow_model_ops.adapters.serving.vertex_book import DOCUMENT
from airflow_model_ops.control.heads import fleet_plan, read_heads
from airflow_model_ops.core.errors import NotApplied, PreEmpted
from airflow_model_ops.core.state import Fence
from tests.adapters.vertex_story import ENDPOINT, MODEL, PARENT, id_of
from tests.control.memory_fleet import PERSON, version
from tests.control.schedules import Schedule, all_schedules
from tests.control.vertex_fleet import VertexFleet, split_of

V1, V2, V3 = version(1), version(2), version(3)
HUNG = None


def fence(major: int) -> Fence:
    return Fence(release=f"r{major}", attempt=1)


def start(fleet: VertexFleet, major: int, *, percent: int = 10) -> None:
    fleet.control().start_canary(version(major), fence=fence(major), percent=percent)


def brought(fleet: VertexFleet) -> None:
    fleet.control().apply(deadline_seconds=3000)


def promoted(fleet: VertexFleet, *majors: int) -> VertexFleet:
    for major in majors:
        start(fleet, major)
        brought(fleet)
        fleet.control().promote(version(major), fence=fence(major), proof="it is good")
        brought(fleet)
    return fleet


def tried(fleet: VertexFleet, *, passes: int = 3) -> str:
    """Make a few passes that do not get there; return why."""
    with pytest.raises(NotApplied) as caught:
        fleet.control().apply(deadline_seconds=passes - 0.5)
    return str(caught.value)


def contents(fleet: VertexFleet) -> dict[str, str]:
    """Return the name of each deployment and what the registry says that it holds."""
    versions = fleet.state.models._parents[PARENT].versions
    there = fleet.fake.endpoint(ENDPOINT)["deployed_models"]
    return {each["display_name"]: versions[each["model_version_id"]].version_description for each in there}


def test_two_versions_that_a_new_registry_lacks_are_uploaded_one_after_the_other() -> None:
    """Until the first version is there, the parent model can be found and takes no second one."""
    fleet = promoted(VertexFleet(), 1, 2)
    fleet.state.endpoints._all.clear()
    fleet.state.models._parents.clear()
    fleet.fake.duration("UploadModel", 10.0)
    brought(fleet)
    for _ in range(5):
        fleet.clock.sleep(11.0)
        fleet.control().applier.reconcile()
    assert fleet.deployed() == {id_of(V1), id_of(V2)}
    assert fleet.uploads() == {V1.name: 1, V2.name: 1}


def test_an_alias_that_somebody_moved_to_another_version_deploys_no_wrong_content() -> None:
    fleet = promoted(VertexFleet(), 1, 2)
    fleet.fake.vanish(ENDPOINT, id_of(V1))
    parent = fleet.state.models._parents[PARENT]
    parent.versions["1"].version_aliases = []
    fleet.state.models._give(parent, parent.versions["2"], {"m-v1-0-0"})
    fleet.control(actor=PERSON).rollback(reason="wrong digits")
    brought(fleet)
    assert contents(fleet) == {V1.name: V1.name, V2.name: V2.name}
    assert fleet.uploads() == {V1.name: 1, V2.name: 1}


def test_an_upload_of_others_is_not_taken_for_the_one_whose_answer_was_lost() -> None:
    fleet = promoted(VertexFleet(), 1)
    fleet.fake.lose_request("UploadModel")
    start(fleet, 2)
    tried(fleet, passes=1)
    theirs = {"display_name": "theirs", "container_spec": {"image_uri": "x"}, "artifact_uri": "gs://theirs"}
    request = {"parent": PARENT.rpartition("/models/")[0], "parent_model": PARENT, "model": theirs}
    fleet.target()._clients.models.upload_model(request=request)
    brought(fleet)
    assert contents(fleet) == {V1.name: V1.name, V2.name: V2.name}


def test_a_clock_that_was_wrong_for_a_while_delays_the_next_try_by_no_more_than_the_longest_wait() -> None:
    fleet = promoted(VertexFleet(), 1)
    fleet.workers_clock.ahead = 86_400.0
    fleet.fake.refuse("DeployModel", "RESOURCE_EXHAUSTED")
    start(fleet, 2)
    tried(fleet)
    fleet.workers_clock.ahead = 0.0
    fleet.control().apply(deadline_seconds=600.0)
    assert fleet.split() == split_of((V1, 90), (V2, 10))


def test_what_somebody_deleted_between_look_and_call_is_looked_for_again() -> None:
    fleet = promoted(VertexFleet(), 1)
    fleet.fake.refuse("DeployModel", "NOT_FOUND", "The Model does not exist")
    start(fleet, 2)
    assert "The Model does not exist" in tried(fleet)
    brought(fleet)


@pytest.mark.parametrize("left", [None, b'{"running": [', b"[]"])
def test_a_document_that_is_lost_or_torn_during_an_upload_makes_no_second_one(left: bytes | None) -> None:
    fleet = promoted(VertexFleet(), 1)
    fleet.fake.duration("UploadModel", HUNG)
    start(fleet, 2)
    tried(fleet)
    fleet.clock.sleep(300.0)
    del fleet.store.documents[DOCUMENT]
    if left is not None:
        fleet.store.documents[DOCUMENT] = left
    tried(fleet)
    fleet.fake.release()
    brought(fleet)
    assert fleet.uploads() == {V1.name: 1, V2.name: 1}
    assert fleet.made().count("DeployModel") == 2


def test_a_torn_document_does_not_delay_a_way_back() -> None:
    fleet = promoted(VertexFleet(), 1)
    start(fleet, 2)
    brought(fleet)
    fleet.store.documents[DOCUMENT] = b"{"
    before = max(each["number"] for each in fleet.fake.log())
    fleet.control(actor=PERSON).rollback(reason="wrong digits")
    fleet.control().apply(deadline_seconds=0)
    assert fleet.made(after=before)[0] == "UpdateEndpoint"
    assert fleet.split() == split_of((V1, 100))


def test_the_files_of_an_upload_are_held_even_while_the_endpoint_is_not_there() -> None:
    fleet = promoted(VertexFleet(), 1)
    fleet.fake.duration("UploadModel", HUNG)
    start(fleet, 2)
    tried(fleet)
    fleet.state.endpoints._all.clear()
    assert V2.number in fleet.control().applier.unload(deadline_seconds=0)[MODEL]


def test_a_worker_of_the_head_before_cannot_undo_what_a_cold_way_back_did_meanwhile() -> None:
    fleet = promoted(VertexFleet(), 1, 2)
    start(fleet, 3)
    late = fleet.control()
    brought(fleet)
    fleet.fake.vanish(ENDPOINT, id_of(V1), keep_traffic=False)
    plan = fleet_plan(read_heads(fleet.repository, fleet="main"), fleet="main", now=fleet.clock.now())  # type: ignore[arg-type]
    fleet.fake.duration("DeployModel", HUNG)
    fleet.control(actor=PERSON).rollback(reason="wrong digits", to=V1.name)
    tried(fleet)
    assert fleet.split() == split_of((V2, 100))
    assert late.target.apply(plan, focus=frozenset({MODEL})).applied == {}
    assert fleet.split() == split_of((V2, 100))
    fleet.fake.release()
    brought(fleet)
    assert fleet.split() == split_of((V1, 100))
    assert "model-ops-meanwhile" not in fleet.fake.endpoint(ENDPOINT)["labels"]


def test_a_service_in_trouble_for_a_moment_ends_no_wait_for_what_another_worker_has_applied() -> None:
    fleet = promoted(VertexFleet(), 1)
    fleet.fake.refuse("GetEndpoint", "UNAVAILABLE")
    assert fleet.control().apply(deadline_seconds=60).split == {str(V1.number): 100.0}


def test_a_log_that_was_begun_anew_is_told_what_to_remove_from_the_endpoint() -> None:
    fleet = promoted(VertexFleet(), 1, 2)
    fleet.repository.logs[MODEL].stored.clear()
    start(fleet, 3)
    assert "remove the labels model-ops-generation" in tried(fleet)


def release(fleet: VertexFleet, *, promotes: bool) -> None:
    control = fleet.control()
    try:
        if promotes:
            control.promote(V3, fence=fence(3), proof="it is good")
        else:
            control.shift(fence=fence(3), percent=50)
    except PreEmpted:
        return
    control.apply(deadline_seconds=60)


def roll_back(fleet: VertexFleet, *, to: str | None) -> None:
    control = fleet.control(actor=PERSON)
    control.rollback(reason="wrong digits", to=to)
    control.apply(deadline_seconds=60)


@pytest.mark.parametrize(("promotes", "to"), [(True, V1.name), (False, None)])
def test_with_a_lock_that_is_lost_at_any_call_the_rollback_wins_and_nothing_is_made_twice(
    promotes: bool, to: str | None
) -> None:
    fleets: list[VertexFleet] = []

    def run(choices: Sequence[int]) -> Schedule:
        schedule = Schedule(choices=choices, lock_falls=True)
        fleet = promoted(VertexFleet(point=schedule.point, waits=schedule.waits), 1, 2)
        start(fleet, 3)
        brought(fleet)
        if to is not None:
            fleet.fake.vanish(ENDPOINT, id_of(V1))  # so that the way back is a cold one
        fleets.append(fleet)
        schedule.run(release=partial(release, fleet, promotes=promotes), person=partial(roll_back, fleet, to=to))
        return schedule

    for schedule in all_schedules(run, preemptions=1):
        fleet = fleets.pop()
        assert fleet.split() == split_of((V1 if to else V2, 100)), schedule.trace
        assert fleet.split().keys() <= fleet.deployed(), schedule.trace
        assert fleet.control().applier.unapplied() == (), schedule.trace
        assert set(fleet.uploads().values()) == {1}, schedule.trace
