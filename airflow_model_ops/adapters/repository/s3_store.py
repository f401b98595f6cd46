"""Amazon S3, and servers of its API, as an :class:`ObjectStore`, over s3fs' client and credentials.

A conditional write is ``If-None-Match: *``. The store is told a digest of every content and refuses what arrives otherwise.
Large files are multipart uploads; their ids are kept under ``_parts/``, so that a killed upload is found and gone on with.
Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html
"""

from __future__ import annotations

import base64
import hashlib
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from email.utils import parsedate_to_datetime
from typing import Any

from airflow_model_ops.adapters.repository.fsspec_store import FsspecStore
from airflow_model_ops.adapters.repository.object_store import StoredObject, Upload
from airflow_model_ops.adapters.repository.store_faults import code_of, in_words
from airflow_model_ops.adapters.repository.store_requests import SECONDS, ask, seconds_for
from airflow_model_ops.adapters.repository.store_uploads import StoredPart, part_bytes_of

PARTS = "_parts/"
_PAGE = 1000
_MOST_DELETED = 1000
"""Objects in one request. Source: S3 API reference, DeleteObjects."""
_CONFLICTS = 5
"""How often a write is repeated that met another one of the same key (409): S3 asks for it."""


class S3Store(FsspecStore):
    """A bucket of S3, or a prefix of one."""

    def __init__(self, open_fs: Callable[[], Any], root: str) -> None:
        super().__init__(open_fs, root)
        self.checks_crc = True
        """Whether a CRC32 is all that it has to be told of a part; false once it did not say that it checked one."""

    def parted(self, upload: Upload) -> S3Parts:
        """Begin a large file, or find its beginning."""
        return S3Parts(self, upload)

    def stored_file(self, key: str) -> tuple[StoredObject, str] | None:
        """Return an object with the SHA-256 of its content, or ``None``: told by its metadata, else by reading it."""
        with in_words(f"look at {key!r}", self.uri):
            head = self._head(key)
        if head is None:
            return None
        sha256 = head.get("Metadata", {}).get("sha256")
        return (self._of_head(key, head), sha256) if sha256 else super().stored_file(key)

    def remove_orphans(self, *, before: float) -> None:
        """End uploads that nobody went on with since a moment, seconds since the epoch on the store's clock."""
        records = {record.key: record.modified for record in self.list(PARTS)}
        begun = {
            upload_id: records[key]
            for key, content in self.get_many(list(records)).items()
            if (upload_id := _upload_id(content))
        }
        with in_words("end old uploads", self.uri):
            for page in self.pages("list_multipart_uploads", Prefix=self._prefix):
                for one in page.get("Uploads", ()):
                    if begun.get(one["UploadId"], one["Initiated"].timestamp()) < before:
                        with suppress(FileNotFoundError):
                            self.call("abort_multipart_upload", Key=one["Key"], UploadId=one["UploadId"])
        self.delete([key for key, modified in records.items() if modified < before])

    def call(self, method: str, *, seconds: float = SECONDS, **options: Any) -> Any:
        """Send a request of the S3 API about the bucket.

        :raises FileExistsError: if a conditional write found the key taken, whatever words the server has for it.
        """
        fs = self.fs
        for pause in range(_CONFLICTS + 1):
            try:
                return ask(
                    fs,
                    lambda: fs._call_s3(method, Bucket=self.bucket, **options),
                    seconds=seconds,
                )
            except OSError as error:
                code = code_of(error)
                if code in {"PreconditionFailed", "412"}:
                    raise FileExistsError(options.get("Key", "")) from error
                if code not in {"ConditionalRequestConflict", "409"} or pause == _CONFLICTS:
                    raise
                time.sleep(0.05 * 2**pause)
        raise AssertionError("the last try returns or raises")

    def pages(self, method: str, **options: Any) -> Iterator[Mapping[str, Any]]:
        """Yield all pages of a listing, each method with its own words for where the next one begins."""
        told = {
            "list_objects_v2": {"ContinuationToken": "NextContinuationToken"},
            "list_multipart_uploads": {"KeyMarker": "NextKeyMarker", "UploadIdMarker": "NextUploadIdMarker"},
            "list_parts": {"PartNumberMarker": "NextPartNumberMarker"},
        }[method]
        marker: dict[str, Any] = {}
        while True:
            page = self.call(method, **options, **marker)
            yield page
            if not page.get("IsTruncated"):
                return
            marker = {ask_with: page[given] for ask_with, given in told.items()}

    def name_of(self, key: str) -> str:
        """Return the name of an object in its bucket."""
        return f"{self._prefix}{key}"

    def _head(self, key: str) -> Mapping[str, Any] | None:
        try:
            head: Mapping[str, Any] = self.call("head_object", Key=self.name_of(key))
        except FileNotFoundError:
            return None
        return head

    def _stat(self, key: str) -> StoredObject | None:
        head = self._head(key)
        return self._of_head(key, head) if head is not None else None

    def _read(self, key: str) -> bytes | None:
        fs = self.fs

        async def read() -> bytes:
            answer = await fs._call_s3("get_object", Bucket=self.bucket, Key=self.name_of(key))
            async with answer["Body"] as body:
                return bytes(await body.read())

        try:
            content: bytes = ask(fs, read, seconds=10 * SECONDS)
        except FileNotFoundError as error:
            if code_of(error) == "NoSuchBucket":
                raise
            return None
        return content

    def _write(self, key: str, content: bytes, within: float | None) -> None:
        self._put(key, content, within=within)

    def _create(self, key: str, content: bytes, sha256: str) -> StoredObject:
        metadata: dict[str, Any] = {"Metadata": {"sha256": sha256}} if sha256 else {}
        return self._put(key, content, IfNoneMatch="*", **metadata)

    def _put(self, key: str, content: bytes, *, within: float | None = None, **options: Any) -> StoredObject:
        answer = self.call(
            "put_object",
            Key=self.name_of(key),
            Body=content,
            ContentMD5=_md5(content),
            seconds=seconds_for(len(content)) if within is None else within,
            **options,
        )
        return self.written(key, len(content), answer)

    def written(self, key: str, size: int, answer: Mapping[str, Any]) -> StoredObject:
        """Return an object from the answer to the request that made it, whose date is the store's clock."""
        date = answer["ResponseMetadata"]["HTTPHeaders"].get("date")
        modified = parsedate_to_datetime(date).timestamp() if date else time.time()
        return StoredObject(key=key, size=size, token=_token(answer["ETag"]), modified=modified)

    def _list(self, prefix: str) -> Iterable[StoredObject]:
        for page in self.pages("list_objects_v2", Prefix=self.name_of(prefix), MaxKeys=_PAGE):
            for one in page.get("Contents", ()):
                yield StoredObject(
                    key=one["Key"].removeprefix(self._prefix),
                    size=one["Size"],
                    token=_token(one["ETag"]),
                    modified=one["LastModified"].timestamp(),
                )

    def _names(self, prefix: str) -> Iterable[str]:
        whole = self.name_of(prefix)
        for page in self.pages("list_objects_v2", Prefix=whole, Delimiter="/", MaxKeys=_PAGE):
            yield from (one["Prefix"].removeprefix(whole).rstrip("/") for one in page.get("CommonPrefixes", ()))
            yield from (one["Key"].removeprefix(whole) for one in page.get("Contents", ()))

    def _delete(self, keys: Sequence[str]) -> None:
        for first in range(0, len(keys), _MOST_DELETED):
            objects = [{"Key": self.name_of(key)} for key in keys[first : first + _MOST_DELETED]]
            answer = self.call("delete_objects", Delete={"Objects": objects, "Quiet": True})
            if refused := [one for one in answer.get("Errors", ()) if one.get("Code") != "NoSuchKey"]:
                raise PermissionError(
                    f"{refused[0].get('Code')}: {refused[0].get('Message')} ({refused[0].get('Key')})"
                )

    def _look_at_place(self) -> None:
        self.call("list_objects_v2", MaxKeys=1)

    def _of_head(self, key: str, head: Mapping[str, Any]) -> StoredObject:
        return StoredObject(
            key=key, size=head["ContentLength"], token=_token(head["ETag"]), modified=head["LastModified"].timestamp()
        )


