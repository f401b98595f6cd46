"""The ledger behind an ``mlmd`` connection."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseHook

from airflow_model_ops.core.errors import InvalidConfig, ModelOpsError

if TYPE_CHECKING:
    from airflow.sdk import Connection

    from airflow_model_ops.adapters.lineage.queries import LedgerQueries
    from airflow_model_ops.adapters.lineage.recorder import MlmdLedger
    from airflow_model_ops.adapters.lineage.settings import LedgerSettings


class MlmdHook(BaseHook):
    """Opens the ML Metadata store of a connection.

    :param mlmd_conn_id: Id of a connection of type ``mlmd``; its extra holds ``path``, the SQLite file.
    """

    conn_name_attr = "mlmd_conn_id"
    default_conn_name = "mlmd_default"
    conn_type = "mlmd"
    hook_name = "ML Metadata"

    def __init__(self, mlmd_conn_id: str = default_conn_name, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.mlmd_conn_id = mlmd_conn_id

    def get_conn(self) -> MlmdLedger:
        """Return the ledger, which records.

        :raises InvalidConfig: if the connection names no store.
        """
        from airflow_model_ops.adapters.lineage.recorder import MlmdLedger

        return MlmdLedger(self._settings())

    def queries(self) -> LedgerQueries:
        """Return what answers: history, versions, lineage of a version, and what served at a time."""
        from airflow_model_ops.adapters.lineage.queries import LedgerQueries

        return LedgerQueries(self._settings())

    def test_connection(self) -> tuple[bool, str]:
        """Open the store and write the ledger's types."""
        try:
            return True, self.get_conn().ping()
        except ModelOpsError as error:
            return False, str(error)

    def _settings(self) -> LedgerSettings:
        return ledger_settings_of(self.get_connection(self.mlmd_conn_id))


def ledger_settings_of(connection: Connection) -> LedgerSettings:
    """Return where a connection keeps the ledger; see :class:`MlmdHook`."""
    from airflow_model_ops.adapters.lineage.settings import LedgerKind, LedgerSettings

    path = connection.extra_dejson.get("path")
    if not path:
        raise InvalidConfig(
            f"connection {connection.conn_id!r} names no store; set `path` in its form to a SQLite file (extra: "
            '{"path": "/srv/mlmd/metadata.sqlite"})'
        )
    return LedgerSettings(kind=LedgerKind.SQLITE, path=Path(path))
