"""The ledger behind an ``mlmd`` connection."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseHook

from airflow_model_ops.config.durations import seconds
from airflow_model_ops.core.errors import ArtifactNotFound, InvalidConfig, ModelOpsError, VersionNotFound

if TYPE_CHECKING:
    from airflow.sdk import Connection

    from airflow_model_ops.adapters.lineage.blast_radius import AffectedModel
    from airflow_model_ops.adapters.lineage.queries import LedgerQueries
    from airflow_model_ops.adapters.lineage.recorder import MlmdLedger
    from airflow_model_ops.adapters.lineage.settings import LedgerKind, LedgerSettings
    from airflow_model_ops.core.blast_radius import ArtifactRef

_SWITCH = {"on": True, "true": True, "off": False, "false": False, "": False}


class MlmdHook(BaseHook):
    """Opens the ML Metadata store of a connection.

    :param mlmd_conn_id: Id of a connection of type ``mlmd``. Its extra holds ``kind``: ``sqlite``, with ``path``, the file; or
        ``postgresql``, ``mysql`` or ``grpc``, with host, port, schema (the database), login and password.
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
        """Return what answers: history, versions, descent, and what served at a time."""
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


def affected_models(
    ref: ArtifactRef, *, ledgers: Mapping[str, LedgerQueries], ledger_of: Callable[[str], str | None]
) -> list[AffectedModel]:
    """Return what comes from an artifact, as each ledger knows it of its own models and of those that have none.

    :param ledgers: By the ids of their connections, at least one.
    :param ledger_of: Gives the id of a model's own ledger; ``None`` for a model without a YAML file.
    :raises ArtifactNotFound: or VersionNotFound, if none knows the artifact.
    """
    found: list[AffectedModel] = []
    unknown: list[ModelOpsError] = []
    for ledger, queries in ledgers.items():
        try:
            models = queries.blast_radius(ref).models
        except (ArtifactNotFound, VersionNotFound) as error:
            unknown.append(error)
            continue
        found += [each for each in models if len(ledgers) == 1 or ledger_of(each.model) in (ledger, None)]
    if len(unknown) == len(ledgers):
        raise unknown[0]
    return found


def ledger_settings_of(connection: Connection) -> LedgerSettings:
    """Return where a connection keeps the ledger; see :class:`MlmdHook`.

    :raises InvalidConfig: if the connection names no store, or something in it makes no sense.
    """
    from airflow_model_ops.adapters.lineage.settings import LedgerKind, LedgerSettings

    extra = connection.extra_dejson
    kind = _kind(connection)
    try:
        answer, retry = seconds(extra.get("timeout") or 10.0), seconds(extra.get("retry") or 20.0)
        if kind is LedgerKind.SQLITE:
            return LedgerSettings(kind=kind, path=Path(extra["path"]), retry_seconds=retry)
        return LedgerSettings(
            kind=kind,
            host=connection.host or "",
            port=connection.port,
            database=connection.schema or "",
            user=connection.login or "",
            password=connection.password or "",
            tls=_switch(extra.get("tls")),
            ca_file=Path(extra["ca_file"]) if extra.get("ca_file") else None,
            retry_seconds=retry,
            answer_seconds=answer,
        )
    except (InvalidConfig, ValueError) as error:
        raise InvalidConfig(f"connection {connection.conn_id!r}: {error}") from None


def _kind(connection: Connection) -> LedgerKind:
    """Return what keeps the ledger; without ``kind`` it is a SQLite file, and then one must be named."""
    from airflow_model_ops.adapters.lineage.settings import LedgerKind

    extra = connection.extra_dejson
    told = str(extra.get("kind") or "").strip().lower()
    if told and told not in set(LedgerKind):
        raise InvalidConfig(
            f"connection {connection.conn_id!r}: kind {told!r} is none; choose one of {', '.join(LedgerKind)}"
        )
    if "sslmode" in extra:
        raise InvalidConfig(
            f"connection {connection.conn_id!r}: sslmode {extra['sslmode']!r} is not possible: ML Metadata 1.17.1 knows no TLS "
            "for PostgreSQL; set `tls` to on instead, which checks the server's certificate (`ca_file`: who vouches for it)"
        )
    if (told or LedgerKind.SQLITE) == LedgerKind.SQLITE and not extra.get("path"):
        server = "; or is `kind` missing? It is postgresql, mysql or grpc for a server" if connection.host else ""
        raise InvalidConfig(
            f"connection {connection.conn_id!r} names no store; set `path` in its form to a SQLite file (extra: "
            f'{{"path": "/srv/mlmd/metadata.sqlite"}}){server}'
        )
    return LedgerKind(told or LedgerKind.SQLITE)


def _switch(value: Any) -> bool:
    text = str(value if value is not None else "off").strip().lower()
    if text not in _SWITCH:
        raise InvalidConfig(f"tls {value!r} is neither on nor off")
    return _SWITCH[text]
