"""A bucket in memory that keeps the promises of :class:`ObjectStore`, and breaks down where a test wants it to."""

from __future__ import annotations

import hashlib
import itertools
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from airflow_model_ops.adapters.repository.object_store import StoredObject, Upload
from airflow_model_ops.core.errors import NotASavedModel, VersionExists, VersionNotFound

CHANGES = ("put", "put_if_absent", "upload", "delete")
"""The calls that change the bucket; an upload of several files is one call for each, a deletion of several objects too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Object:
    content: bytes
    token: str
    modified: float


class MemoryStore:
    """A bucket.

    :param before: Told of each call and its key before anything happens; what it raises, the call raises.
    :param after: The same once the call has had its effect: its answer is lost.
    :param clock: The store's own.
    """

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self.before: Callable[[str, str], None] = _nothing
        self.after: Callable[[str, str], None] = _nothing
        self.clock = clock
        self.calls: list[tuple[str, str]] = []
        self._objects: dict[str, _Object] = {}
        self._tokens = itertools.count(1)
        self._lock = threading.Lock()

    def view(self) -> MemoryStore:
        """The same bucket as another process sees it, with faults of its own."""
        view = MemoryStore(clock=self.clock)
        view._objects, view._tokens, view._lock = self._objects, self._tokens, self._lock
        return view

    @property
    def uri(self) -> str:
        return "memory://bucket/models"

    def find(self, key: str) -> StoredObject | None:
        self._begin("find", key)
        with self._lock:
            return self._stored(key)

    def get(self, key: str) -> bytes | None:
        self._begin("get", key)
        with self._lock:
            found = self._objects.get(key)
        return found.content if found else None

    def get_many(self, keys: Sequence[str]) -> Mapping[str, bytes]:
        self._begin("get_many", ",".join(keys))
        contents = {}
        for key in keys:  # one by one, as a bucket would: others may write between
            with self._lock:
                found = self._objects.get(key)
            if found:
                contents[key] = found.content
        return contents

    def put(self, key: str, content: bytes, *, within: float | None = None) -> None:
        del within  # it answers at once
        self._begin("put", key)
        with self._lock:
            self._write(key, content)
        self.after("put", key)

    def put_if_absent(self, key: str, content: bytes) -> bool:
        self._begin("put_if_absent", key)
        with self._lock:
            if key not in self._objects:
                self._write(key, content)
            won = self._objects[key].content == content
        self.after("put_if_absent", key)
        return won

    def upload(self, uploads: Sequence[Upload], *, progress: Callable[[int], None]) -> Mapping[str, StoredObject]:
        stored: dict[str, StoredObject] = {}
        for upload in uploads:
            self._begin("upload", upload.key)
            content = upload.path.read_bytes()
            if (len(content), hashlib.sha256(content).hexdigest()) != (upload.size, upload.sha256):
                raise NotASavedModel(f"file {str(upload.path)!r} changed while it was uploaded; push a finished export")
            with self._lock:
                if upload.key not in self._objects:
                    self._write(upload.key, content)
                elif self._objects[upload.key].content != content:
                    raise VersionExists(f"{self.uri}/{upload.key} exists with other content; choose a new name")
                found = self._stored(upload.key)
            assert found is not None
            stored[upload.key] = found
            self.after("upload", upload.key)
            progress(upload.size)
        return stored

    def download(self, key: str, path: Path) -> None:
        content = self.get(key)
        if content is None:
            raise VersionNotFound(f"{self.uri}/{key} does not exist")
        path.write_bytes(content)

    def list(self, prefix: str) -> Iterator[StoredObject]:
        self._begin("list", prefix)
        with self._lock:
            found = [
                stored for key in sorted(self._objects) if key.startswith(prefix) and (stored := self._stored(key))
            ]
        yield from found

    def names(self, prefix: str) -> tuple[str, ...]:
        self._begin("names", prefix)
        with self._lock:
            below = [key.removeprefix(prefix) for key in self._objects if key.startswith(prefix)]
        return tuple(sorted({name.partition("/")[0] for name in below}))

    def delete(self, keys: Sequence[str]) -> None:
        for key in keys:
            self._begin("delete", key)
            with self._lock:
                self._objects.pop(key, None)
            self.after("delete", key)

    def check_suitable(self) -> None:
        self._begin("check_suitable", "")

    def stored_keys(self, prefix: str = "") -> list[str]:
        """What is there, asked by the test itself."""
        with self._lock:
            return sorted(key for key in self._objects if key.startswith(prefix))

    def content(self, key: str) -> bytes:
        """What an object holds, asked by the test itself."""
        with self._lock:
            return self._objects[key].content

    def overwrite(self, key: str, content: bytes) -> None:
        """What somebody else writes there."""
        with self._lock:
            self._write(key, content)

    def remove(self, key: str) -> None:
        """What somebody else deletes."""
        with self._lock:
            del self._objects[key]

    def _begin(self, call: str, key: str) -> None:
        self.calls.append((call, key))
        self.before(call, key)

    def _write(self, key: str, content: bytes) -> None:
        self._objects[key] = _Object(content=bytes(content), token=f"t{next(self._tokens)}", modified=self.clock())

    def _stored(self, key: str) -> StoredObject | None:
        found = self._objects.get(key)
        return found and StoredObject(key=key, size=len(found.content), token=found.token, modified=found.modified)


def _nothing(call: str, key: str) -> None:
    del call, key
