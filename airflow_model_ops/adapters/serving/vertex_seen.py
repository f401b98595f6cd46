"""What a pass has seen on Vertex AI, as plain data: the endpoint, the registry, operations. Pure; no vendor types.

A deployment is ours if its id is the one that its display name, a version's name, gives. A version that somebody deployed
by hand has an id of Vertex AI's own choice, and is foreign, whatever its name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from airflow_model_ops.adapters.serving.vertex_names import deployment_id

GENERATION_LABEL = "model-ops-generation"
"""Label of the endpoint: the generation that its present traffic split was derived from."""
MEANWHILE_LABEL = "model-ops-meanwhile"
"""Label of the endpoint: a later generation that has written a split of its own until it can be followed in full."""
NUMBER_LABEL = "model-ops-number"
"""Label of a model version in the registry: its serving number."""


class Kind(StrEnum):
    """What an operation does."""

    CREATE = "create"
    UPLOAD = "upload"
    DEPLOY = "deploy"
    UNDEPLOY = "undeploy"


_PERMANENT = frozenset({"INVALID_ARGUMENT", "FAILED_PRECONDITION", "NOT_FOUND", "OUT_OF_RANGE", "UNIMPLEMENTED"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Why the platform did not do something.

    :param status: The canonical code, e.g. ``RESOURCE_EXHAUSTED`` (``google.rpc.Code``).
    """

    status: str
    message: str

    @property
    def permanent(self) -> bool:
        """Whether the same request would fail again, however often it is made."""
        return self.status in _PERMANENT

    def __str__(self) -> str:
        return f"{self.status}: {self.message}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """A model version on the endpoint.

    :param name: Its display name, for ours the version's name.
    :param registry_version: Id of the version in the registry.
    :param without_replicas: Why no replica of it answers, in the platform's words; ``""``: it serves.
    """

    id: str
    name: str
    registry_version: str = ""
    without_replicas: str = ""

    @property
    def is_ours(self) -> bool:
        """Whether this package deployed it."""
        return self.id == deployment_id(self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointSeen:
    """The endpoint at one moment.

    :param etag: What an update must show to be taken only if nobody changed the endpoint since.
    :param generation: The generation of its traffic split; ``None`` if we never wrote one.
    :param meanwhile: The later one that is not followed in full yet and wrote the split meanwhile, if there is one.
    :param split: Deployment id to percent; without those that get nothing.
    """

    etag: str
    generation: int | None = None
    meanwhile: int | None = None
    split: Mapping[str, int] = field(default_factory=dict)
    deployments: tuple[Deployment, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def newest(self) -> int:
        """The newest generation that has written to it; 0 if none has: older ones write no longer."""
        return max(self.generation or 0, self.meanwhile or 0)

    @property
    def ours(self) -> dict[str, Deployment]:
        """Our deployments by version name."""
        return {deployment.name: deployment for deployment in self.deployments if deployment.is_ours}

    @property
    def foreign(self) -> tuple[Deployment, ...]:
        """The deployments of others."""
        return tuple(deployment for deployment in self.deployments if not deployment.is_ours)

    @property
    def traffic(self) -> dict[str, int]:
        """Version name to percent, of our deployments."""
        names = {deployment.id: name for name, deployment in self.ours.items()}
        return {names[id_]: percent for id_, percent in self.split.items() if id_ in names}

    @property
    def foreign_traffic(self) -> dict[str, int]:
        """Deployment id to percent, of what others deployed."""
        theirs = {deployment.id for deployment in self.foreign}
        return {id_: percent for id_, percent in self.split.items() if id_ in theirs}

    @property
    def lost_traffic(self) -> int:
        """The percentage that goes to what is deployed no longer: nobody answers it."""
        there = {deployment.id for deployment in self.deployments}
        return sum(percent for id_, percent in self.split.items() if id_ not in there)


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryVersion:
    """A version in the Model Registry.

    :param id: Its id there, ``"1"``, ``"2"``, ..., which the registry gives.
    :param number: Its serving number, from its label; ``None`` for a version of others.
    """

    id: str
    aliases: frozenset[str]
    number: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistrySeen:
    """The versions of the parent model.

    :param exists: Whether there is a parent model.
    """

    exists: bool
    versions: tuple[RegistryVersion, ...] = ()

    def by_alias(self, alias: str) -> RegistryVersion | None:
        """Return the version that has an alias."""
        return next((version for version in self.versions if alias in version.aliases), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationSeen:
    """A long-running operation.

    :param kind: What it does; ``None`` for what is none of ours to know.
    :param created: Seconds since the epoch, on the platform's clock.
    :param registry_version: What a finished upload has made.
    :param partial: What it could not do besides, in the platform's words.
    """

    name: str
    kind: Kind | None
    done: bool
    created: float
    fault: Fault | None = None
    registry_version: str | None = None
    partial: tuple[str, ...] = ()
