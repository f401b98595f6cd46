"""What the Vertex AI target is told: one endpoint serves one model, so a fleet there is one model's endpoint."""

from __future__ import annotations

from dataclasses import dataclass

DEFAULT_IMAGE = "us-docker.pkg.dev/vertex-ai/prediction/tf2-cpu.2-15:latest"


@dataclass(frozen=True, slots=True, kw_only=True)
class VertexSettings:
    """The endpoint of one model, and the machines that its versions are deployed on.

    :param model: The model's name here.
    :param registry_model: Id of the parent model in the Model Registry, of which every version is one.
    :param endpoint: Id of the endpoint.
    :param container_image: What serves the SavedModel.
    :param declared_empty: Whether the endpoint is declared to serve nothing of others; it is made if it is not there.
    :param drain_seconds: How long a version stays deployed at least after it got its last request.
    """

    project: str
    location: str
    model: str
    registry_model: str
    endpoint: str
    container_image: str = DEFAULT_IMAGE
    machine_type: str = "n1-standard-2"
    min_replicas: int = 1
    max_replicas: int = 1
    accelerator_type: str | None = None
    accelerator_count: int = 0
    service_account: str | None = None
    declared_empty: bool = False
    drain_seconds: float = 60.0

    @property
    def parent(self) -> str:
        """The location's resource name."""
        return f"projects/{self.project}/locations/{self.location}"

    @property
    def endpoint_name(self) -> str:
        """The endpoint's resource name."""
        return f"{self.parent}/endpoints/{self.endpoint}"

    @property
    def registry_name(self) -> str:
        """The parent model's resource name."""
        return f"{self.parent}/models/{self.registry_model}"
