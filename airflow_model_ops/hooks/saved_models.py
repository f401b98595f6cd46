"""SavedModels wherever they are: a directory of this machine, or a place in a bucket, of which a copy is fetched.

A URL may name the Airflow connection that holds the credentials, as ``ObjectStoragePath`` has it: ``gs://conn_id@bucket/path``.
Without one the scheme's own default counts: for ``gs://`` the application default credentials, for ``s3://`` boto3's.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import unquote, urlsplit

from airflow_model_ops.adapters.repository.contents import GRAPHS
from airflow_model_ops.adapters.repository.remote_directory import RemoteDirectory, bare_url, is_remote, open_remote
from airflow_model_ops.core.errors import InvalidConfig, NotASavedModel
from airflow_model_ops.core.exports import CompleteExport

_log = logging.getLogger(__name__)


def remote_directory(url: str, *, conn_id: str | None = None) -> RemoteDirectory:
    """Open a place in a bucket; asks the bucket nothing yet.

    :param conn_id: The connection with the credentials, unless the URL names one; ``None``: the scheme's default.
    :raises InvalidConfig: if the URL names no bucket, or what reads such buckets is not installed.
    :raises ConnectionUnavailable: if it names a connection that is not defined.
    """
    from airflow_model_ops.hooks.repository import open_fs

    scheme, _, rest = url.partition("://")
    connection, _, bucket = rest.partition("/")[0].rpartition("@")
    if not bucket:
        raise InvalidConfig(f"{url!r} names no bucket; write it as {scheme}://bucket/path")
    return open_remote(url, partial(open_fs, scheme.lower(), connection or conn_id))


class SavedModels:
    """Gives directories of this machine for SavedModels, and removes the copies it made. A context manager.

    It keeps one copy, the last: who looks through many large models needs the room of one, and what was chosen is not
    fetched again to be pushed.

    :param repository: The root of a repository in a bucket, whose places are read with ``storage_conn_id``.
    """

    def __init__(self, *, repository: str | None = None, storage_conn_id: str | None = None) -> None:
        self._repository = repository
        self._storage_conn_id = storage_conn_id
        self._place = ""
        self._copy: Path | None = None

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove the copy, if there is one."""
        self._drop()

    def directory_of(self, place: str) -> Path:
        """Return a directory that holds the SavedModel of a path or URL, for as long as no other one is asked for.

        :raises NotASavedModel: if a bucket has none there.
        :raises RepositoryUnavailable: if the bucket does not answer or refuses the credentials.
        :raises InvalidConfig: if the URL makes no sense, or what reads such buckets is not installed.
        """
        if not is_remote(place):
            return _local_path(place)
        if self._copy is None or self._place != place:
            self._drop()
            self._copy = Path(tempfile.mkdtemp(prefix="model-ops-"))
            self._fetch(self.remote(place), self._copy)
            self._place = place
        return self._copy

    def holds_a_graph(self, place: str) -> bool:
        """Return whether there is a SavedModel at a place of a bucket; one listing, nothing is fetched.

        :raises RepositoryUnavailable: if the bucket does not answer or refuses the credentials.
        """
        return not set(GRAPHS).isdisjoint(self.remote(place).names())

    def remote(self, url: str) -> RemoteDirectory:
        """Open a place in a bucket; see :func:`remote_directory`."""
        inside = self._repository is not None and f"{bare_url(url)}/".startswith(f"{self._repository}/")
        return remote_directory(url, conn_id=self._storage_conn_id if inside else None)

    def _fetch(self, remote: RemoteDirectory, to: Path) -> None:
        if set(GRAPHS).isdisjoint(remote.names()):
            raise NotASavedModel(
                f"{remote.url!r} holds no {' or '.join(GRAPHS)}; give the place that model.export() wrote to, not its parent, "
                "and see whether the bucket and the path are right"
            )
        _log.info("fetching the SavedModel at %s", remote)
        files = remote.fetch(to)
        _log.info("fetched %d files, %d bytes", len(files), sum(file.size for file in files))

    def _drop(self) -> None:
        if self._copy is not None:
            shutil.rmtree(self._copy, ignore_errors=True)
        self._copy, self._place = None, ""


def exports_in(export_dir: str, *, settle_seconds: float, now: float) -> tuple[CompleteExport, ...]:
    """Return the complete exports of a directory or of a place in a bucket; see :func:`complete_exports`.

    :raises InvalidConfig: if a directory is not one, or a URL makes no sense.
    :raises RepositoryUnavailable: if it cannot be listed.
    """
    from airflow_model_ops.adapters.repository.exports import complete_exports, complete_remote_exports

    if not is_remote(export_dir):
        return complete_exports(_local_path(export_dir), settle_seconds=settle_seconds, now=now)
    remote = remote_directory(export_dir)
    return complete_remote_exports(remote, place=export_dir.rstrip("/"), settle_seconds=settle_seconds, now=now)


def shown_place(place: str) -> str:
    """Return a place as it is written down: a URL without the id of the connection, which may mean another one tomorrow."""
    return bare_url(place) if is_remote(place) else place


def _local_path(place: str) -> Path:
    return Path(unquote(urlsplit(place).path)) if place.startswith("file://") else Path(place)
