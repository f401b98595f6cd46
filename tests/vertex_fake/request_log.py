"""What was asked of the service, in the order in which it took effect."""

from __future__ import annotations

import itertools
import threading
from collections import deque
from dataclasses import asdict, dataclass
from typing import Any

_LONGEST = 20_000


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One request.

    :param method: The service's name of the method, such as ``UpdateEndpoint``.
    :param path: The URL's path, or the gRPC method's.
    :param resource: What it is about, such as an endpoint's name.
    :param request: The request's message, as JSON has it with proto names.
    :param outcome: ``OK`` or a google.rpc.Code.
    :param answered: False: the connection ended without an answer.
    :param mutating: Whether such a method changes anything.
    :param operation: Name of the operation that it began, if any.
    """

    number: int
    at: float
    transport: str
    method: str
    path: str
    resource: str
    request: dict[str, Any]
    outcome: str
    answered: bool
    mutating: bool
    operation: str | None

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


class RequestLog:
    """Appends; readers get copies."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._all: deque[Asked] = deque(maxlen=_LONGEST)

    def append(self, **fields: Any) -> None:
        with self._lock:
            self._all.append(Asked(number=next(self._numbers), **fields))

    def read(self, *, after: int = 0, mutating: bool | None = None, method: str | None = None) -> list[Asked]:
        """Return what came after a number, all of it or the chosen kind."""
        with self._lock:
            found = list(self._all)
        return [
            each
            for each in found
            if each.number > after and mutating in (None, each.mutating) and method in (None, each.method)
        ]
