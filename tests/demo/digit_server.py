"""A fake model server for the load generator: as right, wrong, late or broken as a test wants it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from demo.digits import PIXELS

Respond = Callable[[int, int], Awaitable[bytes | None]]
"""Given the number of the request and the digit drawn on its image: the bytes to answer, or None to hang up."""


def answer(*, digit: int, version: str | None = "1", status: int = 200, headers: str = "") -> bytes:
    """An HTTP answer with scores that name a digit."""
    body = json.dumps({"predictions": [[1.0 if index == digit else 0.0 for index in range(10)]]}).encode()
    named = f"x-model-version: {version}\r\n" if version else ""
    return f"HTTP/1.1 {status} Whatever\r\n{named}{headers}content-length: {len(body)}\r\n\r\n".encode() + body


@dataclass
class DigitServer:
    """A tiny HTTP server in the test's own event loop; the digit is the first pixel of the image."""

    respond: Respond
    url: str = ""
    requests: int = 0
    connections: int = 0
    request_lines: set[str] = field(default_factory=set)
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.writers.append(writer)
        # A client that gives up after its time-out hangs up in the middle: no fault of the server.
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while await self._answer_one(reader, writer):
                continue
        writer.close()

    async def _answer_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.request_lines.add(head.splitlines()[0])
        length = int(head.lower().split("content-length: ")[1].split("\r\n")[0])
        (pixels,) = json.loads(await reader.readexactly(length))["instances"]
        assert len(pixels) == PIXELS
        self.requests += 1
        answered = await self.respond(self.requests, int(pixels[0]))
        if answered is None:
            return False
        writer.write(answered)
        await writer.drain()
        return True


@asynccontextmanager
async def serving(respond: Respond) -> AsyncIterator[DigitServer]:
    """Serve on a free port for the length of the block."""
    digit_server = DigitServer(respond=respond)
    server = await asyncio.start_server(digit_server.serve, "127.0.0.1", 0)
    digit_server.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1/models/digits:predict"
    try:
        yield digit_server
    finally:
        server.close()
        for writer in digit_server.writers:
            writer.close()
