"""Release machine-learning models from Apache Airflow: push, canary, check, promote or roll back."""

from __future__ import annotations

__version__ = "0.1.0"
