"""Where the SavedModel of a pipeline's artifact is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from airflow_model_ops.adapters.lineage.pipeline_rows import texts_of
from airflow_model_ops.adapters.repository.contents import GRAPHS
from airflow_model_ops.adapters.repository.remote_directory import is_remote
from airflow_model_ops.core.errors import NotASavedModel

_SERVING = "Format-Serving"
"""The sub-directory of a Model's uri that holds the SavedModel. Source: TFX's Trainer and Pusher."""


def saved_model_directory(artifact: Any) -> Path:
    """Return the directory of an artifact's SavedModel; looks on this machine only, and never waits for a bucket.

    :raises NotASavedModel: if there is none that this machine can read.
    """
    return Path(saved_model_place(artifact))


def saved_model_place(artifact: Any, *, is_in_bucket: Callable[[str], bool] | None = None) -> str:
    """Return the place of an artifact's SavedModel: a path, or a URL of object storage.

    A pushed model's destination, if it is there, else its uri; another model's ``Format-Serving``, else its uri.

    :param is_in_bucket: Looks whether a SavedModel is at a URL; ``None``: nobody looks there.
    :raises NotASavedModel: if there is none that this machine can read.
    """
    places = list(_places(artifact))
    for place in places:
        directory = _local(place)
        if directory is not None and _holds_a_graph(directory):
            return str(directory)
        if is_in_bucket is not None and _is_in_storage(place) and is_in_bucket(place):
            return place
    raise NotASavedModel(_told(artifact, places, buckets=is_in_bucket is not None))


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


def _is_in_storage(place: str) -> bool:
    """Whether a place is a URL that a bucket could be at; what makes no sense hides no other artifacts."""
    try:
        parts = urlsplit(place)
    except ValueError:
        return False
    return parts.scheme != "file" and bool(parts.netloc) and is_remote(place)


def _holds_a_graph(directory: Path) -> bool:
    """Whether this user sees a SavedModel there; one who may not look, or could not, sees none."""
    try:
        return any((directory / graph).is_file() for graph in GRAPHS)
    except OSError:
        return False


def _told(artifact: Any, places: list[str], *, buckets: bool) -> str:
    named = f"artifact {artifact.id} ({artifact.type})"
    if not places:
        return f"{named} has no uri, so there is nothing to push; choose one that a Trainer or Pusher wrote"
    looked = ", ".join(repr(place) for place in places)
    if all(_local(place) is None for place in places):
        if any(_is_in_storage(place) for place in places):
            words = "no SavedModel is there" if buckets else "only a push looks there"
            return f"{named} is at {looked}: {words}; see whether the pipeline cleaned it up, or whether the bucket is another"
        return (
            f"{named} is at {looked}, which is no place that this machine can read; copy the model to a directory or a bucket "
            "and push that as saved_model"
        )
    return (
        f"{named}: no SavedModel ({' or '.join(GRAPHS)}) is seen at {looked}; mount the pipeline's directory under the same "
        "path on this machine, readable for this user, or see whether the pipeline cleaned it up"
    )
