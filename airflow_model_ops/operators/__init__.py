"""Thin operators over :class:`~airflow_model_ops.control.model_control.ModelControl`."""

from __future__ import annotations
