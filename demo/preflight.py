"""What the demo needs on this machine, asked for before anything starts."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from importlib.util import find_spec

import psutil

from airflow_model_ops.adapters.metrics.prometheus_process import find_prometheus
from airflow_model_ops.adapters.serving.envoy_process import find_envoy
from airflow_model_ops.core.errors import InvalidConfig

_PACKAGES = {
    "airflow": "apache-airflow",
    "tensorflow": "tensorflow",
    "keras": "keras",
    "sklearn": "scikit-learn",
    "ml_metadata": "ml-metadata",
    "prometheus_api_client": "prometheus-api-client",
}
_NEEDED_GIB = 4.0


def problems() -> Iterator[str]:
    """Yield a sentence for each thing that is missing, with what to do about it."""
    for module, package in _PACKAGES.items():
        if find_spec(module) is None:
            yield f"Python package {package!r} is not installed; run `make setup`"
    for find in (find_prometheus, find_envoy):
        try:
            find()
        except InvalidConfig as error:
            yield str(error)
    yield from _no_loopback()
    available = psutil.virtual_memory().available / 2**30
    if available < _NEEDED_GIB:
        yield f"{available:.1f} GiB of memory are available, {_NEEDED_GIB:g} are needed; end other programs"


def _no_loopback() -> Iterator[str]:
    try:
        with socket.create_server(("127.0.0.1", 0)):
            return
    except OSError as error:
        yield f"no port can be opened on 127.0.0.1 ({error}); the demo listens there and nowhere else"
