"""The assets that other DAGs can be scheduled on: one per model and label, ``model-ops://<model>/stable``."""

from __future__ import annotations

from airflow.sdk import Asset, AssetAlias, AssetWatcher

from airflow_model_ops.config.model_file import ModelFile
from airflow_model_ops.core.state import STABLE
from airflow_model_ops.triggers.pipeline import PipelineWatchTrigger


def model_asset(model: str, *, label: str = STABLE) -> Asset:
    """Return the asset of a model's label; its events carry version, split, reason and run in ``extra``."""
    return Asset(name=f"{model}_{label}", uri=f"model-ops://{model}/{label}", group="model-ops")


def pipeline_asset(file: ModelFile) -> Asset | None:
    """Return the asset whose events start releases of a model: its pipeline's models, watched. ``None``: it has no pipeline.

    One trigger and one short look at the store per model and ``poll``; nothing is read when a DAG file is.
    """
    part = file.source.pipeline if file.source else None
    if part is None:
        return None
    trigger = PipelineWatchTrigger(
        model=file.model,
        repository=file.connections.repository,
        mlmd_conn_id=part.connection,
        kind=part.artifact.value,
        pipeline=part.name,
        poll_seconds=part.poll,
    )
    return Asset(
        name=f"{file.model}_pipeline_models",
        uri=f"model-ops://pipeline/{file.model}",
        group="model-ops",
        watchers=[AssetWatcher(name=f"watch_pipeline_of_{file.model}", trigger=trigger)],
    )


ROLLBACK_ALIAS = AssetAlias(name="model_ops_rollback", group="model-ops")
"""The alias through which a rollback, or the watcher in a killed worker's place, touches a stable asset that changed."""
