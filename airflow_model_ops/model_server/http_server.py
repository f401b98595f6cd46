"""The REST API on a socket: uvicorn, HTTP/1.1 with keep-alive.

uvicorn and not the standard library's threading server: with 32 connections on 2 cores it answered 5600 requests a
second against 2000 (8x8 image, no model, measured), and an Envoy in front keeps many connections open.
"""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Awaitable, Callable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import uvicorn

from airflow_model_ops.model_server.rest_api import Answer, RestApi

#: Longer than any router keeps an idle connection, so that the router closes first and no request meets a closed one.
_KEEP_ALIVE_S = 2 * 3600
_START_TIMEOUT_S = 30.0

_Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
_Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class HttpServer:
    """Serves a ``RestApi`` from a thread of its own.

    :param sock: A bound socket.
    :param threads: Requests worked on at the same time, count; the others wait.
    :param grace_s: How long a stop waits for requests that are being answered, seconds.
    """

    def __init__(self, api: RestApi, *, sock: socket.socket, threads: int, grace_s: int) -> None:
        self._api = api
        self._sock = sock
        self._pool = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="rest")
        self._server = uvicorn.Server(
            uvicorn.Config(
                self._app,
                interface="asgi3",
                proxy_headers=False,
                lifespan="off",
                ws="none",
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_keep_alive=_KEEP_ALIVE_S,
                timeout_graceful_shutdown=grace_s,
            )
        )
        self._thread = threading.Thread(target=self._server.run, args=([sock],), name="rest-loop", daemon=True)

    def start(self) -> None:
        """Return once requests are accepted.

        :raises RuntimeError: if that does not happen.
        """
        self._thread.start()
        deadline = time.monotonic() + _START_TIMEOUT_S
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > deadline:
                raise RuntimeError(f"REST on {self._sock.getsockname()!r} did not start; see the log above")
            time.sleep(0.005)

    def stop(self) -> None:
        """Accept no more requests and return when those being answered are."""
        self._server.should_exit = True
        self._thread.join()
        self._pool.shutdown()

    async def _app(self, scope: MutableMapping[str, Any], receive: _Receive, send: _Send) -> None:
        body = await _read(receive)
        if body is None:
            return
        path = scope["raw_path"].decode("latin-1")
        loop = asyncio.get_running_loop()
        answer = await loop.run_in_executor(self._pool, self._api.handle, scope["method"], path, body)
        await _write(send, answer)


async def _read(receive: _Receive) -> bytes | None:
    """Read the request's body; ``None`` when the client went away."""
    parts: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(parts)


async def _write(send: _Send, answer: Answer) -> None:
    headers = [
        (b"content-type", answer.content_type.encode()),
        (b"content-length", str(len(answer.body)).encode()),
    ]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})