class S3Parts:
    """A large file on its way to S3: a multipart upload whose id is kept in an object named after the file's digest.

    S3 does not tell which content an unfinished upload is of; the record does, so that no other content ends under its digest.
    """

    def __init__(self, store: S3Store, upload: Upload) -> None:
        self._store, self._upload = store, upload
        place = hashlib.sha256(upload.key.encode()).hexdigest()[:32]
        self._record = f"{PARTS}{upload.sha256}-{place}.json"
        self._is_new = False
        self._id = self._find() or self._begin()

    @property
    def part_bytes(self) -> int:
        """Size of all parts but the last."""
        return part_bytes_of(self._upload.size)

    def stored(self) -> Mapping[int, StoredPart]:
        """Return the parts that an earlier try has stored, by number from 1; none if a rival has just ended the upload."""
        if self._is_new:
            return {}
        with in_words(f"list parts of {self._upload.key!r}", self._store.uri), suppress(FileNotFoundError):
            return {
                number: StoredPart(size=part["Size"], md5=_token(part["ETag"]))
                for number, part in self._parts().items()
            }
        return {}

    def send(self, number: int, content: bytes) -> None:
        """Store a part; the store checks its digest.

        boto's client adds a CRC32, and S3 repeats the one that it checked. A server that does not know it, or a client that
        is set up not to add it (``request_checksum_calculation``), shows by the answer: then the part is sent with its MD5.
        """
        self._is_new = False
        with in_words(f"write part {number} of {self._upload.key!r}", self._store.uri):
            try:
                if self._store.checks_crc:
                    self._store.checks_crc = "ChecksumCRC32" in self._send(number, content)
                if not self._store.checks_crc:
                    self._send(number, content, ContentMD5=_md5(content))
            except OSError:
                # an upload that a rival has just ended is noticed by `finish`; servers have several words for it
                if self._is_there():
                    raise

    def _send(self, number: int, content: bytes, **options: Any) -> Mapping[str, Any]:
        answer: Mapping[str, Any] = self._call(
            "upload_part", PartNumber=number, Body=content, seconds=seconds_for(len(content)), **options
        )
        return answer

    def _is_there(self) -> bool:
        try:
            self._parts()
        except FileNotFoundError:
            return False
        return True

    def finish(self, count: int) -> StoredObject | None:
        """Complete the upload; ``None`` if it is gone. :raises FileExistsError: if there is an object under its key."""
        store, upload = self._store, self._upload
        with in_words(f"complete {upload.key!r}", store.uri):
            try:
                parts = self._parts()
                if sorted(parts) != list(range(1, count + 1)):
                    store.delete([self._record])
                    return None
                listed = [{"PartNumber": number, "ETag": part["ETag"]} for number, part in sorted(parts.items())]
                answer = self._call(
                    "complete_multipart_upload",
                    MultipartUpload={"Parts": listed},
                    IfNoneMatch="*",
                    seconds=10 * SECONDS,
                )
            except FileNotFoundError:
                store.delete([self._record])
                return None
            store.delete([self._record])
            return store.written(upload.key, upload.size, answer)

    def drop(self) -> None:
        """Abort the upload; its parts go with it."""
        with in_words(f"abort the upload of {self._upload.key!r}", self._store.uri):
            with suppress(FileNotFoundError):
                self._call("abort_multipart_upload")
            self._store.delete([self._record])

    def _find(self) -> str | None:
        content = self._store.get(self._record)
        if content is None:
            return None
        self._id = _upload_id(content)
        with in_words(f"list parts of {self._upload.key!r}", self._store.uri):
            if not self._id or not self._is_there():
                self._store.delete([self._record])
                return None
        return self._id

    def _begin(self) -> str:
        with in_words(f"begin {self._upload.key!r}", self._store.uri):
            name = self._store.name_of(self._upload.key)
            answer = self._store.call("create_multipart_upload", Key=name, Metadata={"sha256": self._upload.sha256})
            self._id = str(answer["UploadId"])
        if self._store.put_if_absent(self._record, json.dumps({"key": name, "upload_id": self._id}).encode()):
            self._is_new = True
            return self._id
        with in_words(f"begin {self._upload.key!r}", self._store.uri), suppress(FileNotFoundError):
            self._call("abort_multipart_upload")
        return self._find() or self._begin()

    def _parts(self) -> Mapping[int, Mapping[str, Any]]:
        pages = self._store.pages("list_parts", Key=self._store.name_of(self._upload.key), UploadId=self._id)
        return {part["PartNumber"]: part for page in pages for part in page.get("Parts", ())}

    def _call(self, method: str, **options: Any) -> Any:
        return self._store.call(method, Key=self._store.name_of(self._upload.key), UploadId=self._id, **options)


def _upload_id(record: bytes) -> str:
    """Return the id that a record keeps; empty if it keeps none, as the parts of a bucket that was copied from GCS."""
    try:
        return str(json.loads(record)["upload_id"])
    except (KeyError, TypeError, ValueError):
        return ""


def _md5(content: bytes) -> str:
    return base64.b64encode(hashlib.md5(content, usedforsecurity=False).digest()).decode()


def _token(etag: str) -> str:
    return etag.strip('"')
