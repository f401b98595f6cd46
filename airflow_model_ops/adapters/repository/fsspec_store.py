"""Any store behind fsspec that writes conditionally, as an :class:`ObjectStore`. GCS and S3 have subclasses of their own.

What it asks of the file system: ``pipe_file(mode="create")`` must refuse a name that is taken, in one step. A store that only
looks first and writes then is refused by :meth:`FsspecStore.check_suitable`, as two workers could win one log entry.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from airflow_model_ops.adapters.repository import store_uploads
from airflow_model_ops.adapters.repository.object_store import StoredObject, Upload
from airflow_model_ops.adapters.repository.store_faults import in_words
from airflow_model_ops.adapters.repository.store_suitability import check_suitable
from airflow_model_ops.core.errors import InvalidConfig, RepositoryUnavailable, VersionNotFound

_Answer = TypeVar("_Answer")
_NAMES = {"gcs": "gs", "s3a": "s3", "s3n": "s3"}
"""Other names of a scheme that Airflow knows and model servers do not."""
_WITH_BUCKETS = frozenset({"gs", "s3"})
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*", re.ASCII)
"""What both stores let a bucket be called, and a little more: they say themselves what is too short or too long."""


class FsspecStore:
    """A bucket, or a prefix of one, behind an fsspec file system.

    :param open_fs: Makes the file system, with its credentials. Called on first use, and again after a fork: event loops and
        connections do not survive one.
    :param root: Such as ``gs://bucket/models``.
    :raises InvalidConfig: if the root names no bucket.
    """

    def __init__(self, open_fs: Callable[[], Any], root: str) -> None:
        scheme, _, place = root.partition("://")
        scheme = scheme.lower()
        bucket, _, prefix = place.rstrip("/").partition("/")
        if not bucket or not scheme:
            raise InvalidConfig(
                f"repository root {root!r} names no bucket; write it as {scheme or 'gs'}://bucket/prefix"
            )
        self.scheme, self.bucket = _NAMES.get(scheme, scheme), bucket
        if self.scheme in _WITH_BUCKETS and not _BUCKET.fullmatch(bucket):
            remedy = (
                "name the connection in `storage_conn_id`" if "@" in bucket else f"write it as {scheme}://bucket/prefix"
            )
            raise InvalidConfig(f"repository root {root!r}: {bucket!r} is no bucket's name; {remedy}")
        if any(part in {"", ".", ".."} for part in prefix.split("/")) and prefix:
            raise InvalidConfig(
                f"repository root {root!r} has an empty or relative part; write it as {scheme}://bucket/prefix"
            )
        if not prefix.isprintable():
            raise InvalidConfig(f"repository root {root!r} has characters that cannot be printed; remove them")
        self._prefix = f"{prefix}/" if prefix else ""
        self._open_fs = open_fs
        self._opened: tuple[int, Any] | None = None
        self._place_is_there = False

    @property
    def uri(self) -> str:
        """Where it is, e.g. ``gs://bucket/models``; touches no network."""
        return f"{self.scheme}://{self.bucket}/{self._prefix}".rstrip("/")

    @property
    def fs(self) -> Any:
        """The file system of this process."""
        if self._opened is None or self._opened[0] != os.getpid():
            with in_words("open the store", self.uri):
                self._opened = (os.getpid(), self._open_fs())
        return self._opened[1]

    def find(self, key: str) -> StoredObject | None:
        """Return what is known of an object, or ``None`` if there is none."""
        with in_words(f"look at {key!r}", self.uri):
            return self._sure_of(self._stat(key))

    def get(self, key: str) -> bytes | None:
        """Return an object's content, or ``None`` if there is none."""
        with in_words(f"read {key!r}", self.uri):
            return self._sure_of(self._read(key))

    def get_many(self, keys: Sequence[str]) -> Mapping[str, bytes]:
        """Return the contents of several objects, fetched at once; one that is not there is missing."""
        return {
            key: content
            for key, content in zip(keys, self._at_once(self.get, keys), strict=True)
            if content is not None
        }

    def put(self, key: str, content: bytes, *, within: float | None = None) -> None:
        """Write an object, whatever was there.

        :param within: Seconds after which no further try is begun. Only GCS and S3 keep to it: fsspec has no words for it.
        """
        with in_words(f"write {key!r}", self.uri):
            self._write(key, content, within)

    def put_if_absent(self, key: str, content: bytes) -> bool:
        """Write an object unless there is one; return whether this write, or an earlier try of the same bytes, won.

        A first answer that was lost on the way looks like a name that is taken: the bytes tell who took it.
        """
        for _ in range(3):
            try:
                self.create_object(key, content, sha256=hashlib.sha256(content).hexdigest())
            except FileExistsError:
                there = self.get(key)
                if there is not None:
                    return there == content
            else:
                return True
        raise RepositoryUnavailable(
            f"object {key!r} in {self.uri!r} is made and deleted again and again; try again later"
        )

    def upload(self, uploads: Sequence[Upload], *, progress: Callable[[int], None]) -> Mapping[str, StoredObject]:
        """Store files that are absent, in parallel, large ones in parts; the store checks digests of what it receives.

        What an earlier try has stored whole, or in parts, is not sent again.

        :param progress: Told how many bytes more are stored, from any thread; what was there before counts too. An error it
            raises ends the upload: no further file, nor part of one, is begun.
        :raises VersionExists: if there is an object with other content under a key.
        :raises NotASavedModel: if a file is no longer what its digest says.
        """
        if not uploads:
            return {}
        prefix = os.path.commonprefix([upload.key for upload in uploads])  # noqa: RUF071 - keys are strings to a store
        there = {one.key for one in self.list(prefix)}
        telling, stored = store_uploads.Telling(progress), dict[str, StoredObject]()
        pool = ThreadPoolExecutor(store_uploads.WORKERS, thread_name_prefix="upload")
        try:
            large = [one for one in uploads if one.size > store_uploads.PART_BYTES and one.key not in there]
            whole: dict[str, Future[StoredObject]] = {}
            for upload in uploads:
                send = store_uploads.adopt_told if upload.key in there else store_uploads.send_small
                if upload not in large:
                    whole[upload.key] = pool.submit(send, self, upload, telling=telling)
            for upload in large:
                stored[upload.key] = store_uploads.send_large(self, upload, pool=pool, telling=telling)
            stored |= {key: future.result() for key, future in whole.items()}
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
        if large:
            self.remove_orphans(before=max(one.modified for one in stored.values()) - store_uploads.ORPHAN_SECONDS)
        return stored

    def download(self, key: str, path: Path) -> None:
        """Write an object's content to a new file.

        :raises VersionNotFound: if there is none.
        """
        with in_words(f"fetch {key!r}", self.uri):
            try:
                self._fetch(key, path)
            except BaseException as error:
                path.unlink(missing_ok=True)
                if not isinstance(error, FileNotFoundError):
                    raise
                self._sure_of(None)
                raise VersionNotFound(
                    f"object {key!r} is not in {self.uri!r}; push the version again, or serve another"
                ) from error

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """Yield all objects whose key starts with ``prefix``, in order of their keys.

        The empty objects that consoles make as folders (``a/``) are none of ours and left out.
        """
        with in_words(f"list {prefix!r}", self.uri):
            yield from (one for one in self._list(prefix) if not one.key.endswith("/"))

    def names(self, prefix: str) -> tuple[str, ...]:
        """Return the names directly below ``prefix`` (which ends with ``/`` or is empty), of objects and of prefixes, sorted."""
        with in_words(f"list {prefix!r}", self.uri):
            return tuple(sorted({name for name in self._names(prefix) if name}))

    def delete(self, keys: Sequence[str]) -> None:
        """Delete objects; one that is not there is as good as deleted."""
        with in_words(f"delete {len(keys)} objects", self.uri):
            self._delete(keys)

    def check_suitable(self) -> None:
        """Try whether the store keeps the promises of the log: of two writes if absent, one wins.

        :raises RepositoryUnsuitable: if it does not, with the reason.
        """
        check_suitable(self)

    def create_object(self, key: str, content: bytes, *, sha256: str) -> StoredObject:
        """Store an object with the digest of its content beside it. :raises FileExistsError: if there is one."""
        with in_words(f"write {key!r}", self.uri):
            return self._create(key, content, sha256)

    def parted(self, upload: Upload) -> store_uploads.PartedUpload | None:  # noqa: ARG002 - subclasses use it
        """Begin a large file, or find its beginning; ``None`` as fsspec has no words for parts."""
        return None

    def remove_orphans(self, *, before: float) -> None:
        """Remove parts of uploads that nobody went on with since a moment, seconds since the epoch on the store's clock."""

    def stored_file(self, key: str) -> tuple[StoredObject, str] | None:
        """Return an object with the SHA-256 of its content, or ``None`` if there is none."""
        with in_words(f"look at {key!r}", self.uri):
            found = self._stat(key)
            if found is None:
                return None
            with tempfile.TemporaryDirectory(prefix="model-ops-") as directory:
                self._fetch(key, Path(directory) / "content")
                with (Path(directory) / "content").open("rb") as file:
                    return found, hashlib.file_digest(file, "sha256").hexdigest()

    def path_of(self, key: str) -> str:
        """Return how fsspec names an object."""
        return f"{self.bucket}/{self._prefix}{key}"

    def _stat(self, key: str) -> StoredObject | None:
        self.fs.invalidate_cache()
        try:
            info = self.fs.info(self.path_of(key))
        except FileNotFoundError:
            return None
        return self._object_of(info) if info["type"] == "file" else None

    def _stored(self, key: str) -> StoredObject:
        found = self._stat(key)
        if found is None:
            raise RepositoryUnavailable(f"object {key!r} was written to {self.uri!r} and is not there; try again")
        return found

    def _read(self, key: str) -> bytes | None:
        try:
            content: bytes = self.fs.cat_file(self.path_of(key))
        except FileNotFoundError:
            return None
        return content

    def _write(self, key: str, content: bytes, within: float | None) -> None:  # noqa: ARG002 - subclasses use it
        self.fs.pipe_file(self.path_of(key), content)

    def _create(self, key: str, content: bytes, sha256: str) -> StoredObject:  # noqa: ARG002 - subclasses keep the digest
        # not with put_file: in many file systems only pipe_file refuses a name in one step
        self.fs.pipe_file(self.path_of(key), content, mode="create")
        return self._stored(key)

    def _fetch(self, key: str, path: Path) -> None:
        self.fs.get_file(self.path_of(key), str(path))

    def _list(self, prefix: str) -> Iterable[StoredObject]:
        self.fs.invalidate_cache()
        found = self.fs.find(self.path_of(prefix).rpartition("/")[0], detail=True)
        objects = (self._object_of(info) for info in found.values() if info["type"] == "file")
        return sorted((one for one in objects if one.key.startswith(prefix)), key=lambda one: one.key)

    def _names(self, prefix: str) -> Iterable[str]:
        self.fs.invalidate_cache()
        try:
            found = self.fs.ls(self.path_of(prefix).rstrip("/"), detail=True)
        except FileNotFoundError:
            return ()
        return [
            PurePosixPath(info["name"]).name for info in found if f"{info['name'].strip('/')}/" != self.path_of(prefix)
        ]

    def _delete(self, keys: Sequence[str]) -> None:
        def delete(key: str) -> None:
            try:
                self.fs.rm_file(self.path_of(key))
            except FileNotFoundError:
                return

        self._at_once(delete, keys)

    def _object_of(self, info: Mapping[str, Any]) -> StoredObject:
        modified = next(
            (info[name] for name in ("mtime", "last_modified", "LastModified", "created") if info.get(name)), 0.0
        )
        seconds = modified.timestamp() if isinstance(modified, datetime) else float(modified)
        token = next((str(info[name]) for name in ("etag", "ETag", "generation") if info.get(name)), "")
        return StoredObject(
            key=info["name"].lstrip("/").removeprefix(f"{self.bucket}/{self._prefix}"),
            size=int(info["size"]),
            token=token or f"{seconds}-{info['size']}",
            modified=seconds,
        )

    def _sure_of(self, answer: _Answer) -> _Answer:
        """Return an answer; before the first "there is none" counts, see that the bucket itself is there."""
        if answer is None and not self._place_is_there:
            self._look_at_place()
        self._place_is_there = True
        return answer

    def _look_at_place(self) -> None:
        """:raises FileNotFoundError: if there is no such bucket."""
        self.fs.invalidate_cache()
        self.fs.ls(self.bucket)

    def _at_once(self, ask: Callable[[str], _Answer], keys: Sequence[str]) -> Sequence[_Answer]:
        """Ask for several keys in parallel; answers in the order of the keys."""
        if len(keys) < 2 or threading.current_thread().name.startswith("store"):
            return [ask(key) for key in keys]
        self.fs  # noqa: B018 - opened here: a connection is not looked up in a thread that Airflow does not know
        with ThreadPoolExecutor(min(len(keys), 2 * store_uploads.WORKERS), thread_name_prefix="store") as pool:
            return list(pool.map(ask, keys))
