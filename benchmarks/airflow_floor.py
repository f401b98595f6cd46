"""What a task costs in this machine's Airflow before it does anything: the floor beside which a rollback's own work is shown.

Run: python -m benchmarks.airflow_floor [--runs N]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from demo.airflow_rig import AirflowRig

_DAG = """
from __future__ import annotations

from airflow.sdk import dag, task


@dag(dag_id="floor", schedule=None)
def floor():
    @task
    def nothing() -> None:
        return None

    nothing()


floor()
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Floor:
    """Medians in seconds.

    :param task: From the task's start to its end, as Airflow records them.
    :param request: From the REST call that triggers the run to the task's end.
    """

    task: float
    request: float


def measure(*, runs: int) -> Floor:
    """Start an Airflow, run a no-op task several times, and return the medians; the first run is not counted."""
    with tempfile.TemporaryDirectory() as work:
        dags = Path(work) / "dags"
        dags.mkdir()
        (dags / "floor.py").write_text(_DAG, encoding="utf-8")
        with AirflowRig(Path(work) / "home", dags_folder=dags) as rig:
            rig.rest.wait_for_dag("floor")
            rig.rest.unpause("floor")
            tasks, requests = zip(*[_one(rig) for _ in range(runs + 1)][1:], strict=True)
    return Floor(task=statistics.median(tasks), request=statistics.median(requests))


def _one(rig: AirflowRig) -> tuple[float, float]:
    asked = time.time()
    run = rig.rest.trigger("floor")
    rig.rest.wait_for_run("floor", run, timeout=120)
    instance = rig.rest.task_instances("floor", run)[0]
    start, end = (datetime.fromisoformat(instance[key]).timestamp() for key in ("start_date", "end_date"))
    return end - start, end - asked


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=10)
    floor = measure(runs=parser.parse_args().runs)
    print(f"no-op task, start to end:          {floor.task * 1000:8.0f} ms")
    print(f"no-op task, REST call to its end:  {floor.request * 1000:8.0f} ms")


if __name__ == "__main__":
    main()
