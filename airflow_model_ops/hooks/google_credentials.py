"""The Google account behind a ``google_cloud_platform`` connection, in all the ways that connection type knows: key, ADC,
impersonation, another identity provider.

The Google provider's hook does that, but looks its connection up by itself, which a trigger's thread must not: here it is given
the connection that was fetched already.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from airflow_model_ops.core.errors import InvalidConfig

if TYPE_CHECKING:
    from airflow.providers.google.common.hooks.base_google import GoogleBaseHook
    from airflow.sdk import Connection
    from google.auth.credentials import Credentials


class GoogleAccount:
    """The credentials and the project of a connection, found once and when first needed. Threads may share it.

    Scopes are the connection's, by default ``cloud-platform``, which both Vertex AI and Cloud Monitoring accept.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lock = threading.Lock()
        self._hook: GoogleBaseHook | None = None

    def credentials(self) -> Credentials:
        """Return the credentials, which fetch their tokens themselves. May touch the network.

        :raises InvalidConfig: if the connection gives none.
        """
        return self._found()[0]

    def project(self, *, wanted: str | None = None) -> str:
        """Return the project to use: the one that is wanted, the connection's, or the credentials' own. May touch the network.

        :raises InvalidConfig: if neither names one.
        """
        extra = self._connection.extra_dejson
        project = (
            wanted or extra.get("project") or extra.get("extra__google_cloud_platform__project") or self._found()[1]
        )
        if not project:
            raise InvalidConfig(
                f"connection {self._connection.conn_id!r} names no project, and its credentials know none; "
                "name it in the connection, or as project in the model's YAML file"
            )
        return str(project)

    def _found(self) -> tuple[Credentials, str | None]:
        from airflow.sdk.exceptions import AirflowException
        from google.auth.exceptions import GoogleAuthError

        with self._lock:
            try:
                if self._hook is None:
                    self._hook = _hook_of(self._connection)
                return self._hook.get_credentials_and_project_id()
            except (AirflowException, GoogleAuthError, OSError, ValueError) as fault:
                raise InvalidConfig(
                    f"connection {self._connection.conn_id!r} gives no Google credentials ({fault}); set a key, a credential "
                    "configuration file or application default credentials"
                ) from fault


def _hook_of(connection: Connection) -> GoogleBaseHook:
    try:
        from airflow.providers.google.common.hooks.base_google import GoogleBaseHook
    except ImportError as fault:
        raise InvalidConfig(
            f"connection {connection.conn_id!r} needs Google's provider; install apache-airflow-providers-google"
        ) from fault

    class GivenConnectionHook(GoogleBaseHook):
        """Google's hook of a connection that was fetched already."""

        @classmethod
        def get_connection(cls, conn_id: str) -> Connection:
            del conn_id
            return connection

    return GivenConnectionHook(gcp_conn_id=connection.conn_id)
