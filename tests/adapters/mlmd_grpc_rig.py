"""A server of ML Metadata over gRPC, which its wheel has not: every method, over a SQLite file, in a process of its own.

It can be killed, hung and started again at the same place.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from airflow_model_ops.adapters.lineage.settings import LedgerKind, LedgerSettings
from demo.ports import free_port
from demo.process_group import Watchdog
from tests.adapters.database_rig import poll

_UP_SECONDS = 150.0
_PATIENCE: dict[str, Any] = {"answer_seconds": 60.0, "retry_seconds": 60.0}
_HERE = Path(__file__)


class MlmdGrpcServer:
    """Starts on entry, stops on exit.

    :param file: The SQLite file that it keeps everything in.
    :param certificate: With ``key``, PEM files: it speaks TLS.
    """

    def __init__(self, file: Path, *, certificate: Path | None = None, key: Path | None = None) -> None:
        self.port = free_port()
        self.file = file
        self._log = file.with_suffix(".log")
        tls = ["--certificate", str(certificate), "--key", str(key)] if certificate else []
        self._command = ["-m", "tests.adapters.mlmd_grpc_rig", "--port", str(self.port), "--file", str(file), *tls]
        self._process: subprocess.Popen[bytes] | None = None
        self._watchdog = Watchdog()

    def __enter__(self) -> Self:
        self._watchdog.__enter__()
        try:
            self.start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        self._watchdog.__exit__(None, None, None)

    def settings(self, **more: Any) -> LedgerSettings:
        """Return the settings of a ledger on this server."""
        return LedgerSettings(kind=LedgerKind.GRPC, host="127.0.0.1", port=self.port, **{**_PATIENCE, **more})

    def start(self) -> None:
        """Start it, or start it again, and wait until it listens."""
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, *self._command],
                cwd=_HERE.parents[2],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._watchdog.watch(self._process.pid)
        poll(self._is_up, seconds=_UP_SECONDS, otherwise=self._log.read_text)

    def kill(self) -> None:
        """Kill it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """Let it hang: the kernel takes connections and requests, nobody answers."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def _is_up(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self._log.read_text()
        return "serves" in self._log.read_text()


def serve(file: str, port: int, *, certificate: str = "", key: str = "") -> None:
    """Serve every method of ML Metadata's service over its own C++ store, one call at a time, until killed."""
    import grpc
    from ml_metadata.metadata_store.pywrap.metadata_store_extension import metadata_store as native
    from ml_metadata.proto import metadata_store_pb2 as pb2
    from ml_metadata.proto import metadata_store_service_pb2 as service_pb2

    config = pb2.ConnectionConfig()
    config.sqlite.filename_uri, config.sqlite.connection_mode = file, 3
    store = native.CreateMetadataStore(config.SerializeToString(), pb2.MigrationOptions().SerializeToString())
    one_at_a_time = threading.Lock()
    codes = {code.value[0]: code for code in grpc.StatusCode}

    def handler(name: str) -> Callable[[bytes, grpc.ServicerContext], bytes]:
        def handle(request: bytes, context: grpc.ServicerContext) -> bytes:
            with one_at_a_time:
                response, message, code = getattr(native, name)(store, request)
            if code:
                context.abort(codes[code], message.decode())
            return bytes(response)

        return handle

    service = service_pb2.DESCRIPTOR.services_by_name["MetadataStoreService"]
    methods = {
        method.name: grpc.unary_unary_rpc_method_handler(handler(method.name))
        for method in service.methods
        if hasattr(native, method.name)
    }
    server = grpc.server(ThreadPoolExecutor(8))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service.full_name, methods),))
    if certificate:
        pair = (Path(key).read_bytes(), Path(certificate).read_bytes())
        server.add_secure_port(f"127.0.0.1:{port}", grpc.ssl_server_credentials([pair]))
    else:
        server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    sys.stdout.write(f"serves {len(methods)} methods\n")
    sys.stdout.flush()
    server.wait_for_termination()


if __name__ == "__main__":
    words = argparse.ArgumentParser()
    words.add_argument("--file", required=True)
    words.add_argument("--port", type=int, required=True)
    words.add_argument("--certificate", default="")
    words.add_argument("--key", default="")
    given = words.parse_args()
    serve(given.file, given.port, certificate=given.certificate, key=given.key)
