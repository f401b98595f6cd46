"""Carries a database client's bytes to its server and back, and hangs up on a server that does not answer in time.

A program of its own, standard library only: ML Metadata's database clients wait inside C++, for ever and with the interpreter
stopped, so only another process can end their waiting. It listens on a Unix socket in a directory that only this user can
enter, can speak TLS to PostgreSQL, which ML Metadata 1.17.1 cannot, and reports what the server said first on each
connection, which ML Metadata keeps to itself.

Talks with its starter in JSON lines: its job comes in on stdin; ``{"ready": true}`` or ``{"unreachable": "..."}`` goes out; when
stdin ends, so does it, after its report.
"""

from __future__ import annotations

import base64
import json
import select
import shutil
import signal
import socket
import ssl
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_CHUNK = 65_536
_LONGEST_OPENING = 8192
_TLS_REQUEST = (8).to_bytes(4, "big") + (80_877_103).to_bytes(4, "big")
"""PostgreSQL's SSLRequest message. Source: PostgreSQL's documentation, chapter Message Formats."""
_OFFERS_LOGINS = (10).to_bytes(4, "big")
"""The kind of an authentication message that lists SASL mechanisms."""
_END_OF_ANSWER = b"Z\x00\x00\x00\x05"
"""PostgreSQL's ReadyForQuery, without its last byte, the transaction's state."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What to relay.

    :param listen: Path of the Unix socket; its directory is removed at the end.
    :param connect_seconds: For reaching the server.
    :param answer_seconds: How long the server may take for one answer.
    :param tls: Whether to speak TLS to the server; PostgreSQL only.
    :param ca_file: The certificates that vouch for it; empty: the system's.
    """

    listen: str
    host: str
    port: int
    connect_seconds: float
    answer_seconds: float
    postgresql: bool
    tls: bool = False
    ca_file: str = ""


@dataclass(slots=True)
class Line:
    """One client's connection; what is known of it is reported at the end."""

    opening: bytearray = field(default_factory=bytearray)
    fault: str = ""

    def carry(self, client: socket.socket, server: socket.socket, job: Job) -> None:
        """Carry bytes both ways until one side hangs up or the server stays silent."""
        waiting_since: float | None = time.monotonic()
        tail = b""
        while True:
            patience = None if waiting_since is None else waiting_since + job.answer_seconds - time.monotonic()
            ready = select.select([client, server], [], [], None if patience is None else max(patience, 0.0))[0]
            if not ready:
                self.fault = f"it took a request and said nothing for {job.answer_seconds:g} s"
                return
            if server in ready:
                data = _received(server)
                if data is None:
                    continue
                if not data:
                    return
                if job.tls and not self.opening:  # later bytes are rows, which may look alike
                    data = _without_channel_binding(data)
                self.opening += data[: _LONGEST_OPENING - len(self.opening)]
                client.sendall(data)
                tail = (tail + data)[-6:]
                answered = not job.postgresql or tail[:5] == _END_OF_ANSWER
                waiting_since = None if answered else time.monotonic()
            if client in ready:
                data = client.recv(_CHUNK)
                if not data:
                    return
                server.sendall(data)
                waiting_since = time.monotonic()


def _received(server: socket.socket) -> bytes | None:
    """Return what is there, empty if the server hung up, ``None`` if it was only TLS talking to itself."""
    if not isinstance(server, ssl.SSLSocket):
        return server.recv(_CHUNK)
    patience = server.gettimeout()
    server.setblocking(False)
    try:
        data = server.recv(_CHUNK)
        while pending := server.pending():  # TLS may hold more than select shows
            data += server.recv(pending)
    except ssl.SSLWantReadError:
        return None
    else:
        return data
    finally:
        server.settimeout(patience)


def _without_channel_binding(data: bytes) -> bytes:
    """Take the login that is bound to TLS out of the server's first message: ML Metadata's client ends at the sight of it.

    Nothing is lost by it: the TLS ends here, so the client could not bind to it, and the certificate is checked.
    """
    if data[:1] != b"R" or data[5:9] != _OFFERS_LOGINS:
        return data
    offered = data[9:].replace(b"SCRAM-SHA-256-PLUS\0", b"")
    return b"R" + (8 + len(offered)).to_bytes(4, "big") + _OFFERS_LOGINS + offered


def reach(job: Job) -> socket.socket:
    """Return a connection to the server, in TLS if that is the job.

    :raises OSError: if it is not reached in time, or refuses TLS.
    """
    server = socket.create_connection((job.host, job.port), timeout=job.connect_seconds)
    server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    server.settimeout(job.answer_seconds)
    if not job.tls:
        return server
    server.sendall(_TLS_REQUEST)
    if server.recv(1) != b"S":
        raise OSError("the server offers no TLS")
    context = ssl.create_default_context(cafile=job.ca_file or None)
    return context.wrap_socket(server, server_hostname=job.host)


def _serve(client: socket.socket, reached: socket.socket | None, job: Job, line: Line) -> None:
    try:
        with client, reached or reach(job) as server:
            line.carry(client, server, job)
    except ConnectionError:
        return  # one side hung up: the other one is told by the same
    except OSError as error:
        line.fault = line.fault or str(error)


def _accept(listener: socket.socket, reached: socket.socket | None, job: Job, lines: list[Line]) -> None:
    while True:
        client, _ = listener.accept()
        line = Line()
        lines.append(line)
        threading.Thread(target=_serve, args=(client, reached, job, line), daemon=True).start()
        reached = None  # the first client got the connection that showed the server to be there


def _say(message: dict[str, Any]) -> None:
    with suppress(BrokenPipeError):
        sys.stdout.write(json.dumps(message) + "\n")
        sys.stdout.flush()


def main() -> None:
    """Relay until stdin ends."""
    for number in (signal.SIGINT, signal.SIGTERM):  # the end of stdin is the sign, also if the starter is killed
        signal.signal(number, signal.SIG_IGN)
    job = Job(**json.loads(sys.stdin.readline()))
    lines: list[Line] = []
    try:
        reached = reach(job)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(job.listen)
            listener.listen()
            threading.Thread(target=_accept, args=(listener, reached, job, lines), daemon=True).start()
            _say({"ready": True})
            sys.stdin.read()
    except OSError as error:
        _say({"unreachable": str(error) or type(error).__name__})
        return
    finally:
        shutil.rmtree(Path(job.listen).parent, ignore_errors=True)
    _say({"lines": [{"opening": base64.b64encode(line.opening).decode(), "fault": line.fault} for line in lines]})


if __name__ == "__main__":
    main()
