"""An Airflow of its own for tests that run parts of it in this process: set before anything imports Airflow."""

from __future__ import annotations

import os
import tempfile
from functools import cache
from pathlib import Path


@cache
def private_airflow_home() -> Path:
    """Return the home of this process; the first that asks makes it: Airflow reads its settings once per process.

    Without a database and without examples. A worker of a parallel run has another one than the process that started it.
    Who asks first removes it in the end.
    """
    home = tempfile.mkdtemp(prefix="airflow-home-")
    os.environ.update(
        {
            "AIRFLOW_HOME": home,
            "AIRFLOW__CORE__UNIT_TEST_MODE": "True",
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT": "90",  # a busy machine may need long for the first import
            "AIRFLOW__CORE__DAGS_FOLDER": f"{home}/dags",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
            "AIRFLOW__DATABASE__LOAD_DEFAULT_CONNECTIONS": "False",
        }
    )
    return Path(home)
