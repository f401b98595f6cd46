"""Checks: measure, then judge.

A metric source answers a :class:`Check` with :class:`Evidence`; the judge (``core/judge``) turns the evidence into one
:class:`Assessment` per check; :func:`combine` makes one :class:`Summary` of them.
"""

from __future__ import annotations

from airflow_model_ops.core.checks.definition import PLACEHOLDERS, Check, CheckKind, Verdict
from airflow_model_ops.core.checks.evidence import Arm, Arms, Evidence, Measurement
from airflow_model_ops.core.checks.summary import WORST_FIRST, Assessment, Summary, combine

__all__ = [
    "PLACEHOLDERS",
    "WORST_FIRST",
    "Arm",
    "Arms",
    "Assessment",
    "Check",
    "CheckKind",
    "Evidence",
    "Measurement",
    "Summary",
    "Verdict",
    "combine",
]
