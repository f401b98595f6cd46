"""A small HTTP/1.1 client for asyncio: POST over kept-alive connections, at a tenth of the CPU of a general client.

It repeats no request, whatever went wrong: the load generator is there to see every failure. A connection that the server
has already closed is not used again.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

_MAX_HEAD_BYTES = 64 * 1024


class BadAnswer(Exception):
    """The server's bytes are not an HTTP/1.1 answer that this client reads. A retry does not help."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One HTTP answer; header names are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


@dataclass(slots=True, kw_only=True)
class _Connection:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @property
    def reusable(self) -> bool:
        return not self.reader.at_eof() and not self.writer.is_closing()


@dataclass(slots=True, kw_only=True)
class KeepAliveClient:
    """Posts to one URL. Use as an async context manager.

    :param url: `http://host:port/path`; plain HTTP only.
    """

    url: str
    _host: str = field(init=False)
    _port: int = field(init=False)
    _head: bytes = field(init=False)
    _idle: deque[_Connection] = field(init=False, default_factory=deque)

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme != "http" or not parts.hostname:
            raise ValueError(f"URL {self.url!r} is not plain http; write http://host:port/path")
        self._host, self._port = parts.hostname, parts.port or 80
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._head = (
            f"POST {path} HTTP/1.1\r\nhost: {parts.netloc}\r\ncontent-type: application/json\r\ncontent-length: "
        ).encode("ascii")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while self._idle:
            self._idle.pop().writer.close()

    async def post(self, body: bytes) -> Answer:
        """Send one request and read its answer.

        :raises OSError: when the connection cannot be made or breaks.
        :raises asyncio.IncompleteReadError: when the server closes before the answer is complete.
        :raises BadAnswer: when the answer is not HTTP/1.1 as expected.
        """
        connection = await self._connection()
        try:
            connection.writer.write(b"%b%d\r\n\r\n%b" % (self._head, len(body), body))
            answer = await _read_answer(connection.reader)
        except BaseException:  # a time-out cancels in the middle of an answer: what follows on it would be misread
            connection.writer.close()
            raise
        if answer.headers.get("connection", "").lower() == "close":
            connection.writer.close()
        else:
            self._idle.append(connection)
        return answer

    async def _connection(self) -> _Connection:
        while self._idle:
            connection = self._idle.pop()
            if connection.reusable:
                return connection
            connection.writer.close()
        reader, writer = await asyncio.open_connection(self._host, self._port, limit=_MAX_HEAD_BYTES)
        return _Connection(reader=reader, writer=writer)


async def _read_answer(reader: asyncio.StreamReader) -> Answer:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    status_line, *lines = head[:-4].split("\r\n")
    protocol, _, rest = status_line.partition(" ")
    if protocol != "HTTP/1.1" or not rest[:3].isdigit():
        raise BadAnswer(f"status line {status_line!r} is not HTTP/1.1; is the URL that of an HTTP server?")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return Answer(status=int(rest[:3]), headers=headers, body=await _read_body(reader, headers))


async def _read_body(reader: asyncio.StreamReader, headers: dict[str, str]) -> bytes:
    if headers.get("transfer-encoding", "").lower() == "chunked":
        return await _read_chunks(reader)
    length = headers.get("content-length", "")
    if not length.isdigit():
        raise BadAnswer(f"content-length {length!r} is not a number; the server must send one, or send chunks")
    return await reader.readexactly(int(length))


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    chunks = bytearray()
    while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
        chunks += await reader.readexactly(size)
        await reader.readexactly(2)
    while await reader.readuntil(b"\r\n") != b"\r\n":
        continue  # trailers carry nothing the load generator looks at
    return bytes(chunks)
