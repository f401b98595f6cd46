"""A client of TF Serving's ModelService that never imports TensorFlow.

It states the rules of one server and no policy: the order of reloads that moves a label safely is the target's work.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from types import TracebackType
from typing import Any, Final, Self

import grpc

from airflow_model_ops.adapters.serving import tf_serving_errors as errors
from airflow_model_ops.adapters.serving import tf_serving_protos as protos
from airflow_model_ops.adapters.serving.tf_serving_config import (
    ServedModel,
    check_models,
    model_server_config,
    model_server_config_text,
)
from airflow_model_ops.core.errors import ModelOpsError, ServerRefused

__all__ = ["LoadState", "ModelServiceClient", "ServedModel", "VersionStatus", "model_server_config_text"]

_CHANNEL_OPTIONS: Final[tuple[tuple[str, int], ...]] = (
    # A replica that comes back is used within a second; gRPC's default lets the pause grow to two minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1_000),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    # A host that vanished without closing its connection is noticed. More than two pings per call would be an
    # offence to a server with gRPC's defaults, which then closes the connection: a long reload must survive.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.max_pings_without_data", 2),
    # Model servers are reached directly: a proxy set in the environment is meant for the world outside.
    ("grpc.enable_http_proxy", 0),
    # GetModelMetadata carries every signature of a model.
    ("grpc.max_receive_message_length", 64 * 1024 * 1024),
)
_DIAGNOSIS_SECONDS: Final = 1.0


class LoadState(IntEnum):
    """Where a version is in its life on one server; the numbers are TF Serving's."""

    UNKNOWN = 0
    START = 10
    LOADING = 20
    AVAILABLE = 30
    UNLOADING = 40
    END = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionStatus:
    """What one server says about one version.

    :param number: The serving number.
    :param error_code: gRPC status number of the load error, 0 if there is none.
    """

    number: int
    state: LoadState
    error_code: int = 0
    error_message: str = ""

    @property
    def failed(self) -> bool:
        """Whether loading ended in an error (an unloaded version also ends, without one)."""
        return self.state is LoadState.END and self.error_code != 0


