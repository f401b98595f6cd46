"""The gRPC front."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc

from tests.vertex_fake.desk import Desk
from tests.vertex_fake.methods import METHODS, Method
from tests.vertex_fake.refusal import ConnectionLost, Refused

_THREADS = 16


class GrpcFront:
    """A server without TLS on loopback; ``address`` is ``host:port``."""

    def __init__(self, desk: Desk, *, port: int = 0) -> None:
        self._server = grpc.server(ThreadPoolExecutor(_THREADS, thread_name_prefix="vertex-fake-grpc"))
        for service in {each.service for each in METHODS}:
            handlers = {each.name: _handler(desk, each) for each in METHODS if each.service == service}
            self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
        bound = self._server.add_insecure_port(f"127.0.0.1:{port}")
        self.address = f"127.0.0.1:{bound}"
        self._server.start()

    def stop(self) -> None:
        self._server.stop(grace=None).wait()


def _handler(desk: Desk, method: Method) -> grpc.RpcMethodHandler:
    def answer(request: Any, context: grpc.ServicerContext) -> Any:
        metadata = {str(key): str(value) for key, value in context.invocation_metadata()}
        try:
            return desk.call(
                method, request, transport="grpc", path=method.path, authorization=metadata.get("authorization")
            )
        except Refused as refused:
            context.abort(grpc.StatusCode[refused.code], refused.message)
        except ConnectionLost:
            # As a client sees it when its connection breaks.
            context.abort(grpc.StatusCode.UNAVAILABLE, "Socket closed")

    return grpc.unary_unary_rpc_method_handler(
        answer, request_deserializer=_reader(method), response_serializer=lambda message: message.SerializeToString()
    )


def _reader(method: Method) -> Callable[[bytes], Any]:
    return method.request.deserialize if hasattr(method.request, "deserialize") else method.request.FromString
