"""Google Cloud Storage as an :class:`ObjectStore`, over gcsfs' session and credentials.

A conditional write is ``ifGenerationMatch=0``. The store is told the CRC32C of every content and refuses what arrives
otherwise; it is the digest that Google's own client takes.
Large files are uploaded as objects of their own under ``_parts/`` and composed: parts go in parallel, and those of a killed
upload are found again. Source: https://cloud.google.com/storage/docs/json_api/v1/objects (insert, compose, list).
"""

from __future__ import annotations

import base64
import json
import os
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from airflow_model_ops.adapters.repository.fsspec_store import FsspecStore
from airflow_model_ops.adapters.repository.object_store import StoredObject, Upload
from airflow_model_ops.adapters.repository.store_faults import in_words
from airflow_model_ops.adapters.repository.store_requests import SECONDS, ask, seconds_for
from airflow_model_ops.adapters.repository.store_uploads import PART_BYTES, WORKERS, StoredPart, part_bytes_of
from airflow_model_ops.core.errors import RepositoryUnavailable

PARTS = "_parts/"
_MOST_COMPONENTS = 32
"""Of one composition. Source: https://cloud.google.com/storage/quotas#objects"""
_PAGE = 1000


class GcsStore(FsspecStore):
    """A bucket of Google Cloud Storage, or a prefix of one."""

    def parted(self, upload: Upload) -> GcsParts:
        """Begin a large file, or find its beginning."""
        return GcsParts(self, upload)

    def stored_file(self, key: str) -> tuple[StoredObject, str] | None:
        """Return an object with the SHA-256 of its content, or ``None``: told by its metadata, else by reading it."""
        with in_words(f"look at {key!r}", self.uri):
            resource = self._resource(key)
        if resource is None:
            return None
        sha256 = resource.get("metadata", {}).get("sha256")
        return (self._object(resource), sha256) if sha256 else super().stored_file(key)

    def remove_orphans(self, *, before: float) -> None:
        """Remove parts of uploads that nobody went on with since a moment, seconds since the epoch on the store's clock."""
        self.delete([part.key for part in self.list(PARTS) if part.modified < before])

    def call(self, method: str, path: str, *names: str, seconds: float = SECONDS, **options: Any) -> Any:
        """Send a request of the JSON API; every ``{}`` of the path stands for a name."""
        fs = self.fs
        return ask(fs, lambda: fs._call(method, path, *names, **options), seconds=seconds)

    def insert(
        self,
        key: str,
        content: bytes,
        *,
        sha256: str,
        absent: bool,
        crc32c: str | None = None,
        within: float | None = None,
    ) -> StoredObject:
        """Store an object whose digest the store checks.

        :param crc32c: Of the content, in the API's words; computed if it is not given.
        :param absent: Whether to refuse a key that is taken.
        :param within: Seconds after which the request is ended; ``None``: by the size.
        :raises FileExistsError: if it is taken.
        """
        told = {"name": self.name_of(key), "crc32c": crc32c or _crc32c(content)}
        boundary = secrets.token_hex(16)  # gcsfs' own is fixed, and a model may contain it
        head = json.dumps(told | ({"metadata": {"sha256": sha256}} if sha256 else {}))
        body = b"".join(
            (
                f"--{boundary}\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n{head}\r\n".encode(),
                f"--{boundary}\r\nContent-Type: application/octet-stream\r\n\r\n".encode(),
                content,
                f"\r\n--{boundary}--".encode(),
            )
        )
        resource = self.call(
            "POST",
            f"{self.fs._location}/upload/storage/v1/b/{{}}/o",
            self.bucket,
            uploadType="multipart",
            headers={"Content-Type": f'multipart/related; boundary="{boundary}"'},
            data=body,
            json_out=True,
            seconds=seconds_for(len(content)) if within is None else within,
            **({"ifGenerationMatch": "0"} if absent else {}),
        )
        if resource.get("crc32c", told["crc32c"]) != told["crc32c"]:
            self._delete([key])
            raise RepositoryUnavailable(
                f"object {key!r} arrived at {self.uri!r} with other bytes than were sent; try again"
            )
        return self._object(resource)

    def compose(
        self, key: str, sources: Sequence[Mapping[str, Any]], *, sha256: str, absent: bool
    ) -> Mapping[str, Any]:
        """Make one object of at most 32, each in the very generation that was stored."""
        parts = [
            {"name": source["name"], "objectPreconditions": {"ifGenerationMatch": source["generation"]}}
            for source in sources
        ]
        content_type = {"contentType": "application/octet-stream"}
        resource: Mapping[str, Any] = self.call(
            "POST",
            "b/{}/o/{}/compose",
            self.bucket,
            self.name_of(key),
            json={"sourceObjects": parts, "destination": content_type | {"metadata": {"sha256": sha256}}},
            json_out=True,
            seconds=10 * SECONDS,
            **({"ifGenerationMatch": "0"} if absent else {}),
        )
        return resource

    def resources(self, prefix: str) -> Iterator[Mapping[str, Any]]:
        """Yield what the store says of all objects whose key starts with a prefix, in order."""
        for page in self._pages(prefix):
            yield from page.get("items", ())

    def name_of(self, key: str) -> str:
        """Return the name of an object in its bucket."""
        return f"{self._prefix}{key}"

    def _pages(self, prefix: str, **options: Any) -> Iterator[Mapping[str, Any]]:
        token = None
        while True:
            page = self.call(
                "GET",
                "b/{}/o",
                self.bucket,
                prefix=self.name_of(prefix) or None,
                pageToken=token,
                maxResults=_PAGE,
                json_out=True,
                **options,
            )
            yield page
            token = page.get("nextPageToken")
            if not token:
                return

    def _resource(self, key: str) -> Mapping[str, Any] | None:
        try:
            found: Mapping[str, Any] = self.call("GET", "b/{}/o/{}", self.bucket, self.name_of(key), json_out=True)
        except FileNotFoundError:
            return None
        return found

    def _stat(self, key: str) -> StoredObject | None:
        resource = self._resource(key)
        return self._object(resource) if resource is not None else None

    def _read(self, key: str) -> bytes | None:
        try:
            _, content = self.call(
                "GET", "b/{}/o/{}", self.bucket, self.name_of(key), alt="media", seconds=10 * SECONDS
            )
        except FileNotFoundError:
            return None
        return bytes(content)

    def _fetch(self, key: str, path: Path) -> None:
        # not with gcsfs' own get_file: it asks another API (storage control, over gRPC) for the kind of the bucket first,
        # for a minute where a private endpoint or an emulator has none
        resource = self.call("GET", "b/{}/o/{}", self.bucket, self.name_of(key), json_out=True)

        def fetch(first: int) -> None:
            _, content = self.call(
                "GET",
                "b/{}/o/{}",
                self.bucket,
                self.name_of(key),
                alt="media",
                generation=resource["generation"],
                headers={"Range": f"bytes={first}-{first + PART_BYTES - 1}"},
                seconds=seconds_for(PART_BYTES),
            )
            os.pwrite(file.fileno(), content, first)

        parts = range(0, int(resource["size"]), PART_BYTES)
        with path.open("wb") as file:
            if len(parts) > 1:
                with ThreadPoolExecutor(WORKERS, thread_name_prefix="fetch") as pool:
                    list(pool.map(fetch, parts))
            elif parts:  # files that small are fetched many at once: each without threads of its own
                fetch(0)

    def _write(self, key: str, content: bytes, within: float | None) -> None:
        self.insert(key, content, sha256="", absent=False, within=within)

    def _create(self, key: str, content: bytes, sha256: str) -> StoredObject:
        return self.insert(key, content, sha256=sha256, absent=True)

    def _list(self, prefix: str) -> Iterable[StoredObject]:
        return map(self._object, self.resources(prefix))

    def _names(self, prefix: str) -> Iterable[str]:
        whole = self.name_of(prefix)
        for page in self._pages(prefix, delimiter="/"):
            yield from (name.removeprefix(whole).rstrip("/") for name in page.get("prefixes", ()))
            yield from (item["name"].removeprefix(whole) for item in page.get("items", ()))

    def _delete(self, keys: Sequence[str]) -> None:
        def delete(key: str) -> None:
            with suppress(FileNotFoundError):
                self.call("DELETE", "b/{}/o/{}", self.bucket, self.name_of(key))

        self._at_once(delete, keys)

    def _look_at_place(self) -> None:
        self.call("GET", "b/{}/o", self.bucket, maxResults=1, json_out=True)

    def _object(self, resource: Mapping[str, Any]) -> StoredObject:
        return StoredObject(
            key=resource["name"].removeprefix(self._prefix),
            size=int(resource.get("size", 0)),
            token=str(resource["generation"]),
            modified=datetime.fromisoformat(resource.get("updated") or resource["timeCreated"]).timestamp(),
        )


