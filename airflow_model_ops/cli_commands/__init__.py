"""What the commands of ``airflow model-ops`` do; imported when one runs, never at the start of Airflow's command line."""

from __future__ import annotations
