"""Canonical status codes and the one error that carries them to a client."""

from __future__ import annotations

import enum

from airflow_model_ops.core.errors import ModelOpsError


class Code(enum.IntEnum):
    """Canonical codes; the numbers are those of gRPC and of ``tensorflow.error.Code``."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


class StatusError(ModelOpsError):
    """A request cannot be answered; code and message go to the client as TF Serving words them. A retry may help.

    :param code: The canonical code.
    :param message: The text the client reads. It is protocol, so it follows TF Serving and not this package's style.
    """

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message

    @property
    def text(self) -> str:
        """Code and message in one line, as TF Serving nests an error in another."""
        return f"{self.code.name}: {self.message}"
