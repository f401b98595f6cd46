"""The command line. Names and defaults are TF Serving's where it has the flag."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Flags:
    """What the command line says; see ``parse_flags`` for the meanings."""

    port: int
    rest_api_port: int | None
    bind_address: str
    port_file: Path | None
    model_config_file: str | None
    monitoring_config_file: Path | None
    model_name: str
    model_base_path: str | None
    file_system_poll_wait_seconds: float
    max_num_load_retries: int
    load_retry_interval_micros: int
    allow_version_labels_for_unavailable_models: bool
    tensorflow_intra_op_parallelism: int
    tensorflow_inter_op_parallelism: int
    grpc_threads: int
    rest_api_num_threads: int
    shutdown_grace_seconds: int


def _bool(text: str) -> bool:
    if text.lower() not in {"true", "false", "1", "0"}:
        raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")
    return text.lower() in {"true", "1"}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m airflow_model_ops.model_server",
        description="TF Serving's gRPC and REST API for laptops, demos and tests. Both ports are open to anyone who "
        "reaches them. Without a model list the server starts empty and waits for a reload.",
    )
    _add_network(parser)
    _add_models(parser)
    _add_limits(parser)
    return parser


def _add_network(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--port", type=int, default=8500, help="gRPC port; 0: a free one (default: %(default)s)")
    add("--rest_api_port", type=int, help="REST port; 0: a free one; left out: no REST, which is TF Serving's 0")
    add("--bind_address", default="127.0.0.1", help="address of both ports (default: %(default)s)")
    add("--port_file", type=Path, help='written when ready: {"grpc": PORT, "rest": PORT or null, "pid": PID}')
    add("--shutdown_grace_seconds", type=int, default=30, help="how long SIGTERM waits for requests under way")


def _add_models(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--model_config_file", help="ModelServerConfig in text format: a file, or a URL such as gs://bucket/file")
    add("--model_name", default="default", help="name of the model of --model_base_path")
    add("--model_base_path", help="serve one model from here; ignored with --model_config_file")
    add("--monitoring_config_file", type=Path, help="MonitoringConfig in text format; the page is on the REST port")
    add("--file_system_poll_wait_seconds", type=float, default=1, help="0: look once; below 0: never (default: 1)")
    add("--max_num_load_retries", type=int, default=5, help="further tries of a failed load (default: %(default)s)")
    add("--load_retry_interval_micros", type=int, default=60_000_000, help="between two tries (default: a minute)")
    add(
        "--allow_version_labels_for_unavailable_models",
        type=_bool,
        nargs="?",
        const=True,
        default=False,
        help="accept a new label for a version that is not loaded yet",
    )


def _add_limits(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--tensorflow_intra_op_parallelism", type=int, default=1, help="threads within an operation (default: 1)")
    add("--tensorflow_inter_op_parallelism", type=int, default=1, help="threads for operations side by side")
    add("--grpc_threads", type=int, default=32, help="gRPC calls at the same time (default: %(default)s)")
    add("--rest_api_num_threads", type=int, default=32, help="REST requests at the same time (default: %(default)s)")


def parse_flags(arguments: Sequence[str] | None = None) -> Flags:
    """Read the command line; ends the process with usage on a mistake."""
    return Flags(**vars(_parser().parse_args(arguments)))
