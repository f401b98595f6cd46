"""What the tests do over and over, said shortly, with the real generated clients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from google.cloud import aiplatform_v1 as v1

from tests.vertex_fake.rig import Address

PARENT = "projects/acme/locations/europe-west4"
MODEL = f"{PARENT}/models/digits"
ENDPOINT = f"{PARENT}/endpoints/digits"
MACHINE = v1.DedicatedResources(
    machine_spec=v1.MachineSpec(machine_type="n1-standard-2"), min_replica_count=1, max_replica_count=2
)
PATIENCE_SECONDS = 60


@dataclass
class Caller:
    """A user of the service over one transport."""

    address: Address
    transport: str = "grpc"

    def __post_init__(self) -> None:
        self.endpoints = self.address.endpoint_client(self.transport)
        self.models = self.address.model_client(self.transport)

    def create_endpoint(self, **fields: Any) -> v1.Endpoint:
        given = v1.Endpoint(display_name="digits", **fields)
        began = self.endpoints.create_endpoint(parent=PARENT, endpoint=given, endpoint_id="digits")
        return began.result(timeout=PATIENCE_SECONDS)

    def begin_upload(self, *aliases: str, first: bool = False, artifact_uri: str = "gs://models/digits/1") -> Any:
        model = v1.Model(
            display_name="digits",
            artifact_uri=artifact_uri,
            container_spec=v1.ModelContainerSpec(image_uri="tf2-cpu"),
            version_aliases=aliases,
        )
        place = {"model_id": "digits"} if first else {"parent_model": MODEL}
        return self.models.upload_model(request=v1.UploadModelRequest(parent=PARENT, model=model, **place))

    def upload(self, *aliases: str, first: bool = False) -> str:
        """Upload a version and return its id."""
        return str(self.begin_upload(*aliases, first=first).result(timeout=PATIENCE_SECONDS).model_version_id)

    def begin_deploy(self, version: str, id_: str, split: dict[str, int] | None = None, **fields: Any) -> Any:
        deployed = v1.DeployedModel(
            **{"model": f"{MODEL}@{version}", "id": id_, "display_name": version, "dedicated_resources": MACHINE}
            | fields
        )
        request = v1.DeployModelRequest(endpoint=ENDPOINT, deployed_model=deployed, traffic_split=split or {})
        return self.endpoints.deploy_model(request=request)

    def deploy(self, version: str, id_: str, split: dict[str, int] | None = None, **fields: Any) -> v1.DeployedModel:
        return self.begin_deploy(version, id_, split, **fields).result(timeout=PATIENCE_SECONDS).deployed_model

    def undeploy(self, id_: str, split: dict[str, int] | None = None) -> None:
        request = v1.UndeployModelRequest(endpoint=ENDPOINT, deployed_model_id=id_, traffic_split=split or {})
        self.endpoints.undeploy_model(request=request).result(timeout=PATIENCE_SECONDS)

    def shift(self, split: dict[str, int], *, etag: str = "", labels: dict[str, str] | None = None) -> v1.Endpoint:
        paths = ["traffic_split"] if labels is None else ["traffic_split", "labels"]
        endpoint = v1.Endpoint(name=ENDPOINT, traffic_split=split, labels=labels or {}, etag=etag)
        return self.endpoints.update_endpoint(endpoint=endpoint, update_mask={"paths": paths})

    def endpoint(self) -> v1.Endpoint:
        return self.endpoints.get_endpoint(name=ENDPOINT)

    def split(self) -> dict[str, int]:
        return dict(self.endpoint().traffic_split)

    def aliases(self, version: str) -> set[str]:
        return set(self.models.get_model(name=f"{MODEL}@{version}").version_aliases)

    def with_two_versions(self) -> None:
        """Have versions 1 and 2, deployed as 11 and 22; 11 gets all traffic."""
        self.create_endpoint()
        self.upload("v-1", first=True)
        self.upload("v-2")
        self.deploy("v-1", "11", {"0": 100})
        self.deploy("v-2", "22")
