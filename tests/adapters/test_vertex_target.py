"""An endpoint through the real client library, over REST and gRPC, and everything that goes wrong there."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from airflow_model_ops.adapters.serving.vertex_clients import VertexAccess, VertexClients
from airflow_model_ops.adapters.serving.vertex_operations import Patience
from airflow_model_ops.adapters.serving.vertex_target import VertexAITarget
from airflow_model_ops.core.errors import (
    AccessDenied,
    EndpointNotFound,
    FleetNotAdopted,
    InvalidConfig,
    LoadFailed,
    QuotaExhausted,
    ServerUnreachable,
)
from airflow_model_ops.core.ports import FleetPlan, Progress
from tests.adapters.vertex_story import (
    ENDPOINT,
    MODEL,
    PARENT,
    V1,
    V2,
    V3,
    MemoryStore,
    brought,
    id_of,
    passes,
    plan_of,
    state_of,
    target_at,
)
from tests.vertex_fake.rig import VertexFake
from tests.waits import until

pytestmark = pytest.mark.integration

FOCUS = frozenset({MODEL})


class Hand:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        import time

        return time.time() + self.ahead


@dataclass
class Story:
    """One model's endpoint, and the target of one worker after the other."""

    fake: VertexFake
    transport: str = "rest"
    store: MemoryStore = field(default_factory=MemoryStore)
    clock: Hand = field(default_factory=Hand)

    def worker(self, **options: Any) -> VertexAITarget:
        """Return the target as a worker has it that has just started."""
        return target_at(self.fake.address, store=self.store, transport=self.transport, now=self.clock, **options)

    def one_pass(self, plan: FleetPlan, **options: Any) -> Progress:
        return self.worker(**options).apply(plan, focus=FOCUS)

    def release(self) -> VertexAITarget:
        """Bring the story to a canary with 10 % beside a stable version."""
        target = self.worker()
        brought(target, plan_of(1, state_of(V1)))
        brought(target, plan_of(2, state_of(V1, canary=(V2, 10))))
        return target

    def asked(self, *, after: int = 0, method: str | None = None) -> list[dict[str, Any]]:
        """Return the requests that change something."""
        return self.fake.control.log(after=after, mutating=True, method=method)

    def methods(self, *, after: int = 0) -> list[str]:
        return [each["method"] for each in self.asked(after=after)]

    def mark(self) -> int:
        return max((each["number"] for each in self.fake.control.log()), default=0)

    def split(self) -> dict[str, int]:
        return dict(self.fake.control.endpoint(ENDPOINT).get("traffic_split", {}))

    def deployed(self) -> set[str]:
        return {each["id"] for each in self.fake.control.endpoint(ENDPOINT).get("deployed_models", [])}


@pytest.fixture
def story() -> Iterator[Story]:
    with VertexFake() as fake:
        fake.control.duration("*", 0.02)
        yield Story(fake)


@pytest.fixture(params=["rest", "grpc"])
def wire(request: pytest.FixtureRequest, story: Story) -> Story:
    story.transport = request.param
    return story


def test_from_nothing_to_a_canary_and_its_promotion_over_each_wire(wire: Story) -> None:
    target = wire.worker()
    assert target.loads_slowly
    assert brought(target, plan_of(1, state_of(V1))) == {str(V1.number): 100.0}
    assert wire.methods() == ["CreateEndpoint", "UploadModel", "DeployModel", "UpdateEndpoint", "MergeVersionAliases"]
    state = state_of(V1, canary=(V2, 10))
    assert brought(target, plan_of(2, state)) == {str(V1.number): 90.0, str(V2.number): 10.0}
    seen = target.observe(MODEL)
    assert seen.generation == 2
    assert seen.split == {V1.number: 90.0, V2.number: 10.0}
    assert seen.loaded == {"vertex": frozenset({V1.number, V2.number})}
    assert seen.labels == {"stable": V1.number, "canary": V2.number}
    assert target.is_loaded(MODEL, V2)
    assert not target.is_loaded(MODEL, V3)
    promoted = state_of(V2, earlier=(V1,), golden=V1)
    assert brought(target, plan_of(3, promoted)) == {str(V2.number): 100.0}
    assert target.observe(MODEL).labels == {"stable": V2.number, "golden": V1.number}
    assert target.document_generations() == {MODEL: 3}
    assert target.astray(plan_of(3, promoted, settled_seconds=1.0)) == {}
    target.close()


