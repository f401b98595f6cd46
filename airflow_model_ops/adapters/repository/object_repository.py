"""The repository in a bucket of object storage: GCS, S3, or whatever has conditional writes."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
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
from airflow_model_ops.adapters.repository.object_claims import CLAIM_SECONDS
from airflow_model_ops.adapters.repository.object_cleaning import clean
from airflow_model_ops.adapters.repository.object_fleet import ObjectFleetStore
from airflow_model_ops.adapters.repository.object_log import ObjectLog
from airflow_model_ops.adapters.repository.object_push import push
from airflow_model_ops.adapters.repository.object_store import ObjectStore
from airflow_model_ops.adapters.repository.object_versions import ObjectVersions
from airflow_model_ops.core.ports import KnownVersion, Lease, Manifest, PushRequest
from airflow_model_ops.core.state import Fence, ServingState
from airflow_model_ops.core.versioning import MODEL_NAME, Version, check_model_name

_LISTINGS = 8
"""Models that are looked into at once."""


class ObjectRepository:
    """All models of a bucket, or of a part of one. Laid out as on a file system, without links.

    Logs and what is known of versions are kept in memory between calls: keep the instance.

    :param lock_seconds: After how long a fleet lock falls to the next worker if its holder elsewhere died.
    :param claim_seconds: After how long the name of a killed push is free for other content.
    """

    def __init__(self, store: ObjectStore, *, lock_seconds: float = 10.0, claim_seconds: float = CLAIM_SECONDS) -> None:
        self._store = store
        self._lock_seconds = lock_seconds
        self._claim_seconds = claim_seconds
        self._guard = threading.Lock()
        self._seen_models: set[str] = set()
        self._logs: dict[str, ObjectLog] = {}
        self._versions_of: dict[str, ObjectVersions] = {}
        self._fleets: dict[str, ObjectFleetStore] = {}

    @property
    def uri(self) -> str:
        """Where it is, e.g. ``gs://bucket/models``."""
        return self._store.uri

    def check_suitable(self) -> None:
        """Try whether the store keeps the promises of the log; what the connection test asks.

        :raises RepositoryUnsuitable: if it does not, with the reason.
        """
        self._store.check_suitable()

    def models(self) -> tuple[str, ...]:
        """Return the names of all models that have a log or a version, sorted.

        One listing, and one more for each name not seen to be a model before: a log and a manifest stay for ever.
        """
        names = [name for name in self._store.names("") if MODEL_NAME.match(name)]
        unsure = [name for name in names if name not in self._seen_models]
        if unsure:
            with ThreadPoolExecutor(_LISTINGS, thread_name_prefix="list") as pool:
                parts = pool.map(lambda name: self._store.names(f"{name}/"), unsure)
                self._seen_models.update(
                    name for name, found in zip(unsure, parts, strict=True) if {"log", "manifests"} & set(found)
                )
        return tuple(name for name in names if name in self._seen_models)

    def log(self, model: str) -> ObjectLog:
        """Return the log of a model; it may be empty."""
        check_model_name(model)
        with self._guard:
            return self._logs.setdefault(model, ObjectLog(self._store, f"{model}/log/"))

    def fleet(self, fleet: str) -> ObjectFleetStore:
        """Return what is kept of a fleet."""
        prefix = f"{FLEETS}/{check_fleet_name(fleet)}/"
        with self._guard:
            return self._fleets.setdefault(fleet, ObjectFleetStore(self._store, prefix, ttl=self._lock_seconds))

    def push(self, model: str, version: Version, request: PushRequest) -> Manifest:
        """Store a version, complete or not at all. Same name and same content: adopts what is there.

        :raises NotASavedModel: if the directory is not one, or a link leads out of it.
        :raises VersionExists: if the name is taken by other content.
        """
        return push(self._versions(model), version, request)

    def is_place(self, model: str, version: Version, directory: Path) -> bool:
        """Return ``False``: no directory of this machine is in a bucket."""
        del directory
        self._versions(model).place(version)
        return False

    def digest_of(self, directory: Path) -> str:
        """Return the digest a directory would have as a version; touches no network.

        :raises NotASavedModel: if the directory is not a SavedModel, or a link leads out of it.
        """
        return digest_of_files(hash_files(saved_model_contents(directory)))

    def manifest(self, model: str, version: Version) -> Manifest:
        """Return a version's manifest; it outlives the files.

        :raises VersionNotFound: if there is none.
        """
        return self._versions(model).manifest(version).manifest

    def versions(self, model: str) -> tuple[Version, ...]:
        """Return the versions whose files are there, lowest number first."""
        return self._versions(model).all()

    def version_names(self, model: str) -> tuple[str, ...]:
        """Return the names of all versions that were ever pushed, deleted ones too, in no order: one listing."""
        return self._versions(model).names()

    def known_versions(self, model: str, names: Collection[str]) -> Mapping[str, KnownVersion]:
        """Return what is kept of some versions, fetched at once; without one that was never pushed."""
        return self._versions(model).known(names)

    def check_files(self, model: str, version: Version) -> None:
        """Check that a version's files are there, without reading them.

        :raises VersionNotFound: if they are not.
        """
        self._versions(model).check_files(version)

    def version_uri(self, model: str, version: Version) -> str:
        """Return where a version's files are, or would be, e.g. ``gs://bucket/models/digits/versions/20230601120000``."""
        return f"{self._store.uri.rstrip('/')}/{self._versions(model).place(version).rstrip('/')}"

    @contextmanager
    def local_files(self, model: str, version: Version) -> Iterator[Path]:
        """Fetch a version's files; see :class:`~airflow_model_ops.core.ports.Repository`."""
        with self._versions(model).local_files(version) as place:
            yield place

    def verify(self, model: str, version: Version) -> None:
        """Compare a version's files with its manifest: by what the store says of them, and by their digests where that differs.

        :raises VersionNotFound: if the files are gone.
        :raises VersionAltered: if one is missing, added or different.
        """
        self._versions(model).verify(version)

    def delete(self, model: str, version: Version) -> None:
        """Delete a version's files, the graph first; the manifest stays. Repeating it changes nothing.

        :raises VersionNotFound: if there never was such a version.
        """
        versions = self._versions(model)
        versions.delete(version)
        clean(versions, now=versions.written_at(version))

    def refresh_links(self, model: str, state: ServingState) -> None:
        """Do nothing: a bucket has no links, and a copy under another name would be a second truth that could be stale.

        Who wants to know what is stable reads the log, as ``model-ops status`` does.
        """
        del state
        check_model_name(model)

    def write_lease(self, model: str, lease: Lease) -> None:
        """Write or renew the lease of a release. Each attempt has its own object, so an old one never covers a newer."""
        self._store.put(self._leases(model) + lease_name(lease), lease_to_bytes(lease))

    def end_lease(self, model: str, fence: Fence) -> None:
        """Remove the lease of a release unless a newer attempt holds it."""
        prefix = self._leases(model)
        ended = [prefix + name for name in self._store.names(prefix) if is_ended_by(fence, name)]
        if ended:
            self._store.delete(ended)

    def leases(self, model: str) -> tuple[Lease, ...]:
        """Return the lease of each release, its newest attempt's, run out or not."""
        written = {found.key: found.modified for found in self._store.list(self._leases(model))}
        contents = self._store.get_many(list(written)) if written else {}
        return newest_of_each(
            lease_from_bytes(contents[key], written=moment, where=f"{self._store.uri}/{key}")
            for key, moment in written.items()
            if key in contents  # else it ended meanwhile
        )

    def write_evidence(self, model: str, release: str, name: str, content: bytes) -> str:
        """Keep evidence of a release; return the reference that a log entry carries: a key below the model's."""
        reference = evidence_reference(release, name)
        self._store.put(f"{check_model_name(model)}/{reference}", content)
        return reference

    def read_evidence(self, model: str, release: str, name: str) -> bytes | None:
        """Return evidence that was kept, or ``None``."""
        return self._store.get(f"{check_model_name(model)}/{evidence_reference(release, name)}")

    def _leases(self, model: str) -> str:
        return f"{check_model_name(model)}/leases/"

    def _versions(self, model: str) -> ObjectVersions:
        check_model_name(model)
        with self._guard:
            return self._versions_of.setdefault(
                model, ObjectVersions(self._store, f"{model}/", claim_seconds=self._claim_seconds)
            )
