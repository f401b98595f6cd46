"""What the bundled DAGs and their runs are called: for those who build them, and for the page, which imports no operator."""

from __future__ import annotations

TAG = "model-ops"


def release_dag_of(model: str) -> str:
    """Return the DAG that releases a model: reading it is what seeing the model takes."""
    return f"model_release_{model}"


def release_id(dag_id: str, run_id: str) -> str:
    """Return the id of the release that a DAG run is."""
    return f"{dag_id}/{run_id}"