def test_versions_are_versions_of_one_parent_and_default_stays_where_it_is(story: Story) -> None:
    story.release()
    first, second = (each["request"] for each in story.asked(method="UploadModel"))
    assert first["model_id"] == MODEL
    assert "parent_model" not in first
    assert second["parent_model"] == PARENT
    assert second["model"]["version_aliases"] == [V2.name]
    assert second["model"]["artifact_uri"] == f"gs://models/{MODEL}/versions/{V2.number}"
    model = story.fake.address.model_client("rest").get_model(name=PARENT)
    assert "default" in model.version_aliases
    assert V1.name in model.version_aliases
    told = json.dumps([each["request"] for each in story.asked()])
    assert "default" not in told


def test_a_deployment_brings_no_traffic_and_a_split_is_full_with_generation_and_etag_in_one_call(story: Story) -> None:
    story.release()
    assert all("traffic_split" not in each["request"] for each in story.asked(method="DeployModel"))
    last = story.asked(method="UpdateEndpoint")[-1]["request"]
    assert last["endpoint"]["traffic_split"] == {id_of(V1): 90, id_of(V2): 10}
    assert last["endpoint"]["labels"] == {"model-ops-generation": "2"}
    assert last["endpoint"]["etag"]
    assert set(last["update_mask"].split(",")) == {"trafficSplit", "labels"}


def test_a_rollback_shifts_first_and_undeploys_only_after_the_old_version_has_everything(wire: Story) -> None:
    target = wire.release()
    before = wire.mark()
    back = state_of(V1, quarantined=(V2,))
    assert brought(target, plan_of(3, back, urgent=True, spare=(V2,))) == {str(V1.number): 100.0}
    first = wire.asked(after=before)[0]
    assert first["method"] == "UpdateEndpoint"
    assert first["request"]["endpoint"]["traffic_split"] == {id_of(V1): 100}
    assert "UndeployModel" not in wire.methods(after=before)
    spared = plan_of(3, back, urgent=True, spare=(V2,), settled_seconds=60.0)
    assert target.unload(spared) == {MODEL: frozenset({V1.number, V2.number})}
    later = plan_of(4, back)
    brought(target, later)
    assert target.unload(plan_of(4, back, settled_seconds=0.5)) == {MODEL: frozenset({V1.number, V2.number})}
    assert "UndeployModel" not in wire.methods(after=before)
    drained = plan_of(4, back, settled_seconds=2.0)
    until(lambda: target.unload(drained) == {MODEL: frozenset({V1.number})}, what="the canary is undeployed")
    methods = wire.methods(after=before)
    assert methods.count("UndeployModel") == 1
    assert methods.index("UpdateEndpoint") < methods.index("UndeployModel")


def test_a_way_back_needs_no_registry_and_no_operation(story: Story) -> None:
    story.release()
    for method in ("ListModelVersions", "MergeVersionAliases", "GetOperation", "ListOperations"):
        story.fake.control.refuse(method, "UNAVAILABLE", times=50)
    done = story.one_pass(plan_of(3, state_of(V1), urgent=True))
    assert done.applied == {MODEL: {str(V1.number): 100.0}}
    assert story.split() == {id_of(V1): 100}


