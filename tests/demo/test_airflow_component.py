"""What Airflow's forking components import once for all their children."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.integration

CHILD = """
import sys
from airflow.sdk import Asset
from demo.airflow_component import preload
preload(["airflow_model_ops.dag_builders"])
before = set(sys.modules)
import airflow_model_ops.dag_builders
Asset(name="digits/stable", uri="model-ops://digits/stable")
print(sorted(set(sys.modules) - before))
"""


def test_a_child_imports_nothing_more_for_its_dags_and_their_first_asset() -> None:
    done = subprocess.run([sys.executable, "-c", CHILD], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.splitlines()[-1] == "[]"
