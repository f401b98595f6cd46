"""The endpoint: read it, and write split and generation in one compare-and-set.

UpdateEndpoint takes mask, split, labels and etag at once. The etag is the one of the look that the decision was made on, so
a worker that decided on an old look gets ABORTED or FAILED_PRECONDITION instead of winning; and the label tells every
later look which generation wrote the split.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_model_ops.adapters.serving.vertex_clients import VertexClients
from airflow_model_ops.adapters.serving.vertex_errors import fault_of
from airflow_model_ops.adapters.serving.vertex_plan import Shift
from airflow_model_ops.adapters.serving.vertex_seen import GENERATION_LABEL, MEANWHILE_LABEL, Deployment, EndpointSeen
from airflow_model_ops.adapters.serving.vertex_settings import VertexSettings
from airflow_model_ops.core.errors import EndpointMoved, EndpointNotFound, ServerRefused

if TYPE_CHECKING:
    from google.cloud.aiplatform_v1 import types


class EndpointTraffic:
    """The traffic of one endpoint."""

    def __init__(self, clients: VertexClients, settings: VertexSettings) -> None:
        self._clients = clients
        self._settings = settings

    def look(self) -> EndpointSeen | None:
        """Return the endpoint as it is now, or ``None`` if there is none. Touches the network."""
        name = self._settings.endpoint_name
        try:
            found = self._clients.ask(
                f"reading endpoint {name!r}", self._clients.endpoints.get_endpoint, {"name": name}
            )
        except EndpointNotFound:
            return None
        return _seen(found)

    def shift(self, shift: Shift, *, seen: EndpointSeen) -> EndpointSeen:
        """Write a split, if the endpoint is still as it was seen; return it as it is then.

        :raises EndpointMoved: if it is not: nothing was changed.
        """
        labels = {key: value for key, value in seen.labels.items() if key != MEANWHILE_LABEL}
        labels[GENERATION_LABEL if shift.whole else MEANWHILE_LABEL] = str(shift.generation)
        request = {
            "endpoint": {
                "name": self._settings.endpoint_name,
                "traffic_split": dict(shift.split),
                "labels": labels,
                "etag": seen.etag,
            },
            "update_mask": {"paths": ["traffic_split", "labels"]},
        }
        doing = f"shifting the traffic of endpoint {self._settings.endpoint_name!r}"
        try:
            return _seen(self._clients.ask(doing, self._clients.endpoints.update_endpoint, request))
        except ServerRefused as error:
            if fault_of(error).status == "FAILED_PRECONDITION":
                raise EndpointMoved(str(error)) from error.__cause__
            raise


def _seen(endpoint: types.Endpoint) -> EndpointSeen:
    labels = {str(key): str(value) for key, value in endpoint.labels.items()}
    return EndpointSeen(
        etag=endpoint.etag,
        generation=_number(labels.get(GENERATION_LABEL, "")),
        meanwhile=_number(labels.get(MEANWHILE_LABEL, "")),
        split={str(id_): int(percent) for id_, percent in endpoint.traffic_split.items() if percent},
        deployments=tuple(_deployment(deployed) for deployed in endpoint.deployed_models),
        labels=labels,
    )


def _number(label: str) -> int | None:
    return int(label) if label.isdecimal() else None


def _deployment(deployed: Any) -> Deployment:
    status = deployed.status
    return Deployment(
        id=deployed.id,
        name=deployed.display_name,
        registry_version=deployed.model_version_id,
        without_replicas=status.message if status.message and not status.available_replica_count else "",
    )
