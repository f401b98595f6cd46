"""The way back when Airflow is down: the real ``airflow`` command, its connections in Airflow's own database, nothing running."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from airflow_model_ops.adapters.lineage.queries import LedgerQueries
from airflow_model_ops.adapters.lineage.settings import LedgerSettings
from tests.adapters.envoy_rig import eventually
from tests.adapters.serving_rig import FLEET, serving_fleet, version
from tests.airflow.command_line import YAML

pytestmark = [pytest.mark.e2e, pytest.mark.integration, pytest.mark.timeout(1200)]

AIRFLOW = str(Path(sys.executable).parent / "airflow")


def airflow(home: Path, *words: str, status: int = 0, **variables: str) -> subprocess.CompletedProcess[str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("AIRFLOW")}
    environment = kept | {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__MODEL_OPS__MODELS_DIR": str(home / "yaml"),
        **variables,
    }
    run = subprocess.run([AIRFLOW, *words], env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert run.returncode == status, run.stderr
    return run


def test_a_rollback_needs_neither_scheduler_nor_api_server(tmp_path: Path) -> None:
    home = tmp_path / "airflow"
    (home / "yaml").mkdir(parents=True)
    (home / "yaml" / "digits.yaml").write_text(YAML.format(model="digits"))
    with serving_fleet(tmp_path) as fleet:
        fleet.release(1, 2)
        addresses = fleet.addresses
        extra = {
            "fleet": FLEET,
            "servers": ",".join(f"{grpc}/{port}" for grpc, port in addresses.replicas),
            "router_config_dir": addresses.config_dir,
            "router_admin": addresses.admin_url,
            "route_timeout": "1s",
            "initially": "empty",
        }
        unknown = airflow(home, "model-ops", "rollback", "digits", "--reason", "r", status=1)
        told = "airflow model-ops: connection 'model_repository_default'"
        assert any(line.startswith(told) for line in unknown.stderr.splitlines()), unknown.stderr
        assert "Traceback" not in unknown.stderr
        airflow(home, "db", "migrate")
        for name, kind, held in (
            ("model_repository_default", "model_repository", {"root": addresses.root}),
            ("tf_serving_default", "tf_serving", extra),
        ):
            airflow(home, "connections", "add", name, "--conn-type", kind, "--conn-extra", json.dumps(held))
        with fleet.traffic() as traffic:
            done = airflow(home, "model-ops", "rollback", "digits", "--reason", "3 a.m.", "--output", "json")
            before = traffic.total
            assert eventually(lambda: traffic.total > before + 20, seconds=60)
            ledger = LedgerSettings(path=tmp_path / "mlmd.sqlite")
            mlmd = {"conn_type": "mlmd", "extra": {"path": str(ledger.path)}}
            airflow(home, "model-ops", "hold", "digits", AIRFLOW_CONN_MLMD_DEFAULT=json.dumps(mlmd))
        assert traffic.failures == []
        (row,) = json.loads(done.stdout)
        assert row["serves"] == "m-v1.0.0 100 %"
        assert float(row["seconds"]) > 0
        # A ledger that is away stops no way back.
        assert "not yet recorded in ML Metadata (digits: connection 'mlmd_default'" in done.stderr
        assert fleet.split() == {version(1).number: 100.0}
        recorded = LedgerQueries(ledger).history("digits", limit=4)
        changes = [entry for entry in recorded if entry.kind == "transition"]
        assert [entry.name for entry in changes] == ["hold", "rollback"]
        assert changes[1].reason.endswith("3 a.m.")
