"""Pushing a SavedModel into a bucket; the order of steps and why is told in ``object_versions.py``."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

from airflow_model_ops.adapters.repository.contents import GRAPHS, Contents, hash_files, saved_model_contents
from airflow_model_ops.adapters.repository.manifests import (
    StoredManifest,
    check_not_retired,
    check_request,
    check_same,
    new_manifest,
)
from airflow_model_ops.adapters.repository.object_claims import ClaimEnded, HeldClaim, content_name
from airflow_model_ops.adapters.repository.object_cleaning import clean
from airflow_model_ops.adapters.repository.object_store import StoredObject, Upload
from airflow_model_ops.adapters.repository.object_versions import ObjectVersions, is_visible
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
        pushing.withdraw(stored)
        versions.finish(stored)  # its push may have died
        check_same(stored, pushing.manifest.digest)
    pushing.complete(stored)
    clean(versions, now=versions.written_at(version))
    return stored.manifest


class _Push:
    """One push: local files on their way to a version's place."""

    def __init__(self, versions: ObjectVersions, contents: Contents, manifest: Manifest) -> None:
        self.manifest = manifest
        self._versions = versions
        self._version = manifest.version
        self._content = content_name(manifest.version, manifest.digest)
        self._staging = versions.staging(self._content)
        self._has_written = False
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
        claims = self._versions.claims(self._version)
        # In this order: whoever stores something has claimed the place before, and removes the claim after the manifest.
        there = self._versions.there(self._version)
        is_claimed = claims.newest() is not None and not is_visible(there)  # no push stores a graph before the manifest
        if there and not is_claimed and not claims.is_decided():
            self._take_over(there)
        for _ in range(_TRIES):
            try:
                with claims.held(self._content) as claim:
                    self._fill(claim)
            except ClaimEnded:
                _log.info("another push of %s has the place or the name; looking what became of it", self._version)
            stored = self._versions.find_manifest(self._version)
            if stored is not None:
                return stored
        raise self._disturbed()

    def complete(self, stored: StoredManifest) -> None:
        """Bring the place to what the manifest of this very content says, the graph last; nothing is done if it is there.

        :raises VersionExists: if the version is retired meanwhile.
        """
        brought = False
        for _ in range(_TRIES):
            there = self._versions.there(self._version)
            late = there.keys() - self.manifest.files.keys()
            if self.manifest.files.keys() <= there.keys():
                if brought:  # nobody served it before, so what does not belong there is a late write of another push
                    self._versions.remove_named(self._version, late)
                break
            if late or not self._versions.agrees(stored, there):
                self._bring(lambda: None, _silent)
            self._versions.check_still_wanted(stored)
            self._put(self._graph, lambda: None, _silent)
            self._versions.check_still_wanted(stored)
            brought = True
        else:
            raise self._disturbed()
        self._versions.forget_push(stored)

    def withdraw(self, winner: StoredManifest) -> None:
        """Remove what this push wrote before other content got the name."""
        if self._has_written:
            self._versions.remove_named(self._version, self.manifest.files.keys() - winner.manifest.files.keys())
            self._versions.store.delete([upload.key for upload in self._copy_of_graph])

    def _take_over(self, there: Mapping[str, StoredObject]) -> None:
        """Vouch for objects that already are in their place and that nobody pushed: only the manifest is made.

        :raises VersionExists: if they are not the files that are pushed.
        """
        if there.keys() != self.manifest.files.keys():
            raise self._versions.taken(self._version)
        try:
            found = self._upload([*self._files, *self._graph], _silent)  # all are there: they are compared
        except VersionExists as error:
            raise self._versions.taken(self._version) from error
        self._versions.commit(StoredManifest(manifest=self.manifest, staged="", stored=_tokens(found)))

    def _fill(self, claim: HeldClaim) -> None:
        """Store all but the graph and write the manifest, if absent.

        :raises ClaimEnded: if another push has the place or the name.
        """
        claim.check()
        self._has_written = True
        told = _Told(f"push of {self._version}", [*self._files, *self._copy_of_graph], check=claim.check_quickly)
        self._upload(self._copy_of_graph, told)
        found = self._bring(claim.check, told)
        claim.check()
        self._versions.commit(StoredManifest(manifest=self.manifest, staged=self._staging, stored=_tokens(found)))

    def _bring(self, check: Callable[[], None], progress: Callable[[int], None]) -> Mapping[str, StoredObject]:
        """Store the files but the graph, and remove all else from the place; returns what is there then.

        :param check: Called before each change; raises if it must not be.
        """
        for _ in range(_TRIES):
            stored = self._put(self._files, check, progress)
            there = self._versions.there(self._version)
            found = {name: there[name] for name in there.keys() - set(GRAPHS)}
            if stored is not None and _tokens(found) == _tokens(stored):
                return found
            self._versions.remove_wrong(self._version, [*self._files, *self._graph], check=check)
        raise self._disturbed()

    def _put(
        self, uploads: list[Upload], check: Callable[[], None], progress: Callable[[int], None]
    ) -> Mapping[str, StoredObject] | None:
        """Store some files; ``None`` if there were others, which are removed."""
        check()
        try:
            return self._upload(uploads, progress)
        except VersionExists:  # somebody believed dead wrote there
            self._versions.remove_wrong(self._version, [*self._files, *self._graph], check=check)
            return None

    def _upload(self, uploads: Sequence[Upload], progress: Callable[[int], None]) -> dict[str, StoredObject]:
        place = self._versions.place(self._version)
        stored = self._versions.store.upload(uploads, progress=progress)
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


def _tokens(found: Mapping[str, StoredObject]) -> dict[str, str]:
    return {name: stored.token for name, stored in found.items()}


def _silent(_: int) -> None:
    """Say nothing of what is stored again, or of a graph."""