class GcsParts:
    """A large file on its way to GCS: objects named after its digest, later composed."""

    def __init__(self, store: GcsStore, upload: Upload) -> None:
        self._store, self._upload = store, upload
        self._place = f"{PARTS}{upload.sha256}-{upload.size}/"

    @property
    def part_bytes(self) -> int:
        """Size of all parts but the last."""
        return part_bytes_of(self._upload.size)

    def stored(self) -> Mapping[int, StoredPart]:
        """Return the parts that an earlier try has stored, by number from 1."""
        with in_words(f"list parts of {self._upload.key!r}", self._store.uri):
            return {
                int(number): StoredPart(
                    size=int(resource["size"]), md5=base64.b64decode(resource.get("md5Hash", "")).hex()
                )
                for resource in self._store.resources(self._place)
                if (number := resource["name"].rpartition("/")[2]).isdecimal()
            }

    def send(self, number: int, content: bytes) -> None:
        """Store a part; the store checks its digest."""
        with in_words(f"write part {number} of {self._upload.key!r}", self._store.uri):
            self._store.insert(f"{self._place}{number:05d}", content, sha256="", absent=False)

    def finish(self, count: int) -> StoredObject | None:
        """Compose the file; ``None`` if parts are gone. :raises FileExistsError: if there is an object under its key."""
        store, upload = self._store, self._upload
        with in_words(f"compose {upload.key!r}", store.uri):
            parts = [part for part in store.resources(self._place) if part["name"].rpartition("/")[2].isdecimal()]
            if len(parts) != count or sum(int(part["size"]) for part in parts) != upload.size:
                return None
            level, made = 0, list(parts)
            try:
                while len(parts) > _MOST_COMPONENTS:
                    level += 1
                    parts = [
                        store.compose(
                            f"{self._place}group-{level}-{first:05d}",
                            parts[first : first + _MOST_COMPONENTS],
                            sha256="",
                            absent=False,
                        )
                        for first in range(0, len(parts), _MOST_COMPONENTS)
                    ]
                    made += parts
                whole = store.compose(upload.key, parts, sha256=upload.sha256, absent=True)
            except FileNotFoundError:
                return None
        store.delete([store._object(part).key for part in made])
        return store._object(whole)

    def drop(self) -> None:
        """Remove the parts."""
        self._store.delete([one.key for one in self._store.list(self._place)])


def _crc32c(content: bytes) -> str:
    import google_crc32c  # a dependency of gcsfs' own

    checksum: int = google_crc32c.value(content)
    return base64.b64encode(checksum.to_bytes(4, "big")).decode()
