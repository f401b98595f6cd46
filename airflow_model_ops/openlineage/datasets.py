"""The datasets that tasks read and write, named as OpenLineage names them. Values only; ``facets.py`` gives them their form.

Source of the names of files and objects: OpenLineage's naming conventions for datasets (``file`` and an absolute path for a
local file; scheme and bucket, then the key, for an object store).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

from airflow_model_ops.core.ports import Manifest
from airflow_model_ops.core.state import ServingState
from airflow_model_ops.core.upstream import UpstreamArtifact, upstream_of
from airflow_model_ops.core.versioning import Version

_OBJECT_STORES = frozenset({"gs", "s3", "s3a", "wasbs", "abfss"})
"""Schemes whose names are keys, without a leading slash."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What was found out about a version.

    :param verdict: The verdict of checks on metrics; ``None``: none was asked.
    :param blessed: Whether validation blessed it; ``None``: it was not validated.
    """

    verdict: str | None = None
    blessed: bool | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionDataset:
    """A version of a model.

    :param namespace: URI of the repository.
    :param state: The model's serving state after the task; ``None``: it has none yet.
    :param manifest: What the version is made of; ``None``: nobody knows any longer.
    :param created: Whether the task has stored it.
    """

    namespace: str
    model: str
    version: Version
    state: ServingState | None
    manifest: Manifest | None
    judged: Judged = Judged()
    created: bool = False

    @property
    def name(self) -> str:
        """Its place below the repository."""
        return f"{self.model}/versions/{self.version.name}"

    @property
    def labels(self) -> list[str]:
        """The labels that point to it."""
        if self.state is None:
            return []
        return [label for label, version in self.state.labels.items() if version == self.version]

    @property
    def percent(self) -> float:
        """Its share of the traffic."""
        return dict(self.state.split).get(self.version, 0.0) if self.state else 0.0

    @property
    def quarantined(self) -> bool:
        """Whether it may not serve."""
        return self.state is not None and self.version in self.state.quarantined


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingDataset:
    """What a model serves.

    :param generation: Number of the transition that made it so.
    :param applied: Whether the fleet is known to follow.
    """

    namespace: str
    model: str
    state: ServingState
    generation: int
    action: str
    actor: str
    reason: str
    applied: bool

    @property
    def name(self) -> str:
        """Its place below the repository."""
        return f"{self.model}/serving"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlainDataset:
    """What is not this package's own: a directory, an artifact of a pipeline, a version of training data.

    :param version: Which version of it, if it has one.
    """

    namespace: str
    name: str
    description: str
    version: str | None = None


Dataset = VersionDataset | ServingDataset | PlainDataset


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskLineage:
    """What a task read and wrote, each dataset once."""

    inputs: tuple[Dataset, ...] = ()
    outputs: tuple[Dataset, ...] = ()

    def __add__(self, other: TaskLineage) -> TaskLineage:
        return TaskLineage(inputs=_once((*self.inputs, *other.inputs)), outputs=_once((*self.outputs, *other.outputs)))


def directory_read(path: str) -> PlainDataset:
    """Return the SavedModel directory that a version is made from."""
    namespace, name = _place_of(path)
    return PlainDataset(namespace=namespace, name=name, description="a SavedModel directory")


def origins_of(manifest: Manifest, *, namespace: str) -> Iterator[PlainDataset]:
    """Yield what a version was made from: its directory, what a pipeline made it from, its training data.

    :param namespace: URI of the repository, to which names of training data belong.
    :raises InvalidState: if the manifest's upstream lineage cannot be read.
    """
    path = manifest.source.get("path")
    if path:
        yield directory_read(str(path))
    lineage = upstream_of(manifest.source)
    if lineage is not None:
        yield from (_artifact_read(each, lineage.connection) for each in lineage.artifacts if each.uri)
    if manifest.dataset_version:
        yield PlainDataset(
            namespace=namespace,
            name=f"datasets/{manifest.dataset_version}",
            description="the data that versions say they were trained on",
            version=manifest.dataset_version,
        )


def _artifact_read(artifact: UpstreamArtifact, connection: str) -> PlainDataset:
    namespace, name = _place_of(artifact.uri)
    described = f"artifact {artifact.id} of type {artifact.type} in the ML Metadata of connection {connection}"
    return PlainDataset(namespace=namespace, name=name, description=described)


def _place_of(uri: str) -> tuple[str, str]:
    """Return namespace and name of a path or URI."""
    parts = urlsplit(uri)
    if parts.scheme in {"", "file"}:
        path = unquote(parts.path) if parts.scheme else uri
        return (f"file://{parts.netloc}" if parts.scheme and parts.netloc else "file"), str(PurePosixPath(path))
    name = parts.path.strip("/") if parts.scheme in _OBJECT_STORES else parts.path.rstrip("/")
    user, _, host = parts.netloc.rpartition("@")  # with a colon it holds a password, without one it is a container
    return f"{parts.scheme}://{host if ':' in user else parts.netloc}", name or "/"


def _once(datasets: Iterable[Dataset]) -> tuple[Dataset, ...]:
    """Return each dataset once, as it was given first."""
    found: dict[tuple[str, str], Dataset] = {}
    for each in datasets:
        found.setdefault((each.namespace, each.name), each)
    return tuple(found.values())