def test_a_cold_way_back_takes_the_traffic_from_the_canary_at_once_and_the_rest_when_its_version_is_there(
    story: Story,
) -> None:
    target = story.release()
    story.fake.control.duration("DeployModel", None)
    plan = plan_of(3, state_of(V3, left=(V1,), quarantined=(V2,)), urgent=True)
    assert MODEL in target.apply(plan, focus=FOCUS).pending
    assert story.split() == {id_of(V1): 100}
    assert target.document_generations() == {MODEL: 2}
    story.fake.control.duration("DeployModel", 0.01)
    assert brought(target, plan) == {str(V3.number): 100.0}


def test_a_pass_returns_while_operations_take_their_time_and_none_is_begun_twice(wire: Story) -> None:
    wire.fake.control.duration("*", None)
    plan = plan_of(1, state_of(V1))
    for kind in ("CreateEndpoint", "UploadModel", "DeployModel"):
        for _ in range(3):
            assert MODEL in wire.one_pass(plan).pending  # each by a worker of its own
        assert [each["method"] for each in wire.asked()].count(kind) == 1
        assert len(wire.fake.control.running()) == 1
        wire.fake.control.release(kind)
    assert wire.one_pass(plan).applied == {MODEL: {str(V1.number): 100.0}}


@pytest.mark.parametrize("method", ["CreateEndpoint", "UploadModel", "DeployModel", "UpdateEndpoint"])
def test_a_lost_answer_makes_nothing_twice(wire: Story, method: str) -> None:
    wire.fake.control.lose_answer(method)
    assert brought(wire.worker(), plan_of(1, state_of(V1))) == {str(V1.number): 100.0}
    taken = [each for each in wire.asked() if each["outcome"] == "OK"]
    assert [each["method"] for each in taken].count(method) == 1


def test_a_request_that_never_arrived_is_made_again_after_it_had_time_to(story: Story) -> None:
    story.fake.control.lose_request("DeployModel")
    target, plan = story.worker(), plan_of(1, state_of(V1))
    until(
        lambda: (
            "DeployModel" in [each["method"] for each in story.fake.control.log()]
            or target.apply(plan, focus=FOCUS).failed
        ),
        what="it is tried",
    )
    for _ in range(3):
        assert "is being deployed" in target.apply(plan, focus=FOCUS).pending[MODEL]
    assert story.methods().count("DeployModel") == 1
    story.clock.ahead = 46.0
    assert brought(target, plan) == {str(V1.number): 100.0}


@pytest.mark.parametrize("code", ["RESOURCE_EXHAUSTED", "UNAVAILABLE", "INTERNAL"])
@pytest.mark.parametrize("kind", ["UploadModel", "DeployModel"])
def test_an_operation_that_failed_for_want_of_something_is_tried_again_later(
    story: Story, kind: str, code: str
) -> None:
    story.fake.control.fail_operation(kind, code, "no n1-standard-2 left in europe-west4")
    target, plan = story.worker(), plan_of(1, state_of(V1))
    told = until(
        lambda: (why := target.apply(plan, focus=FOCUS).pending.get(MODEL, "")) and "failed" in why and why,
        what="it says that it failed",
    )
    assert f"{code}: no n1-standard-2 left" in str(told)
    assert "try 2 in" in str(told)
    assert story.methods().count(kind) == 1
    story.clock.ahead = 16.0
    assert brought(target, plan) == {str(V1.number): 100.0}


@pytest.mark.parametrize("code", ["INVALID_ARGUMENT", "FAILED_PRECONDITION", "NOT_FOUND"])
@pytest.mark.parametrize("kind", ["UploadModel", "DeployModel"])
def test_an_operation_that_can_never_succeed_fails_the_load_until_a_later_generation(
    story: Story, kind: str, code: str
) -> None:
    story.fake.control.fail_operation(kind, code, "the files are not a SavedModel")
    target = story.worker()
    *_, last = passes(target, plan_of(1, state_of(V1)))
    assert isinstance(last.failed[MODEL], LoadFailed)
    assert "the files are not a SavedModel" in str(last.failed[MODEL])
    assert "release it again" in str(last.failed[MODEL])
    before = story.mark()
    target.apply(plan_of(1, state_of(V1)), focus=FOCUS)
    assert story.methods(after=before) == []
    assert brought(target, plan_of(2, state_of(V1))) == {str(V1.number): 100.0}


