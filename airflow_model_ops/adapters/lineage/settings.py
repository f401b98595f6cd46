"""Where the ledger is: the settings of a store, and ML Metadata itself, imported when it is needed."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from airflow_model_ops.core.errors import InvalidConfig, LedgerUnsuitable

_INSTALL = "pip install --no-deps ml-metadata==1.17.1"
_OPEN, _OPEN_OR_CREATE = 2, 3  # SqliteMetadataSourceConfig.ConnectionMode
_TRIES_OF_THE_CLIENT = 1  # its own pauses are 2 s on average; ours start at milliseconds


class LedgerKind(StrEnum):
    """What keeps the ledger."""

    SQLITE = "sqlite"
    POSTGRESQL = "postgresql"
    MYSQL = "mysql"
    GRPC = "grpc"


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerSettings:
    """Where the ledger is.

    :param path: The SQLite file; its directory is made when it is first written.
    :param host: Of the database server or the ML Metadata gRPC server; not for SQLite.
    :param port: As ``host``.
    :param database: The name of the database on PostgreSQL and MySQL.
    :param retry_seconds: How long one read or write is tried again while others hold the store, or it does not answer.
    :raises InvalidConfig: if something is missing or makes no sense.
    """

    kind: LedgerKind = LedgerKind.SQLITE
    path: Path | None = None
    host: str = ""
    port: int | None = None
    database: str = ""
    user: str = ""
    password: str = field(default="", repr=False)
    retry_seconds: float = 20.0

    def __post_init__(self) -> None:
        problems = []
        if self.kind is LedgerKind.SQLITE:
            if self.path is None or not self.path.is_absolute():
                problems.append(f"path {self.path!r} is not absolute: give the SQLite file's full path")
        elif not self.host or self.port is None:
            problems.append(f"{self.kind.value} needs host and port")
        if self.kind in {LedgerKind.POSTGRESQL, LedgerKind.MYSQL} and not self.database:
            problems.append(f"{self.kind.value} needs the name of a database")
        if self.retry_seconds < 0:
            problems.append(f"retry_seconds {self.retry_seconds!r} is negative")
        if problems:
            raise InvalidConfig(f"ledger settings: {'; '.join(problems)}")

    @property
    def shown(self) -> str:
        """The ledger as messages name it; without the password."""
        if self.kind is LedgerKind.SQLITE:
            return f"ledger {str(self.path)!r}"
        database = f"/{self.database}" if self.database else ""
        return f"ledger {self.kind.value}://{self.host}:{self.port}{database}"


def load_ml_metadata() -> Any:
    """Import ML Metadata.

    Its ``__init__`` prints an ImportError and goes on without its contents, so those are looked for.

    :raises LedgerUnsuitable: if it is not installed or does not load here.
    """
    try:
        module = importlib.import_module("ml_metadata")
    except ImportError as error:
        raise LedgerUnsuitable(f"ML Metadata cannot be imported ({error}); run: {_INSTALL}") from error
    if not hasattr(module, "MetadataStore"):
        raise LedgerUnsuitable(
            "ML Metadata is installed, but does not load: it printed an import error to stderr. Install a build for this "
            f"Python and machine, and the extra 'lineage' of airflow-model-ops for what it needs; run: {_INSTALL}"
        )
    return module


def connection_config(settings: LedgerSettings, *, create: bool) -> Any:
    """Return ML Metadata's own configuration of a store.

    :param create: Whether a SQLite file that is missing is made.
    """
    proto = load_ml_metadata().proto
    if settings.kind is LedgerKind.GRPC:
        timeout = max(settings.retry_seconds, 1.0)
        return proto.MetadataStoreClientConfig(host=settings.host, port=settings.port, client_timeout_sec=timeout)
    config = proto.ConnectionConfig()
    config.retry_options.max_num_retries = _TRIES_OF_THE_CLIENT
    if settings.kind is LedgerKind.SQLITE:
        config.sqlite.filename_uri = str(settings.path)
        config.sqlite.connection_mode = _OPEN_OR_CREATE if create else _OPEN
    elif settings.kind is LedgerKind.POSTGRESQL:
        server = config.postgresql
        server.host, server.port, server.dbname = settings.host, str(settings.port), settings.database
        server.user, server.password = settings.user, settings.password
    else:
        server = config.mysql
        server.host, server.port, server.database = settings.host, settings.port, settings.database
        server.user, server.password = settings.user, settings.password
    return config
