"""The way guides to ML Metadata show: fetch everything of a type with its own client, then filter and sort in Python.

Each answer here is the one that our query gives, and the rows fetched are the fewest that hold it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ml_metadata import MetadataStore
from ml_metadata.proto import metadata_store_pb2

from airflow_model_ops.adapters.lineage import schema


def open_store(path: Path) -> Any:
    """Open a SQLite file as every guide does."""
    config = metadata_store_pb2.ConnectionConfig()
    config.sqlite.filename_uri = str(path)
    return MetadataStore(config)


def latest_stable(path: Path, model: str) -> str | None:
    """Return the model's stable version out of its newest serving state."""
    states = _artifacts(path, schema.SERVING_STATE, model)
    newest = max(states, key=lambda state: int(state.properties["generation"].string_value), default=None)
    if newest is None or "stable" not in newest.properties:
        return None
    return str(newest.properties["stable"].string_value)


def newest_versions(path: Path, model: str, *, limit: int) -> list[str]:
    """Return the names of the model's newest versions, newest first."""
    versions = _artifacts(path, schema.MODEL_VERSION, model)
    versions.sort(key=lambda version: str(version.properties["created"].string_value), reverse=True)
    return [str(version.properties["version"].string_value) for version in versions[:limit]]


def _artifacts(path: Path, type_name: str, model: str) -> list[Any]:
    found = open_store(path).get_artifacts_by_type(type_name)
    return [artifact for artifact in found if artifact.properties["model"].string_value == model]