class ModelServiceClient:
    """Asks and reloads one TF Serving over gRPC. Thread-safe; every call has a deadline; no call waits for a connection.

    The channel opens with the first call (so the client may be made before a fork) and opens again after ``close``.

    :param address: ``host:port`` of the server's gRPC port (8500 by default), not of its REST port.
    :param timeout_seconds: Deadline of each question; a reload has its own.
    """

    def __init__(self, address: str, *, timeout_seconds: float = 5.0) -> None:
        self.address = address
        self._timeout_seconds = timeout_seconds
        self._lock = threading.Lock()
        self._channel: grpc.Channel | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; calls under way in other threads end as unreachable."""
        with self._lock:
            channel, self._channel = self._channel, None
        if channel is not None:
            channel.close()

    def status(self, model: str) -> dict[int, VersionStatus]:
        """Return every version of ``model`` that the server has known since its start, by serving number.

        Ended versions stay listed until the server restarts. Empty if the server knows no version of the model.

        :raises ServerUnreachable: if the server did not answer in time.
        :raises ServerRefused: if it answered with an error.
        """
        return self._status(model, timeout_seconds=self._timeout_seconds)

    def resolve_label(self, model: str, label: str) -> int | None:
        """Return the version that answers requests for ``label``; ``None`` if they would fail.

        ``None`` means that the label is unknown, or that its version is not available. GetModelStatus ignores labels,
        so this asks for the metadata, whose answer names the version it came from.

        :raises ServerUnreachable: if the server did not answer in time.
        :raises ServerRefused: if it answered with an error.
        """
        spec = protos.ModelSpec(name=model, version_label=label)
        try:
            response = self._call(
                protos.PREDICTION_SERVICE,
                method="GetModelMetadata",
                request=protos.GetModelMetadataRequest(model_spec=spec, metadata_field=["signature_def"]),
                response_class=protos.GetModelMetadataResponse,
                timeout_seconds=self._timeout_seconds,
            )
        except grpc.RpcError as error:
            if self._means_no_version(error, model=model):
                return None
            raise errors.of_a_question(
                error, address=self.address, question=f"for label {label!r} of model {model!r}"
            ) from error
        return int(response.model_spec.version.value)

    def reload(
        self, models: Sequence[ServedModel], *, timeout_seconds: float, allow_empty: bool = False, foreign: str = ""
    ) -> None:
        """Replace the server's whole list of models; a model left out is unloaded.

        Returns before versions of models already listed are loaded: poll ``status``. For the *first* version of a new
        model it returns when that is available or failed. Idempotent. After any error send the whole list again: a
        reload that fails may have been taken in part.

        :param timeout_seconds: Deadline; with a new model in the list, allow for its loading.
        :param allow_empty: Accept an empty list, which unloads every model of the server.
        :param foreign: A text-format ModelServerConfig of models that others manage, sent along as they are.
        :raises InvalidConfig: if the list must not be sent; nothing was sent.
        :raises ServerRefused: if the server refused the list, e.g. a label to a version that is not available.
        :raises LoadFailed: if a new model could not be loaded.
        :raises ServerWedged: if the deadline passed; only a restart may help.
        :raises ServerUnreachable: if the server was not there or went away.
        """
        check_models(models, allow_empty=allow_empty or bool(foreign))
        request = protos.ReloadConfigRequest(config=model_server_config(models, foreign=foreign))
        try:
            response = self._call(
                protos.MODEL_SERVICE,
                method="HandleReloadConfigRequest",
                request=request,
                response_class=protos.ReloadConfigResponse,
                timeout_seconds=timeout_seconds,
            )
        except grpc.RpcError as error:
            if errors.code_of(error) is grpc.StatusCode.DEADLINE_EXCEEDED:
                raise errors.of_a_late_reload(
                    address=self.address, timeout_seconds=timeout_seconds, waits_for=tuple(self._nothing_of(models))
                ) from error
            raise errors.of_a_reload(error, address=self.address, models=models) from error
        if response.status.error_code != 0:
            msg = f"model server {self.address!r} refused a reload: {response.status.error_message}; correct the list"
            raise ServerRefused(msg)

    def _status(self, model: str, *, timeout_seconds: float) -> dict[int, VersionStatus]:
        try:
            response = self._call(
                protos.MODEL_SERVICE,
                method="GetModelStatus",
                request=protos.GetModelStatusRequest(model_spec=protos.ModelSpec(name=model)),
                response_class=protos.GetModelStatusResponse,
                timeout_seconds=timeout_seconds,
            )
        except grpc.RpcError as error:
            if errors.code_of(error) is grpc.StatusCode.NOT_FOUND:
                return {}
            raise errors.of_a_question(
                error, address=self.address, question=f"what it has of model {model!r}"
            ) from error
        return {entry.version: _version_status(entry) for entry in response.model_version_status}

    def _means_no_version(self, error: grpc.RpcError, *, model: str) -> bool:
        code = errors.code_of(error)
        if code is grpc.StatusCode.NOT_FOUND:
            return True
        if code is grpc.StatusCode.INVALID_ARGUMENT:
            return "version label" in errors.details_of(error)
        if code is grpc.StatusCode.UNAVAILABLE:
            # Also a server's answer before its first label map. Only one that is there answers the next question too.
            self.status(model)
            return True
        return False

    def _nothing_of(self, models: Sequence[ServedModel]) -> Iterator[str]:
        """Say of which models no version is available, to name the one a reload waits for; best effort, short."""
        for model in models:
            try:
                known = self._status(model.name, timeout_seconds=_DIAGNOSIS_SECONDS)
            except ModelOpsError as error:
                yield f"model {model.name!r} (unknown: {error})"
                return
            if not any(version.state is LoadState.AVAILABLE for version in known.values()):
                said = ", ".join(f"{number} {version.state.name}" for number, version in sorted(known.items()))
                yield f"model {model.name!r} at {model.base_path!r} ({said or 'no version seen'})"

    def _call(self, service: str, *, method: str, request: Any, response_class: Any, timeout_seconds: float) -> Any:
        call = self._open_channel().unary_unary(
            f"/{service}/{method}",
            request_serializer=type(request).SerializeToString,
            response_deserializer=response_class.FromString,
        )
        return call(request, timeout=timeout_seconds, wait_for_ready=False)

    def _open_channel(self) -> grpc.Channel:
        with self._lock:
            if self._channel is None:
                self._channel = grpc.insecure_channel(self.address, options=_CHANNEL_OPTIONS)
            return self._channel


def _version_status(entry: Any) -> VersionStatus:
    known = {state.value for state in LoadState}
    return VersionStatus(
        number=entry.version,
        state=LoadState(entry.state) if entry.state in known else LoadState.UNKNOWN,
        error_code=entry.status.error_code,
        error_message=entry.status.error_message,
    )
