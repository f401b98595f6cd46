"""A DAG file for the tests of the guards: releases of the same model whose canary stays live until something ends it."""

from __future__ import annotations

from datetime import timedelta

from airflow_model_ops.config.release_parts import CanaryPart, JudgePart, StepPart
from airflow_model_ops.configured_models import usable_models
from airflow_model_ops.core.policy import OnDeadline
from airflow_model_ops.dag_builders import build_release_dag

_RAMP = CanaryPart(steps=(StepPart(percent=30, bake=1200),), interval=1, deadline=1500)
_DIGITS = usable_models()["digits"].model_copy(update={"canary": _RAMP})

_QUESTION = CanaryPart(steps=(StepPart(percent=30, bake=10),), interval=1, deadline=10, on_deadline=OnDeadline.ASK)
_DOUBTED = tuple(check.model_copy(update={"negligible": 0.0001}) for check in _DIGITS.checks)
"""No request fails here, so only a rate below ``negligible`` could show that: not before the deadline."""

_LOOKED_AT = _DIGITS.canary.model_copy(update={"interval": 20.0})
_HARD_TO_CONVINCE = JudgePart(alpha=1e-6)
"""Together a person sees the canary for 20 s before its verdict: so few requests as until the first measurement show nothing, and
the second one comes that much later."""

patient = build_release_dag(_DIGITS, dag_id="patient_release_digits")
hurried = build_release_dag(_DIGITS, dag_id="hurried_release_digits", dagrun_timeout=timedelta(seconds=35))
asking = build_release_dag(
    _DIGITS.model_copy(update={"canary": _QUESTION, "checks": _DOUBTED}), dag_id="asking_release_digits"
)
shown = build_release_dag(
    _DIGITS.model_copy(update={"canary": _LOOKED_AT, "judge": _HARD_TO_CONVINCE}), dag_id="shown_release_digits"
)
