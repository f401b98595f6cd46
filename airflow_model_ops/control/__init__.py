"""The three moves over the ports: decide, commit, apply. No vendor library and no Airflow; I/O only through the ports."""

from __future__ import annotations
