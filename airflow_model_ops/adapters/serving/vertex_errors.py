"""What a failed call to Vertex AI means, and what to do about it.

The same fault arrives in two shapes: over gRPC with its canonical code, over REST with an HTTP status, which several codes
share, and the code in the answer's body. Source: AIP-193 and ``google/rpc/code.proto``.
"""

from __future__ import annotations

from typing import Any, Final

from airflow_model_ops.adapters.serving.vertex_seen import Fault
from airflow_model_ops.core.errors import (
    AccessDenied,
    EndpointMoved,
    EndpointNotFound,
    ModelOpsError,
    QuotaExhausted,
    ServerRefused,
    ServerUnreachable,
)

CODES: Final = (
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
)
"""``google.rpc.Code`` by number."""
_BY_HTTP: Final = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    408: "DEADLINE_EXCEEDED",
    409: "ABORTED",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    501: "UNIMPLEMENTED",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
_NO_ANSWER: Final = frozenset({"UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED", "INTERNAL", "UNKNOWN"})
"""After one of these nobody knows whether the request was taken."""


def code_name(number: int) -> str:
    """Return the name of a canonical code."""
    return CODES[number] if 0 <= number < len(CODES) else "UNKNOWN"


def fault_of(error: BaseException) -> Fault:
    """Return the canonical code and the words of a failed call, or of our own error that stands for it."""
    cause = error.__cause__ if isinstance(error, ModelOpsError) and error.__cause__ is not None else error
    message = getattr(cause, "message", None) or str(cause)
    return Fault(status=_status_of(cause), message=str(message))


def of_a_call(error: Exception, *, doing: str) -> ModelOpsError:
    """Return what to raise when a call failed.

    :param doing: What was asked of what, e.g. ``reading endpoint 'projects/…'``.
    """
    fault = fault_of(error)
    if fault.status in _NO_ANSWER:
        return ServerUnreachable(
            f"Vertex AI did not answer {doing} ({fault}); check the network, and the api_endpoint of the connection if it "
            "names one; this is tried again"
        )
    if fault.status in {"PERMISSION_DENIED", "UNAUTHENTICATED"}:
        return AccessDenied(
            f"Vertex AI refused {doing} ({fault}); grant the connection's account the role roles/aiplatform.user in the "
            "target's project, or correct the key or the impersonation chain of the connection"
        )
    if fault.status == "NOT_FOUND":
        return EndpointNotFound(
            f"Vertex AI does not know what {doing} is about ({fault}); check project, location, endpoint and "
            "registry_model of the model's target"
        )
    if fault.status == "RESOURCE_EXHAUSTED":
        return QuotaExhausted(
            f"Vertex AI has nothing left for {doing} ({fault}); wait, raise the project's quota, or choose another "
            "machine_type or location"
        )
    if fault.status == "ABORTED":
        return EndpointMoved(f"somebody else changed what {doing} is about ({fault}); it is looked at again")
    return ServerRefused(f"Vertex AI refused {doing} ({fault}); correct what it names")


def _status_of(error: BaseException) -> str:
    said = _status_in_body(getattr(error, "response", None))
    if said in CODES:
        return said
    grpc_code = getattr(error, "grpc_status_code", None)
    if grpc_code is not None:
        return str(grpc_code.name)
    http = getattr(error, "code", None)
    if isinstance(http, int):
        return _BY_HTTP.get(int(http), "INTERNAL" if http >= 500 else "INVALID_ARGUMENT")
    return "UNAUTHENTICATED" if _is_refused_login(error) else "UNAVAILABLE"


def _status_in_body(response: Any) -> str:
    """Return the canonical code in a REST answer; ``""`` where there is none, as in the page of a proxy."""
    try:
        return str(response.json()["error"]["status"])
    except (AttributeError, KeyError, TypeError, ValueError):
        return ""


def _is_refused_login(error: BaseException) -> bool:
    """Whether Google's login, and not the network, failed: expired keys, a chain that may not be impersonated."""
    import google.auth.exceptions as login

    return isinstance(error, login.GoogleAuthError) and not isinstance(error, login.TransportError)
