"""What a person changes by hand beside a way back: ``model_hold``, ``model_resume``, ``model_abort``, ``model_quarantine``
and ``model_lift``.
"""

from __future__ import annotations

from airflow_model_ops.change_dags import (
    build_abort_dag,
    build_hold_dag,
    build_lift_dag,
    build_quarantine_dag,
    build_resume_dag,
)
from airflow_model_ops.configured_models import models_for_ways_back

if _models := models_for_ways_back():
    model_hold = build_hold_dag(_models)
    model_resume = build_resume_dag(_models)
    model_abort = build_abort_dag(_models)
    model_quarantine = build_quarantine_dag(_models)
    model_lift = build_lift_dag(_models)
