"""Where the ledger is: the settings of a store, and ML Metadata itself, imported when it is needed."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from airflow_model_ops.core.errors import InvalidConfig, LedgerUnsuitable

_INSTALL = "pip install --no-deps ml-metadata==1.17.1"
_READ_ONLY, _OPEN, _OPEN_OR_CREATE = 1, 2, 3  # SqliteMetadataSourceConfig.ConnectionMode
_TRIES_OF_THE_CLIENT = 1  # its own pauses are 2 s on average; ours start at milliseconds
_DATABASE = re.compile(r"[A-Za-z0-9_$-]{1,63}\Z")
_HOST = re.compile(r"[A-Za-z0-9._:%-]+\Z")
_TEXT_FIELDS = ("user", "password")


class LedgerKind(StrEnum):
    """What keeps the ledger."""

    SQLITE = "sqlite"
    POSTGRESQL = "postgresql"
    MYSQL = "mysql"
    GRPC = "grpc"


USUAL_PORTS = {LedgerKind.POSTGRESQL: 5432, LedgerKind.MYSQL: 3306, LedgerKind.GRPC: 8080}
"""Where each kind of server listens if nothing else is said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerSettings:
    """Where the ledger is.

    :param path: The SQLite file; its directory is made when it is first written.
    :param host: Of the database server or the ML Metadata gRPC server; not for SQLite.
    :param port: As ``host``; ``None``: the kind's usual one.
    :param database: The name of the database on PostgreSQL and MySQL.
    :param tls: Whether to speak TLS to the server: PostgreSQL and gRPC; the server's certificate must name ``host``.
    :param ca_file: The certificates, in PEM, that vouch for the server; ``None``: the system's.
    :param retry_seconds: How long one read or write is tried again while others hold the store, or it does not answer.
    :param answer_seconds: How long a server may take for one answer; one that hangs is given up then.
    :raises InvalidConfig: if something is missing or makes no sense.
    """

    kind: LedgerKind = LedgerKind.SQLITE
    path: Path | None = None
    host: str = ""
    port: int | None = None
    database: str = ""
    user: str = ""
    password: str = field(default="", repr=False)
    tls: bool = False
    ca_file: Path | None = None
    retry_seconds: float = 20.0
    answer_seconds: float = 10.0

    def __post_init__(self) -> None:
        if self.port is None and self.kind in USUAL_PORTS:
            object.__setattr__(self, "port", USUAL_PORTS[self.kind])
        problems = [*self._faults_of_the_place(), *self._faults_of_tls()]
        if self.retry_seconds < 0:
            problems.append(f"retry_seconds {self.retry_seconds!r} is negative")
        if self.answer_seconds <= 0:
            problems.append(f"answer_seconds {self.answer_seconds!r} is not positive")
        problems += [f"{name} holds a NUL character" for name in _TEXT_FIELDS if "\0" in getattr(self, name)]
        if problems:
            raise InvalidConfig(f"ledger settings: {'; '.join(problems)}")

    def _faults_of_the_place(self) -> Iterator[str]:
        if self.kind is LedgerKind.SQLITE:
            if self.path is None or not self.path.is_absolute():
                shown = None if self.path is None else str(self.path)
                yield f"path {shown!r} is not absolute: give the SQLite file's full path"
            return
        if self.path is not None:
            yield f"path {str(self.path)!r} is for kind sqlite; {self.kind.value} needs host and port"
        if not _HOST.match(self.host):
            yield f"host {self.host!r}: {self.kind.value} needs the name or address of a host"
        if self.port is not None and not 0 < self.port < 65_536:
            yield f"port {self.port!r} is none; give one from 1 to 65535"
        if self.kind is not LedgerKind.GRPC and not _DATABASE.match(self.database):
            yield (
                f"database {self.database!r}: {self.kind.value} needs the name of a database, of letters, digits, '_', '-' and "
                "'$'; give it as the connection's schema"
            )

    def _faults_of_tls(self) -> Iterator[str]:
        if self.tls and self.kind is LedgerKind.MYSQL:
            yield (
                "tls: ML Metadata's MySQL client goes on in plain text when a server offers no TLS, so it cannot be relied on; "
                "use PostgreSQL or a gRPC server with TLS, or a tunnel on this host"
            )
        if self.tls and self.kind is LedgerKind.SQLITE:
            yield "tls: a SQLite file has no connection to protect; leave it out"
        if self.ca_file is not None and not self.tls:
            yield f"ca_file {str(self.ca_file)!r} is of no use without tls"

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


def connection_config(settings: LedgerSettings, *, create: bool, read_only: bool = False) -> Any:
    """Return ML Metadata's own configuration of a store.

    :param create: Whether a SQLite file, or a database on a server, is made if it is missing.
    :param read_only: Whether a SQLite file is opened for reading only.
    :raises InvalidConfig: if the file of certificates cannot be read.
    """
    proto = load_ml_metadata().proto
    if settings.kind is LedgerKind.GRPC:
        return _client_config(settings, proto.MetadataStoreClientConfig())
    config = proto.ConnectionConfig()
    config.retry_options.max_num_retries = _TRIES_OF_THE_CLIENT
    if settings.kind is LedgerKind.SQLITE:
        config.sqlite.filename_uri = str(settings.path)
        config.sqlite.connection_mode = _READ_ONLY if read_only else _OPEN_OR_CREATE if create else _OPEN
    elif settings.kind is LedgerKind.POSTGRESQL:
        server = config.postgresql
        server.host, server.port, server.dbname = settings.host, str(settings.port), settings.database
        server.user, server.password = _quoted(settings.user), _quoted(settings.password)
        server.skip_db_creation = not create
    else:
        server = config.mysql
        server.host, server.port, server.database = settings.host, settings.port, settings.database
        server.user, server.password = settings.user, settings.password
        server.skip_db_creation = not create
    return config


def behind_socket(config: Any, *, socket: Path, port: int) -> Any:
    """Return a database server's configuration with its way led over a Unix socket.

    :param port: What PostgreSQL's client expects in the socket's name.
    """
    if config.HasField("postgresql"):
        config.postgresql.host, config.postgresql.port = _quoted(str(socket.parent)), str(port)
    else:
        for field_name in ("host", "port"):
            config.mysql.ClearField(field_name)
        config.mysql.socket = str(socket)
    return config


def _client_config(settings: LedgerSettings, config: Any) -> Any:
    config.host, config.port, config.client_timeout_sec = settings.host, settings.port, settings.answer_seconds
    if settings.tls:
        config.ssl_config.SetInParent()
        if settings.ca_file is not None:
            config.ssl_config.custom_ca = certificates_in(settings.ca_file)
    return config


def _quoted(value: str) -> str:
    """Return a value of PostgreSQL's connection string: ML Metadata puts it there as it is. Source: libpq, Connection Strings."""
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def certificates_in(path: Path) -> str:
    """Return the certificates of a file, in PEM.

    :raises InvalidConfig: if it cannot be read.
    """
    try:
        return path.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidConfig(
            f"ledger settings: ca_file {str(path)!r} cannot be read as certificates in PEM: {error}; give the file that holds "
            "the certificates of the server's authority"
        ) from error
