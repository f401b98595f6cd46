"""The versions of one model in a bucket: their files and manifests.

A bucket renames nothing, so a version's files are written where they are served from, ``versions/<number>/``, each if
absent; a version is complete or invisible all the same, as no server loads one without its graph (``saved_model.pb``):

1. The files are hashed, and the place is claimed for their content (:mod:`object_claims`).
2. All files but the graph are stored, and a copy of the graph below ``staged/``. The place is listed and compared.
3. The manifest, which holds the digests and what the store calls each file's content, is written if absent. From here the
   name belongs to this content, whoever else still writes; of concurrent pushes exactly one gets here.
4. The place is listed again. What does not belong to the manifest goes, what lacks is stored again, until it agrees.
5. The graph is stored. The copy below ``staged/`` and the claims are removed, these last.

Whatever is killed: before step 3, a push of the same content goes on where it ended, without sending again what is there,
and one of other content takes the place once the claim is a minute old, and clears it. After step 3 anyone can finish: a
push of the same content by step 4, and any other push or the cleaning by the copy of the graph if the place agrees.

A push that was believed dead may still write, or delete, one object after its claim was taken over: no store fences that.
So nothing rests on claims. A late write never replaces a file, and before step 5 each file is compared with the manifest;
after it, a late deletion would need a request that was under way for as long as the whole of another push, and shows in
the last comparison, or in ``verify``: the version is then altered, never another content's.

A deletion marks the manifest first, so that no push takes the name again; then goes the graph, then the rest. Whoever
stores a graph looks at the manifest afterwards, and removes the files again if it was marked meanwhile.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from airflow_model_ops.adapters.repository.contents import GRAPHS, hash_file
from airflow_model_ops.adapters.repository.file_names import check_version_name, is_version_name
from airflow_model_ops.adapters.repository.manifests import (
    StoredManifest,
    check_named,
    check_unaltered,
    choice_of,
    known_version,
)
from airflow_model_ops.adapters.repository.object_claims import CLAIM_SECONDS, Claims
from airflow_model_ops.adapters.repository.object_store import ObjectStore, StoredObject, Upload
from airflow_model_ops.core.errors import VersionExists, VersionNotFound
from airflow_model_ops.core.ports import KnownVersion
from airflow_model_ops.core.versioning import Version

_log = logging.getLogger(__name__)
_DOWNLOADS = 8
"""Files that are fetched at once."""
_ADDED = "added"
"""Stands for the digest of a file that the manifest does not name: it need not be fetched."""


class ObjectVersions:
    """The versions below a model's prefix.

    :param prefix: ``<model>/``.
    :param claim_seconds: After how long a claim that nobody renews may be taken over.
    """

    def __init__(self, store: ObjectStore, prefix: str, *, claim_seconds: float = CLAIM_SECONDS) -> None:
        self.store = store
        self.prefix = prefix
        self._model = prefix.rstrip("/")
        self.claim_seconds = claim_seconds
        self._seen: dict[str, StoredManifest] = {}

    def find_manifest(self, version: Version) -> StoredManifest | None:
        """Return a version's manifest and notes, or ``None`` if there is none.

        :raises InvalidState: if it is another version's.
        """
        content = self.store.get(self._manifest_key(version))
        return None if content is None else check_named(StoredManifest.from_bytes(content), version, model=self._model)

    def manifest(self, version: Version) -> StoredManifest:
        """Return a version's manifest and notes.

        :raises VersionNotFound: if there is none.
        """
        stored = self.find_manifest(version)
        if stored is None:
            raise VersionNotFound(f"model {self._model!r} has no version {version.name!r}; {choice_of(self.all())}")
        return stored

    def all(self) -> tuple[Version, ...]:
        """Return the versions whose files are there, lowest number first: two listings, and manifests not seen before."""
        there: dict[str, set[str]] = {}
        for found in self.store.list(f"{self.prefix}versions/"):
            number, _, name = found.key.removeprefix(f"{self.prefix}versions/").partition("/")
            there.setdefault(number, set()).add(name)
        manifests = self._manifests() if there else ()
        return tuple(
            sorted(
                stored.manifest.version
                for stored in manifests
                if not stored.retired and graphs_of(stored) <= there.get(str(stored.manifest.version.number), set())
            )
        )

    def names(self) -> tuple[str, ...]:
        """Return the names of all versions that were ever pushed: one listing."""
        found = self.store.names(f"{self.prefix}manifests/")
        names = (name.removesuffix(".json") for name in found if name.endswith(".json"))
        return tuple(name for name in names if is_version_name(name))

    def known(self, names: Iterable[str]) -> dict[str, KnownVersion]:
        """Return what is kept of some versions, without those that were never pushed; all are fetched at once."""
        keys = {f"{self.prefix}manifests/{name}.json": name for name in names if is_version_name(name)}
        contents = self.store.get_many(list(keys)) if keys else {}
        return {keys[key]: known_version(keys[key], content) for key, content in contents.items()}

    def has_any(self) -> bool:
        """Whether a version was ever pushed."""
        return bool(self.store.names(f"{self.prefix}manifests/"))

    def check_files(self, version: Version) -> StoredManifest:
        """Check that a version's files are there; returns its manifest.

        :raises VersionNotFound: if they are not.
        """
        stored = self.manifest(version)
        if stored.retired or not all(self.store.find(self.key(version, name)) for name in graphs_of(stored)):
            raise self._gone(stored)
        return stored

    @contextmanager
    def local_files(self, version: Version) -> Iterator[Path]:
        """Fetch a version's files into a directory that is removed afterwards.

        :raises VersionNotFound: if its files are not there.
        """
        files = self.check_files(version).manifest.files
        with tempfile.TemporaryDirectory(prefix=f"{self._model}-{version.name}-") as place:
            self._download(version, files, Path(place))
            yield Path(place)

    def verify(self, version: Version) -> None:
        """Compare a version's files with its manifest: by what the store says of them, and by their digests where that differs.

        :raises VersionNotFound: if the files are gone.
        :raises VersionAltered: if one is missing, added or different.
        """
        stored = self.manifest(version)
        there = self.there(version)
        if stored.retired or not there:
            raise self._gone(stored)
        check_unaltered(stored.manifest, self._digests(stored, there), shown=self.shown(version))

    def delete(self, version: Version) -> None:
        """Delete a version's files; the manifest stays. Repeating it changes nothing, and finishes what a crash left.

        :raises VersionNotFound: if there is no such version.
        """
        stored = self.manifest(version)
        if not stored.retired:
            self.store.put(self._manifest_key(version), replace(stored, retired=True).to_bytes())
        self.remove_files(stored)
        self.forget_push(stored)

    def commit(self, stored: StoredManifest) -> bool:
        """Give a version's name to its stored files; return whether no other push has it."""
        return self.store.put_if_absent(self._manifest_key(stored.manifest.version), stored.to_bytes())

    def finish(self, stored: StoredManifest) -> bool:
        """Show a committed version whose pusher died, by the copy of its graph; return whether it is there.

        It cannot be if a file lacks, or the copy: then only a push of the same content helps.
        """
        version, graphs = stored.manifest.version, graphs_of(stored)
        there = self.there(version)
        if not graphs <= there.keys():
            self.remove_named(version, there.keys() - stored.manifest.files.keys())
            if stored.retired or not self.agrees(stored, there) or not self._store_copy(stored):
                return False
            self.check_still_wanted(stored)
        self.forget_push(stored)
        return True

    def agrees(self, stored: StoredManifest, there: Mapping[str, StoredObject]) -> bool:
        """Return whether what is in the place holds all files of a manifest but for the graph."""
        expected = {name: digest for name, digest in stored.manifest.files.items() if name not in GRAPHS}
        return self._digests(stored, {name: found for name, found in there.items() if name in expected}) == expected

    def check_still_wanted(self, stored: StoredManifest) -> None:
        """Look, after a graph was stored, whether the version was retired meanwhile, and remove it again then.

        :raises VersionExists: if it was.
        """
        if self.manifest(stored.manifest.version).retired:
            self.remove_files(stored)
            raise VersionExists(
                f"version {stored.manifest.version.name!r} was retired while it was pushed; a name is used once: choose a new one"
            )

    def remove_files(self, stored: StoredManifest) -> None:
        """Delete what is in a version's place, its graph first."""
        version = stored.manifest.version
        self.store.delete([self.key(version, name) for name in sorted(graphs_of(stored))])
        self.store.delete([found.key for found in self.there(version).values()])

    def forget_push(self, stored: StoredManifest) -> None:
        """Remove the copy of the graph and the claims of a push that has ended."""
        if stored.staged:
            self.store.delete([found.key for found in self.store.list(stored.staged)])
        self.claims(stored.manifest.version).remove()

    def remove_wrong(self, version: Version, files: Iterable[Upload], *, check: Callable[[], None]) -> None:
        """Delete what is in a version's place and is none of some files by name and content.

        :param check: Called before each deletion; raises if it must not be.
        """
        expected = {upload.key: upload for upload in files}
        for name, found in self.there(version).items():
            upload = expected.get(found.key)
            if upload is None or found.size != upload.size or self._hashes(version, [name]) != {name: upload.sha256}:
                check()
                _log.warning("removing %s from the place of %s: it is not of the content that is pushed", name, version)
                self.store.delete([found.key])

    def remove_named(self, version: Version, names: Iterable[str]) -> None:
        """Delete some of what is in a version's place."""
        keys = [self.key(version, name) for name in sorted(names)]
        if keys:
            _log.warning("removing %s: it is not of the content that has the name %s", ", ".join(keys), version)
            self.store.delete(keys)

    def there(self, version: Version) -> dict[str, StoredObject]:
        """Return what is in a version's place, by name."""
        place = self.place(version)
        return {found.key.removeprefix(place): found for found in self.store.list(place)}

    def claims(self, version: Version) -> Claims:
        """Return the claims on a version's place."""
        return Claims(
            self.store,
            f"{self.prefix}claims/{version.number}/",
            version=version,
            seconds=self.claim_seconds,
            is_decided=lambda: self.store.find(self._manifest_key(version)) is not None,
        )

    def claims_on(self, number: int) -> Claims:
        """Return the claims on a serving number, to look at."""
        return self.claims(Version(name="unknown", number=number))

    def claimed_numbers(self) -> tuple[int, ...]:
        """Return the serving numbers on which there are claims."""
        return tuple(int(name) for name in self.store.names(f"{self.prefix}claims/") if name.isdecimal())

    def staged_contents(self) -> tuple[str, ...]:
        """Return the contents of whose graphs there are copies."""
        return self.store.names(f"{self.prefix}staged/")

    def staging(self, content: str) -> str:
        """Return where the pushes of a content keep a copy of its graph."""
        return f"{self.prefix}staged/{content}/"

    def written_at(self, version: Version) -> float:
        """Return when a version's manifest was written, seconds since the epoch on the store's clock; 0 if there is none."""
        found = self.store.find(self._manifest_key(version))
        return found.modified if found else 0.0

    def place(self, version: Version) -> str:
        """Return the prefix below which a version's files belong."""
        check_version_name(version)
        return f"{self.prefix}versions/{version.number}/"

    def key(self, version: Version, name: str) -> str:
        """Return where a file of a version belongs."""
        return self.place(version) + name

    def taken(self, version: Version) -> VersionExists:
        """Return the error for a place that holds something nobody pushed."""
        return VersionExists(
            f"{self.store.uri}/{self.place(version)} holds objects without a manifest, so {self.shown(version)} cannot be "
            "stored; choose a new name, or move them away"
        )

    def shown(self, version: Version) -> str:
        """Return a version as messages name it."""
        return f"version {version.name!r} of model {self._model!r}"

    def _store_copy(self, stored: StoredManifest) -> bool:
        """Store the graph from its copy; return whether there was one."""
        version = stored.manifest.version
        if not stored.staged:
            return False
        with tempfile.TemporaryDirectory(prefix=f"{self._model}-{version.name}-") as place:
            uploads = []
            for name in sorted(graphs_of(stored)):
                path, digest = Path(place) / name, stored.manifest.files[name]
                try:
                    self.store.download(stored.staged + name, path)
                except VersionNotFound:
                    return False
                if hash_file(path) != digest:
                    return False
                size = path.stat().st_size
                uploads.append(Upload(key=self.key(version, name), path=path, size=size, sha256=digest))
            self.store.upload(uploads, progress=lambda _: None)
            return True

    def _manifest_key(self, version: Version) -> str:
        return f"{self.prefix}manifests/{check_version_name(version).name}.json"

    def _manifests(self) -> Iterable[StoredManifest]:
        names = self.store.names(f"{self.prefix}manifests/")
        unseen = [name for name in names if name.endswith(".json") and name not in self._seen]
        contents = self.store.get_many([f"{self.prefix}manifests/{name}" for name in unseen]) if unseen else {}
        for key, content in contents.items():
            self._seen[key.rpartition("/")[2]] = StoredManifest.from_bytes(content)
        return [self._seen[name] for name in names if name in self._seen]

    def _digests(self, stored: StoredManifest, there: Mapping[str, StoredObject]) -> dict[str, str]:
        """Return the digests of files that are there; those of which the store says the same as at the push are not fetched."""
        expected = stored.manifest.files
        same = {name for name, found in there.items() if name in expected and stored.stored.get(name) == found.token}
        unsure = [name for name in there if name in expected and name not in same]
        added = {name: _ADDED for name in there if name not in expected}
        return added | {name: expected[name] for name in same} | self._hashes(stored.manifest.version, unsure)

    def _hashes(self, version: Version, names: Iterable[str]) -> dict[str, str]:
        """Return the digests of files; one that went away since it was listed is missing."""
        with tempfile.TemporaryDirectory(prefix=f"{self._model}-{version.name}-") as place:
            paths = self._download(version, names, Path(place), skip_missing=True)
            return {name: hash_file(path) for name, path in paths.items()}

    def _download(
        self, version: Version, names: Iterable[str], place: Path, *, skip_missing: bool = False
    ) -> dict[str, Path]:
        paths = {name: place / name for name in names}
        for path in paths.values():
            path.parent.mkdir(parents=True, exist_ok=True)
        pool = ThreadPoolExecutor(_DOWNLOADS, thread_name_prefix="download")
        try:
            fetching = {name: pool.submit(self.store.download, self.key(version, name), paths[name]) for name in paths}
            for name, fetched in fetching.items():
                try:
                    fetched.result()
                except VersionNotFound:
                    if not skip_missing:
                        raise
                    del paths[name]
        finally:
            pool.shutdown(cancel_futures=True)  # of a version that is being deleted, the rest is not fetched
        return paths

    def _gone(self, stored: StoredManifest) -> VersionNotFound:
        why = "were deleted" if stored.retired else "are not there"
        return VersionNotFound(
            f"the files of {stored.manifest.version.name!r} of model {self._model!r} {why}; {choice_of(self.all())}"
        )


def graphs_of(stored: StoredManifest) -> set[str]:
    """Return the files that make a version visible."""
    return {name for name in GRAPHS if name in stored.manifest.files}


def is_visible(names: Iterable[str]) -> bool:
    """Return whether a server would load what has these names in its place."""
    return not set(GRAPHS).isdisjoint(names)
