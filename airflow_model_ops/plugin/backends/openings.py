"""Opened repositories, fleets, ledgers and metric sources, kept for a while: opening one asks Airflow for connections, and
clients of buckets and servers are slow to make.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Hashable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_model_ops.config.model_file import ModelIdentity
from airflow_model_ops.core.errors import InvalidConfig
from airflow_model_ops.core.ports import MetricSource
from airflow_model_ops.hooks import wiring
from airflow_model_ops.hooks.wiring import Fleet, fetch_connection

if TYPE_CHECKING:
    from airflow_model_ops.adapters.lineage.queries import LedgerQueries

T = TypeVar("T")

KEPT_SECONDS = 60.0
"""How long something opened is used: a changed connection is followed after that."""
LEDGER_PATIENCE_SECONDS = 2.5
"""How long a ledger that is away is tried again, and may take for an answer, whatever its connection allows for recording."""

_kept: dict[Hashable, tuple[float, Any]] = {}
_lock = threading.Lock()


def fleet_of(model: ModelIdentity) -> Fleet:
    """Return the opened fleet of a model with its repository; touches no network but Airflow's for the connections.

    :raises ConnectionUnavailable: if there is no such connection.
    :raises InvalidConfig: if a connection is wrong.
    """
    return _opened(("fleet", model.place), lambda: wiring.open_fleet_of(model.place))


def source_of(model: ModelIdentity) -> MetricSource:
    """Return the metric source of a model; raises as :func:`fleet_of` does."""
    key = ("source", model.metrics_connection, model.model if model.target.vertex_ai else None)
    return _opened(key, lambda: wiring.open_source_of(model))


def ledger_of(model: ModelIdentity) -> LedgerQueries:
    """Return the ledger of a model; raises as :func:`fleet_of` does.

    :raises InvalidConfig: also if its YAML file says that it has none.
    """
    conn_id = model.connections.ledger
    if conn_id is None:
        raise InvalidConfig(f"model {model.model!r} has no ledger; set connections.ledger in its YAML file")
    return _opened(("ledger", conn_id), lambda: _ledger_at(conn_id))


def forget() -> None:
    """Open everything anew at the next question."""
    with _lock:
        _kept.clear()


def _opened(key: Hashable, open_: Callable[[], T]) -> T:
    with _lock:
        until, found = _kept.get(key, (float("-inf"), None))
    if time.monotonic() < until:
        known: T = found
        return known
    opened = open_()
    with _lock:
        _kept[key] = (time.monotonic() + KEPT_SECONDS, opened)
    return opened


def _ledger_at(conn_id: str) -> LedgerQueries:
    from airflow_model_ops.adapters.lineage.queries import LedgerQueries
    from airflow_model_ops.hooks.mlmd import ledger_settings_of

    # ML Metadata logs two lines each time a store is opened, which a page does for every question.
    logging.getLogger("absl").setLevel(logging.WARNING)
    settings = ledger_settings_of(fetch_connection(conn_id))
    # A page does not wait for longer anyway, and a thread that goes on trying is one less for the others' questions.
    patience = {
        key: min(getattr(settings, key), LEDGER_PATIENCE_SECONDS) for key in ("retry_seconds", "answer_seconds")
    }
    return LedgerQueries(replace(settings, **patience))
