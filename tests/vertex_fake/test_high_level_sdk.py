"""`google.cloud.aiplatform`, unmodified, over REST: what its users do with models, versions and endpoints."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from google.api_core import exceptions
from google.auth.credentials import AnonymousCredentials

from tests.vertex_fake.rig import VertexFake

MACHINE = {"machine_type": "n1-standard-2", "min_replica_count": 1, "max_replica_count": 1}


@pytest.fixture
def sdk(fake: VertexFake) -> Iterator[Any]:
    from google.cloud import aiplatform

    aiplatform.init(
        project="acme",
        location="europe-west4",
        credentials=AnonymousCredentials(),
        api_endpoint=fake.address.rest_url,
        api_transport="rest",
    )
    yield aiplatform
    aiplatform.initializer.global_config.__init__()


def upload(sdk: Any, alias: str, **fields: Any) -> Any:
    return sdk.Model.upload(
        display_name="digits",
        artifact_uri=f"gs://models/digits/{alias}",
        serving_container_image_uri="us-docker.pkg.dev/vertex-ai/prediction/tf2-cpu.2-15:latest",
        version_aliases=[alias],
        **fields,
    )


def test_a_canary_is_deployed_shifted_promoted_and_the_old_version_undeployed(fake: VertexFake, sdk: Any) -> None:
    first = upload(sdk, "v-1", model_id="digits")
    second = upload(sdk, "v-2", parent_model=first.resource_name, is_default_version=False)
    assert [(each.version_id, set(each.version_aliases)) for each in (first, second)] == [
        ("1", {"default", "v-1"}),
        ("2", {"v-2"}),
    ]
    endpoint = sdk.Endpoint.create(display_name="digits", endpoint_id="digits", labels={"team": "vision"})
    endpoint.deploy(first, deployed_model_display_name="v-1", traffic_percentage=100, **MACHINE)
    old = next(iter(endpoint.traffic_split))
    endpoint.deploy(second, deployed_model_display_name="v-2", traffic_split={"0": 10, old: 90}, **MACHINE)
    new = next(each.id for each in endpoint.list_models() if each.display_name == "v-2")
    assert endpoint.traffic_split == {old: 90, new: 10}

    endpoint.update(traffic_split={old: 50, new: 50})
    assert sdk.Endpoint("digits").traffic_split == {old: 50, new: 50}
    endpoint.update(traffic_split={new: 100})
    endpoint.undeploy(old)
    assert [each.display_name for each in endpoint.list_models()] == ["v-2"]
    assert endpoint.predict(instances=[[0.0]]).deployed_model_id == new
    endpoint.undeploy_all()
    assert endpoint.list_models() == []
    endpoint.delete()
    assert [each["method"] for each in fake.control.log(mutating=True)] == [
        *("UploadModel", "UploadModel", "CreateEndpoint", "DeployModel", "DeployModel"),
        *("UpdateEndpoint", "UpdateEndpoint", "UndeployModel", "UndeployModel", "DeleteEndpoint"),
    ]


def test_aliases_are_read_given_taken_and_moved(fake: VertexFake, sdk: Any) -> None:
    model = upload(sdk, "v-1", model_id="digits")
    upload(sdk, "v-2", parent_model=model.resource_name, is_default_version=False)
    registry = sdk.models.ModelRegistry(model)
    registry.add_version_aliases(["stable"], version="1")
    registry.add_version_aliases(["stable"], version="2")
    registry.remove_version_aliases(["v-2"], version="2")
    assert {each.version_id: set(each.version_aliases) for each in registry.list_versions()} == {
        "1": {"default", "v-1"},
        "2": {"stable"},
    }
    assert registry.get_model("stable").version_id == "2"
    assert registry.get_version_info("2").model_resource_name == model.resource_name
    registry.update_version("2", version_description="the second")
    assert registry.get_version_info("stable").version_description == "the second"
    upload(sdk, "v-3", parent_model=model.resource_name)
    assert sdk.Model("digits").version_id == "3", "without is_default_version=False the SDK moves the default"
    registry.delete_version("1")
    assert [each.version_id for each in registry.list_versions()] == ["2", "3"]


def test_what_the_service_refuses_the_sdk_raises(fake: VertexFake, sdk: Any) -> None:
    model = upload(sdk, "v-1", model_id="digits")
    endpoint = sdk.Endpoint.create(display_name="digits")
    fake.control.fail_operation("DeployModel", "RESOURCE_EXHAUSTED", "quota of n1 machines")
    with pytest.raises(exceptions.ResourceExhausted, match="quota of n1 machines"):
        endpoint.deploy(model, traffic_percentage=100, **MACHINE)
    with pytest.raises(exceptions.NotFound):
        sdk.Model("letters")
    with pytest.raises(exceptions.Conflict):
        upload(sdk, "v-1", model_id="digits")
    assert [each.display_name for each in sdk.Endpoint.list(filter='display_name="digits"')] == ["digits"]
