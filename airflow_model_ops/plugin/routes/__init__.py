"""The page's API, a module per subject. Every route asks who calls; see :mod:`airflow_model_ops.plugin.access`."""

from __future__ import annotations
