"""TF Serving's REST API: requests to answers, without a socket.

Source: TF Serving, ``model_servers/http_rest_api_handler.cc``, ``http_rest_api_util.cc`` and ``http_server.cc``.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from google.protobuf import json_format

from airflow_model_ops.model_server.json_answer import encode
from airflow_model_ops.model_server.json_request import decode
from airflow_model_ops.model_server.performance import Performance
from airflow_model_ops.model_server.request_metrics import RequestMetrics
from airflow_model_ops.model_server.servable import DEFAULT_SIGNATURE, Servable
from airflow_model_ops.model_server.server_core import ModelRef, ServerCore
from airflow_model_ops.model_server.status import Code, StatusError

_VERSION = r"(?:(?:/versions/(?P<version>[0-9]+))|(?:/labels/(?P<label>[^/:]+)))?"
_API = re.compile(r"/v1/.*", re.IGNORECASE | re.DOTALL)
_POST = re.compile(rf"/v1/models/(?P<name>[^/:]+){_VERSION}:(?P<method>classify|regress|predict)", re.IGNORECASE)
_GET = re.compile(rf"/v1/models(?:/(?P<name>[^/:]+))?{_VERSION}(?:/(?P<metadata>metadata))?", re.IGNORECASE)
_MAX_INT64 = 2**63 - 1

_HTTP_STATUS: Mapping[Code, int] = {
    Code.OK: 200,
    Code.CANCELLED: 499,
    Code.INVALID_ARGUMENT: 400,
    Code.DEADLINE_EXCEEDED: 504,
    Code.NOT_FOUND: 404,
    Code.ALREADY_EXISTS: 409,
    Code.PERMISSION_DENIED: 403,
    Code.RESOURCE_EXHAUSTED: 429,
    Code.FAILED_PRECONDITION: 400,
    Code.ABORTED: 409,
    Code.OUT_OF_RANGE: 400,
    Code.UNIMPLEMENTED: 501,
    Code.UNAVAILABLE: 503,
    Code.UNAUTHENTICATED: 401,
}
_SERVER_ERROR = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An HTTP answer."""

    body: bytes
    status: int = 200
    content_type: str = "application/json"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Call:
    ref: ModelRef
    method: str = ""
    metadata: bool = False


class RestApi:
    """Answers requests; may be called from many threads.

    :param metrics_path: Where the Prometheus page is; ``None``: nowhere.
    """

    def __init__(
        self,
        *,
        core: ServerCore[Servable],
        metrics: RequestMetrics,
        performance: Performance,
        metrics_path: str | None = None,
    ) -> None:
        self._core = core
        self._metrics = metrics
        self._performance = performance
        self._metrics_path = metrics_path

    def handle(self, method: str, path: str, body: bytes) -> Answer:
        """Answer one request.

        :param path: The path as sent, still percent-encoded, without the query.
        """
        if path == self._metrics_path:
            return self._metrics_page()
        if not _API.fullmatch(path):
            return Answer(status=404, body=b"<html><body><h1>Not Found</h1></body></html>", content_type="text/html")
        start = time.perf_counter()
        call = _Call(ref=ModelRef(name=""))
        code = Code.OK
        try:
            call = _parse(method, path)
            answer = Answer(body=self._answer(call, body))
        except StatusError as error:
            code = error.code
            answer = Answer(status=_HTTP_STATUS.get(code, _SERVER_ERROR), body=_json({"error": error.message}))
        if code is Code.OK:
            seconds = time.perf_counter() - start
            self._metrics.observe(call.ref.name, api=call.method, entrypoint="REST", seconds=seconds)
        self._metrics.count(call.ref.name, code=code)
        return answer

    def _answer(self, call: _Call, body: bytes) -> bytes:
        if call.method == "predict":
            return self._predict(call.ref, body)
        if call.method:
            raise StatusError(Code.UNIMPLEMENTED, f"The embedded model server does not {call.method}; use predict.")
        if not call.ref.name:
            raise StatusError(Code.INVALID_ARGUMENT, "Missing model name in request.")
        return self._metadata(call.ref) if call.metadata else self._status(call.ref)

    def _predict(self, ref: ModelRef, body: bytes) -> bytes:
        with self._core.acquire(ref) as loaded:
            servable = loaded.servable
            request = decode(body, inputs_of=lambda name: _inputs_of(servable, name or DEFAULT_SIGNATURE))
            outputs = servable.predict(request.inputs, signature_name=request.signature_name or DEFAULT_SIGNATURE)
        return encode(outputs, row=request.row)

    def _status(self, ref: ModelRef) -> bytes:
        states = [
            {
                "version": str(state.version),
                "state": state.state.name,
                "status": {"error_code": state.error_code.name, "error_message": state.error_message},
            }
            for state in self._core.status(ref)
        ]
        return _json({"model_version_status": states})

    def _metadata(self, ref: ModelRef) -> bytes:
        with self._core.acquire(ref) as loaded:
            signature_defs = json_format.MessageToDict(
                loaded.servable.signature_defs,
                preserving_proto_field_name=True,
                always_print_fields_with_no_presence=True,
            )
            spec = {"name": loaded.model, "signature_name": "", "version": str(loaded.version)}
        return _json({"model_spec": spec, "metadata": {"signature_def": signature_defs}})

    def _metrics_page(self) -> Answer:
        lines = [*self._metrics.page(), *self._performance.page(self._core.loaded())]
        return Answer(body="".join(f"{line}\n" for line in lines).encode(), content_type="text/plain")


def _json(document: Any) -> bytes:
    return json.dumps(document, indent=1, ensure_ascii=False).encode("utf-8", errors="surrogateescape")


def _inputs_of(servable: Servable, signature_name: str) -> Mapping[str, str]:
    signature = servable.signatures.get(signature_name)
    if signature is None:
        raise StatusError(
            Code.INVALID_ARGUMENT, f'Serving signature name: "{signature_name}" not found in signature def'
        )
    return signature.inputs


def _parse(method: str, path: str) -> _Call:
    """Read method and path; case does not matter in the fixed parts."""
    pattern = {"POST": _POST, "GET": _GET}.get(method)
    match = pattern.fullmatch(path) if pattern else None
    if match is None:
        raise StatusError(Code.INVALID_ARGUMENT, f"Malformed request: {method} {path}")
    found = match.groupdict()
    version, label = found["version"], found["label"]
    if version and int(version) > _MAX_INT64:
        raise StatusError(Code.INVALID_ARGUMENT, f"Failed to convert version: {version} to numeric.")
    ref = ModelRef(
        name=unquote(found["name"] or ""),
        version=int(version) if version else None,
        label=unquote(label) if label else None,
    )
    return _Call(ref=ref, method=(found.get("method") or "").lower(), metadata=bool(found.get("metadata")))
