"""The outside world behind the protocols of core: no Airflow."""

from __future__ import annotations
