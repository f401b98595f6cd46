"""The assets that other DAGs can be scheduled on: one per model and label, ``model-ops://<model>/stable``."""

from __future__ import annotations

from airflow.sdk import Asset, AssetAlias

from airflow_model_ops.core.state import STABLE


def model_asset(model: str, *, label: str = STABLE) -> Asset:
    """Return the asset of a model's label; its events carry version, split, reason and run in ``extra``."""
    return Asset(name=f"{model}_{label}", uri=f"model-ops://{model}/{label}", group="model-ops")


ROLLBACK_ALIAS = AssetAlias(name="model_ops_rollback", group="model-ops")
"""The alias through which a rollback, or the watcher in a killed worker's place, touches a stable asset that changed."""
