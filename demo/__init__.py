"""The demo: real digits, real traffic, late labels; released and rolled back by Airflow's own processes."""

from __future__ import annotations
