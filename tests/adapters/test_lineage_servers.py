"""What a ledger's server can refuse, and what is said then: the thing, the fault, the remedy, and never the password."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from airflow_model_ops.adapters.lineage.mlmd_store import LedgerStore
from airflow_model_ops.adapters.lineage.queries import LedgerQueries
from airflow_model_ops.adapters.lineage.recorder import MlmdLedger
from airflow_model_ops.adapters.lineage.relay_process import RelayProcess
from airflow_model_ops.adapters.lineage.schema import MODEL
from airflow_model_ops.adapters.lineage.settings import LedgerKind, LedgerSettings
from airflow_model_ops.core.errors import InvalidConfig, LedgerUnavailable, LedgerUnsuitable
from tests.adapters.database_rig import PASSWORD, poll
from tests.adapters.ledger_servers import black_hole, certificate, mysql_8
from tests.adapters.lineage_story import manifest_of, told
from tests.adapters.mariadb_rig import MariadbServer
from tests.adapters.mlmd_grpc_rig import MlmdGrpcServer
from tests.adapters.postgresql_rig import PostgresqlServer

pytestmark = pytest.mark.integration

WORD = "x"
SERVERS = [LedgerKind.POSTGRESQL, LedgerKind.MYSQL, LedgerKind.GRPC]


@pytest.fixture(scope="module")
def postgresql() -> Iterator[PostgresqlServer]:
    with PostgresqlServer() as server:
        yield server


@pytest.fixture(scope="module")
def mariadb() -> Iterator[MariadbServer]:
    with MariadbServer() as server:
        yield server


def refusal_of(settings: LedgerSettings) -> str:
    with pytest.raises(LedgerUnavailable) as refusal:
        MlmdLedger(settings).ping()
    return str(refusal.value)


def at(kind: LedgerKind, port: int) -> LedgerSettings:
    database = "" if kind is LedgerKind.GRPC else "ledger"
    return LedgerSettings(kind=kind, host="127.0.0.1", port=port, database=database, answer_seconds=1, retry_seconds=1)


def test_a_wrong_password_is_named_on_postgresql_and_not_shown(
    postgresql: PostgresqlServer, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    said = refusal_of(postgresql.settings(password=f"not {PASSWORD}"))
    assert 'password authentication failed for user "postgres"): check login and password' in said
    assert f"postgresql://127.0.0.1:{postgresql.port}/ledger" in said
    MlmdLedger(postgresql.settings()).ping()
    everything = said + "".join(capfd.readouterr()) + caplog.text + repr(postgresql.settings())
    assert PASSWORD not in everything
    assert PASSWORD.replace("\\", "\\\\") not in everything


def test_a_wrong_password_is_named_on_mysql_and_not_shown(
    mariadb: MariadbServer, capfd: pytest.CaptureFixture[str]
) -> None:
    said = refusal_of(mariadb.settings(password=f"not {PASSWORD}"))
    assert "Access denied for user 'ledger_admin'@'127.0.0.1' (using password: YES)): check login and password" in said
    assert PASSWORD not in said + "".join(capfd.readouterr())


def test_a_missing_password_is_asked_for(postgresql: PostgresqlServer) -> None:
    assert "it asks for a password" in refusal_of(postgresql.settings(password=""))


@pytest.mark.parametrize("kind", SERVERS)
def test_a_port_where_nobody_listens_is_named_at_once(kind: LedgerKind) -> None:
    began = time.monotonic()
    with socket.socket() as taken:  # and nobody else may begin to
        taken.bind(("127.0.0.1", 0))
        said = refusal_of(replace(at(kind, taken.getsockname()[1]), retry_seconds=60))
    assert "cannot be reached: [Errno 111] Connection refused; start the server, and check host, port" in said
    assert time.monotonic() - began < 50


@pytest.mark.parametrize("kind", SERVERS)
def test_a_host_that_swallows_connections_is_given_up_within_the_bound(kind: LedgerKind) -> None:
    with black_hole() as port:
        began = time.monotonic()
        assert "cannot be reached: timed out" in refusal_of(at(kind, port))
        assert time.monotonic() - began < 60  # the kernel alone tries for two minutes


@pytest.mark.parametrize("kind", [LedgerKind.POSTGRESQL, LedgerKind.MYSQL])
def test_a_host_without_a_name_is_named(kind: LedgerKind) -> None:
    assert "cannot be reached: " in refusal_of(replace(at(kind, 1), host="no-such-host.invalid"))


def test_reading_makes_no_database(postgresql: PostgresqlServer, mariadb: MariadbServer) -> None:
    for server in (postgresql, mariadb):
        with pytest.raises(LedgerUnavailable, match="unread does not exist: nothing is recorded yet"):
            LedgerQueries(server.settings("unread")).history("digits")
    assert "unread" not in postgresql.sql("SELECT datname FROM pg_database")
    assert "unread" not in mariadb.sql("SHOW DATABASES")


def test_a_user_without_rights_is_told_what_to_grant(postgresql: PostgresqlServer, mariadb: MariadbServer) -> None:
    postgresql.sql("CREATE ROLE poor LOGIN PASSWORD 'x'")
    mariadb.sql("CREATE USER poor@'127.0.0.1' IDENTIFIED BY 'x'")
    said = refusal_of(postgresql.settings("none_yet", user="poor", password=WORD))
    assert "permission denied to create database): create the database and let this user create tables in it" in said
    said = refusal_of(mariadb.settings("none_yet", user="poor", password=WORD))
    assert "create the database and grant this user all rights in it" in said


def test_a_name_that_cannot_be_created_is_used_if_it_is_there(postgresql: PostgresqlServer) -> None:
    assert "cannot create a database named 'My-Ledger'" in refusal_of(postgresql.settings("My-Ledger"))
    postgresql.sql('CREATE DATABASE "My-Ledger"')
    assert MlmdLedger(postgresql.settings("My-Ledger")).catch_up("digits", told().log, manifest_of) == 19


def test_a_user_of_one_database_needs_no_other(postgresql: PostgresqlServer) -> None:
    postgresql.sql("CREATE ROLE owner LOGIN PASSWORD 'x'; CREATE DATABASE owned OWNER owner")
    postgresql.sql("REVOKE CONNECT ON DATABASE owned FROM PUBLIC; REVOKE CONNECT ON DATABASE postgres FROM PUBLIC")
    assert "can be read and written" in MlmdLedger(postgresql.settings("owned", user="owner", password=WORD)).ping()


def test_a_postgresql_that_demands_tls_is_spoken_to_in_tls_once_the_connection_says_so(tmp_path: Path) -> None:
    with PostgresqlServer() as server:
        assert "the server offers no TLS" in refusal_of(server.settings(tls=True))
        crt, _ = certificate(server.home, owner=server.system_user)
        server.sql(f"ALTER SYSTEM SET ssl_cert_file = '{crt}'")
        server.sql(f"ALTER SYSTEM SET ssl_key_file = '{server.home / 'server.key'}'")
        server.sql("ALTER SYSTEM SET ssl = on")
        server.trust("hostssl all all 127.0.0.1/32 scram-sha-256", "host all all 127.0.0.1/32 reject")
        poll(lambda: "on" in server.sql("SHOW ssl"), seconds=60)
        said = refusal_of(server.settings())
        assert "no encryption" in said
        assert "set `tls` in the connection" in said
        assert "CERTIFICATE_VERIFY_FAILED" in refusal_of(server.settings(tls=True))
        settings = server.settings(tls=True, ca_file=crt)
        assert MlmdLedger(settings).catch_up("digits", told().log, manifest_of) == 19
        assert len(LedgerQueries(settings).history("digits", limit=100)) == 19


def test_a_grpc_server_is_spoken_to_in_tls(tmp_path: Path) -> None:
    crt, key = certificate(tmp_path)
    with MlmdGrpcServer(tmp_path / "mlmd.sqlite", certificate=crt, key=key) as server:
        settings = server.settings(tls=True, ca_file=crt)
        assert MlmdLedger(settings).catch_up("digits", told().log, manifest_of) == 19
        refusal_of(replace(settings, tls=False, ca_file=None, answer_seconds=5, retry_seconds=1))
        with pytest.raises(InvalidConfig, match=r"ca_file .* cannot be read as certificates in PEM"):
            MlmdLedger(replace(settings, ca_file=tmp_path)).ping()


def test_mysqls_newer_authentication_is_named_with_the_way_out() -> None:
    with mysql_8() as port:
        said = refusal_of(replace(at(LedgerKind.MYSQL, port), answer_seconds=60))
    assert "the user's authentication plugin is caching_sha2_password" in said
    assert "ALTER USER ... IDENTIFIED WITH mysql_native_password" in said


def test_a_user_who_must_use_tls_on_mysql_is_told_why_it_cannot_be(mariadb: MariadbServer) -> None:
    mariadb.sql("CREATE USER safe@'127.0.0.1' IDENTIFIED BY 'x' REQUIRE SSL")
    assert "REQUIRE SSL" in refusal_of(mariadb.settings(user="safe", password=WORD))
    with pytest.raises(InvalidConfig, match="tls: ML Metadata's MySQL client goes on in plain text"):
        mariadb.settings(tls=True)


def test_a_database_of_another_version_of_ml_metadata_is_refused_and_left_alone(
    postgresql: PostgresqlServer, mariadb: MariadbServer
) -> None:
    for server in (postgresql, mariadb):
        MlmdLedger(server.settings("newer")).ping()
        server.sql("UPDATE MLMDEnv SET schema_version = 99", database="newer")
        with pytest.raises(LedgerUnsuitable, match="is of another version of ML Metadata"):
            MlmdLedger(server.settings("newer")).ping()
        assert server.sql("SELECT schema_version FROM MLMDEnv", database="newer").strip() == "99"


def test_models_whose_names_differ_only_in_case_are_kept_apart_or_refused(mariadb: MariadbServer) -> None:
    usual, binary = mariadb.settings("usual"), mariadb.settings("in_binary")
    mariadb.sql("CREATE DATABASE in_binary CHARACTER SET utf8mb4 COLLATE utf8mb4_bin")
    for settings in (usual, binary):
        MlmdLedger(settings).catch_up("digits", told().log, manifest_of)
    with pytest.raises(LedgerUnsuitable, match="takes the name 'Digits' for 'digits'"):
        MlmdLedger(usual).catch_up("Digits", told().log, manifest_of)
    assert MlmdLedger(binary).catch_up("Digits", told().log, manifest_of) == 19


def test_too_many_connections_pass_when_one_is_free_again(postgresql: PostgresqlServer) -> None:
    postgresql.sql("CREATE ROLE single LOGIN PASSWORD 'x' CONNECTION LIMIT 1; CREATE DATABASE single OWNER single")
    settings = postgresql.settings("single", user="single", password=WORD)
    assert MlmdLedger(settings).ping()
    held = LedgerStore(settings, create=False)
    assert held.artifact(MODEL, "digits") is None
    assert "too many connections" in refusal_of(replace(settings, retry_seconds=1))
    del held
    assert "can be read" in MlmdLedger(settings).ping()


def test_a_killed_writers_relay_ends_with_it_and_leaves_nothing(postgresql: PostgresqlServer) -> None:
    code = "import sys, time; from tests.adapters.test_lineage_servers import hold; hold(int(sys.argv[1]))"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(postgresql.port)], stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        place = Path(child.stdout.readline().strip())
        assert place.exists()
        os.kill(child.pid, signal.SIGKILL)
    poll(lambda: not place.parent.exists(), seconds=60)


def hold(port: int) -> None:
    """For a child process: hold a relay until killed."""
    relay = RelayProcess(at(LedgerKind.POSTGRESQL, port))
    sys.stdout.write(f"{relay.socket}\n")
    sys.stdout.flush()
    time.sleep(600)
