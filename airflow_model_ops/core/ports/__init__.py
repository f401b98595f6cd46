"""What core and control ask of the outside world. Adapters implement these; tests use the fakes of ``testing.py``.

Every method says whether it may touch the network and what a repetition does. Errors are those of
:mod:`airflow_model_ops.core.errors`.
"""

from __future__ import annotations

from airflow_model_ops.core.ports.clock import Clock
from airflow_model_ops.core.ports.ledger import Ledger
from airflow_model_ops.core.ports.metrics import CurveSource, MetricSource
from airflow_model_ops.core.ports.repository import (
    LONGEST_LEASE_SECONDS,
    FleetStore,
    KnownVersion,
    Lease,
    Log,
    Manifest,
    PushRequest,
    Repository,
)
from airflow_model_ops.core.ports.serving import (
    FleetPlan,
    FoundModel,
    ModelPlan,
    Observed,
    Progress,
    ServedFleet,
    Target,
)

__all__ = [
    "LONGEST_LEASE_SECONDS",
    "Clock",
    "CurveSource",
    "FleetPlan",
    "FleetStore",
    "FoundModel",
    "KnownVersion",
    "Lease",
    "Ledger",
    "Log",
    "Manifest",
    "MetricSource",
    "ModelPlan",
    "Observed",
    "Progress",
    "PushRequest",
    "Repository",
    "ServedFleet",
    "Target",
]
