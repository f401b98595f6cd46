"""How files get into an object store: small ones whole, large ones in parts, many at once; what is there is not sent again.

A large file is read once, in order: its digest is taken from the very bytes that are sent, so a file that changes while it
is pushed is noticed before it becomes visible. Parts travel in parallel; the store checks a digest of each, the one that its
own client takes: an MD5 costs four times a CRC and is computed only of parts that an earlier try has stored.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from threading import BoundedSemaphore
from typing import Protocol

from airflow_model_ops.adapters.repository.object_store import StoredObject, Upload
from airflow_model_ops.core.errors import NotASavedModel, RepositoryUnavailable, VersionExists

PART_BYTES = 16 << 20
"""Size of a part, and the largest file that is sent whole: a kill costs at most :data:`WORKERS` parts."""
WORKERS = 6
"""Requests under way at once. At most this many parts are in memory."""
ORPHAN_SECONDS = 86_400.0
"""A part that is older belongs to an upload that nobody goes on with."""
MOST_PARTS = 1000
"""Far below S3's 10,000 parts and two levels of GCS' 32 components a composition."""
_TRIES = 3
"""Rivals with the same file take parts away only by finishing it, so that one more look is enough."""


def part_bytes_of(size: int) -> int:
    """Return how large the parts of a file are: the same for every try, or parts could not be found again."""
    return max(PART_BYTES, -(-size // MOST_PARTS))


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredPart:
    """A part that the store has.

    :param md5: Of its content in hex; empty if the store does not tell.
    """

    size: int
    md5: str


class PartedUpload(Protocol):
    """One large file on its way: its parts are there, the file is not."""

    @property
    def part_bytes(self) -> int:
        """Size of all parts but the last."""
        ...

    def stored(self) -> Mapping[int, StoredPart]:
        """Return the parts that an earlier try has stored, by number from 1."""
        ...

    def send(self, number: int, content: bytes) -> None:
        """Store a part; the store checks its digest."""
        ...

    def finish(self, count: int) -> StoredObject | None:
        """Make the file of its parts; ``None`` if the parts are gone, as when a rival has just finished the same file.

        :raises FileExistsError: if there is an object under its key.
        """
        ...

    def drop(self) -> None:
        """Remove the parts."""
        ...


class Telling:
    """The caller's progress, told from any thread. The first error anywhere ends the upload: nothing more is begun.

    :param progress: Told how many bytes more are stored; it may raise to end the upload.
    """

    def __init__(self, progress: Callable[[int], None]) -> None:
        self._progress = progress
        self._error: BaseException | None = None

    @contextmanager
    def one_more(self, size: int) -> Iterator[None]:
        """Store some bytes more within this context, and tell of them at its end."""
        if self._error is not None:
            raise self._error
        try:
            yield
            self._progress(size)
        except BaseException as error:
            self._error = self._error or error
            raise


class UploadingStore(Protocol):
    """What an upload needs of a store."""

    def create_object(self, key: str, content: bytes, *, sha256: str) -> StoredObject:
        """Store a small file. :raises FileExistsError: if there is an object under its key."""
        ...

    def parted(self, upload: Upload) -> PartedUpload | None:
        """Begin a large file, or find its beginning; ``None`` if the store knows no parts."""
        ...

    def stored_file(self, key: str) -> tuple[StoredObject, str] | None:
        """Return an object with the SHA-256 of its content, or ``None`` if there is none."""
        ...


def send_small(store: UploadingStore, upload: Upload, *, telling: Telling) -> StoredObject:
    """Store a file in one request, or adopt the same one; a large one too where the store knows no parts.

    :raises NotASavedModel: if the file is no longer what was hashed.
    :raises VersionExists: if there is an object with other content under its key.
    """
    with telling.one_more(upload.size):
        with _still_there(upload):
            content = upload.path.read_bytes()
        if hashlib.sha256(content).hexdigest() != upload.sha256:
            raise _changed(upload)
        try:
            return store.create_object(upload.key, content, sha256=upload.sha256)
        except FileExistsError:
            return adopt(store, upload)


def adopt_told(store: UploadingStore, upload: Upload, *, telling: Telling) -> StoredObject:
    """Return the object that is there already and tell of it; errors as :func:`adopt`."""
    with telling.one_more(upload.size):
        return adopt(store, upload)


def send_large(store: UploadingStore, upload: Upload, *, pool: ThreadPoolExecutor, telling: Telling) -> StoredObject:
    """Store a file in parts, or adopt the same one. Errors as :func:`send_small`.

    :raises RepositoryUnavailable: if its parts vanish again and again.
    """
    told: set[int] = set()  # parts: a second try tells nothing twice
    for _ in range(_TRIES):
        parts = store.parted(upload)
        if parts is None:
            return send_small(store, upload, telling=telling)
        count = _send_parts(parts, upload, pool=pool, telling=telling, told=told)
        try:
            stored = parts.finish(count)
        except FileExistsError:  # under the key, or a rival has just sent a part again
            stored = None
        if stored is not None:
            return stored
        if store.stored_file(upload.key) is not None:
            parts.drop()
            return adopt(store, upload)
    raise RepositoryUnavailable(
        f"the parts of {upload.key!r} vanished from the store before the file was made of them; push again, and see that no "
        "life-cycle rule of the bucket removes fresh objects or uploads"
    )


def adopt(store: UploadingStore, upload: Upload) -> StoredObject:
    """Return the object that is there already.

    :raises VersionExists: if its content is another.
    :raises RepositoryUnavailable: if it has just been deleted.
    """
    found = store.stored_file(upload.key)
    if found is None:
        raise RepositoryUnavailable(f"object {upload.key!r} was deleted while it was looked at; try again")
    stored, sha256 = found
    if sha256 != upload.sha256:
        raise VersionExists(
            f"object {upload.key!r} is there with other content (SHA-256 {sha256[:12]}..., not {upload.sha256[:12]}...); push "
            "this model under another version"
        )
    return stored


def _send_parts(
    parts: PartedUpload, upload: Upload, *, pool: ThreadPoolExecutor, telling: Telling, told: set[int]
) -> int:
    stored, digest = parts.stored(), hashlib.sha256()
    slots, under_way = BoundedSemaphore(WORKERS), list[Future[None]]()

    def send(number: int, content: bytes) -> None:
        try:
            with telling.one_more(0 if number in told else len(content)):
                if number not in stored or stored[number] != _part_of(content):
                    parts.send(number, content)
                told.add(number)
        finally:
            slots.release()

    with _still_there(upload):
        source = upload.path.open("rb")
    with source as file:
        while content := file.read(parts.part_bytes):
            digest.update(content)
            slots.acquire()
            under_way.append(pool.submit(send, len(under_way) + 1, content))
            if any(future.done() and future.exception() for future in under_way[-2 * WORKERS :]):
                break
    for future in under_way:
        future.result()
    if digest.hexdigest() != upload.sha256:
        parts.drop()
        raise _changed(upload)
    return len(under_way)


def _part_of(content: bytes) -> StoredPart:
    return StoredPart(size=len(content), md5=hashlib.md5(content, usedforsecurity=False).hexdigest())


@contextmanager
def _still_there(upload: Upload) -> Iterator[None]:
    """:raises NotASavedModel: if the file was removed since it was hashed."""
    try:
        yield
    except FileNotFoundError as error:
        raise _changed(upload) from error


def _changed(upload: Upload) -> NotASavedModel:
    return NotASavedModel(
        f"file {str(upload.path)!r} changed while it was uploaded; push again once nothing writes to the export any more"
    )
