"""Actions as DAG runs: started through Airflow's own API in the caller's name, and followed to their end."""

from __future__ import annotations
