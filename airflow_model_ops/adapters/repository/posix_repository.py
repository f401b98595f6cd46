"""The repository on a POSIX file system: a local disk, or one that several hosts share."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from airflow_model_ops.adapters.repository.contents import digest_of_files, hash_files, saved_model_contents
from airflow_model_ops.adapters.repository.file_names import FLEETS, check_fleet_name, evidence_reference
from airflow_model_ops.adapters.repository.lease_records import (
    is_ended_by,
    lease_from_bytes,
    lease_name,
    lease_to_bytes,
    newest_of_each,
)
from airflow_model_ops.adapters.repository.posix_files import AtomicFiles, reporting
from airflow_model_ops.adapters.repository.posix_fleet import PosixFleetStore
from airflow_model_ops.adapters.repository.posix_log import PosixLog
from airflow_model_ops.adapters.repository.posix_push import push
from airflow_model_ops.adapters.repository.posix_suitability import check_suitable
from airflow_model_ops.adapters.repository.posix_versions import PosixVersions
from airflow_model_ops.core.errors import RepositoryUnavailable
from airflow_model_ops.core.ports import KnownVersion, Lease, Manifest, PushRequest
from airflow_model_ops.core.state import CANARY, GOLDEN, STABLE, Fence, ServingState
from airflow_model_ops.core.versioning import MODEL_NAME, Version, check_model_name


class PosixRepository:
    """All models below a directory.

    :raises RepositoryUnavailable: if the directory does not exist: it is never made, as that would write below an unmounted
        mount point.
    """

    def __init__(self, root: Path | str) -> None:
        self._root = Path(root)
        self._fleets: dict[str, PosixFleetStore] = {}
        if not self._root.is_dir():
            raise RepositoryUnavailable(f"repository {str(root)!r} is not a directory; mount it, or create it once")

    @property
    def uri(self) -> str:
        """Where it is, e.g. ``file:///srv/models``."""
        return self._root.absolute().as_uri()

    def check_suitable(self) -> None:
        """Try whether the file system keeps the promises of the log; what the connection test asks.

        :raises RepositoryUnsuitable: naming the kind of file system and what does not work.
        """
        check_suitable(self._root)

    def models(self) -> tuple[str, ...]:
        """Return the names of all models that have a log or a version, sorted."""
        with reporting(f"list {self._root}"):
            names = sorted(item.name for item in self._root.iterdir() if MODEL_NAME.match(item.name) and item.is_dir())
            return tuple(name for name in names if self._versions(name).has_any() or self.log(name).newest())

    def log(self, model: str) -> PosixLog:
        """Return the log of a model; it may be empty."""
        return PosixLog(self._model(model) / "log")

    def fleet(self, fleet: str) -> PosixFleetStore:
        """Return what is kept of a fleet."""
        return self._fleets.setdefault(fleet, PosixFleetStore(self._root / FLEETS / check_fleet_name(fleet)))

    def push(self, model: str, version: Version, request: PushRequest) -> Manifest:
        """Store a version, complete or not at all. Same name and same content: adopts what is there.

        A directory that already is the version's place is taken over as it is, without a copy.

        :raises NotASavedModel: if the directory is not one, or a link leads out of it.
        :raises VersionExists: if the name is taken by other content.
        """
        with reporting(f"push {version} of model {model!r}"):
            return push(self._versions(model), version, request)

    def is_place(self, model: str, version: Version, directory: Path) -> bool:
        """Return whether a directory is the very one in which a version's files belong."""
        with reporting(f"look at {directory}"):
            return self._versions(model).is_place(version, directory)

    def digest_of(self, directory: Path) -> str:
        """Return the digest a directory would have as a version.

        :raises NotASavedModel: if the directory is not a SavedModel, or a link leads out of it.
        """
        with reporting(f"read {directory}"):
            return digest_of_files(hash_files(saved_model_contents(directory)))

    def manifest(self, model: str, version: Version) -> Manifest:
        """Return a version's manifest; it outlives the files.

        :raises VersionNotFound: if there is none.
        """
        with reporting(f"read the manifest of {version} of model {model!r}"):
            return self._versions(model).manifest(version).manifest

    def versions(self, model: str) -> tuple[Version, ...]:
        """Return the versions whose files are there, lowest number first."""
        with reporting(f"list the versions of model {model!r}"):
            return self._versions(model).all()

    def version_names(self, model: str) -> tuple[str, ...]:
        """Return the names of all versions that were ever pushed, deleted ones too, in no order: one listing, no file is read."""
        with reporting(f"list the manifests of model {model!r}"):
            return self._versions(model).names()

    def known_versions(self, model: str, names: Collection[str]) -> Mapping[str, KnownVersion]:
        """Return what is kept of some versions; without one that was never pushed."""
        with reporting(f"read manifests of model {model!r}"):
            return self._versions(model).known(names)

    def path(self, model: str, version: Version) -> Path:
        """Return the directory of a version on this machine.

        :raises VersionNotFound: if its files are not there.
        """
        with reporting(f"find {version} of model {model!r}"):
            return self._versions(model).path(version)

    def check_files(self, model: str, version: Version) -> None:
        """Check that a version's files are there, without reading them.

        :raises VersionNotFound: if they are not.
        """
        self.path(model, version)

    def version_uri(self, model: str, version: Version) -> str:
        """Return where a version's files are, or would be, as a ``file:`` URI."""
        return self._versions(model).place(version).absolute().as_uri()

    @contextmanager
    def local_files(self, model: str, version: Version) -> Iterator[Path]:
        """Give the version's own directory; see :class:`~airflow_model_ops.core.ports.Repository`."""
        yield self.path(model, version)

    def verify(self, model: str, version: Version) -> None:
        """Hash a version's files again and compare them with its manifest.

        :raises VersionNotFound: if the files are gone.
        :raises VersionAltered: if one is missing, added or different.
        """
        with reporting(f"verify {version} of model {model!r}"):
            self._versions(model).verify(version)

    def delete(self, model: str, version: Version) -> None:
        """Delete a version's files: renamed out of sight first; the manifest stays. Repeating it changes nothing.

        :raises VersionNotFound: if there never was such a version.
        """
        with reporting(f"delete {version} of model {model!r}"):
            self._versions(model).delete(version)

    def refresh_links(self, model: str, state: ServingState) -> None:
        """Point the links ``stable``, ``canary`` and ``golden`` to what the state says, each atomically."""
        directory = self._model(model)
        files = AtomicFiles(directory / ".aside")
        with reporting(f"refresh the links of model {model!r}"):
            for label in (STABLE, CANARY, GOLDEN):
                version = state.labels.get(label)
                if version is None:
                    (directory / label).unlink(missing_ok=True)
                else:
                    files.point_link(directory / label, f"versions/{version.number}")

    def write_lease(self, model: str, lease: Lease) -> None:
        """Write or renew the lease of a release. Each attempt has its own file, so an old one never covers a newer."""
        directory = self._model(model)
        path = directory / "leases" / lease_name(lease)
        with reporting(f"write {path}"):
            AtomicFiles(directory / ".aside").write(path, lease_to_bytes(lease))

    def end_lease(self, model: str, fence: Fence) -> None:
        """Remove the lease of a release unless a newer attempt holds it."""
        with reporting(f"end the lease of release {fence.release!r}"):
            for path in self._model(model).glob("leases/*.json"):
                if is_ended_by(fence, path.name):
                    path.unlink(missing_ok=True)

    def leases(self, model: str) -> tuple[Lease, ...]:
        """Return the lease of each release, its newest attempt's, run out or not."""
        with reporting(f"read the leases of model {model!r}"):
            return newest_of_each(_read_lease(path) for path in sorted(self._model(model).glob("leases/*.json")))

    def write_evidence(self, model: str, release: str, name: str, content: bytes) -> str:
        """Keep evidence of a release; return the reference that a log entry carries: a path below the model's directory."""
        directory = self._model(model)
        reference = evidence_reference(release, name)
        with reporting(f"write {directory / reference}"):
            AtomicFiles(directory / ".aside").write(directory / reference, content)
        return reference

    def read_evidence(self, model: str, release: str, name: str) -> bytes | None:
        """Return evidence that was kept, or ``None``."""
        path = self._model(model) / evidence_reference(release, name)
        with reporting(f"read {path}"):
            return path.read_bytes() if path.exists() else None

    def _model(self, model: str) -> Path:
        return self._root / check_model_name(model)

    def _versions(self, model: str) -> PosixVersions:
        return PosixVersions(self._model(model))


def _read_lease(path: Path) -> Lease | None:
    try:
        content, written = path.read_bytes(), path.stat().st_mtime
    except FileNotFoundError:  # it ended meanwhile
        return None
    return lease_from_bytes(content, written=written, where=str(path))
