"""One stack for all end-to-end tests: model servers, Envoy, labelled traffic, Prometheus and the real Airflow."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_model_ops.adapters.repository.posix_repository import PosixRepository
from demo.stack import ROOT, Stack, StackSettings
from tests.e2e.story import (
    ASKING,
    GOLDEN,
    GUARD,
    HOUSEKEEPING,
    HURRIED,
    MODEL,
    PATIENT,
    PIPELINE,
    PIPELINE_STORE,
    RELEASE,
    ROLLBACK,
    UNPROVEN,
    UNWATCHED,
    WATCH,
    WATCHED,
    Run,
    Story,
    write_model_file,
)

_HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's models, trained once."""
    out = tmp_path_factory.mktemp("trained")
    subprocess.run([sys.executable, "-m", "demo.train", "--out", str(out)], cwd=ROOT, check=True, timeout=240)
    return out


@pytest.fixture(scope="session")
def whole_story(tmp_path_factory: pytest.TempPathFactory, trained: Path) -> Iterator[Story]:
    """A stack that serves nothing yet."""
    with Stack(stack_settings(tmp_path_factory.mktemp("stack"), trained=trained)) as stack:
        yield begin(stack, trained=trained)


@pytest.fixture(scope="session")
def first_release(whole_story: Story) -> Run:
    """The run of the very first release; whichever test comes first asks for it."""
    return whole_story.release("good-1").ends("success")


@pytest.fixture
def story(whole_story: Story, first_release: Run) -> Iterator[Story]:
    """A stack with a stable version and without a live release; no request may fail while a test uses it."""
    yield whole_story
    account = whole_story.traffic()
    assert account["failed"] == 0, f"{account['failures']}\n{whole_story.retold()}"


def stack_settings(work: Path, *, trained: Path) -> StackSettings:
    """Lay out what the stack reads: the model's YAML file, and the bundled DAG files beside the tests' own one."""
    models, dags = work / "yaml", work / "dags"
    models.mkdir()
    kept = "{repository: model_repository_kept, target: tf_serving_kept, metrics: prometheus_kept, ledger: mlmd_kept}"
    write_model_file(models, model=MODEL, connections=kept, target="tf_serving", trained=trained)
    shutil.copytree(ROOT / "dags", dags, ignore=shutil.ignore_patterns("__pycache__"))
    for more in ("guarded_releases.py", "watched_releases.py", "unwatched_releases.py", "pipeline_releases.py"):
        shutil.copy(_HERE / more, dags)
    return StackSettings(
        work=work / "stack",
        models_dir=models,
        images=trained / "live.npz",
        dags_folder=dags,
        preload=("airflow_model_ops.dag_builders", "gcsfs", "google.cloud.aiplatform_v1"),
        airflow_env={
            # Airflow's own value: the provider must not need a scheduler that notices a killed worker within seconds.
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "300",
            # No DAG file changes here; parsing them all again and again takes a tenth of a core from the tests.
            "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "60",
            # Google's library asks Google beside what it is asked, whoever gave the token: no proxy is there, so nothing leaves.
            "HTTPS_PROXY": "http://127.0.0.1:9",
            "AIRFLOW_CONN_TFX_MLMD": json.dumps({"conn_type": "mlmd", "extra": {"path": str(work / PIPELINE_STORE)}}),
        },
    )


def begin(stack: Stack, *, trained: Path) -> Story:
    """Keep the connections where people keep them, in Airflow's database; let the scheduler run the DAGs."""
    rest = stack.airflow.rest
    for connection_id, fields in stack.connections.items():
        extra = json.dumps(fields.get("extra", {}))
        body = {**fields, "extra": extra, "connection_id": connection_id.replace("_default", "_kept")}
        rest.request("POST", "connections", json=body)
    for dag in (RELEASE, PATIENT, HURRIED, ASKING, WATCHED, UNPROVEN, UNWATCHED, ROLLBACK, GOLDEN, WATCH):
        rest.wait_for_dag(dag, timeout=120)
        rest.unpause(dag)
    for own in (GUARD, PIPELINE, HOUSEKEEPING):  # at work in their own tests; the last begins by itself every hour
        rest.wait_for_dag(own, timeout=120)
        rest.unpause(own, paused=True)
    assert rest.import_errors() == []
    repository = PosixRepository(stack.repository)
    return Story(stack=stack, trained=trained, rest=rest, repository=repository, traffic=stack.traffic)
