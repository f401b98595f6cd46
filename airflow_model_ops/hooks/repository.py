"""The model repository behind a ``model_repository`` connection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseHook

from airflow_model_ops.core.errors import InvalidConfig, ModelOpsError

if TYPE_CHECKING:
    from airflow.sdk import Connection

    from airflow_model_ops.adapters.repository.posix_repository import PosixRepository


class ModelRepositoryHook(BaseHook):
    """Opens the repository of a connection.

    :param repository_conn_id: Id of a connection of type ``model_repository``; its extra holds ``root``.
    """

    conn_name_attr = "repository_conn_id"
    default_conn_name = "model_repository_default"
    conn_type = "model_repository"
    hook_name = "Model repository"

    def __init__(self, repository_conn_id: str = default_conn_name, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.repository_conn_id = repository_conn_id

    def get_conn(self) -> PosixRepository:
        """Return the repository.

        :raises InvalidConfig: if the connection names no root.
        :raises RepositoryUnavailable: if the root is not there.
        """
        return repository_of(self.get_connection(self.repository_conn_id))

    def test_connection(self) -> tuple[bool, str]:
        """Prove that the file system keeps the log's promises: put-if-absent and atomic rename."""
        try:
            self.get_conn().check_suitable()
        except ModelOpsError as error:
            return False, str(error)
        return True, "The repository is there, writable, and its file system keeps the log's promises."


def repository_of(connection: Connection) -> PosixRepository:
    """Return the repository of a connection; see :class:`ModelRepositoryHook`."""
    from airflow_model_ops.adapters.repository.posix_repository import PosixRepository

    root = connection.extra_dejson.get("root")
    if not root:
        raise InvalidConfig(
            f"connection {connection.conn_id!r} names no root directory; set `root` in its form (extra: "
            '{"root": "/srv/models"})'
        )
    return PosixRepository(root)
