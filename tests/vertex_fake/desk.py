"""Where both fronts hand their requests in: faults happen here, and every request is written down."""

from __future__ import annotations

import time
from typing import Any

from google.longrunning import operations_pb2
from google.protobuf import json_format
from google.protobuf.message import Message

from tests.vertex_fake.faults import Fault
from tests.vertex_fake.methods import Method
from tests.vertex_fake.operations import raw
from tests.vertex_fake.refusal import ConnectionLost, Refused
from tests.vertex_fake.state import State

_WAIT_AT_MOST_SECONDS = 30.0
_POLL_SECONDS = 0.005


class Desk:
    """The service as a function from a request to an answer."""

    def __init__(self, state: State) -> None:
        self.state = state

    def call(self, method: Method, request: Any, *, transport: str, path: str, authorization: str | None) -> Message:
        """Do what is asked and return the answer's message, which nobody changes later.

        :raises Refused: the answer is an error.
        :raises ConnectionLost: there is to be no answer.
        """
        fault = self.state.faults.next_for(method.name)
        if fault.hang_seconds:
            self.state.faults.wait(method.name, fault.hang_seconds)
        outcome, answered, operation = "OK", True, None
        with self.state.lock:
            try:
                answer = self._answer(method, request, fault, authorization)
                if isinstance(answer, operations_pb2.Operation) and method.mutating:
                    operation = answer.name
            except ConnectionLost:
                answered = False
                raise
            except Refused as refused:
                outcome = refused.code
                raise
            finally:
                self.state.log.append(
                    at=time.time(),
                    transport=transport,
                    method=method.name,
                    path=path,
                    resource=_resource(request),
                    request=json_format.MessageToDict(raw(request), preserving_proto_field_name=True),
                    outcome=outcome if answered else "LOST",
                    answered=answered and not fault.lose_answer,
                    mutating=method.mutating,
                    operation=operation,
                )
        if fault.lose_answer:
            raise ConnectionLost
        return self._waited(request, answer) if method.name == "WaitOperation" else answer

    def _answer(self, method: Method, request: Any, fault: Fault, authorization: str | None) -> Message:
        if not self.state.faults.lets_in(authorization):
            raise Refused(
                "UNAUTHENTICATED", "Request had invalid authentication credentials. Expected OAuth 2 access token."
            )
        fault.refuse()
        if fault.before is not None:
            fault.before()
        self.state.operations.advance()
        answer = method.handler(self.state)(request)
        self.state.operations.advance()
        copied = type(raw(answer))()
        copied.CopyFrom(raw(answer))
        return copied

    def _waited(self, request: operations_pb2.WaitOperationRequest, answer: Message) -> Message:
        """Ask again until the operation ended or the caller's patience is over."""
        patience = (
            request.timeout.ToTimedelta().total_seconds() if request.HasField("timeout") else _WAIT_AT_MOST_SECONDS
        )
        deadline = time.monotonic() + min(patience, _WAIT_AT_MOST_SECONDS)
        while not answer.done and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
            with self.state.lock:
                self.state.operations.advance()
                answer = self.state.operations.get(request.name)
        return answer


def _resource(request: Any) -> str:
    """Return the name of what a request is about."""
    for field in ("name", "parent", "endpoint", "model"):
        value = getattr(request, field, None)
        if isinstance(value, str) and value:
            return value
        if value is not None and getattr(value, "name", ""):
            return str(value.name)
    return ""
