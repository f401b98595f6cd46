"""Every fault as the real clients see it, what it leaves behind, and what the log says of it."""

from __future__ import annotations

import threading

import pytest
import requests
from google.api_core import exceptions
from google.auth.credentials import Credentials
from google.cloud import aiplatform_v1 as v1

from tests.vertex_fake.rig import VertexFake
from tests.vertex_fake.story import ENDPOINT, MODEL, Caller
from tests.waits import all_ended, until

TRANSPORTS = ("rest", "grpc")
REFUSALS = {
    "RESOURCE_EXHAUSTED": (429, exceptions.TooManyRequests),
    "UNAVAILABLE": (503, exceptions.ServiceUnavailable),
    "DEADLINE_EXCEEDED": (504, exceptions.GatewayTimeout),
    "PERMISSION_DENIED": (403, exceptions.Forbidden),
    "ABORTED": (409, exceptions.Conflict),
}


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("code", REFUSALS)
def test_the_next_calls_of_a_method_are_refused_and_no_other(fake: VertexFake, transport: str, code: str) -> None:
    caller = Caller(fake.address, transport)
    caller.with_two_versions()
    fake.control.refuse("UpdateEndpoint", code, "not now", times=2)
    for _ in range(2):
        with pytest.raises(REFUSALS[code][1], match="not now") as refused:
            caller.shift({"22": 100})
        assert refused.value.code == REFUSALS[code][0]
        assert caller.split() == {"11": 100}
    caller.shift({"22": 100})
    outcomes = [each["outcome"] for each in fake.control.log(method="UpdateEndpoint")]
    assert outcomes == [code, code, "OK"]


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_an_answer_is_lost_after_the_change_was_made(fake: VertexFake, transport: str) -> None:
    caller = Caller(fake.address, transport)
    caller.with_two_versions()
    fake.control.lose_answer("DeployModel")
    with pytest.raises((exceptions.ServiceUnavailable, requests.ConnectionError)):
        caller.begin_deploy("v-1", "33")
    assert [each.id for each in caller.endpoint().deployed_models] == ["11", "22", "33"]
    with pytest.raises((exceptions.AlreadyExists, exceptions.Conflict)):
        caller.begin_deploy("v-1", "33")
    lost, refused = fake.control.log(method="DeployModel")[-2:]
    assert (lost["outcome"], lost["answered"], lost["operation"].startswith(ENDPOINT)) == ("OK", False, True)
    assert (refused["outcome"], refused["answered"], refused["operation"]) == ("ALREADY_EXISTS", True, None)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_request_is_lost_before_anything_is_done(fake: VertexFake, transport: str) -> None:
    caller = Caller(fake.address, transport)
    caller.with_two_versions()
    fake.control.lose_request("UpdateEndpoint")
    with pytest.raises((exceptions.ServiceUnavailable, requests.ConnectionError)):
        caller.shift({"22": 100})
    assert caller.split() == {"11": 100}
    assert fake.control.log(method="UpdateEndpoint")[-1]["outcome"] == "LOST"


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_call_hangs_until_the_clients_patience_is_over_and_takes_effect_late(
    fake: VertexFake, transport: str
) -> None:
    caller = Caller(fake.address, transport)
    caller.with_two_versions()
    fake.control.hang("UpdateEndpoint")
    endpoint = v1.Endpoint(name=ENDPOINT, traffic_split={"22": 100})
    with pytest.raises((exceptions.GatewayTimeout, requests.Timeout)):
        caller.endpoints.update_endpoint(endpoint=endpoint, update_mask={"paths": ["traffic_split"]}, timeout=1.0)
    until(lambda: fake.control.hanging() == ["UpdateEndpoint"], what="the call has arrived, and still waits", within=60)
    waited = Caller(fake.address, "grpc")
    assert waited.split() == {"11": 100}
    fake.control.let_go()
    until(lambda: waited.split() == {"22": 100}, what="it takes effect", within=60)


