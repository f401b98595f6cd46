"""One run of ``model_blast_radius`` by Airflow itself, in a process and with a database of its own; tells what came of it.

Run: python -m tests.airflow.blast_radius_run DIRECTORY
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).parents[2]


def prepare(home: Path) -> None:
    """Set what Airflow reads when it is imported."""
    (home / "dags").mkdir()
    (home / "models").mkdir()
    shutil.copy(_ROOT / "dags" / "model_blast_radius.py", home / "dags")
    ledger = {"conn_type": "mlmd", "extra": {"path": str(home / "mlmd.sqlite")}}
    os.environ.update(
        {
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__DAGS_FOLDER": str(home / "dags"),
            "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
            "AIRFLOW__DATABASE__LOAD_DEFAULT_CONNECTIONS": "False",
            "AIRFLOW__MODEL_OPS__MODELS_DIR": str(home / "models"),
            "AIRFLOW_CONN_MLMD_DEFAULT": json.dumps(ledger),
        }
    )


def run(home: Path) -> dict[str, Any]:
    """Let three models descend from one bad dataset, run the DAG, and return what each task and model came to."""
    from airflow.dag_processing.dagbag import DagBag
    from airflow.utils import db

    from airflow_model_ops.hooks.wiring import standing_in
    from tests.airflow.descent_story import BAD, GOOD, YAML, Descent

    db.initdb()
    models = {"digits": (GOOD, BAD), "letters": (BAD, GOOD), "stuck": (BAD, BAD)}
    descent = Descent(directory=home)
    for model, datasets in models.items():
        (home / "models" / f"{model}.yaml").write_text(YAML.format(model=model))
        descent.serve(model, *datasets)
    with standing_in(descent.fleet):
        bag = DagBag(dag_folder=str(home / "dags"))
        done = bag.dags["model_blast_radius"].test(run_conf={"artifact": f"dataset:{BAD}", "reason": "mislabelled"})
    tasks = defaultdict(list)
    for each in sorted(done.get_task_instances(), key=lambda each: each.map_index):
        tasks[each.task_id].append(str(each.state))
    return {
        "run": str(done.state),
        "tasks": tasks,
        "assets": _touched(),
        "stable": {model: descent.stable(model) for model in models},
        "quarantined": {model: [version.name for version in descent.state(model).quarantined] for model in models},
    }


def _touched() -> list[str]:
    """Return the assets that were touched, in order."""
    from airflow.models.asset import AssetEvent, AssetModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        events = select(AssetModel.name).join(AssetEvent, AssetEvent.asset_id == AssetModel.id).order_by(AssetEvent.id)
        return list(session.scalars(events))


if __name__ == "__main__":
    prepare(Path(sys.argv[1]))
    sys.stdout.write(f"\n{json.dumps(run(Path(sys.argv[1])))}\n")
