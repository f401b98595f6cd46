"""What the provider adds to parsing a DAG file, beside ``import airflow.sdk``: run with ``python -m benchmarks.parse``.

Each figure is from a process of its own, as in a DAG processor that forks for every file; the median of several is told.
It is processor time: parsing waits for nothing, and other work on the machine does not count.
Goal: importing all that the bundled DAG files import adds less than 150 ms to ``import airflow.sdk``. What building their
DAGs costs comes beside it, next to the floor: as many plain DAGs, one of them on a cron schedule as ours.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

GOAL_MS = 150.0
DAGS = Path(__file__).parents[1] / "dags"
MODEL = "model: model_{number}\nchecks:\n  - {{name: errors, kind: error_rate, max: 0.05}}\n"

MEASURE = """
import json, runpy, sys, time
begin = time.process_time()
import airflow.sdk
from airflow.sdk import DAG, BaseOperator, BaseHook, BaseSensorOperator, Asset, AssetAlias, AssetWatcher, Param, TaskGroup, conf
sdk = time.process_time()
import airflow.triggers.base  # what every provider with a trigger imports
base = time.process_time()
import airflow_model_ops.dag_builders, airflow_model_ops.configured_models
imported = time.process_time()
with DAG("plain_cron", schedule="@hourly"):
    BaseOperator(task_id="nothing")
for number in range(4):
    with DAG(f"plain_{number}", schedule=None):
        BaseOperator(task_id="nothing")
floor = time.process_time()
dags = 0
for path in sys.argv[1:]:
    dags += len({value.dag_id for value in runpy.run_path(path).values() if isinstance(value, DAG)})
built = time.process_time()
parts = {"sdk": sdk - begin, "trigger base": base - sdk, "imports": imported - base}
parts |= {"floor": floor - imported, "DAGs": built - floor}
print(json.dumps(parts | {"count": dags}))
"""


def measure(models: int, *, times: int) -> tuple[dict[str, float], int]:
    """Return the median of each figure in milliseconds, and how many DAGs were built."""
    with tempfile.TemporaryDirectory() as directory:
        home, models_dir = Path(directory, "home"), Path(directory, "models")
        models_dir.mkdir()
        for number in range(models):
            (models_dir / f"model_{number}.yaml").write_text(MODEL.format(number=number))
        env = {
            **os.environ,
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__MODEL_OPS__MODELS_DIR": str(models_dir),
        }
        samples = [_once(env) for _ in range(times + 1)][1:]  # the first one warms the file cache and writes byte code
    figures = {name: 1000 * statistics.median(sample[name] for sample in samples) for name in samples[0]}
    return figures, int(samples[0]["count"])


def _once(env: Mapping[str, str]) -> dict[str, float]:
    command: Sequence[str] = [sys.executable, "-c", MEASURE, *map(str, sorted(DAGS.glob("*.py")))]
    done = subprocess.run(command, env=dict(env), capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> int:
    """Print a table; exit with 1 if the goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=5, help="fresh processes per row")
    parser.add_argument(
        "--models", type=int, nargs="+", default=[1, 20], help="how many models are configured, per row"
    )
    given = parser.parse_args()
    print(
        "| models | DAGs | import airflow.sdk | + trigger base | + provider's modules | floor: 5 plain DAGs | + DAGs built |"
    )
    print("|---|---|---|---|---|---|---|")
    missed = False
    for models in given.models:
        figures, dags = measure(models, times=given.times)
        added = figures["trigger base"] + figures["imports"]
        missed = missed or added >= GOAL_MS
        cells = [figures[name] for name in ("sdk", "trigger base", "imports", "floor", "DAGs")]
        print(f"| {models} | {dags} | " + " | ".join(f"{cell:,.0f} ms" for cell in cells) + " |", flush=True)
    print(f"goal: all imports add less than {GOAL_MS:g} ms: {'missed' if missed else 'met'}")
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
