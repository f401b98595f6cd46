"""moto's S3 behind a server that takes one request at a time: moto looks and writes in two steps, S3 in one.

What moto leaves out and S3 does is added in front of it: a body that does not match its ``Content-MD5`` is refused. Every
request is logged as a line of JSON. Started by :mod:`tests.adapters.bucket_rig` as ``python -m tests.adapters.s3_server``.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

_BAD_DIGEST = (
    b'<?xml version="1.0" encoding="UTF-8"?><Error><Code>BadDigest</Code><Message>The Content-MD5 you specified did not '
    b"match what we received.</Message></Error>"
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
        said = environ.get("HTTP_CONTENT_MD5")
        with self._log.open("a") as log:
            query = environ.get("QUERY_STRING", "")
            entry = {"method": environ["REQUEST_METHOD"], "path": environ["PATH_INFO"], "query": query, "bytes": length}
            log.write(json.dumps(entry) + "\n")
        if said and said != base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode():
            start_response("400 Bad Request", [("Content-Type", "application/xml")])
            return [_BAD_DIGEST]
        answer: Iterable[bytes] = self._moto(environ, start_response)
        return answer


if __name__ == "__main__":
    server = make_server("127.0.0.1", 0, StrictS3(Path(sys.argv[1])), threaded=False)
    print(server.server_port, flush=True)  # noqa: T201 - the rig reads it
    server.serve_forever()
