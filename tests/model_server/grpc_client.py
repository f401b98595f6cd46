"""Calls a server with TF Serving's own stubs: a JSON line in ({"address", "method", "request", "timeout_s"}), one out."""

from __future__ import annotations

import functools
import json
import os
import sys
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import grpc
from google.protobuf import json_format
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

REQUESTS = {
    "Predict": predict_pb2.PredictRequest,
    "GetModelMetadata": get_model_metadata_pb2.GetModelMetadataRequest,
    "GetModelStatus": get_model_status_pb2.GetModelStatusRequest,
    "HandleReloadConfigRequest": model_management_pb2.ReloadConfigRequest,
}


@functools.cache
def stubs(address: str) -> list[Any]:
    channel = grpc.insecure_channel(address)
    return [
        prediction_service_pb2_grpc.PredictionServiceStub(channel),
        model_service_pb2_grpc.ModelServiceStub(channel),
    ]


def main() -> None:
    for line in sys.stdin:
        call = json.loads(line)
        name = call["method"]
        method = next(getattr(stub, name) for stub in stubs(call["address"]) if hasattr(stub, name))
        request = json_format.ParseDict(call["request"], REQUESTS[name]())
        try:
            response = method(request, timeout=call["timeout_s"])
            answer = json_format.MessageToDict(response, preserving_proto_field_name=True)
        except grpc.RpcError as error:
            answer = {"error": error.code().name, "message": error.details()}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
