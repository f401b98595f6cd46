"""The methods that both fronts offer: their names, their requests, and whether they change anything."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from google.cloud import aiplatform_v1 as v1
from google.longrunning import operations_pb2
from google.protobuf import empty_pb2

from tests.vertex_fake.state import State

ENDPOINTS = "google.cloud.aiplatform.v1.EndpointService"
MODELS = "google.cloud.aiplatform.v1.ModelService"
OPERATIONS = "google.longrunning.Operations"


@dataclass(frozen=True, kw_only=True)
class Method:
    """One of them.

    :param request: Type of its request, proto-plus or raw.
    """

    service: str
    name: str
    request: Any
    mutating: bool

    @property
    def snake_name(self) -> str:
        return re.sub(r"(?<!^)(?=[A-Z])", "_", self.name).lower()

    @property
    def path(self) -> str:
        """As gRPC has it."""
        return f"/{self.service}/{self.name}"

    def handler(self, state: State) -> Callable[[Any], Any]:
        if self.service == OPERATIONS:
            return _operations_handler(state, self.name)
        return getattr(state.endpoints if self.service == ENDPOINTS else state.models, self.snake_name)  # type: ignore[no-any-return]


def _method(service: str, name: str, request: Any, *, mutating: bool = False) -> Method:
    return Method(service=service, name=name, request=request, mutating=mutating)


METHODS = (
    _method(ENDPOINTS, "CreateEndpoint", v1.CreateEndpointRequest, mutating=True),
    _method(ENDPOINTS, "GetEndpoint", v1.GetEndpointRequest),
    _method(ENDPOINTS, "ListEndpoints", v1.ListEndpointsRequest),
    _method(ENDPOINTS, "UpdateEndpoint", v1.UpdateEndpointRequest, mutating=True),
    _method(ENDPOINTS, "DeleteEndpoint", v1.DeleteEndpointRequest, mutating=True),
    _method(ENDPOINTS, "DeployModel", v1.DeployModelRequest, mutating=True),
    _method(ENDPOINTS, "UndeployModel", v1.UndeployModelRequest, mutating=True),
    _method(MODELS, "UploadModel", v1.UploadModelRequest, mutating=True),
    _method(MODELS, "GetModel", v1.GetModelRequest),
    _method(MODELS, "ListModels", v1.ListModelsRequest),
    _method(MODELS, "ListModelVersions", v1.ListModelVersionsRequest),
    _method(MODELS, "UpdateModel", v1.UpdateModelRequest, mutating=True),
    _method(MODELS, "DeleteModel", v1.DeleteModelRequest, mutating=True),
    _method(MODELS, "DeleteModelVersion", v1.DeleteModelVersionRequest, mutating=True),
    _method(MODELS, "MergeVersionAliases", v1.MergeVersionAliasesRequest, mutating=True),
    _method(OPERATIONS, "GetOperation", operations_pb2.GetOperationRequest),
    _method(OPERATIONS, "ListOperations", operations_pb2.ListOperationsRequest),
    _method(OPERATIONS, "CancelOperation", operations_pb2.CancelOperationRequest, mutating=True),
    _method(OPERATIONS, "DeleteOperation", operations_pb2.DeleteOperationRequest, mutating=True),
    _method(OPERATIONS, "WaitOperation", operations_pb2.WaitOperationRequest),
)
BY_NAME = {each.name: each for each in METHODS}


def _operations_handler(state: State, name: str) -> Callable[[Any], Any]:
    operations = state.operations

    def nothing(change: Callable[[str], None]) -> Callable[[Any], Any]:
        def handle(request: Any) -> empty_pb2.Empty:
            change(request.name)
            return empty_pb2.Empty()

        return handle

    return {
        "GetOperation": lambda request: operations.get(request.name),
        "WaitOperation": lambda request: operations.get(request.name),
        "ListOperations": lambda request: operations.list(request.name),
        "CancelOperation": nothing(operations.cancel),
        "DeleteOperation": nothing(operations.delete),
    }[name]
