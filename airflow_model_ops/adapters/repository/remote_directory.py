"""A directory in object storage: its names, its files, and a copy of them on this machine. Read only.

It reads through the same :class:`ObjectStore` as a repository does, with or without a repository being there.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, Final

from airflow_model_ops.adapters.repository.object_store import ObjectStore
from airflow_model_ops.core.errors import NotASavedModel, RepositoryUnavailable, VersionNotFound

_URL: Final = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9.+-]*)://(?P<rest>.*)", re.DOTALL)
_FETCHES: Final = 8
"""Files that are fetched at once."""


def is_remote(place: str) -> bool:
    """Whether a path or URL is in object storage.

    >>> is_remote("gs://bucket/m"), is_remote("/srv/m"), is_remote("file:///srv/m")
    (True, False, False)
    """
    match = _URL.fullmatch(place)
    return match is not None and match["scheme"].lower() != "file"


def bare_url(url: str) -> str:
    """Return a URL without the connection id in it and without slashes at its end, its scheme in small letters.

    >>> bare_url("GS://my_conn@bucket/models/")
    'gs://bucket/models'
    """
    scheme, separator, rest = url.partition("://")
    bucket, slash, key = rest.partition("/")
    return f"{scheme.lower()}{separator}{bucket.rpartition('@')[2]}{slash}{key}".rstrip("/")


def open_remote(url: str, open_fs: Callable[[], Any]) -> RemoteDirectory:
    """Open a place in a bucket; touches no network.

    :param open_fs: Makes the ``fsspec.AbstractFileSystem`` with its credentials, on first use.
    :raises InvalidConfig: if the URL names no bucket.
    """
    from airflow_model_ops.adapters.repository.fsspec_store import FsspecStore
    from airflow_model_ops.adapters.repository.gcs_store import GcsStore
    from airflow_model_ops.adapters.repository.s3_store import S3Store

    scheme, _, rest = bare_url(url).partition("://")
    kinds = {"gs": GcsStore, "gcs": GcsStore, "s3": S3Store, "s3a": S3Store, "s3n": S3Store}
    store = kinds.get(scheme, FsspecStore)(open_fs, f"{scheme}://{rest.partition('/')[0]}")
    return RemoteDirectory(store=store, url=bare_url(url))


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteFile:
    """What the store says of a file without giving its content.

    :param name: Its path below the directory.
    :param modified: When it was written, seconds since the epoch on the store's clock.
    :param token: Names this very content.
    """

    name: str
    size: int
    modified: float
    token: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteDirectory:
    """A place in a bucket. There are no empty directories there: one without objects does not exist.

    Every method but the properties and :meth:`__truediv__` touches the network, and raises ``RepositoryUnavailable`` if the
    store does not answer or refuses the credentials.

    :param store: The whole bucket.
    :param url: Where in it, without connection id.
    """

    store: ObjectStore
    url: str

    def __truediv__(self, name: str) -> RemoteDirectory:
        """Return a place below this one."""
        return replace(self, url=f"{self.url}/{name}")

    def __str__(self) -> str:
        """Return the URL."""
        return self.url

    @property
    def name(self) -> str:
        """The last part of the URL."""
        return posixpath.basename(self.url)

    @property
    def parent(self) -> RemoteDirectory:
        """The place above this one."""
        return replace(self, url=posixpath.dirname(self.url))

    def names(self) -> tuple[str, ...]:
        """Return the names of files and directories directly below, sorted; none if there is no such directory.

        One request, however many files lie deeper.
        """
        return self.store.names(self._prefix)

    def files(self) -> tuple[RemoteFile, ...]:
        """Return all files below, at any depth, sorted by name; none if there is no such directory.

        :raises NotASavedModel: if a name would lead out of a directory on this machine.
        """
        prefix = self._prefix
        return tuple(
            RemoteFile(
                name=self._checked(found.key.removeprefix(prefix)),
                size=found.size,
                modified=found.modified,
                token=found.token,
            )
            for found in self.store.list(prefix)
        )

    def read(self, name: str) -> bytes | None:
        """Return a file's content, or ``None`` if there is none."""
        return self.store.get(f"{self._prefix}{name}")

    def fetch(self, to: Path) -> tuple[RemoteFile, ...]:
        """Copy all files to a directory that is not there yet, or is empty; return them.

        :raises NotASavedModel: if there are none, or a disk cannot hold them.
        :raises RepositoryUnavailable: also if they changed meanwhile: half of one model and half of another is none.
        """
        files = self.files()
        if not files:
            raise NotASavedModel(
                f"there is nothing at {self.url!r}; correct the URL, or see whether the bucket is another one"
            )
        self._check_no_clash(files)
        for directory in {(to / file.name).parent for file in files}:
            directory.mkdir(parents=True, exist_ok=True)
        changed = RepositoryUnavailable(
            f"{self.url!r} changed while it was fetched; let whoever writes it finish, and try again"
        )
        with ThreadPoolExecutor(_FETCHES, thread_name_prefix="fetch") as pool:
            try:
                list(pool.map(lambda file: self.store.download(self._prefix + file.name, to / file.name), files))
            except VersionNotFound as error:
                raise changed from error
        if self.files() != files:
            raise changed
        return files

    def _check_no_clash(self, files: Iterable[RemoteFile]) -> None:
        """:raises NotASavedModel: if an object is where a directory has to be: no disk holds both."""
        names = {file.name for file in files}
        for name in sorted(names):
            clashing = names.intersection(str(above) for above in PurePosixPath(name).parents)
            if clashing:
                raise NotASavedModel(
                    f"{self.url!r} holds an object {min(clashing)!r} and another below it, {name!r}; rename or remove one"
                )

    @property
    def _prefix(self) -> str:
        key = self.url.partition("://")[2].partition("/")[2]
        return f"{key}/" if key else ""

    def _checked(self, name: str) -> str:
        if not name or ".." in PurePosixPath(name).parts or name.startswith("/") or "\\" in name or "//" in name:
            raise NotASavedModel(f"{self.url!r} holds an object {name!r}, which is no file name; rename or remove it")
        return name
