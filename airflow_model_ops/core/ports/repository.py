"""Where versions, manifests, logs and fleet documents are kept, and what is known of a version."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from airflow_model_ops.core.log import Entry
from airflow_model_ops.core.state import Fence, ServingState
from airflow_model_ops.core.versioning import Version


@dataclass(frozen=True, slots=True, kw_only=True)
class PushRequest:
    """A SavedModel directory to store, and what is known about it.

    :param created: The moment the version is named after and stamped with, ISO 8601 in UTC; fixed per run, so that a
        retried push finds its own first try.
    :param source: Where the model comes from: a path, an XCom, a pipeline run; JSON.
    """

    directory: Path
    created: str
    source: Mapping[str, Any] = field(default_factory=dict)
    dataset_version: str | None = None
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a version is made of.

    :param digest: SHA-256 over all files' names and digests, in hex: equal content has an equal digest.
    :param files: Relative POSIX path to SHA-256 in hex.
    :param size: Total size of the files in bytes.
    """

    version: Version
    digest: str
    files: Mapping[str, str]
    size: int
    created: str
    source: Mapping[str, Any] = field(default_factory=dict)
    dataset_version: str | None = None
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownVersion:
    """What a repository has under the name of a version that was pushed once.

    :param manifest: ``None``: it cannot be read.
    :param retired: Whether its files were deleted, or are about to be.
    :param fault: Why the manifest cannot be read.
    """

    manifest: Manifest | None
    retired: bool = False
    fault: str | None = None


LONGEST_LEASE_SECONDS = 120.0
"""No lease lasts longer from when it was written; what claims more is a wrong clock or an odd file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """A promise that an attempt is being looked after until a moment; its holder renews it.

    :param until: Seconds since the epoch.
    :param waiting: Whether the release still waits for its turn.
    """

    release: str
    attempt: int
    version: Version
    until: float
    waiting: bool = False


class Log(Protocol):
    """The append-only log of one model. May touch the network (object storage)."""

    def last(self) -> Entry | None:
        """Return the newest entry, or ``None`` for an empty log."""
        ...

    def read(self, sequence: int) -> Entry | None:
        """Return one entry, or ``None`` if there is none with that number."""
        ...

    def entries(self, *, after: int = 0) -> Iterator[Entry]:
        """Yield the entries with a higher number, oldest first."""
        ...

    def put_if_absent(self, entry: Entry) -> bool:
        """Store an entry under its sequence number unless there is one; return whether this write won."""
        ...


class FleetStore(Protocol):
    """What is kept of one fleet beside the logs: its lock and the documents last derived for it."""

    def lock(self, *, wait_seconds: float) -> AbstractContextManager[None]:
        """Hold the fleet lock; it falls to the next one by itself when its holder dies.

        :raises FleetBusy: if another worker holds it for longer than ``wait_seconds``.
        """
        ...

    def read(self, name: str) -> bytes | None:
        """Return a document, or ``None`` if it was never written."""
        ...

    def write(self, name: str, content: bytes) -> None:
        """Replace a document atomically."""
        ...


class Repository(Protocol):
    """Where versions, manifests and logs are kept. Safe for several processes at once."""

    @property
    def uri(self) -> str:
        """Where it is, e.g. ``file:///srv/models``; touches no network."""
        ...

    def models(self) -> tuple[str, ...]:
        """Return the names of all models that have a log or a version, sorted."""
        ...

    def log(self, model: str) -> Log:
        """Return the log of a model; it may be empty."""
        ...

    def fleet(self, fleet: str) -> FleetStore:
        """Return what is kept of a fleet."""
        ...

    def push(self, model: str, version: Version, request: PushRequest) -> Manifest:
        """Store a version, complete or not at all. Same name and same content: adopts what is there.

        A directory that already is the version's place is taken over as it is, without a copy.

        :raises NotASavedModel: if the directory is not one, or a link leads out of it.
        :raises VersionExists: if the name is taken by other content.
        """
        ...

    def is_place(self, model: str, version: Version, directory: Path) -> bool:
        """Return whether a directory is the very one in which a version's files belong."""
        ...

    def digest_of(self, directory: Path) -> str:
        """Return the digest a directory would have as a version.

        :raises NotASavedModel: if the directory is not a SavedModel, or a link leads out of it.
        """
        ...

    def manifest(self, model: str, version: Version) -> Manifest:
        """Return a version's manifest; it outlives the files.

        :raises VersionNotFound: if there is none.
        """
        ...

    def versions(self, model: str) -> tuple[Version, ...]:
        """Return the versions whose files are there, lowest number first."""
        ...

    def version_names(self, model: str) -> tuple[str, ...]:
        """Return the names of all versions that were ever pushed, deleted ones too, in no order: one listing, no file is read."""
        ...

    def known_versions(self, model: str, names: Collection[str]) -> Mapping[str, KnownVersion]:
        """Return what is kept of some versions, whether their files are there or not; without one that was never pushed.

        One manifest that cannot be read hides none of the others.
        """
        ...

    def check_files(self, model: str, version: Version) -> None:
        """Check that a version's files are there, without reading them.

        :raises VersionNotFound: if they are not.
        """
        ...

    def version_uri(self, model: str, version: Version) -> str:
        """Return where a version's files are, or would be, e.g. ``gs://bucket/models/digits/versions/20230601120000``."""
        ...

    def local_files(self, model: str, version: Version) -> AbstractContextManager[Path]:
        """Give a directory on this machine that holds a version's files, for as long as the context lasts. Never write to it.

        On a file system that is the version's own place; from object storage the files are fetched.

        :raises VersionNotFound: if its files are not there.
        """
        ...

    def verify(self, model: str, version: Version) -> None:
        """Hash a version's files again and compare them with its manifest.

        :raises VersionNotFound: if the files are gone.
        :raises VersionAltered: if one is missing, added or different.
        """
        ...

    def delete(self, model: str, version: Version) -> None:
        """Delete a version's files: renamed out of sight first; the manifest stays. Repeating it changes nothing."""
        ...

    def refresh_links(self, model: str, state: ServingState) -> None:
        """Point the links ``stable``, ``canary`` and ``golden`` to what the state says, each atomically."""
        ...

    def write_lease(self, model: str, lease: Lease) -> None:
        """Write or renew the lease of a release."""
        ...

    def end_lease(self, model: str, fence: Fence) -> None:
        """Remove the lease of a release unless a newer attempt holds it."""
        ...

    def leases(self, model: str) -> tuple[Lease, ...]:
        """Return all leases of a model, run out or not."""
        ...

    def write_evidence(self, model: str, release: str, name: str, content: bytes) -> str:
        """Keep evidence of a release; return the reference that a log entry carries."""
        ...

    def read_evidence(self, model: str, release: str, name: str) -> bytes | None:
        """Return evidence that was kept, or ``None``."""
        ...
