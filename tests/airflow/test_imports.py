"""What a DAG file may cost: nothing heavy is imported to parse one, in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.airflow.parse_cost import WITHOUT_OTHERS_ASSETS

pytestmark = pytest.mark.timeout(300)  # fresh processes, which import nearly all there is

DAGS = sorted((Path(__file__).parents[2] / "dags").glob("*.py"))
HEAVY = ("tensorflow", "ml_metadata", "google.cloud", "prometheus_api_client", "grpc", "numpy", "pandas")
MODEL = "model: {model}\nchecks:\n  - {{name: errors, kind: error_rate, max: 0.05}}\n"

PARSE = """
import json, sys
import airflow.sdk
{prologue}
before = set(sys.modules)
import importlib, runpy
for module in {modules!r}:
    importlib.import_module(module)
dags = []
for path in {paths!r}:
    from airflow.sdk import DAG
    dags += [value.dag_id for value in runpy.run_path(path).values() if isinstance(value, DAG)]
new = sorted(set(sys.modules) - before)
heavy = [name for name in new if any(name == each or name.startswith(each + '.') for each in {heavy!r})]
print(json.dumps({{"dags": sorted(dags), "heavy": heavy}}))
"""


@pytest.fixture
def models_dir(tmp_path: Path) -> Path:
    for model in ("digits", "letters"):
        (tmp_path / f"{model}.yaml").write_text(MODEL.format(model=model))
    return tmp_path


def parse(
    models_dir: Path, *, modules: list[str], paths: list[Path], prologue: str = WITHOUT_OTHERS_ASSETS
) -> dict[str, list[str]]:
    script = PARSE.format(modules=modules, paths=[str(path) for path in paths], heavy=HEAVY, prologue=prologue)
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "AIRFLOW__MODEL_OPS__MODELS_DIR": str(models_dir)},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_parsing_every_bundled_dag_and_importing_all_a_dag_file_may_import_pulls_in_nothing_heavy(
    models_dir: Path,
) -> None:
    package = Path(__file__).parents[2] / "airflow_model_ops"
    modules = [
        f"airflow_model_ops.{folder}.{path.stem}"
        for folder in ("operators", "sensors", "triggers", "hooks", "config")
        for path in sorted((package / folder).glob("*.py"))
        if path.stem != "__init__"
    ]
    modules += [f"airflow_model_ops.{name}" for name in ("assets", "bundles", "callbacks", "dag_builders")]

    seen = parse(models_dir, modules=modules, paths=DAGS)

    assert seen["heavy"] == []
    assert seen["dags"] == [
        "model_abort",
        "model_blast_radius",
        "model_hold",
        "model_housekeeping",
        "model_lift",
        "model_pin_golden",
        "model_quarantine",
        "model_release_digits",
        "model_release_letters",
        "model_resume",
        "model_rollback",
        "model_watch",
    ]


def test_this_test_would_see_a_heavy_import(models_dir: Path) -> None:
    seen = parse(models_dir, modules=["prometheus_api_client"], paths=[])

    assert "prometheus_api_client" in seen["heavy"]


def test_google_cloud_at_parse_time_is_airflows_own_doing_for_any_dag_with_an_asset(
    models_dir: Path, tmp_path: Path
) -> None:
    """What is left out above is no import of ours: a DAG that knows nothing of this package has it, too."""
    bare = tmp_path / "bare.py"
    bare.write_text("from airflow.sdk import DAG, Asset\nbare = DAG('bare', schedule=[Asset(name='a', uri='x://a')])\n")

    with_handlers = parse(models_dir, modules=[], paths=[bare], prologue="")
    without = parse(models_dir, modules=[], paths=[bare])

    assert "google.cloud.storage" in with_handlers["heavy"]
    assert without["heavy"] == []
