"""Finding complete SavedModels in the directory, or the place in a bucket, that a training pipeline exports to."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from airflow_model_ops.adapters.repository.contents import GRAPHS
from airflow_model_ops.adapters.repository.posix_files import reporting
from airflow_model_ops.adapters.repository.remote_directory import RemoteDirectory, RemoteFile
from airflow_model_ops.core.errors import InvalidConfig
from airflow_model_ops.core.exports import CompleteExport


def complete_exports(export_dir: Path | str, *, settle_seconds: float, now: float) -> tuple[CompleteExport, ...]:
    """Return the sub-directories that hold a complete SavedModel, in no order.

    Complete: there is a graph file, and nothing within changed for ``settle_seconds``, going by the inodes' change times
    too: a copy that keeps modification times would look old while it is still going on. Hidden names, ``*.tmp`` and
    ``temp-*`` (what TensorFlow's estimators write to before they rename) are not looked at, nor are links: what they lead
    to is listed itself, or lies outside.

    :param now: Seconds since the epoch; the file server's clock should agree with it.
    :raises InvalidConfig: if ``export_dir`` is not a directory.
    :raises RepositoryUnavailable: if it cannot be read.
    """
    root = Path(export_dir)
    if not root.is_dir():
        raise InvalidConfig(
            f"source.export_dir {str(export_dir)!r} is not a directory; create or mount it, or correct it"
        )
    with reporting(f"list {root}"):
        found = [_export(directory, settle_seconds=settle_seconds) for directory in _candidates(root)]
    return tuple(export for export in found if export is not None and export.settled_at <= now)


def complete_remote_exports(
    remote: RemoteDirectory, *, place: str, settle_seconds: float, now: float
) -> tuple[CompleteExport, ...]:
    """Return what :func:`complete_exports` does, of a place in a bucket; one listing of all it holds.

    There a file's only time is the store's, of its writing; nothing is told apart from a directory that is not there.

    :param place: How to name the place: its URL, perhaps with a connection.
    :raises RepositoryUnavailable: if it cannot be listed.
    """
    found: dict[str, list[RemoteFile]] = {}
    for file in remote.files():
        name, _, inside = file.name.partition("/")
        if inside and not _is_temporary(name):
            found.setdefault(name, []).append(replace(file, name=inside))
    exports = (_remote_export(f"{place}/{name}", files, settle=settle_seconds) for name, files in found.items())
    return tuple(export for export in exports if export is not None and export.settled_at <= now)


def _remote_export(place: str, files: list[RemoteFile], *, settle: float) -> CompleteExport | None:
    graphs = [file.modified for file in files if file.name in GRAPHS]
    if not graphs:
        return None
    changed_at = max(file.modified for file in files)
    return CompleteExport(place=place, modified_at=max(graphs), settled_at=changed_at + settle)


def _is_temporary(name: str) -> bool:
    return name.startswith((".", "temp-")) or name.endswith(".tmp")


def _candidates(root: Path) -> Iterator[Path]:
    with os.scandir(root) as items:
        for item in items:
            if not _is_temporary(item.name) and item.is_dir(follow_symlinks=False):
                yield Path(item.path)


def _export(directory: Path, *, settle_seconds: float) -> CompleteExport | None:
    """Return what a directory is as an export, settled or not; ``None`` if it holds no graph, or vanishes meanwhile."""
    try:
        if not any((directory / name).is_file() for name in GRAPHS):
            return None
        statuses = [path.lstat() for path in (directory, *directory.rglob("*"))]
        newest_file = max((directory / name).stat().st_mtime for name in GRAPHS if (directory / name).exists())
    except FileNotFoundError:
        return None
    changed_at = max(max(status.st_mtime, status.st_ctime) for status in statuses)
    return CompleteExport(place=str(directory), modified_at=newest_file, settled_at=changed_at + settle_seconds)
