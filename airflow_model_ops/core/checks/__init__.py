"""Checks: measure, then assess.

A metric source answers a :class:`Check` with :class:`Evidence`; :func:`assess` turns the evidence of one check into an
:class:`Assessment` by plain thresholds; :func:`combine` makes one :class:`Summary` of a release's checks. A stricter
judge takes the place of :func:`assess` alone: it reads the same evidence and gives the same assessments.
"""

from __future__ import annotations

from airflow_model_ops.core.checks.definition import PLACEHOLDERS, Check, CheckKind, Verdict
from airflow_model_ops.core.checks.evidence import Arm, Arms, Evidence, Measurement
from airflow_model_ops.core.checks.summary import WORST_FIRST, Assessment, Summary, combine
from airflow_model_ops.core.checks.thresholds import assess

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
    "assess",
    "combine",
]