def test_another_writer_comes_between_the_reading_and_the_writing(fake: VertexFake) -> None:
    caller = Caller(fake.address)
    caller.with_two_versions()
    fake.control.foreign_write(ENDPOINT, before="UpdateEndpoint", labels={"model-ops-generation": "9"})
    with pytest.raises(exceptions.Aborted, match="etag"):
        caller.shift({"22": 100}, etag=caller.endpoint().etag)
    now = caller.endpoint()
    assert (dict(now.traffic_split), dict(now.labels)) == ({"11": 100}, {"model-ops-generation": "9"})
    caller.shift({"22": 100}, etag=now.etag)
    fake.control.foreign_write(ENDPOINT, traffic_split={"11": 100})
    assert caller.split() == {"11": 100}


@pytest.mark.parametrize(("code", "number"), [("INTERNAL", 13), ("RESOURCE_EXHAUSTED", 8), ("INVALID_ARGUMENT", 3)])
def test_a_deployment_fails_in_the_end(fake: VertexFake, code: str, number: int) -> None:
    caller = Caller(fake.address)
    caller.with_two_versions()
    fake.control.fail_operation("DeployModel", code, "the container did not start")
    name = caller.begin_deploy("v-2", "33", {"0": 100}).operation.name
    ended = caller.endpoints.get_operation({"name": name})
    told = v1.DeployModelOperationMetadata()
    assert ended.metadata.Unpack(v1.DeployModelOperationMetadata.pb(told))
    assert (ended.done, ended.error.code, ended.error.message) == (True, number, "the container did not start")
    assert told.deployment_stage == v1.DeploymentStage.FAILED_TO_DEPLOY
    assert (caller.split(), len(caller.endpoint().deployed_models)) == ({"11": 100}, 2)


def test_a_deployment_succeeds_in_part_and_has_no_replica(fake: VertexFake) -> None:
    caller = Caller(fake.address)
    caller.with_two_versions()
    fake.control.partial_failure("DeployModel", "UNAVAILABLE", "0 of 1 replicas")
    name = caller.begin_deploy("v-2", "33").operation.name
    ended = caller.endpoints.get_operation({"name": name})
    told = v1.DeployModelOperationMetadata()
    assert ended.metadata.Unpack(v1.DeployModelOperationMetadata.pb(told))
    assert ended.HasField("response")
    assert [each.message for each in told.generic_metadata.partial_failures] == ["0 of 1 replicas"]
    status = next(each.status for each in caller.endpoint().deployed_models if each.id == "33")
    assert (status.available_replica_count, status.message) == (0, "0 of 1 replicas")


def test_a_deployment_vanishes_and_its_traffic_goes_nowhere(fake: VertexFake) -> None:
    caller = Caller(fake.address)
    caller.with_two_versions()
    before = caller.endpoint().etag
    fake.control.vanish(ENDPOINT, "11")
    found = caller.endpoint()
    assert ([each.id for each in found.deployed_models], dict(found.traffic_split)) == (["22"], {"11": 100})
    assert found.etag != before
    answered = requests.post(f"{fake.address.rest_url}/v1/{ENDPOINT}:predict", json={"instances": [1]}, timeout=10)
    assert answered.status_code == 503
    fake.control.vanish(ENDPOINT, "22", keep_traffic=False)
    assert caller.models.get_model(name=f"{MODEL}@2").deployed_models == []


def test_changes_are_refused_while_another_runs_if_the_service_is_strict(fake: VertexFake) -> None:
    caller = Caller(fake.address)
    caller.with_two_versions()
    fake.control.one_change_at_a_time()
    fake.control.duration("DeployModel", None)
    caller.begin_deploy("v-1", "33")
    with pytest.raises(exceptions.FailedPrecondition, match="other operations running"):
        caller.begin_deploy("v-1", "34")
    with pytest.raises(exceptions.FailedPrecondition, match="other operations running"):
        caller.undeploy("22")
    fake.control.release()
    caller.undeploy("22")


