"""Why a database server turned a client away, read from the first bytes it sent. ML Metadata tells none of it. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from airflow_model_ops.adapters.lineage.settings import LedgerKind

_MYSQL_ERROR, _MYSQL_SWITCH, _MYSQL_OK = b"\xff", b"\xfe", b"\x00"
_READY, _WANTS_LOGIN, _LOGGED_IN = b"Z", b"R", b"\x00\x00\x00\x00"
_NATIVE_PLUGIN = "mysql_native_password"
_LOG_IN = "check login and password"
_SEE_LOG = "see the server's log"

PASSING = frozenset({"57P03", "53300", "1040", "1203", "1205", "1213"})
"""Starting up, too many connections, lock time-outs and deadlocks: a later try may do."""
MISSING_DATABASE = frozenset({"3D000", "1049"})

_REMEDIES = {
    "28P01": _LOG_IN,
    "28000": "check the login, and that the server's pg_hba.conf lets it in from this host",
    "3D000": "create the database, or give a user that may create it",
    "42501": "create the database and let this user create tables in it",
    "57P03": "wait until the server is up",
    "53300": "let the server take more connections",
    "1040": "let the server take more connections",
    "1044": "create the database and grant this user all rights in it",
    "1045": f"{_LOG_IN}; a user who must use TLS (REQUIRE SSL) is refused by the same words, and ML Metadata cannot",
    "1049": "create the database, or give a user that may create it",
    "1129": "let the server forget this host's errors (FLUSH HOSTS)",
    "1130": "create the user for this host",
    "3159": "let the server take connections without TLS, or use PostgreSQL or a gRPC server with TLS, or a tunnel on this host",
}
_NEEDS_TLS = "the server demands TLS, which ML Metadata 1.17.1 cannot speak by itself; set `tls` in the connection"
_NEEDS_NATIVE = (
    f"ML Metadata 1.17.1 knows {_NATIVE_PLUGIN} only: ALTER USER ... IDENTIFIED WITH {_NATIVE_PLUGIN} BY ..., or use MariaDB, "
    "PostgreSQL or a gRPC server"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """What a server said when it turned a client away.

    :param code: The server's own: an SQLSTATE of PostgreSQL, a number of MySQL; empty if it gave none.
    """

    code: str
    said: str
    remedy: str

    @property
    def may_pass(self) -> bool:
        """Whether a later try may do."""
        return self.code in PASSING

    @property
    def no_database(self) -> bool:
        """Whether the database is missing."""
        return self.code in MISSING_DATABASE


def refusal(kind: LedgerKind, opening: bytes) -> Refusal | None:
    """Return why a server turned a client away, or ``None`` if its first bytes say no such thing.

    Errors after the login are part of ML Metadata's work, which tries whether its tables are there; only known ones count.

    :param opening: The first bytes that the server sent on a connection.
    """
    return _of_postgresql(opening) if kind is LedgerKind.POSTGRESQL else _of_mysql(opening)


def _of_postgresql(opening: bytes) -> Refusal | None:
    """Source: PostgreSQL's documentation, chapter Frontend/Backend Protocol: ErrorResponse."""
    place, logged_in, unanswered = 0, False, False
    while len(opening) >= place + 5:
        size = int.from_bytes(opening[place + 1 : place + 5], "big")
        kind = opening[place : place + 1]
        logged_in = logged_in or kind == _READY
        if kind == b"E":
            pieces = opening[place + 5 : place + 1 + size].split(b"\0")
            fields = {piece[:1].decode("latin-1"): piece[1:].decode(errors="replace") for piece in pieces if piece}
            if not logged_in or fields.get("C") in _REMEDIES:
                return _postgresql_refusal(fields.get("C", ""), fields.get("M", "no reason"))
        unanswered = kind == _WANTS_LOGIN and opening[place + 5 : place + 9] != _LOGGED_IN
        place += 1 + size
    if unanswered and not logged_in:
        return Refusal(code="", said="it asks for a password, and got no answer it knows", remedy=_LOG_IN)
    return None


def _postgresql_refusal(code: str, said: str) -> Refusal:
    no_tls = "no encryption" in said or "SSL off" in said
    remedy = _NEEDS_TLS if no_tls else _REMEDIES.get(code, _SEE_LOG)
    return Refusal(code=code, said=said, remedy=remedy)


def _of_mysql(opening: bytes) -> Refusal | None:
    """Source: MySQL's internals manual, Connection Phase: ERR packet and AuthSwitchRequest."""
    last, logged_in = b"", False
    for packet in _mysql_packets(opening):
        if packet[:1] == _MYSQL_ERROR:
            code = str(int.from_bytes(packet[1:3], "little"))
            words = (packet[9:] if packet[3:4] == b"#" else packet[3:]).decode(errors="replace")
            if not logged_in or code in _REMEDIES:
                return Refusal(code=code, said=words, remedy=_REMEDIES.get(code, _SEE_LOG))
        logged_in = logged_in or packet[:1] == _MYSQL_OK
        last = packet
    plugin = last[1:].split(b"\0")[0].decode(errors="replace")
    if logged_in or last[:1] != _MYSQL_SWITCH or plugin == _NATIVE_PLUGIN:
        return None
    return Refusal(code="", said=f"the user's authentication plugin is {plugin}", remedy=_NEEDS_NATIVE)


def _mysql_packets(data: bytes) -> Iterator[bytes]:
    place = 0
    while len(data) > place + 4:
        size = int.from_bytes(data[place : place + 3], "little")
        yield data[place + 4 : place + 4 + size]
        place += 4 + size
