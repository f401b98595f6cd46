"""The Model Ops page in the Airflow UI: its API and its React bundle, served by Airflow's API server."""

from __future__ import annotations
