"""Where the SavedModel of a pipeline's artifact is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from airflow_model_ops.adapters.lineage.pipeline_rows import texts_of
from airflow_model_ops.adapters.repository.contents import GRAPHS
from airflow_model_ops.core.errors import NotASavedModel

_SERVING = "Format-Serving"
"""The sub-directory of a Model's uri that holds the SavedModel. Source: TFX's Trainer and Pusher."""


def saved_model_directory(artifact: Any) -> Path:
    """Return the directory of an artifact's SavedModel.

    A pushed model's destination, if it is there, else its uri; another model's ``Format-Serving``, else its uri.

    :raises NotASavedModel: if there is none that this machine can read.
    """
    places = list(_places(artifact))
    for place in places:
        directory = _local(place)
        if directory is not None and _holds_a_graph(directory):
            return directory
    raise NotASavedModel(_told(artifact, places))


def _places(artifact: Any) -> Iterator[str]:
    uri = str(artifact.uri).rstrip("/")
    destination = texts_of(artifact).get("pushed_destination")
    if destination:
        yield destination
    if uri and not destination:
        yield f"{uri}/{_SERVING}"
    if uri:
        yield uri


def _local(place: str) -> Path | None:
    """Return a place on this machine; ``None`` for one in object storage, or on another machine."""
    if "://" not in place:
        return Path(place) if place.startswith("/") else None
    try:
        parts = urlsplit(place)
    except ValueError:  # such as a bracket that is not closed: it is no place, and must not hide other artifacts
        return None
    if parts.scheme != "file" or parts.netloc not in {"", "localhost"}:
        return None
    return Path(unquote(parts.path))


def _holds_a_graph(directory: Path) -> bool:
    """Whether this user sees a SavedModel there; one who may not look, or could not, sees none."""
    try:
        return any((directory / graph).is_file() for graph in GRAPHS)
    except OSError:
        return False


def _told(artifact: Any, places: list[str]) -> str:
    named = f"artifact {artifact.id} ({artifact.type})"
    if not places:
        return f"{named} has no uri, so there is nothing to push; choose one that a Trainer or Pusher wrote"
    looked = ", ".join(repr(place) for place in places)
    if all(_local(place) is None for place in places):
        return (
            f"{named} is at {looked}: object storage is not supported yet, nor is a relative path; copy the model to a "
            "directory that this machine mounts and push that as saved_model"
        )
    return (
        f"{named}: no SavedModel ({' or '.join(GRAPHS)}) is seen at {looked}; mount the pipeline's directory under the same "
        "path on this machine, readable for this user, or see whether the pipeline cleaned it up"
    )
