"""Long-running operations: they take their time, and end with a result, an error or a cancellation.

Nothing runs in the background: `advance` ends what is due, in the order in which it is due, before anybody looks.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from google.cloud import aiplatform_v1 as v1
from google.longrunning import operations_pb2
from google.protobuf.message import Message
from google.rpc import status_pb2

from tests.vertex_fake.clock import Clock
from tests.vertex_fake.refusal import Refused

DEFAULT_SECONDS = 0.2
UNTIL_RELEASED = math.inf
_STAGES = (5, 6, 7, 8, 9, 3, 4)
"""A deployment's stages in order (google.cloud.aiplatform.v1.DeploymentStage)."""
_DEPLOYED, _FAILED = 11, 12


@dataclass(kw_only=True)
class Running:
    """One operation, ended or not.

    :param finish: Makes the change and returns the result; may raise `Refused`.
    :param abandon: Gives back what was reserved, when it ends otherwise.
    :param degrade: Called after a change that was made in part only.
    """

    name: str
    kind: str
    begun: float
    due: float
    metadata: Any
    finish: Callable[[], Any]
    abandon: Callable[[], None]
    degrade: Callable[[status_pb2.Status], None]
    fails_with: status_pb2.Status | None = None
    partial_failures: list[status_pb2.Status] = field(default_factory=list)
    done: bool = False
    error: status_pb2.Status | None = None
    result: Any = None

    def as_proto(self) -> operations_pb2.Operation:
        told = operations_pb2.Operation(name=self.name, done=self.done)
        told.metadata.Pack(raw(self.metadata))
        if self.error is not None:
            told.error.CopyFrom(self.error)
        elif self.done:
            told.response.Pack(raw(self.result))
        return told


class Operations:
    """Every operation of the service."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.seconds: dict[str, float] = {}
        self.failures: dict[str, list[status_pb2.Status]] = {}
        self.partial_failures: dict[str, list[status_pb2.Status]] = {}
        self._all: dict[str, Running] = {}
        self._numbers = itertools.count(4_000_000_000_000_000_001)

    def start(
        self,
        kind: str,
        *,
        on: str,
        metadata: Any,
        finish: Callable[[], Any],
        abandon: Callable[[], None] = lambda: None,
        degrade: Callable[[status_pb2.Status], None] = lambda _: None,
    ) -> operations_pb2.Operation:
        """Begin one, on a resource, such as a model or an endpoint."""
        now = self.clock.monotonic()
        running = Running(
            name=f"{on}/operations/{next(self._numbers)}",
            kind=kind,
            begun=now,
            due=now + self.seconds.get(kind, self.seconds.get("*", DEFAULT_SECONDS)),
            metadata=metadata,
            finish=finish,
            abandon=abandon,
            degrade=degrade,
        )
        if planned := self.failures.get(kind):
            running.fails_with = planned.pop(0)
        if planned := self.partial_failures.get(kind):
            running.partial_failures = [planned.pop(0)]
        metadata.generic_metadata = v1.GenericOperationMetadata(
            create_time=self.clock.now(), update_time=self.clock.now()
        )
        self._all[running.name] = running
        self.advance()
        return running.as_proto()

    def advance(self) -> None:
        """End what is due."""
        now = self.clock.monotonic()
        for running in sorted((each for each in self._all.values() if not each.done), key=lambda each: each.due):
            if running.due <= now:
                self._end(running)
            else:
                self._tell_stage(running, now)

    def running(self, *, on: str) -> list[str]:
        """Return the names of the operations on a resource that have not ended."""
        return [each.name for each in self._all.values() if not each.done and each.name.startswith(f"{on}/operations/")]

    def all_running(self) -> list[str]:
        return [each.name for each in self._all.values() if not each.done]

    def release(self, *, kind: str | None = None, name: str | None = None) -> int:
        """End the chosen ones that run, now; return how many."""
        chosen = [
            each
            for each in self._all.values()
            if not each.done and kind in (None, "*", each.kind) and name in (None, each.name)
        ]
        for each in chosen:
            each.due = self.clock.monotonic()
        self.advance()
        return len(chosen)

    def get(self, name: str) -> operations_pb2.Operation:
        return self._find(name).as_proto()

    def list(self, on: str) -> operations_pb2.ListOperationsResponse:
        found = [each.as_proto() for each in self._all.values() if each.name.startswith(f"{on}/operations/")]
        if "/endpoints/" not in on and "/models/" not in on:
            found = [each.as_proto() for each in self._all.values() if each.name.startswith(f"{on}/")]
        return operations_pb2.ListOperationsResponse(operations=found)

    def cancel(self, name: str) -> None:
        """Cancel one, "best effort": an ended one stays as it is."""
        running = self._find(name)
        if not running.done:
            running.fails_with = Refused("CANCELLED", "The operation was cancelled.").status
            self._end(running)

    def delete(self, name: str) -> None:
        if not self._find(name).done:
            raise Refused("FAILED_PRECONDITION", f"Operation {name} has not ended.")
        del self._all[name]

    def _find(self, name: str) -> Running:
        if name not in self._all:
            raise Refused("NOT_FOUND", f"Operation {name} is not found.")
        return self._all[name]

    def _end(self, running: Running) -> None:
        running.done = True
        running.error = running.fails_with
        if running.error is None:
            try:
                running.result = running.finish()
                for failure in running.partial_failures:
                    running.degrade(failure)
            except Refused as refused:
                running.error = refused.status
        if running.error is not None:
            running.abandon()
        generic = running.metadata.generic_metadata
        generic.update_time = self.clock.now()
        generic.partial_failures = running.partial_failures
        if isinstance(running.metadata, v1.DeployModelOperationMetadata):
            running.metadata.deployment_stage = _DEPLOYED if running.error is None else _FAILED

    def _tell_stage(self, running: Running, now: float) -> None:
        if isinstance(running.metadata, v1.DeployModelOperationMetadata):
            part = 0.0 if running.due == UNTIL_RELEASED else (now - running.begun) / (running.due - running.begun)
            running.metadata.deployment_stage = _STAGES[min(int(part * len(_STAGES)), len(_STAGES) - 1)]


def raw(message: Any) -> Message:
    """Return the protobuf message of a proto-plus one."""
    return message if isinstance(message, Message) else type(message).pb(message)