def test_an_operation_takes_as_long_as_it_is_told_and_is_released(fake: VertexFake) -> None:
    caller = Caller(fake.address)
    caller.create_endpoint()
    caller.upload("v-1", first=True)
    fake.control.duration("DeployModel", 3600)
    slow = caller.begin_deploy("v-1", "11").operation.name
    fake.control.duration("DeployModel", 0)
    assert caller.deploy("v-1", "12").id == "12"
    assert fake.control.running() == [slow]
    assert fake.control.release(name=slow) == 1
    assert {each.id for each in caller.endpoint().deployed_models} == {"11", "12"}


class Token(Credentials):
    """A credential that is just a token."""

    def __init__(self, token: str) -> None:
        super().__init__()
        self.token = token

    def refresh(self, request: object) -> None:
        """It never expires."""

    @property
    def expired(self) -> bool:
        return False


def test_a_bearer_token_is_required_of_every_call(fake: VertexFake) -> None:
    Caller(fake.address).create_endpoint()
    fake.control.require_bearer("right")
    ask = {"name": ENDPOINT}
    for client in (
        fake.address.endpoint_client("rest", credentials=Token("wrong")),
        fake.address.endpoint_client("grpc"),
    ):
        with pytest.raises(exceptions.Unauthorized):
            client.get_endpoint(ask)
    right = fake.address.endpoint_client("rest", credentials=Token("right"))
    assert right.get_endpoint(ask).name == ENDPOINT
    metadata = [("authorization", "Bearer right")]
    assert fake.address.endpoint_client("grpc").get_endpoint(ask, metadata=metadata).name == ENDPOINT


def test_the_log_tells_the_order_and_the_content_of_what_was_asked(fake: VertexFake) -> None:
    caller = Caller(fake.address, "rest")
    caller.with_two_versions()
    last = fake.control.log()[-1]["number"]
    Caller(fake.address, "grpc").shift({"22": 100}, labels={"generation": "2"})
    caller.undeploy("11")
    changes = fake.control.log(after=last, mutating=True)
    assert [(each["method"], each["transport"], each["resource"], each["outcome"]) for each in changes] == [
        ("UpdateEndpoint", "grpc", ENDPOINT, "OK"),
        ("UndeployModel", "rest", ENDPOINT, "OK"),
    ]
    assert changes[0]["request"]["endpoint"]["traffic_split"] == {"22": 100}
    assert changes[1]["path"] == f"/v1/{ENDPOINT}:undeployModel"
    assert not any(each["mutating"] for each in fake.control.log(method="GetOperation"))


def test_plans_are_forgotten(fake: VertexFake) -> None:
    caller = Caller(fake.address)
    fake.control.refuse("*", times=99)
    fake.control.fail_operation("CreateEndpoint", times=99)
    fake.control.require_bearer()
    fake.control.forget_faults()
    assert caller.create_endpoint().name == ENDPOINT


def test_a_plan_that_means_nothing_is_refused(fake: VertexFake) -> None:
    for wrong in (
        lambda: fake.control.refuse("GetModel", "TEAPOT"),
        lambda: fake.control.duration("Deploy", 1),
        lambda: fake.control.fail_operation("DeployModel", "OK"),
        lambda: fake.control.behave("v-1", error_rate=2),
        lambda: fake.control.refuse("Deploy"),
    ):
        with pytest.raises(ValueError, match=r"write one of|no behaviour"):
            wrong()


def test_of_many_writers_with_one_etag_exactly_one_wins(fake: VertexFake) -> None:
    callers = [Caller(fake.address, TRANSPORTS[number % 2]) for number in range(6)]
    callers[0].with_two_versions()
    etag = callers[0].endpoint().etag
    outcomes: list[str] = []

    def write(caller: Caller, percent: int) -> None:
        try:
            caller.shift({"11": percent, "22": 100 - percent}, etag=etag)
            outcomes.append("won")
        except exceptions.Conflict:
            outcomes.append("lost")

    threads = [
        threading.Thread(target=write, args=(caller, index), daemon=True) for index, caller in enumerate(callers)
    ]
    for each in threads:
        each.start()
    all_ended(*threads, within=60)
    assert sorted(outcomes) == ["lost"] * 5 + ["won"]
