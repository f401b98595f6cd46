"""Airflow connections turned into adapters, each testable from the connection's form."""

from __future__ import annotations
