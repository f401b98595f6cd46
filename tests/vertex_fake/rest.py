"""The REST front, and beside it ``/metrics``, Cloud Monitoring's queries and the control ``/_fake/<command>``."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.vertex_fake import monitoring, predict, transcoding
from tests.vertex_fake.control import COMMANDS, Control
from tests.vertex_fake.desk import Desk
from tests.vertex_fake.refusal import ConnectionLost, Refused


@dataclass(frozen=True, kw_only=True)
class Reply:
    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=lambda: {"Content-Type": "application/json; charset=UTF-8"})


class RestFront:
    """A server on loopback; ``url`` has no slash at its end."""

    def __init__(self, desk: Desk, control: Control, *, port: int = 0) -> None:
        answer = _Answering(desk, control)

        class Handler(_Handler):
            answering = answer

        self._server = _Server(("127.0.0.1", port), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, name="vertex-fake-rest", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Answering:
    """From a request's parts to a reply."""

    def __init__(self, desk: Desk, control: Control) -> None:
        self._desk = desk
        self._control = control

    def __call__(self, verb: str, target: str, body: bytes, authorization: str | None) -> Reply:
        try:
            return self._reply(verb, target, body, authorization)
        except Refused as refused:
            return _json(refused.as_json, status=refused.http_status)

    def _reply(self, verb: str, target: str, body: bytes, authorization: str | None) -> Reply:
        state, path = self._desk.state, target.partition("?")[0]
        if path.startswith("/_fake/"):
            return self._command(path.removeprefix("/_fake/"), body)
        if path == "/metrics":
            body = predict.exposition(state).encode()
            return Reply(status=200, body=body, headers={"Content-Type": "text/plain; version=0.0.4"})
        if path == "/token":
            return _json(state.faults.account.exchange(body))
        if monitoring.is_asked(path):
            told = monitoring.ask(state, verb, target, body, authorization=authorization)
            return Reply(status=told.status, body=told.body)
        if verb == "POST" and (endpoint := predict.endpoint_of(path)):
            return self._predict(endpoint, path, body, authorization)
        asked = transcoding.decode(verb, target, body)
        answer = self._desk.call(asked.method, asked.request, transport="rest", path=path, authorization=authorization)
        return Reply(status=200, body=transcoding.encode(answer, enums_as_numbers=asked.enums_as_numbers))

    def _predict(self, endpoint: str, path: str, body: bytes, authorization: str | None) -> Reply:
        state = self._desk.state
        if not state.faults.lets_in(authorization):
            raise Refused("UNAUTHENTICATED", "Request had invalid authentication credentials.")
        fault = state.faults.suffer("Predict")
        found = predict.predict(state, endpoint, body)
        if fault.lose_answer:
            raise ConnectionLost
        if path.endswith(":predict"):
            return _json(found.as_json())
        told = {"X-Vertex-AI-Endpoint-Id": found.endpoint_id, "X-Vertex-AI-Deployed-Model-Id": found.deployed_model_id}
        return _json({"predictions": found.predictions}, headers=told)

    def _command(self, name: str, body: bytes) -> Reply:
        if name not in COMMANDS:
            return _json({"error": f"no command {name!r}"}, status=404)
        document = json.loads(body or b"{}")
        try:
            return _json(getattr(self._control, name)(*document.get("args", ()), **document.get("fields", {})))
        except (TypeError, ValueError) as wrong:
            return _json({"error": str(wrong)}, status=400)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    answering: Any

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            reply = self.answering(self.command, self.path, body, self.headers.get("Authorization"))
        except ConnectionLost:
            self.close_connection = True
            return
        self.send_response(reply.status)
        for key, value in reply.headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        self.wfile.write(reply.body)
        self.wfile.flush()

    do_GET = do_POST = do_PATCH = do_DELETE = _answer  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Keep the test's output clean."""


def _json(document: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Reply:
    told = {"Content-Type": "application/json; charset=UTF-8", **(headers or {})}
    return Reply(status=status, body=json.dumps(document).encode(), headers=told)
