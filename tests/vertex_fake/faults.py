"""Planned misbehaviour of the next calls. A plan fires as often as it says and is forgotten then."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass

from tests.vertex_fake.oauth import ServiceAccount
from tests.vertex_fake.refusal import HTTP_STATUS, ConnectionLost, Refused

ANY = "*"
ISSUED = "issued"


@dataclass(kw_only=True)
class Fault:
    """What happens to the next calls of a method.

    :param method: Such as ``DeployModel``; ``*`` for every one.
    :param times: Calls that it happens to.
    :param code: Refuse with this google.rpc.Code, before anything is done.
    :param hang_seconds: Wait before anything is done, or until the calls that wait are let go; ``inf``: only that.
    :param before: Done just before the call takes effect, such as another writer's change.
    :param lose_request: End the connection before anything is done.
    :param lose_answer: Do it, and end the connection without an answer.
    """

    method: str
    times: int = 1
    code: str | None = None
    message: str = "planned by the test"
    hang_seconds: float = 0.0
    before: Callable[[], None] | None = None
    lose_request: bool = False
    lose_answer: bool = False

    def __post_init__(self) -> None:
        if self.code is not None and self.code not in HTTP_STATUS:
            raise ValueError(f"{self.code!r} is no error of google.rpc.Code; write one of {sorted(HTTP_STATUS)}")

    def refuse(self) -> None:
        """Do what happens before anything is done.

        :raises Refused: as planned.
        :raises ConnectionLost: if the request is lost.
        """
        if self.lose_request:
            raise ConnectionLost
        if self.code is not None:
            raise Refused(self.code, self.message)


NO_FAULT = Fault(method="")


class Faults:
    """The plans, and the switches that stay."""

    def __init__(self) -> None:
        self.bearer: str | None = None
        """``*``: any bearer token is required; ``issued``: one of the account's; else this one; ``None``: none."""
        self.account = ServiceAccount()
        self._lock = threading.Lock()
        self._planned: list[Fault] = []
        self.hanging: list[str] = []
        """The methods of the calls that wait now."""
        self._let_go = threading.Event()

    def plan(self, fault: Fault) -> None:
        with self._lock:
            self._planned.append(fault)

    def forget(self) -> None:
        with self._lock:
            self._planned.clear()
            self.bearer = None

    def next_for(self, method: str) -> Fault:
        """Take the oldest plan for a method, once; without one, nothing happens."""
        with self._lock:
            found = next((each for each in self._planned if each.method in (ANY, method)), None)
            if found is None:
                return NO_FAULT
            found.times -= 1
            if found.times < 1:
                self._planned.remove(found)
            return found

    def wait(self, method: str, seconds: float) -> None:
        """Let a call wait, and show that it does."""
        with self._lock:
            self.hanging.append(method)
            let_go = self._let_go
        let_go.wait(None if math.isinf(seconds) else seconds)
        with self._lock:
            self.hanging.remove(method)

    def let_go(self) -> None:
        """Let the calls that wait now go on; those that come later wait as planned."""
        with self._lock:
            self._let_go.set()
            self._let_go = threading.Event()

    def suffer(self, method: str) -> Fault:
        """Take the next plan and do its first part; the answer may have to be lost yet.

        :raises Refused: as planned.
        :raises ConnectionLost: if the request is lost.
        """
        fault = self.next_for(method)
        if fault.hang_seconds:
            self.wait(method, fault.hang_seconds)
        fault.refuse()
        return fault

    def lets_in(self, authorization: str | None) -> bool:
        """Return whether an ``Authorization`` header is good enough."""
        scheme, _, token = (authorization or "").partition(" ")
        if self.bearer is None:
            return True
        if scheme.lower() != "bearer" or not token:
            return False
        return self.account.accepts(token) if self.bearer == ISSUED else self.bearer in (ANY, token)
