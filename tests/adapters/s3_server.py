"""moto's S3 behind a server that takes one request at a time: moto looks and writes in two steps, S3 in one.

What moto leaves out and S3 does is added in front of it: a body that does not match its digest is refused, and an upload
that has ended is said to be gone, where moto fails and clients then ask again for seconds. Every request is logged as a line
of JSON. Started by :mod:`tests.adapters.bucket_rig` as ``python -m tests.adapters.s3_server``.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import sys
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from moto.core import DEFAULT_ACCOUNT_ID
from moto.s3.models import s3_backends
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

_BAD_DIGEST = (
    b'<?xml version="1.0" encoding="UTF-8"?><Error><Code>BadDigest</Code><Message>The digest you specified did not match '
    b"what we received.</Message></Error>"
)
_NO_SUCH_UPLOAD = (
    b'<?xml version="1.0" encoding="UTF-8"?><Error><Code>NoSuchUpload</Code><Message>The specified upload does not exist.'
    b"</Message></Error>"
)


class StrictS3:
    """A WSGI application in front of moto."""

    def __init__(self, log: Path) -> None:
        self._moto = DomainDispatcherApplication(create_backend_app)
        self._log = log

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        length = int(environ.get("CONTENT_LENGTH") or 0)
        body = environ["wsgi.input"].read(length)
        environ["wsgi.input"] = io.BytesIO(body)
        with self._log.open("a") as log:
            query = environ.get("QUERY_STRING", "")
            entry = {"method": environ["REQUEST_METHOD"], "path": environ["PATH_INFO"], "query": query, "bytes": length}
            log.write(json.dumps(entry) + "\n")
        if not matches(body, environ):
            start_response("400 Bad Request", [("Content-Type", "application/xml")])
            return [_BAD_DIGEST]
        if names_ended_upload(environ):
            start_response("404 Not Found", [("Content-Type", "application/xml")])
            return [_NO_SUCH_UPLOAD]
        answer: Iterable[bytes] = self._moto(environ, start_response)
        return answer


def matches(body: bytes, environ: dict[str, Any]) -> bool:
    """Return whether a body has the digests that its headers tell."""
    md5, crc32 = environ.get("HTTP_CONTENT_MD5"), environ.get("HTTP_X_AMZ_CHECKSUM_CRC32")
    if md5 and base64.b64decode(md5) != hashlib.md5(body, usedforsecurity=False).digest():
        return False
    return not crc32 or base64.b64decode(crc32) == zlib.crc32(body).to_bytes(4, "big")


def names_ended_upload(environ: dict[str, Any]) -> bool:
    """Return whether a request is about a multipart upload that is completed or aborted."""
    names = parse_qs(environ.get("QUERY_STRING", "")).get("uploadId")
    bucket = s3_backends[DEFAULT_ACCOUNT_ID]["aws"].buckets.get(environ["PATH_INFO"].split("/")[1])
    return bool(names and bucket and names[0] not in bucket.multiparts)


if __name__ == "__main__":
    server = make_server("127.0.0.1", 0, StrictS3(Path(sys.argv[1])), threaded=False)
    print(server.server_port, flush=True)  # noqa: T201 - the rig reads it
    server.serve_forever()
