"""What the service answers when it does not do what it is asked: a code of google.rpc and a message, on both fronts."""

from __future__ import annotations

from google.rpc import code_pb2, status_pb2

HTTP_STATUS = {
    "CANCELLED": 499,
    "UNKNOWN": 500,
    "INVALID_ARGUMENT": 400,
    "DEADLINE_EXCEEDED": 504,
    "NOT_FOUND": 404,
    "ALREADY_EXISTS": 409,
    "PERMISSION_DENIED": 403,
    "UNAUTHENTICATED": 401,
    "RESOURCE_EXHAUSTED": 429,
    "FAILED_PRECONDITION": 400,
    "ABORTED": 409,
    "OUT_OF_RANGE": 400,
    "UNIMPLEMENTED": 501,
    "INTERNAL": 500,
    "UNAVAILABLE": 503,
    "DATA_LOSS": 500,
}
"""The mapping that google/rpc/code.proto states."""


class Refused(Exception):
    """An answer other than OK.

    :param code: Name of a google.rpc.Code.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        if code not in HTTP_STATUS:
            raise ValueError(f"{code!r} is no error of google.rpc.Code; write one of {sorted(HTTP_STATUS)}")
        self.code = code
        self.message = message

    @property
    def http_status(self) -> int:
        return HTTP_STATUS[self.code]

    @property
    def status(self) -> status_pb2.Status:
        return status_pb2.Status(code=code_pb2.Code.Value(self.code), message=self.message)

    @property
    def as_json(self) -> dict[str, object]:
        """The body of a REST error."""
        return {"error": {"code": self.http_status, "message": self.message, "status": self.code}}


class ConnectionLost(Exception):
    """The caller gets no answer at all: its connection ends."""
