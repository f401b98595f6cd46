"""What the service refuses of endpoints and deployments, and what it leaves as it was."""

from __future__ import annotations

from typing import Any

import pytest
from google.api_core import exceptions
from google.cloud import aiplatform_v1 as v1

from tests.vertex_fake.rig import VertexFake
from tests.vertex_fake.story import ENDPOINT, MODEL, PARENT, Caller


@pytest.fixture
def caller(fake: VertexFake) -> Caller:
    found = Caller(fake.address)
    found.with_two_versions()
    return found


@pytest.mark.parametrize("endpoint_id", ["Digits", "di_gits", "9" * 10, "01", "digits-"])
def test_an_endpoints_chosen_id_has_a_grammar(caller: Caller, endpoint_id: str) -> None:
    with pytest.raises(exceptions.InvalidArgument, match="endpoint_id"):
        caller.endpoints.create_endpoint(parent=PARENT, endpoint=v1.Endpoint(display_name="e"), endpoint_id=endpoint_id)


def test_an_endpoint_exists_once_even_while_it_is_being_created(fake: VertexFake, caller: Caller) -> None:
    with pytest.raises(exceptions.AlreadyExists):
        caller.create_endpoint()
    fake.control.duration("CreateEndpoint", None)
    given = {"parent": PARENT, "endpoint": v1.Endpoint(display_name="e"), "endpoint_id": "other"}
    caller.endpoints.create_endpoint(**given)
    with pytest.raises(exceptions.AlreadyExists):
        caller.endpoints.create_endpoint(**given)


@pytest.mark.parametrize(
    "split",
    [{"11": 90}, {"11": 90, "22": 20}, {"11": 90, "33": 10}, {"11": 110, "22": -10}],
    ids=["short", "over", "unknown", "negative"],
)
def test_a_split_sums_to_a_hundred_over_what_is_deployed(caller: Caller, split: dict[str, int]) -> None:
    before = caller.endpoint()
    with pytest.raises(exceptions.InvalidArgument):
        caller.shift(split)
    assert caller.endpoint() == before


def test_an_empty_split_takes_all_traffic_away_and_every_change_makes_a_new_etag(caller: Caller) -> None:
    etags = [caller.endpoint().etag, caller.shift({}).etag, caller.shift({"22": 100}).etag]
    assert len(set(etags)) == 3
    assert caller.split() == {"22": 100}


@pytest.mark.parametrize("paths", [[], ["deployed_models"], ["etag"], ["traffic_split", "name"]])
def test_only_some_fields_can_be_updated(caller: Caller, paths: list[str]) -> None:
    with pytest.raises(exceptions.InvalidArgument, match="update_mask"):
        caller.endpoints.update_endpoint(endpoint=v1.Endpoint(name=ENDPOINT), update_mask={"paths": paths})


def test_a_label_takes_no_capitals(caller: Caller) -> None:
    with pytest.raises(exceptions.InvalidArgument, match="Label"):
        caller.shift({"11": 100}, labels={"Generation": "1"})


def test_a_deployment_without_a_split_leaves_the_split(caller: Caller) -> None:
    caller.deploy("v-2", "23")
    assert caller.split() == {"11": 100}


def test_a_deployments_split_calls_the_new_one_zero(caller: Caller) -> None:
    caller.deploy("v-2", "23", {"0": 5, "11": 95})
    assert caller.split() == {"23": 5, "11": 95}


@pytest.mark.parametrize(
    ("fields", "refused"),
    [
        ({"id": "11"}, exceptions.AlreadyExists),
        ({"id": "20230601120000"}, exceptions.InvalidArgument),
        ({"id": "v-1"}, exceptions.InvalidArgument),
        ({"dedicated_resources": v1.DedicatedResources()}, exceptions.InvalidArgument),
        ({"model": f"{MODEL}@v-9"}, exceptions.NotFound),
        ({"model": f"{PARENT}/models/letters"}, exceptions.NotFound),
    ],
    ids=["taken", "14 digits", "no digits", "no machine", "no version", "no model"],
)
def test_a_deployment_is_refused_at_once(caller: Caller, fields: dict[str, Any], refused: type[Exception]) -> None:
    before = caller.endpoint()
    with pytest.raises(refused):
        caller.begin_deploy("v-1", "33", **fields)
    assert caller.endpoint() == before


