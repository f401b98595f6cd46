"""Pushing a SavedModel into a bucket; the order of steps and why is told in ``object_versions.py``."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable

from airflow_model_ops.adapters.repository.contents import GRAPHS, Contents, hash_files, saved_model_contents
from airflow_model_ops.adapters.repository.manifests import (
    StoredManifest,
    check_not_retired,
    check_request,
    check_same,
    new_manifest,
)
from airflow_model_ops.adapters.repository.object_claims import ClaimEnded, HeldClaim
from airflow_model_ops.adapters.repository.object_store import StoredObject, Upload
from airflow_model_ops.adapters.repository.object_versions import ObjectVersions
from airflow_model_ops.core.errors import RepositoryUnavailable, VersionExists
from airflow_model_ops.core.ports import Manifest, PushRequest
from airflow_model_ops.core.versioning import Version

_log = logging.getLogger(__name__)
_TRIES = 5
"""How often a place may turn out to be disturbed by late writers."""
_TELL_SECONDS = 5.0


def push(versions: ObjectVersions, version: Version, request: PushRequest) -> Manifest:
    """Store a version, complete or not at all; the same name with the same content adopts what is there.

    :raises NotASavedModel: if the directory is not one, or a link leads out of it.
    :raises VersionExists: if the name is taken by other content.
    :raises InvalidConfig: if what is known about it cannot be written down.
    """
    check_request(request)
    contents = saved_model_contents(request.directory)
    stored = versions.find_manifest(version)
    if stored is not None:
        check_not_retired(stored)
    files = hash_files(contents)
    pushing = _Push(versions, contents, new_manifest(version, request, files=files, size=contents.size))
    if stored is None:
        stored = pushing.commit()
        check_not_retired(stored)
    if stored.manifest.digest != pushing.manifest.digest:
        versions.finish(stored)  # its push may have died
        check_same(stored, pushing.manifest.digest)
    pushing.complete(stored)
    return stored.manifest


class _Push:
    """One push: local files on their way to a version's place."""

    def __init__(self, versions: ObjectVersions, contents: Contents, manifest: Manifest) -> None:
        self.manifest = manifest
        self._versions = versions
        self._version = manifest.version
        self._staging = versions.staging(manifest.version, manifest.digest)
        files = [(file, manifest.files[file.name]) for file in contents.files]

        def upload_to(prefix: str, *, graph: bool) -> list[Upload]:
            return [
                Upload(key=prefix + file.name, path=file.path, size=file.size, sha256=digest)
                for file, digest in files
                if (file.name in GRAPHS) is graph
            ]

        place = versions.place(manifest.version)
        self._files = upload_to(place, graph=False)
        self._graph = upload_to(place, graph=True)
        self._copy_of_graph = upload_to(self._staging, graph=True)

    def commit(self) -> StoredManifest:
        """Store all but the graph and take the name; returns what has the name then, this content or another.

        :raises VersionExists: if another push is alive, or others' objects are in the place.
        """
        content = self._staging.removeprefix(self._versions.prefix)
        claims = self._versions.claims(self._version)
        # In this order: whoever stores something has claimed the place before, and removes the claim after the manifest.
        if self._versions.there(self._version) and claims.newest() is None and not claims.is_decided():
            raise self._versions.taken(self._version)
        for _ in range(_TRIES):
            try:
                with claims.held(content) as claim:
                    self._fill(claim)
            except ClaimEnded:
                _log.info("another push of %s took over; looking what became of it", self._version)
            stored = self._versions.find_manifest(self._version)
            if stored is not None:
                return stored
        raise self._disturbed()

    def complete(self, stored: StoredManifest) -> None:
        """Bring the place to what the manifest of this very content says, the graph last; nothing is done if it is there.

        :raises VersionExists: if the version is retired meanwhile.
        """
        for _ in range(_TRIES):
            there = self._versions.there(self._version).keys()
            if self.manifest.files.keys() <= there:
                break
            self._bring(lambda: None)
            self._versions.check_still_wanted(stored)
            self._upload(self._graph, _silent)
            self._versions.check_still_wanted(stored)
        else:
            raise self._disturbed()
        self._versions.forget_push(stored)

    def _fill(self, claim: HeldClaim) -> None:
        if not claim.cleared:
            self._versions.remove_wrong(self._version, self.manifest.files, check=claim.check)
            claim.mark_cleared()
        told = _Told(f"push of {self._version}", [*self._files, *self._copy_of_graph], check=claim.check_quickly)
        self._upload(self._copy_of_graph, told)
        found = self._bring(claim.check, told)
        claim.check()
        tokens = {name: stored.token for name, stored in found.items()}
        self._versions.commit(StoredManifest(manifest=self.manifest, staged=self._staging, stored=tokens))

    def _bring(
        self, check: Callable[[], None], progress: Callable[[int], None] | None = None
    ) -> dict[str, StoredObject]:
        """Store the files but the graph, and remove all else from the place; returns what is there.

        :param check: Called before each change; raises if it must not be.
        """
        place = self._versions.place(self._version)
        for _ in range(_TRIES):
            check()
            try:
                sent = {upload.key.removeprefix(place): upload for upload in self._files}
                stored = self._upload(self._files, progress or _silent)
            except VersionExists:  # somebody believed dead wrote there
                self._versions.remove_wrong(self._version, self.manifest.files, check=check)
                continue
            there = self._versions.there(self._version)
            if there == {name: stored[name] for name in sent}:
                return there
            self._versions.remove_wrong(self._version, self.manifest.files, check=check)
        raise self._disturbed()

    def _upload(self, uploads: Iterable[Upload], progress: Callable[[int], None]) -> dict[str, StoredObject]:
        place = self._versions.place(self._version)
        stored = self._versions.store.upload(list(uploads), progress=progress)
        return {key.removeprefix(place): found for key, found in stored.items()}

    def _disturbed(self) -> RepositoryUnavailable:
        return RepositoryUnavailable(
            f"others keep writing to the place of {self._versions.shown(self._version)}; push it again when they have ended"
        )


class _Told:
    """Says in the log how far an upload is, and ends one that has lost its claim."""

    def __init__(self, what: str, uploads: Iterable[Upload], *, check: Callable[[], None]) -> None:
        self._what = what
        self._total = sum(upload.size for upload in uploads)
        self._check = check
        self._lock = threading.Lock()
        self._done = 0
        self._told = time.monotonic()

    def __call__(self, stored: int) -> None:
        self._check()
        with self._lock:
            self._done += stored
            is_due = time.monotonic() - self._told > _TELL_SECONDS or self._done >= self._total
            if is_due:
                self._told = time.monotonic()
        if is_due:
            _log.info("%s: %d of %d bytes are stored", self._what, self._done, self._total)


def _silent(_: int) -> None:
    """Say nothing of what is stored again, or of a graph."""
