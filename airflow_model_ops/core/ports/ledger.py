"""Where the logs are told again for people who ask."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from airflow_model_ops.core.ports.repository import Log, Manifest
from airflow_model_ops.core.versioning import Version


class Ledger(Protocol):
    """ML Metadata as a projection of the logs."""

    def catch_up(self, model: str, log: Log, manifest_of: Callable[[Version], Manifest]) -> int:
        """Record the entries that are missing, in order, each exactly once; return how many."""
        ...
