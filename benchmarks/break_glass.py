"""How long ``airflow model-ops rollback`` takes where Airflow does not run: no scheduler, no API server, no triggerer.

    python -m benchmarks.break_glass [--runs 5]

Real: the command as a person starts it, the repository (fsync included), Envoy, gRPC, ML Metadata in SQLite. The two model
servers are the tests' fake gRPC service. The floor is ``airflow version``, which only starts Airflow's own command line. The
command's own time is what it adds: it begins when Airflow hands over, and ends when the router has confirmed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.adapters.serving_rig import FLEET, Fleet, serving_fleet, version
from tests.airflow.command_line import YAML

_AIRFLOW = str(Path(sys.executable).parent / "airflow")
_GOAL_SECONDS = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One rollback; seconds.

    :param own: What the command says of itself.
    :param whole: From the process' start to its end, the record in ML Metadata included.
    """

    own: float
    whole: float


def main() -> int:
    """Measure and print the table; not 0 if the goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as root, serving_fleet(Path(root)) as fleet:
        environment = _environment(Path(root), fleet, models=options.runs)
        floor = [_timed(environment, "version")[0] for _ in range(options.runs)]
        runs = [_rollback(environment, fleet, f"model-{number}") for number in range(options.runs)]
    own = [run.own for run in runs]
    whole = [run.whole for run in runs]
    print(f"rollback from the command line, {options.runs} runs, nothing of Airflow is running")
    print(f"{'':44} {'median s':>9} {'max s':>9}")
    for name, values in (
        ("floor: airflow version", floor),
        ("own time: commit, apply, router confirmed", own),
        ("whole process, with the record in the ledger", whole),
    ):
        print(f"{name:44} {statistics.median(values):9.2f} {max(values):9.2f}")
    print(f"whole process / floor: {statistics.median(whole) / statistics.median(floor):.2f}")
    held = max(own) < _GOAL_SECONDS
    print(f"goal: own time below {_GOAL_SECONDS:g} s: {'held' if held else 'MISSED'}")
    return 0 if held else 1


def _rollback(environment: Mapping[str, str], fleet: Fleet, model: str) -> Run:
    fleet.release(1, 2, model=model)
    whole, out = _timed(environment, "model-ops", "rollback", model, "--reason", "benchmark", "--output", "json")
    (row,) = json.loads(out)
    assert fleet.split(model) == {version(1).number: 100.0}
    return Run(own=float(row["seconds"]), whole=whole)


def _timed(environment: Mapping[str, str], *words: str) -> tuple[float, str]:
    began = time.perf_counter()
    done = subprocess.run([_AIRFLOW, *words], env=dict(environment), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"airflow {' '.join(words)} exits {done.returncode}: {done.stderr}")
    return time.perf_counter() - began, done.stdout


def _environment(root: Path, fleet: Fleet, *, models: int) -> dict[str, str]:
    """Describe the models and the connections as break-glass has them: in the environment."""
    directory = root / "yaml"
    directory.mkdir()
    for number in range(models):
        (directory / f"model-{number}.yaml").write_text(YAML.format(model=f"model-{number}"), encoding="utf-8")
    addresses = fleet.addresses
    connections = {
        "model_repository_default": ("model_repository", {"root": addresses.root}),
        "mlmd_default": ("mlmd", {"path": str(root / "mlmd.sqlite")}),
        "tf_serving_default": (
            "tf_serving",
            {
                "fleet": FLEET,
                "servers": ",".join(f"{grpc}/{port}" for grpc, port in addresses.replicas),
                "router_config_dir": addresses.config_dir,
                "router_admin": addresses.admin_url,
                "route_timeout": "1s",
                "initially": "empty",
            },
        ),
    }
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    return kept | {
        "AIRFLOW_HOME": str(root / "airflow"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__MODEL_OPS__MODELS_DIR": str(directory),
        **{
            f"AIRFLOW_CONN_{name.upper()}": json.dumps({"conn_type": kind, "extra": extra})
            for name, (kind, extra) in connections.items()
        },
    }


if __name__ == "__main__":
    sys.exit(main())
