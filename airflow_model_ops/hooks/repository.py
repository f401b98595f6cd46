"""The model repository behind a ``model_repository`` connection: a directory, or a bucket with another connection's credentials."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseHook

from airflow_model_ops.core.errors import ConnectionUnavailable, InvalidConfig, ModelOpsError

if TYPE_CHECKING:
    from airflow.sdk import Connection

    from airflow_model_ops.adapters.repository.fsspec_store import FsspecStore
    from airflow_model_ops.core.ports import Repository

_EXTRAS = {"gs": "gcs", "gcs": "gcs", "s3": "s3", "s3a": "s3", "s3n": "s3"}
"""Scheme of a root to the extra of this distribution that brings what it needs."""
_STORAGE_TYPES = {"gcs": "google_cloud_platform", "s3": "aws"}
"""That extra to the type of the connection that holds the credentials."""
_FIELDS = ("root", "storage_conn_id")


class ModelRepositoryHook(BaseHook):
    """Opens the repository of a connection.

    :param repository_conn_id: Id of a connection of type ``model_repository``; its extra holds ``root``, and
        ``storage_conn_id`` for a bucket.
    """

    conn_name_attr = "repository_conn_id"
    default_conn_name = "model_repository_default"
    conn_type = "model_repository"
    hook_name = "Model repository"

    def __init__(self, repository_conn_id: str = default_conn_name, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.repository_conn_id = repository_conn_id

    def get_conn(self) -> Repository:
        """Return the repository.

        :raises InvalidConfig: if the connection names no root, or one that cannot hold a repository.
        :raises RepositoryUnavailable: if the root is a directory and not there; a bucket is not asked yet.
        """
        return repository_of(self.get_connection(self.repository_conn_id))

    def test_connection(self) -> tuple[bool, str]:
        """Prove that the file system or the bucket keeps the log's promises."""
        try:
            connection = self.get_connection(self.repository_conn_id)
            root = _root_of(connection)
            if mistake := self._mistake_in(connection, root):
                return False, f"connection {connection.conn_id!r}: {mistake}"
            if "://" in root:
                store_of(connection).check_suitable()
                return (
                    True,
                    "The bucket is there, these credentials suffice, and of two writers of a new object one wins.",
                )
            from airflow_model_ops.adapters.repository.posix_repository import PosixRepository

            PosixRepository(root).check_suitable()
        except ModelOpsError as error:
            return False, str(error)
        return True, "The repository is there, writable, and its file system keeps the log's promises."

    def _mistake_in(self, connection: Connection, root: str) -> str | None:
        """Return what a store would only answer with a riddle, or not at all. Told by the test alone: it stops no way back."""
        from airflow.sdk.exceptions import AirflowNotFoundException

        if unknown := sorted(set(connection.extra_dejson) - set(_FIELDS)):
            return f"its extra has {', '.join(map(repr, unknown))}, which means nothing here; it takes {' and '.join(_FIELDS)}"
        wanted = _STORAGE_TYPES.get(_EXTRAS.get(root.partition("://")[0], ""))
        storage = connection.extra_dejson.get("storage_conn_id")
        if not wanted or not storage:
            return None
        try:
            given = self.get_connection(storage).conn_type
        except AirflowNotFoundException:
            return None  # opening the store says so
        if given == wanted:
            return None
        return f"`storage_conn_id` names {storage!r} of type {given!r}; {root!r} needs one of type {wanted!r}"


def repository_of(connection: Connection) -> Repository:
    """Return the repository of a connection; see :class:`ModelRepositoryHook`. Asks no bucket yet.

    :raises InvalidConfig: if the connection names no root, or one that cannot hold a repository.
    :raises RepositoryUnavailable: if the root is a directory and not there.
    """
    root = _root_of(connection)
    if "://" in root:
        from airflow_model_ops.adapters.repository.object_repository import ObjectRepository

        return ObjectRepository(store_of(connection))
    from airflow_model_ops.adapters.repository.posix_repository import PosixRepository

    return PosixRepository(root)


def served_root(connection: Connection) -> str:
    """Return the root as model servers see it unless they are told otherwise: a directory, or the bucket's URL.

    :raises InvalidConfig: if the connection names no root, or one that cannot hold a repository.
    """
    root = _root_of(connection)
    return store_of(connection).uri if "://" in root else os.path.abspath(root)  # noqa: PTH100 - links stay: servers see them too


