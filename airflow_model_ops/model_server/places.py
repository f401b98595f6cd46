"""Where versions are: a directory of this machine, or one in object storage, which TF Serving reads by plug-ins.

Credentials and endpoints of a bucket come from the environment, as there: application default credentials and
``STORAGE_EMULATOR_HOST`` for ``gs://``; ``AWS_*`` with ``AWS_ENDPOINT_URL`` for ``s3://``.
"""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import Any

from airflow_model_ops.adapters.repository.remote_directory import RemoteDirectory, is_remote, open_remote
from airflow_model_ops.model_server.status import Code, StatusError

Place = Path | RemoteDirectory
_GCS = frozenset({"gs", "gcs"})


@functools.cache
def place_of(base_path: str) -> Place:
    """Return the place that a base path names; touches no network.

    :raises StatusError: UNIMPLEMENTED, in TensorFlow's words, for a scheme that no installed package reads.
    """
    if not is_remote(base_path):
        return Path(base_path.removeprefix("file://"))
    scheme = base_path.partition("://")[0].lower()
    try:
        files = _file_system(scheme)
        return open_remote(base_path, lambda: files)
    except (ImportError, ValueError) as error:
        raise StatusError(
            Code.UNIMPLEMENTED, f"File system scheme '{scheme}' not implemented (file: '{base_path}'): {error}"
        ) from error


def children(place: Place) -> list[str] | None:
    """Return the names below a place, sorted; ``None`` if it is not there. One request for a bucket.

    :raises RepositoryUnavailable: if a bucket does not answer.
    :raises OSError: if a directory cannot be read.
    """
    if isinstance(place, RemoteDirectory):
        return list(place.names()) or None
    return sorted(path.name for path in place.iterdir()) if place.exists() else None


@functools.cache
def _file_system(scheme: str) -> Any:
    import fsspec  # type: ignore[import-untyped]

    if scheme in _GCS and os.environ.get("STORAGE_EMULATOR_HOST"):
        from gcsfs.core import GCSFileSystem  # type: ignore[import-untyped]

        # An emulator asks for no token, and looking for one takes seconds. gcsfs' other class asks over gRPC first what kind of
        # bucket it is, for a minute, as emulators do not speak it.
        return GCSFileSystem(token="anon")  # noqa: S106
    return fsspec.filesystem(scheme)
