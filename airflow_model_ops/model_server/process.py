"""From flags to a serving process, and to its graceful end."""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable
from pathlib import Path

from airflow_model_ops.adapters.repository.remote_directory import RemoteDirectory
from airflow_model_ops.model_server.bucket_loads import load_from_bucket
from airflow_model_ops.model_server.grpc_service import make_grpc_server
from airflow_model_ops.model_server.http_server import HttpServer
from airflow_model_ops.model_server.lifecycle import Lifecycle
from airflow_model_ops.model_server.path_source import PathSource
from airflow_model_ops.model_server.performance import Performance
from airflow_model_ops.model_server.places import Place
from airflow_model_ops.model_server.request_metrics import RequestMetrics
from airflow_model_ops.model_server.rest_api import RestApi
from airflow_model_ops.model_server.saved_model import load_saved_model
from airflow_model_ops.model_server.servable import Servable
from airflow_model_ops.model_server.server_core import ServerCore
from airflow_model_ops.model_server.settings import Settings
from airflow_model_ops.model_server.state_board import StateBoard
from airflow_model_ops.model_server.status import StatusError

log = logging.getLogger(__name__)

_IDLE_S = 0.1


class Process:
    """One server. ``boot`` makes it serve, ``shut_down`` ends it."""

    def __init__(self, settings: Settings) -> None:
        flags = settings.flags
        self._flags = flags
        self._entries = settings.entries
        self._metrics_path = settings.metrics_path
        self._board = StateBoard()
        self._lifecycle: Lifecycle[Servable] = Lifecycle(
            load=self._load,
            board=self._board,
            max_load_retries=flags.max_num_load_retries,
            retry_wait=lambda given_up: given_up.wait(flags.load_retry_interval_micros / 1e6),
        )
        self._source = PathSource(aspire=self._lifecycle.aspire)
        self._core: ServerCore[Servable] = ServerCore(
            lifecycle=self._lifecycle,
            board=self._board,
            source=self._source,
            allow_labels_for_unavailable=flags.allow_version_labels_for_unavailable_models,
        )
        self._metrics = RequestMetrics()
        self._stopping = threading.Event()
        self._manage = threading.Thread(target=self._run_lifecycle, name="lifecycle", daemon=True)
        self._closers: list[Callable[[], object]] = []

    def boot(self) -> None:
        """Load the first models, then open gRPC, then REST, then write the port file.

        :raises StatusError: if a first model cannot be served.
        :raises OSError: if a port cannot be had.
        """
        self._manage.start()
        threading.Thread(target=self._run_polls, name="polls", daemon=True).start()
        if self._entries:
            self._core.reload(self._entries)
        if self._stopping.is_set():
            return
        grpc_port = self._open_grpc()
        rest_port = self._open_rest()
        if self._flags.port_file:
            _write_ports(self._flags.port_file, grpc_port=grpc_port, rest_port=rest_port)
        log.info("ready grpc=%d rest=%s models=%s", grpc_port, rest_port, [entry.name for entry in self._entries])

    def shut_down(self) -> None:
        """Answer the requests under way, accept no others, free the models."""
        self._stopping.set()
        self._core.close()
        for close in reversed(self._closers):
            close()
        if self._manage.is_alive():
            self._manage.join()
        self._lifecycle.close()

    def _load(self, model: str, version: int, place: Place) -> Servable:
        log.info("model=%s version=%d loading", model, version)
        if isinstance(place, RemoteDirectory):
            return load_from_bucket(place, load=self._load_directory)
        return self._load_directory(place)

    def _load_directory(self, path: Path) -> Servable:
        return load_saved_model(
            path,
            intra_op_threads=self._flags.tensorflow_intra_op_parallelism,
            inter_op_threads=self._flags.tensorflow_inter_op_parallelism,
        )

    def _run_lifecycle(self) -> None:
        while not self._stopping.is_set():
            if not self._lifecycle.tick():
                self._lifecycle.wait_for_work(_IDLE_S)

    def _run_polls(self) -> None:
        """Look at the base paths from the first model list on."""
        period_s = self._flags.file_system_poll_wait_seconds
        while not self._core.configured.wait(_IDLE_S):
            if self._stopping.is_set():
                return
        if period_s < 0:
            return
        self._source.poll()
        while period_s and not self._stopping.wait(period_s):
            self._source.poll()

    def _open_grpc(self) -> int:
        server = make_grpc_server(core=self._core, metrics=self._metrics, threads=self._flags.grpc_threads)
        address = f"{self._flags.bind_address}:{self._flags.port}"
        try:
            port = server.add_insecure_port(address)
        except RuntimeError as error:
            raise OSError(f"gRPC cannot listen on {address!r} ({error}); choose another --port, or 0") from error
        server.start()
        self._closers.append(lambda: server.stop(self._flags.shutdown_grace_seconds).wait())
        return port

    def _open_rest(self) -> int | None:
        if self._flags.rest_api_port is None:
            return None
        address = (self._flags.bind_address, self._flags.rest_api_port)
        try:
            sock = socket.create_server(address)
        except OSError as error:
            raise OSError(
                f"REST cannot listen on {address!r} ({error}); choose another --rest_api_port, or 0"
            ) from error
        api = RestApi(
            core=self._core, metrics=self._metrics, performance=Performance(), metrics_path=self._metrics_path
        )
        grace_s, threads = self._flags.shutdown_grace_seconds, self._flags.rest_api_num_threads
        server = HttpServer(api, sock=sock, threads=threads, grace_s=grace_s)
        server.start()
        self._closers.append(server.stop)
        port: int = sock.getsockname()[1]
        return port


def _write_ports(path: Path, *, grpc_port: int, rest_port: int | None) -> None:
    """Write the port file whole or not at all, for someone polls for it."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    aside.write_text(json.dumps({"grpc": grpc_port, "rest": rest_port, "pid": os.getpid()}), encoding="utf-8")
    aside.replace(path)


def run(settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT.

    :returns: the exit status: 0 after a signal, 1 when the server could not start.
    """
    done = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: done.set())
    process = Process(settings)
    failures: list[Exception] = []
    threading.Thread(target=_boot, args=(process, failures, done), name="boot", daemon=True).start()
    done.wait()
    failed = list(failures)  # before the stop, which makes a boot that is still waiting fail too
    for failure in failed:
        log.error("the server cannot start: %s", failure)
    process.shut_down()
    return 1 if failed else 0


def _boot(process: Process, failures: list[Exception], done: threading.Event) -> None:
    """Boot beside the main thread, which stays free for signals while a model loads or never comes."""
    try:
        process.boot()
    except (StatusError, OSError, RuntimeError) as error:
        failures.append(error)
        done.set()