def test_an_id_is_taken_while_its_deployment_runs_and_free_when_it_failed(fake: VertexFake, caller: Caller) -> None:
    fake.control.duration("DeployModel", None)
    fake.control.fail_operation("DeployModel")
    caller.begin_deploy("v-2", "33")
    assert [each.id for each in caller.endpoint().deployed_models] == ["11", "22"]
    with pytest.raises(exceptions.AlreadyExists):
        caller.begin_deploy("v-2", "33")
    assert fake.control.release("DeployModel") == 1
    fake.control.duration("DeployModel", 0)
    assert caller.deploy("v-2", "33").id == "33"


def test_a_version_without_a_name_of_its_own_is_the_default_one(caller: Caller) -> None:
    deployed = caller.deploy("", "44", model=MODEL, display_name="")
    assert (deployed.model_version_id, deployed.display_name) == ("1", "digits")


def test_a_deployment_with_traffic_is_undeployed_only_when_the_split_takes_it_away(caller: Caller) -> None:
    for split in ({}, {"11": 60, "22": 40}):
        with pytest.raises(exceptions.FailedPrecondition, match="traffic"):
            caller.undeploy("11", split)
    assert (caller.split(), len(caller.endpoint().deployed_models)) == ({"11": 100}, 2)
    caller.undeploy("11", {"22": 100})
    assert (caller.split(), len(caller.endpoint().deployed_models)) == ({"22": 100}, 1)


def test_the_last_deployment_leaves_an_empty_split(caller: Caller) -> None:
    caller.undeploy("22")
    caller.undeploy("11")
    assert caller.split() == {}


def test_no_traffic_can_be_given_to_what_is_being_undeployed(fake: VertexFake, caller: Caller) -> None:
    fake.control.duration("UndeployModel", None)
    request = v1.UndeployModelRequest(endpoint=ENDPOINT, deployed_model_id="22")
    caller.endpoints.undeploy_model(request=request)
    with pytest.raises(exceptions.InvalidArgument, match="22"):
        caller.shift({"11": 50, "22": 50})
    with pytest.raises(exceptions.FailedPrecondition, match="being undeployed"):
        caller.endpoints.undeploy_model(request=request)
    fake.control.release("UndeployModel")
    assert [each.id for each in caller.endpoint().deployed_models] == ["11"]


def test_an_endpoint_in_use_is_not_deleted(fake: VertexFake, caller: Caller) -> None:
    with pytest.raises(exceptions.FailedPrecondition, match="deployed or being-deployed"):
        caller.endpoints.delete_endpoint(name=ENDPOINT)
    caller.undeploy("22")
    caller.undeploy("11")
    fake.control.duration("DeployModel", None)
    caller.begin_deploy("v-1", "11")
    with pytest.raises(exceptions.FailedPrecondition, match="deployed or being-deployed"):
        caller.endpoints.delete_endpoint(name=ENDPOINT)


def test_a_deployment_whose_split_became_impossible_meanwhile_fails(fake: VertexFake, caller: Caller) -> None:
    fake.control.duration("DeployModel", None)
    name = caller.begin_deploy("v-2", "33", {"0": 10, "22": 90}).operation.name
    caller.undeploy("22")
    fake.control.release("DeployModel")
    ended = caller.endpoints.get_operation({"name": name})
    assert (ended.error.code, "[22]" in ended.error.message) == (3, True)
    assert (caller.split(), [each.id for each in caller.endpoint().deployed_models]) == ({"11": 100}, ["11"])
