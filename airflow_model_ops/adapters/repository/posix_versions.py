"""The versions of one model: their files and manifests.

A push is committed by its manifest, and finished by anyone:

1. The files are copied to ``versions/.staging-<name>-<random>``, hashed on the way, and fsynced. A crash leaves a hidden
   directory, removed a day later; the name is still free.
2. The manifest, which says where the files are staged, is created by put-if-absent. From here the name belongs to this
   content; of concurrent pushes exactly one gets here.
3. The staged directory is renamed to the serving number: complete or invisible. Whoever finds a manifest whose files are
   still staged (a retried push, a competing one, the cleaning) does this step for a pusher that died.
4. The link with the version's name is made.

Were the files renamed before the manifest, a crash between the two would show files that nobody vouches for; were the
manifest written before the files are staged, it would have to be told from a deleted version's, and could not be finished.

A deletion marks the manifest first, so that no push takes the name again, then renames the files out of sight.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from airflow_model_ops.adapters.repository.contents import hash_files, saved_model_contents
from airflow_model_ops.adapters.repository.file_names import check_version_name, is_version_name
from airflow_model_ops.adapters.repository.manifests import (
    STAGING_SECONDS,
    StoredManifest,
    check_named,
    check_unaltered,
    choice_of,
    known_version,
)
from airflow_model_ops.adapters.repository.posix_files import AtomicFiles, fsync_directory
from airflow_model_ops.core.errors import (
    NotASavedModel,
    VersionAltered,
    VersionExists,
    VersionNotFound,
)
from airflow_model_ops.core.ports import KnownVersion, Manifest
from airflow_model_ops.core.versioning import Version

_STAGING, _DELETED = ".staging-", ".deleted-"


class PosixVersions:
    """The versions in a model's directory.

    :param directory: ``<root>/<model>``.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory / "versions"
        self._model = directory.name
        self._manifests = directory / "manifests"
        self._files = AtomicFiles(directory / ".aside")

    def find_manifest(self, version: Version) -> StoredManifest | None:
        """Return a version's manifest and notes, or ``None`` if there is none.

        :raises InvalidState: if it is another version's.
        """
        stored = self._read_manifest(self._manifest_path(version))
        return None if stored is None else check_named(stored, version, model=self._model)

    def manifest(self, version: Version) -> StoredManifest:
        """Return a version's manifest and notes.

        :raises VersionNotFound: if there is none.
        """
        stored = self.find_manifest(version)
        if stored is None:
            raise VersionNotFound(f"model {self._model!r} has no version {version.name!r}; {self._known()}")
        return stored

    def all(self) -> tuple[Version, ...]:
        """Return the versions whose files are there, lowest number first."""
        numbers = self._numbers()
        found = {stored.manifest.version for name in self._linked() if (stored := self._named(name))}
        if numbers - {version.number for version in found}:  # a push died before its link was made
            found |= {
                stored.manifest.version for path in self._manifest_paths() if (stored := self._read_manifest(path))
            }
        return tuple(sorted(version for version in found if version.number in numbers))

    def names(self) -> tuple[str, ...]:
        """Return the names of all versions that were ever pushed: one listing."""
        try:
            with os.scandir(self._manifests) as items:
                found = [item.name.removesuffix(".json") for item in items if item.name.endswith(".json")]
        except FileNotFoundError:
            return ()
        return tuple(name for name in found if is_version_name(name))

    def known(self, names: Iterable[str]) -> dict[str, KnownVersion]:
        """Return what is kept of some versions, without those that were never pushed."""
        found: dict[str, KnownVersion] = {}
        for name in filter(is_version_name, names):
            with contextlib.suppress(FileNotFoundError):
                found[name] = known_version(name, (self._manifests / f"{name}.json").read_bytes())
        return found

    def has_any(self) -> bool:
        """Whether a version was ever pushed."""
        return any(self._manifest_paths())

    def path(self, version: Version) -> Path:
        """Return the directory of a version.

        :raises VersionNotFound: if its files are not there.
        """
        stored = self.manifest(version)
        place = self.place(version)
        if not place.is_dir():
            why = "were deleted" if stored.retired else "are not there"
            raise VersionNotFound(f"the files of {version.name!r} of model {self._model!r} {why}; {self._known()}")
        return place

    def verify(self, version: Version) -> None:
        """Hash a version's files again and compare them with its manifest.

        :raises VersionNotFound: if the files are gone.
        :raises VersionAltered: if one is missing, added or different.
        """
        place, expected = self.path(version), self.manifest(version).manifest
        try:
            found = hash_files(saved_model_contents(place))
        except NotASavedModel as error:
            raise VersionAltered(f"{self._shown(version)} is altered: {error}") from error
        check_unaltered(expected, found, shown=self._shown(version))

    def delete(self, version: Version) -> None:
        """Delete a version's files; the manifest stays. Repeating it changes nothing, and finishes what a crash left.

        :raises VersionNotFound: if there is no such version.
        """
        stored = self.manifest(version)
        if not stored.retired:
            self._files.write(self._manifest_path(version), replace(stored, retired=True).to_bytes())
        for place in (self.place(version), self.directory / stored.staged):
            with contextlib.suppress(FileNotFoundError):
                os.rename(place, self.hidden(_DELETED, version))  # noqa: PTH104 - os.* are what the tests interrupt
        (self.directory / version.name).unlink(missing_ok=True)
        if self.directory.is_dir():
            fsync_directory(self.directory)
        for item in self._hidden(_DELETED):
            remove_tree(item)

    def place(self, version: Version) -> Path:
        """Return where a version's files belong."""
        check_version_name(version)
        return self.directory / str(version.number)

    def is_place(self, version: Version, directory: Path) -> bool:
        """Return whether a directory is the very one in which a version's files belong."""
        place = self.place(version)
        return place.is_dir() and directory.is_dir() and place.samefile(directory)

    def hidden(self, prefix: str, version: Version) -> Path:
        """Return a new name that TF Serving and this repository do not take for a version."""
        return self.directory / f"{prefix}{version.name}-{secrets.token_hex(8)}"

    def staging(self, version: Version) -> Path:
        """Return a new directory to stage files in."""
        return self.hidden(_STAGING, version)

    def commit(self, stored: StoredManifest) -> bool:
        """Give a version's name to its staged files; return whether no other push has it."""
        fsync_directory(self.directory)
        return self._files.put_if_absent(self._manifest_path(stored.manifest.version), stored.to_bytes())

    def finish(self, stored: StoredManifest) -> bool:
        """Bring the files of a committed push to their place; return whether they are there.

        :raises VersionExists: if something else is in their place.
        """
        return self.move_in(self.directory / stored.staged, stored.manifest)

    def move_in(self, staging: Path, manifest: Manifest) -> bool:
        """Rename staged files to their place, unless somebody did; return whether they are there.

        :raises VersionExists: if something else is in their place.
        """
        place = self.place(manifest.version)
        try:
            os.rename(staging, place)  # noqa: PTH104
        except FileNotFoundError:
            if not place.is_dir():
                return False
        except OSError as error:
            if not place.exists():
                raise
            raise self.taken(manifest.version) from error
        fsync_directory(self.directory)
        self._files.point_link(self.directory / manifest.version.name, place.name, durable=True)
        return True

    def taken(self, version: Version) -> VersionExists:
        """Return the error for a place that holds something without a manifest."""
        return VersionExists(
            f"{str(self.place(version))!r} is there without a manifest, so {self._shown(version)} cannot be stored; push "
            "that directory itself to take it over, or move it away"
        )

    def clean(self) -> None:
        """Finish or remove what pushes left that died long ago."""
        for item in self._hidden(_STAGING):
            with contextlib.suppress(FileNotFoundError):  # another process was quicker
                if time.time() - item.stat().st_mtime > STAGING_SECONDS:
                    self._end_staging(item)

    def _end_staging(self, staging: Path) -> None:
        name = staging.name.removeprefix(_STAGING).rpartition("-")[0]
        stored = self._named(name)
        if stored is not None and stored.staged == staging.name and not stored.retired:
            self.finish(stored)
        else:
            remove_tree(staging)

    def _manifest_path(self, version: Version) -> Path:
        check_version_name(version)
        return self._manifests / f"{version.name}.json"

    def _named(self, name: str) -> StoredManifest | None:
        return self._read_manifest(self._manifests / f"{name}.json")

    def _read_manifest(self, path: Path) -> StoredManifest | None:
        try:
            return StoredManifest.from_bytes(path.read_bytes())
        except FileNotFoundError:
            return None

    def _manifest_paths(self) -> Iterator[Path]:
        return self._manifests.glob("[!.]*.json")

    def _numbers(self) -> set[int]:
        return {
            int(item.name) for item in self._items() if item.name.isdecimal() and item.is_dir(follow_symlinks=False)
        }

    def _linked(self) -> list[str]:
        return [item.name for item in self._items() if item.is_symlink()]

    def _hidden(self, prefix: str) -> list[Path]:
        return [Path(item.path) for item in self._items() if item.name.startswith(prefix)]

    def _items(self) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(self.directory) as items:
                return list(items)
        except FileNotFoundError:
            return []

    def _known(self) -> str:
        return choice_of(self.all())

    def _shown(self, version: Version) -> str:
        return f"version {version.name!r} of model {self._model!r}"


def remove_tree(directory: Path) -> None:
    """Delete a directory that other processes may be deleting too."""
    while directory.exists():
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(directory)
