"""A repository in memory."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import threading
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from airflow_model_ops.adapters.repository.contents import digest_of_files, saved_model_contents
from airflow_model_ops.adapters.repository.manifests import (
    StoredManifest,
    check_not_retired,
    check_request,
    check_same,
    known_version,
    new_manifest,
)
from airflow_model_ops.core.errors import InvalidConfig, NotASavedModel, VersionAltered, VersionNotFound
from airflow_model_ops.core.ports import KnownVersion, Lease, Manifest, PushRequest
from airflow_model_ops.core.state import Fence, ServingState
from airflow_model_ops.core.versioning import MODEL_NAME, Version, check_model_name
from airflow_model_ops.testing.log import InMemoryFleetStore, InMemoryLog


@dataclass(kw_only=True)
class _Model:
    """What is kept of one model."""

    log: InMemoryLog = field(default_factory=InMemoryLog)
    manifests: dict[Version, bytes] = field(default_factory=dict)
    links: dict[str, Version] = field(default_factory=dict)
    leases: dict[tuple[str, int], Lease] = field(default_factory=dict)
    evidence: dict[tuple[str, str], bytes] = field(default_factory=dict)


class InMemoryRepository:
    """A repository in memory, safe for several threads. The files of versions lie in a directory that goes with it."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._models: dict[str, _Model] = {}
        self._fleets: dict[str, InMemoryFleetStore] = {}
        self._files = tempfile.TemporaryDirectory(prefix="model-repository-", ignore_cleanup_errors=True)

    @property
    def uri(self) -> str:
        """Where the files lie."""
        return Path(self._files.name).as_uri()

    def add_version(self, model: str, version: Version, *, content: bytes | None = None) -> Manifest:
        """Store a version whose files no test looks into: the least directory that passes for a SavedModel.

        :param content: What ``saved_model.pb`` holds; ``None``: the version's name.
        """
        with tempfile.TemporaryDirectory() as directory:
            (Path(directory) / "saved_model.pb").write_bytes(version.name.encode() if content is None else content)
            return self.push(
                model, version, PushRequest(directory=Path(directory), created="2023-06-01T12:00:00+00:00")
            )

    def models(self) -> tuple[str, ...]:
        """Return the names of all models that have a log or a version, sorted."""
        with self._lock:
            return tuple(
                sorted(name for name, kept in self._models.items() if kept.manifests or kept.log.last() is not None)
            )

    def log(self, model: str) -> InMemoryLog:
        """Return the log of a model; it may be empty."""
        return self._model(model).log

    def fleet(self, fleet: str) -> InMemoryFleetStore:
        """Return what is kept of a fleet."""
        if not MODEL_NAME.match(fleet):
            raise InvalidConfig(f"fleet name {fleet!r} is not usable; name it as a model, such as 'main'")
        with self._lock:
            return self._fleets.setdefault(fleet, InMemoryFleetStore(fleet=fleet))

    def push(self, model: str, version: Version, request: PushRequest) -> Manifest:
        """Store a version. Same name and same content: adopts what is there.

        :raises NotASavedModel: if the directory is not one, or a link leads out of it.
        :raises VersionExists: if the name is taken by other content, or was retired.
        """
        check_request(request)
        files = _digests(request.directory)
        with self._lock:
            stored = self._find(model, version)
            if stored is None:
                size = saved_model_contents(request.directory).size
                stored = StoredManifest(manifest=new_manifest(version, request, files=files, size=size), staged="")
            check_not_retired(stored)
            check_same(stored, digest_of_files(files))
            self._keep(model, stored)
            self._copy(request.directory, files, self._place(model, version))
            return self.manifest(model, version)

    def is_place(self, model: str, version: Version, directory: Path) -> bool:
        """Return whether a directory is the very one in which a version's files belong."""
        place = self._place(model, version)
        return place.is_dir() and directory.is_dir() and place.samefile(directory)

    def digest_of(self, directory: Path) -> str:
        """Return the digest a directory would have as a version."""
        return digest_of_files(_digests(directory))

    def manifest(self, model: str, version: Version) -> Manifest:
        """Return a version's manifest; it outlives the files.

        :raises VersionNotFound: if there is none.
        """
        return self._stored(model, version).manifest

    def versions(self, model: str) -> tuple[Version, ...]:
        """Return the versions whose files are there, lowest number first."""
        with self._lock:
            return tuple(
                sorted(version for version in self._model(model).manifests if self._place(model, version).is_dir())
            )

    def version_names(self, model: str) -> tuple[str, ...]:
        """Return the names of all versions that were ever pushed, deleted ones too, in no order."""
        with self._lock:
            return tuple(version.name for version in self._model(model).manifests)

    def known_versions(self, model: str, names: Collection[str]) -> Mapping[str, KnownVersion]:
        """Return what is kept of some versions; without one that was never pushed."""
        with self._lock:
            kept = {version.name: content for version, content in self._model(model).manifests.items()}
        return {name: known_version(name, kept[name]) for name in names if name in kept}

    def path(self, model: str, version: Version) -> Path:
        """Return the directory of a version on this machine.

        :raises VersionNotFound: if its files are not there.
        """
        self._stored(model, version)
        place = self._place(model, version)
        if not place.is_dir():
            raise VersionNotFound(
                f"the files of {version.name!r} of model {model!r} are not there; choose another version"
            )
        return place

    def check_files(self, model: str, version: Version) -> None:
        """Check that a version's files are there.

        :raises VersionNotFound: if they are not.
        """
        self.path(model, version)

    def version_uri(self, model: str, version: Version) -> str:
        """Return where a version's files are, or would be, as a ``file:`` URI."""
        return self._place(model, version).as_uri()

    @contextmanager
    def local_files(self, model: str, version: Version) -> Iterator[Path]:
        """Give the version's own directory."""
        yield self.path(model, version)

    def verify(self, model: str, version: Version) -> None:
        """Hash a version's files again and compare them with its manifest.

        :raises VersionNotFound: if the files are gone.
        :raises VersionAltered: if one is missing, added or different.
        """
        place = self.path(model, version)
        try:
            found = _digests(place)
        except NotASavedModel as error:
            raise VersionAltered(f"version {version.name!r} of model {model!r} is altered: {error}") from error
        if found != dict(self.manifest(model, version).files):
            raise VersionAltered(
                f"version {version.name!r} of model {model!r} is altered: its files are not those of its manifest; choose "
                "another version"
            )

    def delete(self, model: str, version: Version) -> None:
        """Delete a version's files; the manifest stays. Repeating it changes nothing.

        :raises VersionNotFound: if there never was such a version.
        """
        with self._lock:
            self._keep(model, replace(self._stored(model, version), retired=True))
            shutil.rmtree(self._place(model, version), ignore_errors=True)

    def refresh_links(self, model: str, state: ServingState) -> None:
        """Keep what the links ``stable``, ``canary`` and ``golden`` point to."""
        self._model(model).links = dict(state.labels)

    def links(self, model: str) -> dict[str, Version]:
        """Return what the links point to; only this fake has it, a real repository has the links."""
        return dict(self._model(model).links)

    def write_lease(self, model: str, lease: Lease) -> None:
        """Write or renew the lease of a release."""
        with self._lock:
            self._model(model).leases[lease.release, lease.attempt] = lease

    def end_lease(self, model: str, fence: Fence) -> None:
        """Remove the lease of a release unless a newer attempt holds it."""
        with self._lock:
            leases = self._model(model).leases
            for release, attempt in tuple(leases):
                if release == fence.release and attempt <= fence.attempt:
                    del leases[release, attempt]

    def leases(self, model: str) -> tuple[Lease, ...]:
        """Return the lease of each release, its newest attempt's, run out or not."""
        with self._lock:
            kept = self._model(model).leases
            newest = {release: lease for (release, _), lease in sorted(kept.items(), key=lambda item: item[0])}
        return tuple(newest.values())

    def write_evidence(self, model: str, release: str, name: str, content: bytes) -> str:
        """Keep evidence of a release; return the reference that a log entry carries."""
        with self._lock:
            self._model(model).evidence[release, name] = bytes(content)
        return f"evidence/{release}/{name}"

    def read_evidence(self, model: str, release: str, name: str) -> bytes | None:
        """Return evidence that was kept, or ``None``."""
        return self._model(model).evidence.get((release, name))

    def _model(self, model: str) -> _Model:
        with self._lock:
            return self._models.setdefault(check_model_name(model), _Model())

    def _place(self, model: str, version: Version) -> Path:
        return Path(self._files.name) / model / str(version.number)

    def _find(self, model: str, version: Version) -> StoredManifest | None:
        content = self._model(model).manifests.get(version)
        return StoredManifest.from_bytes(content) if content is not None else None

    def _stored(self, model: str, version: Version) -> StoredManifest:
        stored = self._find(model, version)
        if stored is None:
            raise VersionNotFound(f"model {model!r} has no version {version.name!r}; push it first")
        return stored

    def _keep(self, model: str, stored: StoredManifest) -> None:
        self._model(model).manifests[stored.manifest.version] = stored.to_bytes()

    def _copy(self, directory: Path, files: Collection[str], place: Path) -> None:
        for name in () if place.is_dir() else files:
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(directory / name, place / name)


def _digests(directory: Path) -> dict[str, str]:
    contents = saved_model_contents(directory)
    return {file.name: hashlib.sha256(file.path.read_bytes()).hexdigest() for file in contents.files}
