"""The rig that the demo and the other end-to-end tests stand on: a real Airflow that starts, works and stops whole."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from demo.airflow_rest import AirflowRestError, wait_until
from demo.airflow_rig import COMPONENTS, AirflowRig

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]

_LOG = logging.getLogger(__name__)
_ROOT = Path(__file__).resolve().parents[2]
_DAG = """
from __future__ import annotations

from datetime import timedelta

from airflow.providers.standard.sensors.time_delta import TimeDeltaSensor
from airflow.sdk import BaseHook, dag, task


@dag(dag_id="rig", schedule=None)
def rig():
    @task
    def first(params=None) -> str:
        connection = BaseHook.get_connection("rig_service")
        return f"{params['word']}@{connection.host}"

    @task
    def last(word: str) -> str:
        print(f"the last task saw {word}")
        return word

    word = first()
    wait = TimeDeltaSensor(task_id="wait", delta=timedelta(seconds=2), deferrable=True)
    word >> wait >> last(word)


rig().params["word"] = "none"
"""
_STUCK_DAG = """
from __future__ import annotations

from airflow.sdk import dag, task


@dag(dag_id="stuck", schedule=None)
def stuck():
    @task
    def sleep() -> None:
        import time

        time.sleep(600)

    @task(trigger_rule="one_failed")
    def rescue() -> str:
        return "rescued"

    sleep() >> rescue()


stuck()
"""


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AirflowRig]:
    folder = tmp_path_factory.mktemp("dags")
    (folder / "rig.py").write_text(_DAG, encoding="utf-8")
    (folder / "stuck.py").write_text(_STUCK_DAG, encoding="utf-8")
    connections = {"rig_service": {"conn_type": "http", "host": "rig.example"}}
    home = tmp_path_factory.mktemp("airflow")
    with AirflowRig(home, dags_folder=folder, connections=connections) as rig:
        yield rig
        _LOG.info("started in %.1f s; memory in MiB: %s", rig.start_seconds, rig.memory_mib())


def test_a_dag_with_a_deferrable_task_runs_to_success_and_its_values_and_logs_can_be_read(rig: AirflowRig) -> None:
    rest = rig.rest
    rest.wait_for_dag("rig")
    rest.unpause("rig")
    run = rest.trigger("rig", conf={"word": "hello"})
    assert rest.wait_for_run("rig", run) == "success"
    assert rest.task_states("rig", run) == {"first": "success", "wait": "success", "last": "success"}
    assert rest.xcom("rig", run, "last") == "hello@rig.example"
    assert "the last task saw hello@rig.example" in rest.task_log("rig", run, "last")
    assert rest.run_ids("rig") == [run]


def test_marking_a_task_failed_ends_it_and_clearing_runs_it_again(rig: AirflowRig) -> None:
    """The run is cleared once it has ended: on SQLite, a clear at the very moment of its end can be lost."""
    rest = rig.rest
    rest.wait_for_dag("stuck")
    rest.unpause("stuck")
    run = rest.trigger("stuck")
    rest.wait_for_task("stuck", run, "sleep", states=["running"])
    rest.mark_task("stuck", run, "sleep", state="failed")
    rest.wait_for_run("stuck", run, states=["success"])
    assert rest.xcom("stuck", run, "rescue") == "rescued"
    assert "sleep" in rest.clear("stuck", run, task_ids=["sleep"])
    rest.wait_for_task("stuck", run, "sleep", states=["running"])
    rest.mark_run("stuck", run, state="failed")
    assert rest.wait_for_run("stuck", run, states=["failed"]) == "failed"


def test_an_error_carries_airflow_s_answer_and_a_viewer_may_not_change_anything(rig: AirflowRig) -> None:
    with pytest.raises(AirflowRestError, match="404"):
        rig.rest.trigger("no_such_dag")
    with pytest.raises(AirflowRestError, match="403"):
        rig.rest_as("viewer").unpause("rig")


@pytest.mark.slow
def test_a_killed_scheduler_is_noticed_and_can_be_started_again(rig: AirflowRig) -> None:
    before = rig.pids["scheduler"]
    rig.kill("scheduler")
    wait_until(
        lambda: rig.rest.health()["scheduler"] == "unhealthy", timeout=120, otherwise=lambda: "the death went unnoticed"
    )
    assert rig.start_component("scheduler") != before
    rig.wait_until_healthy()
    rig.rest.wait_for_dag("rig")
    rig.rest.unpause("rig")
    assert rig.rest.wait_for_run("rig", rig.rest.trigger("rig")) == "success"


@pytest.mark.slow
def test_nothing_lives_on_when_the_process_that_started_the_rig_is_killed(tmp_path: Path) -> None:
    """A test run that is killed must not leave an API server on its port that answers the next one."""
    script = f"""
import json, signal, sys
from pathlib import Path
from demo.airflow_rig import AirflowRig
home = Path({str(tmp_path)!r})
with AirflowRig(home / "home", dags_folder=home) as rig:
    print(json.dumps(rig.pids), flush=True)
    signal.pause()
"""
    starter = subprocess.Popen([sys.executable, "-c", script], cwd=_ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert starter.stdout
        pids: dict[str, int] = json.loads(starter.stdout.readline())
        assert set(pids) == set(COMPONENTS)
    finally:
        os.kill(starter.pid, signal.SIGKILL)
        starter.communicate()
    wait_until(
        lambda: not [pid for pid in pids.values() if psutil.pid_exists(pid)],
        timeout=120,
        otherwise=lambda: f"of {pids} these live on: {[pid for pid in pids.values() if psutil.pid_exists(pid)]}",
    )
