"""What goes wrong in front of a ledger's server, for the tests: servers that are silent, refuse, or demand the impossible."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

CACHING = b"caching_sha2_password"


@contextmanager
def black_hole() -> Iterator[int]:
    """Yield a port whose connections are never completed: its queue is full and nobody takes from it."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = int(listener.getsockname()[1])
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(("127.0.0.1", port))
        yield port


@contextmanager
def mysql_8() -> Iterator[int]:
    """Yield the port of a server that greets and asks as MySQL 8 does: by ``caching_sha2_password``.

    A process of its own: ML Metadata's client waits with our interpreter stopped.
    """
    command = [sys.executable, "-m", "tests.adapters.ledger_servers"]
    root = Path(__file__).parents[2]
    with subprocess.Popen(command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield int(server.stdout.readline())
        finally:
            server.kill()


def _greet(listener: socket.socket) -> None:
    scramble = b"12345678" + b"abcdefghijkl\x00"
    flags = 0x00FFF7FF & ~0x0800  # all that a server of version 8 says, without TLS
    greeting = b"\x0a" + b"8.0.36\x00" + (7).to_bytes(4, "little") + scramble[:8] + b"\x00"
    greeting += (flags & 0xFFFF).to_bytes(2, "little") + b"\xff\x02\x00" + (flags >> 16).to_bytes(2, "little")
    greeting += bytes([len(scramble)]) + bytes(10) + scramble[8:] + CACHING + b"\x00"
    switch = b"\xfe" + CACHING + b"\x00" + scramble
    while True:
        client, _ = listener.accept()
        with client:
            client.sendall(_packet(greeting, 0))
            if client.recv(4096):
                client.sendall(_packet(switch, 2))
                client.recv(4096)


def _packet(payload: bytes, number: int) -> bytes:
    return len(payload).to_bytes(3, "little") + bytes([number]) + payload


def certificate(directory: Path, *, owner: str | None = None, name: str = "127.0.0.1") -> tuple[Path, Path]:
    """Make a certificate that vouches for itself, and its key; return both files."""
    certificate, key = directory / "server.crt", directory / "server.key"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    subject = ["-subj", f"/CN={name}", "-addext", f"subjectAltName=IP:{name}", "-days", "2"]
    files = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*command, *subject, *files], check=True, capture_output=True, timeout=60)
    if owner is not None and os.geteuid() == 0:
        for file in (certificate, key):
            shutil.chown(file, owner, owner)
    key.chmod(0o600)
    return certificate, key


if __name__ == "__main__":
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        sys.stdout.write(f"{listening.getsockname()[1]}\n")
        sys.stdout.flush()
        _greet(listening)