def test_a_call_that_is_refused_for_quota_is_made_again_later_and_one_that_makes_no_sense_fails(wire: Story) -> None:
    wire.fake.control.refuse("DeployModel", "RESOURCE_EXHAUSTED", "Quota exceeded")
    target, plan = wire.worker(), plan_of(1, state_of(V1))
    until(lambda: "Quota exceeded" in target.apply(plan, focus=FOCUS).pending[MODEL], what="it says why")
    wire.clock.ahead = 16.0
    brought(target, plan)
    wire.fake.control.refuse("DeployModel", "INVALID_ARGUMENT", "no such machine type")
    *_, last = passes(target, plan_of(2, state_of(V1, canary=(V2, 5))))
    assert "no such machine type" in str(last.failed[MODEL])


def test_an_endpoint_that_takes_one_change_at_a_time_is_given_them_one_after_the_other(story: Story) -> None:
    story.fake.control.one_change_at_a_time()
    brought(story.worker(), plan_of(1, state_of(V1)))
    story.fake.control.duration("DeployModel", None)
    plan = plan_of(2, state_of(V1, canary=(V2, 10), golden=V3))
    target = story.worker()
    until(lambda: target.apply(plan, focus=FOCUS) and story.methods().count("DeployModel") >= 3, what="both were tried")
    story.fake.control.duration("DeployModel", 0.01)
    story.fake.control.release()
    story.clock.ahead = 16.0
    brought(target, plan)
    until(
        lambda: target.apply(plan, focus=FOCUS) and story.deployed() == {id_of(V1), id_of(V2), id_of(V3)},
        what="golden is deployed too",
    )


def test_a_deployment_whose_replicas_did_not_start_gets_no_traffic(story: Story) -> None:
    target = story.worker()
    brought(target, plan_of(1, state_of(V1)))
    story.fake.control.partial_failure("DeployModel", "RESOURCE_EXHAUSTED", "0 of 1 replicas started")
    plan = plan_of(2, state_of(V1, canary=(V2, 10)))
    until(lambda: "0 of 1 replicas" in target.apply(plan, focus=FOCUS).pending.get(MODEL, ""), what="it says why")
    assert story.split() == {id_of(V1): 100}
    assert not target.is_loaded(MODEL, V2)
    assert target.observe(MODEL).loaded == {"vertex": frozenset({V1.number})}