def store_of(connection: Connection) -> FsspecStore:
    """Return the object store of a connection whose root is a URL; it touches no network before its first use.

    :raises InvalidConfig: if the URL names no bucket, or its scheme no store that could hold a repository.
    """
    from airflow_model_ops.adapters.repository.fsspec_store import FsspecStore
    from airflow_model_ops.adapters.repository.gcs_store import GcsStore
    from airflow_model_ops.adapters.repository.s3_store import S3Store
    from airflow_model_ops.adapters.repository.store_suitability import refusal_of

    root = _root_of(connection)
    scheme = root.partition("://")[0]
    if reason := refusal_of(scheme):
        raise InvalidConfig(f"connection {connection.conn_id!r}: root {root!r} cannot hold a repository: {reason}")
    storage = _text_in(connection, "storage_conn_id") or None
    kind = {"gcs": GcsStore, "s3": S3Store}.get(_EXTRAS.get(scheme, ""), FsspecStore)
    return kind(partial(open_fs, scheme, storage), root)


def _root_of(connection: Connection) -> str:
    root = _text_in(connection, "root")
    if not root:
        raise InvalidConfig(
            f"connection {connection.conn_id!r} names no root; set `root` in its form (extra: "
            '{"root": "/srv/models"}, or {"root": "gs://bucket/models", "storage_conn_id": "google_cloud_default"})'
        )
    scheme, separator, place = root.partition("://")
    root = f"{scheme.lower()}{separator}{place}" if separator else root
    root = root.removeprefix("file://") if root.startswith("file:///") else root
    if "://" not in root and not root.startswith("/"):
        raise InvalidConfig(
            f"connection {connection.conn_id!r}: root {root!r} is neither an absolute path nor a URL; write such as "
            "/srv/models, gs://bucket/models or s3://bucket/models"
        )
    return root


def _text_in(connection: Connection, name: str) -> str:
    """Return a text of a connection's extra, empty if there is none.

    :raises InvalidConfig: if it is no text, or the extra no object of JSON.
    """
    extra = connection.extra_dejson
    if not isinstance(extra, dict):
        raise InvalidConfig(
            f"connection {connection.conn_id!r}: its extra is {extra!r}; write an object of JSON, such as "
            '{"root": "gs://bucket/models"}'
        )
    given = extra.get(name)
    if given is not None and not isinstance(given, str):
        raise InvalidConfig(f"connection {connection.conn_id!r}: {name} {given!r} in its extra is no text; correct it")
    return (given or "").strip()


def open_fs(scheme: str, storage_conn_id: str | None) -> Any:
    """Return Airflow's file system for a scheme, with the credentials of a connection.

    Airflow keeps one for each connection and process. After a fork its event loop is gone, and a new one is made.

    :raises InvalidConfig: if what speaks to such stores is not installed.
    :raises ConnectionUnavailable: if there is no such connection.
    """
    from airflow.sdk import ObjectStoragePath
    from airflow.sdk.exceptions import AirflowNotFoundException
    from airflow.sdk.io import get_fs

    try:
        if storage_conn_id and _EXTRAS.get(scheme) == "s3":
            # Airflow would go on with whatever credentials boto3 finds, perhaps another account's
            BaseHook.get_connection(storage_conn_id)
        fs = ObjectStoragePath(f"{scheme}://", conn_id=storage_conn_id).fs
        if getattr(fs, "_pid", os.getpid()) != os.getpid():
            fs = get_fs(scheme, storage_conn_id)
    except ImportError as error:
        raise InvalidConfig(
            f"{scheme}:// needs a package that is not installed ({error}); {_install(scheme)}"
        ) from error
    except AirflowNotFoundException as error:
        raise ConnectionUnavailable(
            f"connection {storage_conn_id!r}, named by `storage_conn_id`, is not defined; add it, or name another"
        ) from error
    except ValueError as error:
        if not str(error).startswith(("No filesystem registered", "Unsupported filesystem")):
            raise
        raise InvalidConfig(f"Airflow knows no file system for {scheme}://; {_install(scheme)}") from error
    return fs


def _install(scheme: str) -> str:
    if extra := _EXTRAS.get(scheme):
        return f"install the extra `{extra}` of airflow-model-ops on every Airflow host"  # brackets would vanish in Airflow's CLI
    return "install the Airflow provider that brings it on every Airflow host, or write gs://, s3:// or a directory"
