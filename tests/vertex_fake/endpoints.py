"""EndpointService: endpoints, what is deployed to them, and how they split their traffic.

Methods are named as the service's, in snake case, and take its requests.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Any

from google.cloud import aiplatform_v1 as v1
from google.protobuf import empty_pb2
from google.rpc import status_pb2

from tests.vertex_fake import listing, names
from tests.vertex_fake.etags import new_etag
from tests.vertex_fake.models import Models
from tests.vertex_fake.operations import Operations, raw
from tests.vertex_fake.refusal import Refused

_CHANGEABLE = frozenset({"display_name", "description", "labels", "traffic_split"})
NEW = "0"
"""In a deployment's split: the one being deployed."""


class Endpoints:
    """Every endpoint of the service."""

    def __init__(self, *, models: Models, operations: Operations) -> None:
        self.one_change_at_a_time = False
        self._models = models
        self._operations = operations
        self._clock = operations.clock
        self._all: dict[str, v1.Endpoint] = {}
        self._being_created: set[str] = set()
        self._being_deployed: set[tuple[str, str]] = set()
        self._being_undeployed: set[tuple[str, str]] = set()
        self._numbers = itertools.count(1_000_000_001)

    def find(self, name: str) -> v1.Endpoint:
        """Return the endpoint itself, not a copy.

        :raises Refused: NOT_FOUND.
        """
        asked = names.resource(name, collection="endpoints").name
        if asked not in self._all:
            raise Refused("NOT_FOUND", f"The Endpoint does not exist: {name}")
        return self._all[asked]

    @property
    def all(self) -> list[v1.Endpoint]:
        return list(self._all.values())

    def create_endpoint(self, request: v1.CreateEndpointRequest) -> Any:
        location = names.check_parent(request.parent)
        chosen = names.check_endpoint_id(request.endpoint_id) if request.endpoint_id else str(next(self._numbers))
        name = f"{location}/endpoints/{chosen}"
        if name in self._all or name in self._being_created:
            raise Refused("ALREADY_EXISTS", f"The Endpoint already exists: {name}")
        asked = request.endpoint
        names.check_display_name(asked.display_name)
        names.check_labels(dict(asked.labels))
        if asked.traffic_split:
            raise Refused("INVALID_ARGUMENT", "traffic_split: nothing is deployed to a new Endpoint.")
        endpoint = v1.Endpoint(
            name=name, display_name=asked.display_name, description=asked.description, labels=dict(asked.labels)
        )

        def finish() -> v1.Endpoint:
            endpoint.create_time = self._clock.now()
            self._touch(endpoint)
            self._all[name] = endpoint
            self._being_created.discard(name)
            return _copy(endpoint)

        self._being_created.add(name)
        return self._operations.start(
            "CreateEndpoint",
            on=name,
            metadata=v1.CreateEndpointOperationMetadata(),
            finish=finish,
            abandon=lambda: self._being_created.discard(name),
        )

    def get_endpoint(self, request: v1.GetEndpointRequest) -> v1.Endpoint:
        return _copy(self.find(request.name))

    def list_endpoints(self, request: v1.ListEndpointsRequest) -> v1.ListEndpointsResponse:
        location = names.check_parent(request.parent)
        here = [each for each in self._all.values() if each.name.startswith(f"{location}/")]
        chosen = listing.ordered([each for each in here if listing.matches(each, request.filter)], request.order_by)
        cut, token = listing.page(chosen, size=request.page_size, token=request.page_token)
        return v1.ListEndpointsResponse(endpoints=[_copy(each) for each in cut], next_page_token=token)

    def update_endpoint(self, request: v1.UpdateEndpointRequest) -> v1.Endpoint:
        """Replace the masked fields at once; an etag that is given must be the current one."""
        endpoint, given = self.find(request.endpoint.name), request.endpoint
        paths = set(request.update_mask.paths)
        if not paths or paths - _CHANGEABLE:
            raise Refused(
                "INVALID_ARGUMENT", f"update_mask must name some of {sorted(_CHANGEABLE)}; got {sorted(paths)}."
            )
        if given.etag and given.etag != endpoint.etag:
            told = f"Specified Endpoint `etag`: `{given.etag}` does not match server `etag`: `{endpoint.etag}`"
            raise Refused("ABORTED", told)
        if "traffic_split" in paths:
            self._check_split(endpoint, dict(given.traffic_split))
        if "display_name" in paths:
            names.check_display_name(given.display_name)
        if "labels" in paths:
            names.check_labels(dict(given.labels))
        for path in paths:
            setattr(endpoint, path, getattr(given, path))
        self._touch(endpoint)
        return _copy(endpoint)

    def delete_endpoint(self, request: v1.DeleteEndpointRequest) -> Any:
        name = self.find(request.name).name

        def refuse_in_use() -> None:
            being = [id_ for endpoint, id_ in self._being_deployed if endpoint == name]
            if self._all[name].deployed_models or being:
                raise Refused(
                    "FAILED_PRECONDITION", f"Endpoint {name} has deployed or being-deployed DeployedModel(s)."
                )

        def finish() -> empty_pb2.Empty:
            refuse_in_use()
            del self._all[name]
            return empty_pb2.Empty()

        refuse_in_use()
        metadata = v1.DeleteOperationMetadata()
        return self._operations.start("DeleteEndpoint", on=name, metadata=metadata, finish=finish)

    def deploy_model(self, request: v1.DeployModelRequest) -> Any:
        endpoint = self.find(request.endpoint)
        deployed = self._new_deployment(endpoint, request.deployed_model)
        key = (endpoint.name, deployed.id)
        split = {deployed.id if id_ == NEW else id_: percent for id_, percent in request.traffic_split.items()}
        if split:
            self._check_split(endpoint, split, beside={deployed.id})
        self._refuse_second_change(endpoint)

        def finish() -> v1.DeployModelResponse:
            if split:
                self._check_split(endpoint, split, beside={deployed.id})
                endpoint.traffic_split = split
            self._be_deployed(endpoint, deployed)
            self._being_deployed.discard(key)
            return v1.DeployModelResponse(deployed_model=deployed)

        def lose_replicas(failure: status_pb2.Status) -> None:
            found = next(each for each in endpoint.deployed_models if each.id == deployed.id)
            found.status = v1.DeployedModel.Status(message=failure.message, last_update_time=self._clock.now())
            self._touch(endpoint)

        self._being_deployed.add(key)
        return self._operations.start(
            "DeployModel",
            on=endpoint.name,
            metadata=v1.DeployModelOperationMetadata(),
            finish=finish,
            abandon=lambda: self._being_deployed.discard(key),
            degrade=lose_replicas,
        )

    def undeploy_model(self, request: v1.UndeployModelRequest) -> Any:
        endpoint, id_ = self.find(request.endpoint), request.deployed_model_id
        key = (endpoint.name, id_)
        if id_ not in _ids(endpoint):
            raise Refused("NOT_FOUND", f"The DeployedModel {id_!r} does not exist in {endpoint.name}.")
        if key in self._being_undeployed:
            raise Refused("FAILED_PRECONDITION", f"The DeployedModel {id_} is being undeployed already.")
        split = dict(request.traffic_split)
        after = self._split_without(endpoint, id_, split)
        self._refuse_second_change(endpoint)

        def finish() -> v1.UndeployModelResponse:
            endpoint.traffic_split = self._split_without(endpoint, id_, split)
            self.remove(endpoint, id_)
            self._being_undeployed.discard(key)
            return v1.UndeployModelResponse()

        assert after is not None
        self._being_undeployed.add(key)
        return self._operations.start(
            "UndeployModel",
            on=endpoint.name,
            metadata=v1.UndeployModelOperationMetadata(),
            finish=finish,
            abandon=lambda: self._being_undeployed.discard(key),
        )

    def remove(self, endpoint: v1.Endpoint, id_: str) -> None:
        """Take a deployment from the list of its endpoint and of its model, and nothing else."""
        gone = next(each for each in endpoint.deployed_models if each.id == id_)
        endpoint.deployed_models = [each for each in endpoint.deployed_models if each.id != id_]
        version = self._models.version(f"{gone.model}@{gone.model_version_id}")
        version.deployed_models = [
            each for each in version.deployed_models if (each.endpoint, each.deployed_model_id) != (endpoint.name, id_)
        ]
        self._touch(endpoint)

    def change(self, name: str, edit: Callable[[v1.Endpoint], None]) -> None:
        """Change an endpoint as another writer would, without any check."""
        endpoint = self.find(name)
        edit(endpoint)
        self._touch(endpoint)

    def _new_deployment(self, endpoint: v1.Endpoint, asked: v1.DeployedModel) -> v1.DeployedModel:
        version = self._models.version(asked.model)
        machine = asked.dedicated_resources.machine_spec.machine_type
        if not machine or asked.dedicated_resources.min_replica_count < 1:
            told = (
                "deployed_model.dedicated_resources with machine_spec.machine_type and min_replica_count of 1 or more"
            )
            raise Refused("INVALID_ARGUMENT", f"{told} is required for Model {version.name}.")
        taken = _ids(endpoint) | {id_ for name, id_ in self._being_deployed if name == endpoint.name}
        id_ = names.check_deployed_id(asked.id) if asked.id else str(next(self._numbers))
        if id_ in taken or id_ == NEW:
            raise Refused("ALREADY_EXISTS", f"The DeployedModel id {id_} exists already in {endpoint.name}.")
        deployed = v1.DeployedModel()
        raw(deployed).CopyFrom(raw(asked))
        deployed.id, deployed.model, deployed.model_version_id = id_, version.name, version.version_id
        deployed.display_name = asked.display_name or version.display_name
        return deployed

    def _be_deployed(self, endpoint: v1.Endpoint, deployed: v1.DeployedModel) -> None:
        version = self._models.version(f"{deployed.model}@{deployed.model_version_id}")
        replicas = deployed.dedicated_resources.min_replica_count
        deployed.create_time = self._clock.now()
        deployed.status = v1.DeployedModel.Status(available_replica_count=replicas, last_update_time=self._clock.now())
        endpoint.deployed_models.append(deployed)
        version.deployed_models.append(v1.DeployedModelRef(endpoint=endpoint.name, deployed_model_id=deployed.id))
        self._touch(endpoint)

    def _split_without(self, endpoint: v1.Endpoint, id_: str, split: Mapping[str, int]) -> dict[str, int]:
        """Return the split after an undeployment.

        :raises Refused: if the deployment has traffic and nobody takes it away.
        """
        if _ids(endpoint) == {id_}:
            return {}
        after = dict(split or endpoint.traffic_split)
        if after.pop(id_, 0):
            told = f"The DeployedModel {id_} has traffic assigned to it; give a traffic_split that takes it away."
            raise Refused("FAILED_PRECONDITION", told)
        if split:
            self._check_split(endpoint, after)
        return after

    def _check_split(self, endpoint: v1.Endpoint, split: Mapping[str, int], *, beside: set[str] | None = None) -> None:
        there = (_ids(endpoint) | (beside or set())) - {
            id_ for name, id_ in self._being_undeployed if name == endpoint.name and split.get(id_)
        }
        if absent := sorted(set(split) - there):
            raise Refused("INVALID_ARGUMENT", f"The following DeployedModel ID(s) [{', '.join(absent)}] do not exist.")
        if split and (sum(split.values()) != 100 or min(split.values()) < 0):
            raise Refused("INVALID_ARGUMENT", f"The traffic percentages must add up to 100; got {dict(split)}.")

    def _refuse_second_change(self, endpoint: v1.Endpoint) -> None:
        others = self._operations.running(on=endpoint.name)
        if self.one_change_at_a_time and others:
            told = f"There are other operations running on the Endpoint {endpoint.name!r}: {', '.join(others)}."
            raise Refused("FAILED_PRECONDITION", told)

    def _touch(self, endpoint: v1.Endpoint) -> None:
        endpoint.etag = new_etag()
        endpoint.update_time = self._clock.now()


def _ids(endpoint: v1.Endpoint) -> set[str]:
    return {each.id for each in endpoint.deployed_models}


def _copy(endpoint: v1.Endpoint) -> v1.Endpoint:
    copied = v1.Endpoint()
    raw(copied).CopyFrom(raw(endpoint))
    return copied
