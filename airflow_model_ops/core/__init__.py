"""The rules, pure: no I/O, no clock, no Airflow, no TensorFlow; the standard library only."""

from __future__ import annotations
