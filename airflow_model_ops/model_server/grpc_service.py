"""TF Serving's gRPC API: PredictionService (Predict, GetModelMetadata) and ModelService.

Classify, Regress and MultiInference answer UNIMPLEMENTED.

Source: TF Serving, ``apis/*.proto`` and ``model_servers/{prediction,model}_service_impl.cc``.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import grpc
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from airflow_model_ops.model_server.config_files import entries_of
from airflow_model_ops.model_server.request_metrics import RequestMetrics
from airflow_model_ops.model_server.saved_model import tensor_from_proto, tensor_to_proto
from airflow_model_ops.model_server.servable import DEFAULT_SIGNATURE, Servable
from airflow_model_ops.model_server.server_core import ModelRef, ServerCore
from airflow_model_ops.model_server.status import Code, StatusError

log = logging.getLogger(__name__)

T = TypeVar("T")

_STATUS_CODES = {code.value[0]: code for code in grpc.StatusCode}
_MAX_MESSAGE_CHARS = 1024
_SIGNATURE_DEF = "signature_def"
_MAX_MESSAGE_BYTES = 2**31 - 1


def _ref(spec: Any) -> ModelRef:
    choice = spec.WhichOneof("version_choice")
    return ModelRef(
        name=spec.name,
        version=spec.version.value if choice == "version" else None,
        label=spec.version_label if choice == "version_label" else None,
    )


def _or_abort(context: grpc.ServicerContext, work: Callable[[], T]) -> T:
    """Return what ``work`` returns; end the call with the status that it raises."""
    try:
        return work()
    except StatusError as error:
        message = error.message
        if len(message) > _MAX_MESSAGE_CHARS:
            message = message[:_MAX_MESSAGE_CHARS] + "...TRUNCATED"
        context.abort(_STATUS_CODES[error.code], message)
        raise  # not reached: abort raises


class PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):  # type: ignore[misc]
    """Answers with what the loaded versions compute."""

    def __init__(self, *, core: ServerCore[Servable], metrics: RequestMetrics) -> None:
        self._core = core
        self._metrics = metrics

    def Predict(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802 - the name is protocol
        """Run one signature; the answer's model_spec says which version did."""
        return _or_abort(context, lambda: self._measured(request))

    def GetModelMetadata(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """Return the signatures of a version."""
        return _or_abort(context, lambda: self._metadata(request))

    def _measured(self, request: Any) -> Any:
        name = request.model_spec.name
        start = time.perf_counter()
        code = Code.OK
        try:
            response = self._predict(request)
        except StatusError as error:
            code = error.code
            raise
        finally:
            self._metrics.count(name, code=code)
        seconds = time.perf_counter() - start
        self._metrics.observe(name, api="Predict", entrypoint="GRPC", seconds=seconds)
        return response

    def _predict(self, request: Any) -> Any:
        signature_name = request.model_spec.signature_name or DEFAULT_SIGNATURE
        with self._core.acquire(_ref(request.model_spec)) as loaded:
            inputs = {alias: tensor_from_proto(proto) for alias, proto in request.inputs.items()}
            outputs = loaded.servable.predict(
                inputs, signature_name=signature_name, output_filter=tuple(request.output_filter)
            )
            version = loaded.version
        response = predict_pb2.PredictResponse()
        response.model_spec.name = request.model_spec.name
        response.model_spec.version.value = version
        response.model_spec.signature_name = signature_name
        for alias, tensor in outputs.items():
            response.outputs[alias].CopyFrom(tensor_to_proto(tensor))
        return response

    def _metadata(self, request: Any) -> Any:
        if not request.HasField("model_spec"):
            raise StatusError(Code.INVALID_ARGUMENT, "Missing ModelSpec")
        if not request.metadata_field:
            message = "GetModelMetadataRequest must specify at least one metadata_field"
            raise StatusError(Code.INVALID_ARGUMENT, message)
        unknown = next((field for field in request.metadata_field if field != _SIGNATURE_DEF), None)
        if unknown is not None:
            raise StatusError(Code.INVALID_ARGUMENT, f"Metadata field {unknown} is not supported")
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        with self._core.acquire(_ref(request.model_spec)) as loaded:
            response.model_spec.name = loaded.model
            response.model_spec.version.value = loaded.version
            response.metadata[_SIGNATURE_DEF].Pack(loaded.servable.signature_defs)
        return response


class ModelService(model_service_pb2_grpc.ModelServiceServicer):  # type: ignore[misc]
    """Answers with states, and takes new model lists."""

    def __init__(self, *, core: ServerCore[Servable]) -> None:
        self._core = core

    def GetModelStatus(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """Return the states of one version or of all."""
        return _or_abort(context, lambda: self._status(request))

    def HandleReloadConfigRequest(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """Replace the model list; see ``ServerCore.reload``. ``metric_names`` is not answered."""
        return _or_abort(context, lambda: self._reload(request))

    def _status(self, request: Any) -> Any:
        if not request.HasField("model_spec"):
            raise StatusError(Code.INVALID_ARGUMENT, "Missing ModelSpec")
        response = get_model_status_pb2.GetModelStatusResponse()
        for state in self._core.status(_ref(request.model_spec)):
            status = response.model_version_status.add(version=state.version, state=int(state.state))
            status.status.error_code = int(state.error_code)
            status.status.error_message = state.error_message
        return response

    def _reload(self, request: Any) -> Any:
        if request.config.WhichOneof("config") != "model_config_list":
            raise StatusError(
                Code.INVALID_ARGUMENT,
                "ServerModelConfig type not supported by HandleReloadConfigRequest. "
                "Only ModelConfigList is currently supported",
            )
        try:
            self._core.reload(entries_of(request.config))
        except StatusError as error:
            log.error("reload failed: %s", error.text)  # noqa: TRY400 - the client gets it too
            raise
        response = model_management_pb2.ReloadConfigResponse()
        response.status.error_code = int(Code.OK)
        return response


def make_grpc_server(*, core: ServerCore[Servable], metrics: RequestMetrics, threads: int) -> grpc.Server:
    """Make a gRPC server with both services, not yet listening.

    :param threads: Calls worked on at the same time, count. A reload that hangs keeps one.
    """
    server = grpc.server(
        ThreadPoolExecutor(max_workers=threads, thread_name_prefix="grpc"),
        options=[
            ("grpc.so_reuseport", 0),  # a port that is taken is an error, not a second server on it
            ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
            ("grpc.max_send_message_length", _MAX_MESSAGE_BYTES),
        ],
    )
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
        PredictionService(core=core, metrics=metrics), server
    )
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(ModelService(core=core), server)
    return server
