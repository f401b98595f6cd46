"""A port on loopback for a process that is told where to listen, and the way to it."""

from __future__ import annotations

import secrets
import socket
from contextlib import suppress
from pathlib import Path

PAST_PROXIES = dict.fromkeys(("NO_PROXY", "no_proxy"), "127.0.0.1,localhost")
"""In the environment of a process: what goes to loopback goes to no proxy. Some clients read the one name, some the other."""
_GIVEN_AWAY = Path("/proc/sys/net/ipv4/ip_local_port_range")
_LOWEST = 10_000


def free_port() -> int:
    """Return a port of the loopback that nobody has.

    It is bound seconds later, so it is one that the kernel gives to no connection meanwhile, if this is Linux.

    :raises OSError: if there is none.
    """
    first = int(_GIVEN_AWAY.read_text(encoding="ascii").split()[0]) if _GIVEN_AWAY.exists() else 0
    drawn = [_LOWEST + secrets.randbelow(first - _LOWEST) for _ in range(100)] if first > 2 * _LOWEST else []
    for port in drawn:
        with suppress(OSError):
            return _bound(port)
    return _bound(0)


def _bound(port: int) -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", port))
        return int(probe.getsockname()[1])
