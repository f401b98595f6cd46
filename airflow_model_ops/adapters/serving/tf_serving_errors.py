"""What a TF Serving's gRPC errors mean and what to do about them.

Source of the codes and texts: tensorflow/serving ``model_servers/server_core.cc`` and ``model_service_impl.cc``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import grpc

from airflow_model_ops.adapters.serving.tf_serving_config import ServedModel
from airflow_model_ops.core.errors import (
    LoadFailed,
    ModelOpsError,
    ServerRefused,
    ServerUnreachable,
    ServerWedged,
)

_Code = grpc.StatusCode
_NO_ANSWER: Final = frozenset({_Code.UNAVAILABLE, _Code.DEADLINE_EXCEEDED, _Code.CANCELLED})
_LABEL_REFUSED: Final = re.compile(r"assign label to version (\d+) of model (.*), which is not currently available")
_LOAD_FAILED: Final = re.compile(r"model\(s\) did not become available")


def code_of(error: grpc.RpcError) -> grpc.StatusCode:
    """Return the status code of a failed call."""
    return error.code() if isinstance(error, grpc.Call) else _Code.UNKNOWN


def details_of(error: grpc.RpcError) -> str:
    """Return the server's own words about a failed call, or gRPC's if the server said none."""
    return (error.details() if isinstance(error, grpc.Call) else None) or str(error)


def of_a_question(error: grpc.RpcError, *, address: str, question: str) -> ModelOpsError:
    """Return what to raise when a call that changes nothing failed."""
    code, details = code_of(error), details_of(error)
    if code in _NO_ANSWER:
        return ServerUnreachable(
            f"model server {address!r} did not answer {question} ({code.name}: {details}); "
            "check that it runs and that the address is that of its gRPC port"
        )
    return ServerRefused(
        f"model server {address!r} refused {question} ({code.name}: {details}); "
        "check that the address is that of a TF Serving's gRPC port"
    )


def of_a_reload(error: grpc.RpcError, *, address: str, models: Sequence[ServedModel]) -> ModelOpsError:
    """Return what to raise when a reload failed by anything but its deadline."""
    code, details = code_of(error), details_of(error)
    said = f"({code.name}: {details})"
    if code in _NO_ANSWER:
        return ServerUnreachable(
            f"model server {address!r} was lost during a reload {said}; what it took of the list is unknown: "
            "send the whole list again once it is back"
        )
    if code is _Code.FAILED_PRECONDITION:
        return ServerRefused(
            f"model server {address!r} refused a reload: {_label_remedy(details, models=models)} {said}"
        )
    if code is _Code.INVALID_ARGUMENT:
        return ServerRefused(
            f"model server {address!r} refused the list of models and keeps the one it had {said}; correct the list"
        )
    if _LOAD_FAILED.search(details):
        return LoadFailed(
            f"model server {address!r} could not load a new model {said}; a version in error stays in error even when "
            "its files are repaired: leave the model out of one reload, or push the repaired files as a new version"
        )
    return ServerRefused(
        f"model server {address!r} failed a reload {said}; send the whole list again: a failed reload may have been "
        "taken in part"
    )


def of_a_late_reload(*, address: str, timeout_seconds: float, waits_for: Sequence[str]) -> ServerWedged:
    """Return what to raise when a reload passed its deadline.

    :param waits_for: One phrase per listed model of which the server has no version available.
    """
    if waits_for:
        cause = (
            f"it has nothing available of {'; '.join(waits_for)}. It may be wedged by a missing base path of a new "
            "model (or one without the listed number directories), as the server sees it: put the directory there, or "
            "if the model is only slow to load, allow a longer timeout; if it still hangs, restart the server"
        )
    else:
        cause = (
            "it has versions available of every listed model, so an earlier reload is probably still waiting: it may "
            "be wedged by a missing base path of a new model in that one; restart the server"
        )
    return ServerWedged(
        f"model server {address!r} did not finish a reload within {timeout_seconds:g} s: {cause}. "
        "Until then it answers no other reload"
    )


def _label_remedy(details: str, *, models: Sequence[ServedModel]) -> str:
    remedy = "then send the whole list again (the refused one was taken in part)"
    match = _LABEL_REFUSED.search(details)
    if match is None:
        return f"correct what it names, {remedy}"
    number, name = int(match[1]), match[2]
    labels = [label for model in models if model.name == name for label, n in model.labels.items() if n == number]
    which = f"label {labels[0]!r}" if len(labels) == 1 else f"labels {labels!r}"
    return (
        f"{which} of model {name!r} cannot point to version {number}, which is not available; first reload with the "
        f"version listed and the label where it was, wait until the version is AVAILABLE, {remedy}"
    )
