"""What every story over a whole stack begins with: what the stack reads, and connections kept in Airflow's database."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

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
    SHOWN,
    UNPROVEN,
    UNWATCHED,
    WATCH,
    WATCHED,
    Story,
    write_model_file,
)

_HERE = Path(__file__).parent
_RUNNING = (RELEASE, PATIENT, HURRIED, ASKING, WATCHED, UNPROVEN, UNWATCHED, SHOWN, ROLLBACK, GOLDEN, WATCH)
_PAUSED = (GUARD, PIPELINE, HOUSEKEEPING)
"""At work in their own tests; the last begins by itself every hour."""


@contextmanager
def staged(work: Path, *, trained: Path) -> Iterator[Story]:
    """Start a stack that serves nothing yet."""
    with Stack(_stack_settings(work, trained=trained)) as stack:
        yield _begin(stack, trained=trained)


def _stack_settings(work: Path, *, trained: Path) -> StackSettings:
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
            **dict.fromkeys(("HTTPS_PROXY", "https_proxy"), "http://127.0.0.1:9"),
            "AIRFLOW_CONN_TFX_MLMD": json.dumps({"conn_type": "mlmd", "extra": {"path": str(work / PIPELINE_STORE)}}),
        },
    )


def _begin(stack: Stack, *, trained: Path) -> Story:
    """Keep the connections where people keep them, in Airflow's database; let the scheduler run the DAGs."""
    rest = stack.airflow.rest
    for connection_id, fields in stack.connections.items():
        extra = json.dumps(fields.get("extra", {}))
        body = {**fields, "extra": extra, "connection_id": connection_id.replace("_default", "_kept")}
        rest.request("POST", "connections", json=body)
    for dag in (*_RUNNING, *_PAUSED):
        rest.wait_for_dag(dag)
        rest.unpause(dag, paused=dag in _PAUSED)
    assert rest.import_errors() == []
    repository = PosixRepository(stack.repository)
    return Story(stack=stack, trained=trained, rest=rest, repository=repository, traffic=stack.traffic)
