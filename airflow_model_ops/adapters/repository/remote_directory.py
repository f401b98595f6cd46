"""A directory in object storage, read over fsspec: its names, its files, and a copy of them on this machine.

Nothing here opens a file system; whoever makes a :class:`RemoteDirectory` does, with the credentials it knows of. Listings are
always asked for anew: the file systems of fsspec remember theirs for as long as they like.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any, Final

from airflow_model_ops.core.errors import ModelOpsError, NotASavedModel, RepositoryUnavailable

_URL: Final = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9.+-]*)://(?P<rest>.*)", re.DOTALL)
_WRITTEN_AT: Final = ("mtime", "LastModified", "last_modified", "modified", "updated", "created")
"""Where the file systems of fsspec say when an object was written: gcsfs, s3fs, adlfs, memory."""
_CONTENT_TOKENS: Final = ("generation", "ETag", "etag", "VersionId")


def is_remote(place: str) -> bool:
    """Whether a path or URL is in object storage.

    >>> is_remote("gs://bucket/m"), is_remote("/srv/m"), is_remote("file:///srv/m")
    (True, False, False)
    """
    match = _URL.fullmatch(place)
    return match is not None and match["scheme"].lower() != "file"


def bare_url(url: str) -> str:
    """Return a URL without the connection id in it and without slashes at its end.

    >>> bare_url("gs://my_conn@bucket/models/")
    'gs://bucket/models'
    """
    scheme, separator, rest = url.partition("://")
    bucket, slash, key = rest.partition("/")
    return f"{scheme}{separator}{bucket.rpartition('@')[2]}{slash}{key}".rstrip("/")


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteFile:
    """What the store says of a file without giving its content.

    :param name: Its path below the directory.
    :param modified: When it was written, seconds since the epoch on the store's clock.
    :param token: Names this very content, if the store has such a thing.
    """

    name: str
    size: int
    modified: float
    token: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteDirectory:
    """A place in object storage. There are no empty directories there: one without objects does not exist.

    Every method but :meth:`__truediv__` touches the network, and raises ``RepositoryUnavailable`` if the store does not answer
    or refuses the credentials.

    :param fs: The ``fsspec.AbstractFileSystem`` to read it with.
    :param url: Where it is, without connection id.
    """

    fs: Any
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
        with self._reporting("list"):
            found = self._listed(lambda path: self.fs.ls(path, detail=False))
        own = self._path
        names = {posixpath.basename(str(path).rstrip("/")) for path in found if str(path).strip("/") != own.strip("/")}
        return tuple(sorted(names - {""}))

    def files(self) -> tuple[RemoteFile, ...]:
        """Return all files below, at any depth, sorted by name; none if there is no such directory.

        :raises NotASavedModel: if a name would lead out of a directory on this machine.
        """
        with self._reporting("list"):
            found = self._listed(lambda path: self.fs.find(path, detail=True))
        above = f"{self._path.strip('/')}/"
        inside = ((str(path).strip("/").removeprefix(above), info) for path, info in dict(found or {}).items())
        real = ((name, info) for name, info in inside if not str(info.get("name", "")).endswith("/"))
        return tuple(sorted((self._file(name, info) for name, info in real), key=lambda file: file.name))

    def read(self, name: str) -> bytes:
        """Return a file's content."""
        with self._reporting(f"read {name!r} of"):
            return bytes(self.fs.cat_file(f"{self._path}/{name}"))

    def fetch(self, to: Path) -> tuple[RemoteFile, ...]:
        """Copy all files to a directory that is not there yet, or is empty; return them.

        :raises NotASavedModel: if there are none.
        :raises RepositoryUnavailable: also if they changed meanwhile: half of one model and half of another is none.
        """
        files = self.files()
        if not files:
            raise NotASavedModel(
                f"there is nothing at {self.url!r}; correct the URL, or see whether the bucket is another one"
            )
        places = {file.name: to / file.name for file in files}
        for directory in {place.parent for place in places.values()}:
            directory.mkdir(parents=True, exist_ok=True)
        with self._reporting("fetch"):
            self.fs.get([f"{self._path}/{name}" for name in places], [str(place) for place in places.values()])
        if self.files() != files or any(places[file.name].stat().st_size != file.size for file in files):
            raise RepositoryUnavailable(
                f"{self.url!r} changed while it was fetched; let whoever writes it finish, and try again"
            )
        return files

    @property
    def _path(self) -> str:
        return str(self.fs._strip_protocol(self.url)).rstrip("/")

    def _listed(self, ask: Any) -> Any:
        self.fs.invalidate_cache()
        try:
            return ask(self._path)
        except FileNotFoundError:
            return ()

    def _file(self, name: str, info: Mapping[str, Any]) -> RemoteFile:
        parts = PurePosixPath(name).parts
        if not parts or ".." in parts or name.startswith("/") or "\\" in name or "//" in name:
            raise NotASavedModel(f"{self.url!r} holds an object {name!r}, which is no file name; rename or remove it")
        token = next((str(info[key]) for key in _CONTENT_TOKENS if info.get(key)), "")
        return RemoteFile(name=name, size=int(info.get("size") or 0), modified=_written_at(info), token=token)

    @contextmanager
    def _reporting(self, what: str) -> Iterator[None]:
        """Turn whatever a file system raises into our error: each brings its vendor's own classes."""
        try:
            yield
        except ModelOpsError:
            raise
        except Exception as error:
            raise RepositoryUnavailable(
                f"cannot {what} {self.url!r} ({type(error).__name__}: {error}); see whether the bucket is there, and whether "
                "the credentials may list and read it"
            ) from error


def _written_at(info: Mapping[str, Any]) -> float:
    value = next((info[key] for key in _WRITTEN_AT if info.get(key)), 0.0)
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    if isinstance(value, datetime):
        value = (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
    return float(value)
