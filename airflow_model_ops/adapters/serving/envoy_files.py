"""The directory that routers watch: documents are replaced whole, never edited, and a reader sees the old or the new."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from airflow_model_ops.core.errors import InvalidConfig, RouterRefused

CLUSTERS_FILE = "clusters.json"
ROUTES_FILE = "routes.json"


def read_document(path: Path) -> bytes | None:
    """Read a document; ``None`` when none was written yet.

    :raises InvalidConfig: if it cannot be read.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InvalidConfig(f"router document {str(path)!r} cannot be read ({error}); {_REMEDY}") from error


def replace_document(path: Path, *, content: bytes, only_if_missing: bool = False) -> bool:
    """Replace a document atomically and durably; say whether it was written.

    Equal content is not written again. The new file is written in the watched directory itself: a rename within it is
    what Envoy's watch reports (a move into the directory), and it can never cross a file system.

    :param only_if_missing: leave a document that is there as it is, whatever it says, also against a concurrent writer.
    :raises InvalidConfig: if the directory is missing or cannot be written.
    :raises RouterRefused: if writing fails otherwise, for example on a full disk; the old document stays.
    """
    present = read_document(path)
    if present == content or (only_if_missing and present is not None):
        return False
    try:
        return _write(path, content=content, only_if_missing=only_if_missing)
    except (FileNotFoundError, NotADirectoryError, PermissionError) as error:
        raise InvalidConfig(f"router directory {str(path.parent)!r} cannot be written ({error}); {_REMEDY}") from error
    except OSError as error:
        raise RouterRefused(
            f"router document {str(path)!r} was not written ({error}); the routers keep the old one; free the disk and retry"
        ) from error


def check_directory(path: Path) -> None:
    """Check that documents can be replaced in a directory. :raises InvalidConfig: if not."""
    if not path.is_dir() or not os.access(path, os.W_OK | os.X_OK):
        raise InvalidConfig(f"router directory {str(path)!r} is missing or cannot be written; {_REMEDY}")


_REMEDY = (
    "create the directory that the routers watch and let this user write it, or correct the connection's config_dir"
)


def _write(path: Path, *, content: bytes, only_if_missing: bool) -> bool:
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    aside = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(file.fileno(), 0o644)  # mkstemp's 0600 would hide it from an Envoy that runs as another user
            os.fsync(file.fileno())
        return _put(aside, path=path, only_if_missing=only_if_missing)
    finally:
        aside.unlink(missing_ok=True)


def _put(aside: Path, *, path: Path, only_if_missing: bool) -> bool:
    if only_if_missing:
        try:
            path.hardlink_to(aside)
        except FileExistsError:
            return False
    else:
        aside.replace(path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
    return True