@pytest.mark.parametrize("code", ["UNAVAILABLE", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED"])
def test_a_service_in_trouble_is_a_reason_to_try_again(wire: Story, code: str) -> None:
    wire.release()
    wire.fake.control.refuse("GetEndpoint", code, times=2)
    error = QuotaExhausted if code == "RESOURCE_EXHAUSTED" else ServerUnreachable
    with pytest.raises(error) as caught:
        wire.worker().check()
    assert caught.value.retryable
    with pytest.raises(error):
        wire.one_pass(plan_of(3, state_of(V1), urgent=True))
    assert brought(wire.worker(), plan_of(3, state_of(V1), urgent=True)) == {str(V1.number): 100.0}


def test_a_service_that_hangs_is_given_up_at_the_deadline(wire: Story) -> None:
    wire.release()
    wire.fake.control.hang("GetEndpoint")
    with pytest.raises(ServerUnreachable, match="did not answer reading endpoint"):
        wire.worker(deadline_seconds=0.3).check()


def test_who_may_not_is_told_what_to_grant(wire: Story) -> None:
    wire.release()
    wire.fake.control.refuse("GetEndpoint", "PERMISSION_DENIED", "Permission 'aiplatform.endpoints.get' denied")
    with pytest.raises(AccessDenied, match=r"aiplatform\.endpoints\.get.*roles/aiplatform\.user"):
        wire.worker().check()


def test_another_writer_between_look_and_write_costs_a_pass_and_nothing_else(wire: Story) -> None:
    wire.release()
    wire.fake.control.foreign_write(
        ENDPOINT, before="UpdateEndpoint", labels={"team": "vision", "model-ops-generation": "2"}
    )
    plan = plan_of(3, state_of(V1), urgent=True)
    first = wire.one_pass(plan)
    assert "looked at again" in first.pending[MODEL]
    assert wire.split() == {id_of(V1): 90, id_of(V2): 10}
    assert wire.one_pass(plan).applied == {MODEL: {str(V1.number): 100.0}}
    assert wire.fake.control.endpoint(ENDPOINT)["labels"] == {"team": "vision", "model-ops-generation": "3"}


def test_a_late_worker_writes_nothing_over_a_newer_generation(story: Story) -> None:
    story.release()
    brought(story.worker(), plan_of(5, state_of(V1), urgent=True))
    before = story.mark()
    late = story.one_pass(plan_of(2, state_of(V1, canary=(V3, 50))))
    assert "is late" in late.pending[MODEL]
    story.worker().unload(plan_of(2, state_of(V3), settled_seconds=99.0))
    assert story.methods(after=before) == []


def test_a_late_worker_that_looked_before_the_newer_one_wrote_is_refused_by_the_endpoint(story: Story) -> None:
    story.release()
    newer = story.worker()
    story.fake.control.foreign_write(ENDPOINT, before="UpdateEndpoint", labels={"model-ops-generation": "9"})
    assert "looked at again" in story.one_pass(plan_of(3, state_of(V2, earlier=(V1,)))).pending[MODEL]
    assert newer.document_generations() == {MODEL: 9}
    assert "is late" in story.one_pass(plan_of(3, state_of(V2, earlier=(V1,)))).pending[MODEL]
    assert story.split() == {id_of(V1): 90, id_of(V2): 10}


def test_a_deployment_that_vanished_is_noticed_and_made_again(wire: Story) -> None:
    target = wire.release()
    applied = plan_of(2, state_of(V1, canary=(V2, 10)), settled_seconds=9.0)
    wire.fake.control.vanish(ENDPOINT, id_of(V2))
    assert V2.name in target.astray(applied)[MODEL]
    assert not target.is_loaded(MODEL, V2)
    assert target.observe(MODEL).split == {V1.number: 90.0, V2.number: 10.0}  # what the endpoint still says
    assert MODEL in target.apply(applied, focus=FOCUS).pending
    assert wire.split() == {id_of(V1): 100}  # until it is deployed again nobody would answer its share
    assert brought(target, applied) == {str(V1.number): 90.0, str(V2.number): 10.0}
    assert target.astray(applied) == {}
    assert wire.methods().count("UploadModel") == 2
    assert wire.methods().count("DeployModel") == 3


def test_traffic_and_aliases_that_somebody_changed_by_hand_are_noticed_and_put_right(story: Story) -> None:
    target = story.release()
    applied = plan_of(2, state_of(V1, canary=(V2, 10)), settled_seconds=9.0)
    story.fake.control.foreign_write(ENDPOINT, traffic_split={id_of(V1): 100})
    models = story.fake.address.model_client("rest")
    models.merge_version_aliases(name=f"{PARENT}@2", version_aliases=["-canary"])
    models.merge_version_aliases(name=f"{PARENT}@1", version_aliases=["canary"])
    why = target.astray(applied)[MODEL]
    assert f"the traffic is {V1.name} 100 %" in why
    assert "aliases canary" in why
    brought(target, applied)
    assert target.astray(applied) == {}
    assert target.observe(MODEL).labels == {"stable": V1.number, "canary": V2.number}


def deploy_by_hand(story: Story, *, percent: int) -> str:
    """Deploy the first version again as a person would, and give it a share."""
    client = story.fake.address.endpoint_client("rest")
    machine = {"machine_spec": {"machine_type": "n1-standard-2"}, "min_replica_count": 1}
    deployed = {"model": f"{PARENT}@1", "display_name": V1.name, "dedicated_resources": machine}
    made = client.deploy_model(endpoint=ENDPOINT, deployed_model=deployed).result(timeout=60).deployed_model.id
    split = story.split()
    first = id_of(V1)
    if percent:
        story.fake.control.foreign_write(
            ENDPOINT, traffic_split={**split, first: split[first] - percent, made: percent}
        )
    return str(made)


def test_what_others_deployed_is_neither_given_nor_taken_traffic_nor_undeployed(story: Story) -> None:
    target = story.release()
    theirs = deploy_by_hand(story, percent=0)
    back = state_of(V1)
    brought(target, plan_of(3, back, urgent=True))
    brought(target, plan_of(4, back))
    drained = plan_of(4, back, settled_seconds=99.0)
    until(lambda: target.unload(drained) == {MODEL: frozenset({V1.number})}, what="ours is undeployed")
    assert story.deployed() == {id_of(V1), theirs}


def test_traffic_of_others_is_refused_and_seen_and_a_way_back_leaves_it_to_them(story: Story) -> None:
    target = story.release()
    theirs = deploy_by_hand(story, percent=20)
    with pytest.raises(FleetNotAdopted, match=f"{theirs} 20 %"):
        target.apply(plan_of(3, state_of(V1, canary=(V2, 50))), focus=FOCUS)
    assert story.split() == {id_of(V1): 70, id_of(V2): 10, theirs: 20}
    assert target.observe(MODEL).split == {V1.number: 70.0, V2.number: 10.0, -int(theirs): 20.0}
    with pytest.raises(FleetNotAdopted):
        target.apply(plan_of(4, state_of(V1), urgent=True), focus=FOCUS)
    assert story.split() == {id_of(V1): 80, theirs: 20}


def test_an_endpoint_of_others_is_refused_before_anything_is_written(story: Story) -> None:
    story.release()
    deploy_by_hand(story, percent=20)
    story.fake.state.endpoints.change(ENDPOINT, lambda each: each.labels.clear())
    before = story.mark()
    for empty in (True, False):
        with pytest.raises(FleetNotAdopted):
            story.one_pass(plan_of(9, state_of(V3), urgent=True), declared_empty=empty)
    assert story.methods(after=before) == []


def test_an_endpoint_that_is_not_there_is_an_error_unless_declared_empty(wire: Story) -> None:
    wire.worker().check()  # it would be made
    adopted = wire.worker(declared_empty=False)
    for asked in (adopted.check, lambda: adopted.apply(plan_of(1, state_of(V1)), focus=FOCUS)):
        with pytest.raises(EndpointNotFound, match=r"endpoints/digits.*initially: empty"):
            asked()
    assert adopted.document_generations() == {}
    assert adopted.observe(MODEL).loaded == {"vertex": frozenset()}
    assert adopted.unload(plan_of(1, state_of(V1))) == {MODEL: frozenset()}
    assert "is gone" in adopted.astray(plan_of(1, state_of(V1)))[MODEL]


def test_a_repository_that_vertex_cannot_read_is_refused_with_what_to_set(story: Story) -> None:
    target = story.worker()
    elsewhere = VertexAITarget(
        settings=target.settings,
        clients=target._clients,
        store=story.store,
        uri_of=lambda each: f"file:///srv/{each.number}",
        root_uri="file:///srv/models",
    )
    with pytest.raises(InvalidConfig, match=r"gs://<bucket>"):
        elsewhere.check()
    with pytest.raises(InvalidConfig, match=r"gs://<bucket>"):
        brought(elsewhere, plan_of(1, state_of(V1)))
    assert "UploadModel" not in story.methods()


def test_an_aborted_canary_that_is_still_being_deployed_is_cancelled_and_never_serves(story: Story) -> None:
    target = story.worker()
    brought(target, plan_of(1, state_of(V1)))
    story.fake.control.duration("DeployModel", None)
    trying = plan_of(2, state_of(V1, canary=(V2, 0)))
    until(lambda: "is being deployed" in target.apply(trying, focus=FOCUS).pending.get(MODEL, ""), what="it begins")
    aborted = plan_of(3, state_of(V1), urgent=True, spare=(V2,))
    assert target.apply(aborted, focus=FOCUS).applied
    assert story.fake.control.running() == []
    assert target.apply(aborted, focus=FOCUS).applied
    assert story.deployed() == {id_of(V1)}
    assert target.unload(plan_of(3, state_of(V1), spare=(V2,), settled_seconds=9.0)) == {MODEL: frozenset({V1.number})}


def test_a_version_that_is_being_uploaded_counts_as_held_so_that_nobody_deletes_its_files(story: Story) -> None:
    target = story.worker()
    brought(target, plan_of(1, state_of(V1)))
    story.fake.control.duration("UploadModel", None)
    target.apply(plan_of(2, state_of(V1, canary=(V2, 0))), focus=FOCUS)
    held = target.unload(plan_of(2, state_of(V1), settled_seconds=99.0))
    assert held == {MODEL: frozenset({V1.number, V2.number})}


def test_a_lost_document_of_operations_is_made_anew_from_what_the_platform_says(story: Story) -> None:
    story.release()
    story.store.documents.clear()
    target = story.worker()
    assert target.observe(MODEL).split == {V1.number: 90.0, V2.number: 10.0}
    assert brought(target, plan_of(3, state_of(V1))) == {str(V1.number): 100.0}
    assert target.unload(plan_of(3, state_of(V1), settled_seconds=0.0)) == {MODEL: frozenset({V1.number, V2.number})}
    assert story.methods().count("UploadModel") == 2


def test_a_model_on_another_models_endpoint_fails_and_leaves_the_endpoint_alone(story: Story) -> None:
    both = plan_of(1, state_of(V1), model="faces")
    done = story.one_pass(both)
    assert "serves 'digits' alone" in str(done.failed["faces"])
    assert story.methods() == []


def test_nobody_reads_the_generation_from_the_platform_more_often_than_it_changes(story: Story) -> None:
    target = story.release()
    before = story.mark()
    for _ in range(20):
        assert target.document_generations() == {MODEL: 2}
    assert len(story.fake.control.log(after=before)) <= 1


def test_is_loaded_never_raises(story: Story) -> None:
    target = story.release()
    story.fake.control.refuse("GetEndpoint", "INTERNAL")
    assert not target.is_loaded(MODEL, V1)
    assert target.is_loaded(MODEL, V1)
    assert not target.is_loaded("faces", V1)


def test_plain_text_over_grpc_is_refused_and_the_address_may_be_another() -> None:
    assert VertexAccess(location="europe-west4").address == "europe-west4-aiplatform.googleapis.com"
    assert VertexAccess(location="x", api_endpoint="https://vertex.corp:8443/").address == "vertex.corp:8443"
    with pytest.raises(InvalidConfig, match="api_transport to rest"):
        VertexAccess(location="x", api_endpoint="http://127.0.0.1:1")
    with pytest.raises(InvalidConfig, match="write grpc or rest"):
        VertexAccess(location="x", transport="soap")


def test_an_operation_is_asked_about_no_more_often_than_told(story: Story) -> None:
    story.fake.control.duration("*", None)
    target, plan = story.worker(patience=Patience(poll=60.0)), plan_of(1, state_of(V1))
    for _ in range(5):
        target.apply(plan, focus=FOCUS)
    assert len(story.fake.control.log(method="GetOperation")) == 1


def test_a_missing_library_is_told_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "google.cloud.aiplatform_v1", None)
    monkeypatch.delattr("google.cloud.aiplatform_v1")
    clients = VertexClients(VertexAccess(location="europe-west4"))
    for asked in (lambda: clients.endpoints, lambda: clients.models):
        with pytest.raises(InvalidConfig, match=r"google-cloud-aiplatform.*airflow-model-ops\[vertex\]"):
            asked()
