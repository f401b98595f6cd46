"""What is made and taken away on the endpoint: the endpoint itself, and its deployments. Each call begins an operation."""

from __future__ import annotations

from typing import Any

from airflow_model_ops.adapters.serving.vertex_clients import VertexClients
from airflow_model_ops.adapters.serving.vertex_names import deployed_model_id
from airflow_model_ops.adapters.serving.vertex_settings import VertexSettings
from airflow_model_ops.core.versioning import Version


class Deployments:
    """The deployments of one endpoint. Nothing here waits for an operation."""

    def __init__(self, clients: VertexClients, settings: VertexSettings) -> None:
        self._clients = clients
        self._settings = settings

    def create_endpoint(self) -> str:
        """Begin to make the endpoint under its own id, so that it cannot be made twice; return the operation's name."""
        settings = self._settings
        request = {
            "parent": settings.parent,
            "endpoint_id": settings.endpoint,
            "endpoint": {"display_name": settings.model},
        }
        doing = f"making endpoint {settings.endpoint_name!r}"
        return operation_name(self._clients.ask(doing, self._clients.endpoints.create_endpoint, request))

    def deploy(self, version: Version, *, registry_version: str) -> str:
        """Begin to deploy a version; return the operation's name.

        No traffic split goes with it, so the endpoint's split stays as it is.
        """
        settings = self._settings
        request = {
            "endpoint": settings.endpoint_name,
            "deployed_model": {
                "id": deployed_model_id(version),
                "display_name": version.name,
                "model": f"{settings.registry_name}@{registry_version}",
                "dedicated_resources": {
                    "machine_spec": _machine(settings),
                    "min_replica_count": settings.min_replicas,
                    "max_replica_count": settings.max_replicas,
                },
                **({"service_account": settings.service_account} if settings.service_account else {}),
            },
        }
        doing = f"deploying version {version.name!r} of {settings.model!r}"
        return operation_name(self._clients.ask(doing, self._clients.endpoints.deploy_model, request))

    def undeploy(self, version: Version) -> str:
        """Begin to undeploy a version that has no traffic; return the operation's name.

        No split goes with it, so Vertex AI refuses it if the version has traffic after all.
        """
        request = {"endpoint": self._settings.endpoint_name, "deployed_model_id": deployed_model_id(version)}
        doing = f"undeploying version {version.name!r} of {self._settings.model!r}"
        return operation_name(self._clients.ask(doing, self._clients.endpoints.undeploy_model, request))


def operation_name(begun: Any) -> str:
    """Return the name of what a call has begun: a future of ``google.api_core``, which is not waited for."""
    return str(begun.operation.name)


def _machine(settings: VertexSettings) -> dict[str, Any]:
    machine: dict[str, Any] = {"machine_type": settings.machine_type}
    if settings.accelerator_type:
        machine |= {
            "accelerator_type": settings.accelerator_type,
            "accelerator_count": settings.accelerator_count or 1,
        }
    return machine
