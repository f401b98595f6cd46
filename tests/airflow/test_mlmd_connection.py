"""The ledger's connection: as a form, as JSON and as a URI, each of the four kinds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import Connection

from airflow_model_ops.adapters.lineage.settings import LedgerKind, LedgerSettings
from airflow_model_ops.core.errors import InvalidConfig
from airflow_model_ops.get_provider_info import get_provider_info
from airflow_model_ops.hooks.mlmd import MlmdHook, ledger_settings_of

WORD = "p@ss w:rd"
POSTGRESQL = LedgerSettings(
    kind=LedgerKind.POSTGRESQL, host="db.example", port=5432, database="mlmd", user="ledger", password=WORD
)

FIELDS = {
    "conn_type": "mlmd",
    "host": "db.example",
    "port": 5432,
    "schema": "mlmd",
    "login": "ledger",
    "password": WORD,
    "extra": {"kind": "postgresql"},
}


def settings_in(monkeypatch: pytest.MonkeyPatch, value: str) -> LedgerSettings:
    monkeypatch.setenv("AIRFLOW_CONN_MLMD_DEFAULT", value)
    return MlmdHook()._settings()


def refused(**fields: Any) -> str:
    with pytest.raises(InvalidConfig) as refusal:
        ledger_settings_of(Connection(conn_id="mlmd_default", conn_type="mlmd", **fields))
    return str(refusal.value)


def extra(text: str) -> dict[str, str]:
    return {"extra": text}


@pytest.mark.parametrize(
    "value",
    [
        "mlmd://ledger:p%40ss%20w%3Ard@db.example:5432/mlmd?kind=postgresql",
        "mlmd://ledger:p%40ss%20w%3Ard@db.example/mlmd?kind=postgresql",
        json.dumps(FIELDS),
    ],
)
def test_a_server_is_named_by_a_uri_or_by_json(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    assert settings_in(monkeypatch, value) == POSTGRESQL


def test_a_uri_names_a_grpc_server_with_tls_and_its_time_out(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_in(
        monkeypatch, "mlmd://mlmd.example?kind=grpc&tls=on&ca_file=%2Fetc%2Fca.pem&timeout=3s&retry=1m"
    )
    assert settings == LedgerSettings(
        kind=LedgerKind.GRPC,
        host="mlmd.example",
        port=8080,
        tls=True,
        ca_file=Path("/etc/ca.pem"),
        answer_seconds=3.0,
        retry_seconds=60.0,
    )


def test_a_path_alone_names_a_sqlite_file_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = LedgerSettings(path=Path("/srv/mlmd.sqlite"))
    assert settings_in(monkeypatch, '{"conn_type": "mlmd", "extra": {"path": "/srv/mlmd.sqlite"}}') == expected
    assert settings_in(monkeypatch, "mlmd://?path=%2Fsrv%2Fmlmd.sqlite") == expected


def test_what_the_form_sends_for_fields_left_alone_is_taken() -> None:
    form = (
        '{"kind": "sqlite", "path": "/srv/mlmd.sqlite", "tls": "off", "ca_file": null, "timeout": "10s", "retry": ""}'
    )
    connection = Connection(conn_id="mlmd_default", conn_type="mlmd", extra=form)
    assert ledger_settings_of(connection) == LedgerSettings(path=Path("/srv/mlmd.sqlite"))


def test_the_forms_kinds_are_the_ledgers_kinds() -> None:
    (form,) = (each for each in get_provider_info()["connection-types"] if each["connection-type"] == "mlmd")
    assert form["conn-fields"]["kind"]["schema"]["enum"] == list(LedgerKind)
    assert set(form["ui-field-behaviour"]["hidden-fields"]) == {"extra"}


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "names no store; set `path` in its form"),
        ({"host": "db.example"}, "or is `kind` missing? It is postgresql, mysql or grpc for a server"),
        (extra('{"kind": "oracle"}'), "kind 'oracle' is none; choose one of sqlite, postgresql, mysql, grpc"),
        (extra('{"kind": "postgresql"}'), "postgresql needs the name or address of a host"),
        ({"host": "db", **extra('{"kind": "mysql"}')}, "mysql needs the name of a database"),
        ({"host": "db'x", **extra('{"kind": "grpc"}')}, 'host "db\'x"'),
        ({"host": "db", "schema": "a b", **extra('{"kind": "postgresql"}')}, "database 'a b'"),
        (
            {"host": "db", "schema": "d", **extra('{"kind": "postgresql", "sslmode": "require"}')},
            "set `tls` to on instead",
        ),
        ({"host": "db", "schema": "d", **extra('{"kind": "mysql", "tls": "on"}')}, "goes on in plain text"),
        ({"host": "db", **extra('{"kind": "grpc", "tls": "maybe"}')}, "tls 'maybe' is neither on nor off"),
        ({"host": "db", **extra('{"kind": "grpc", "timeout": "soon"}')}, "'soon' is not a duration"),
        (extra('{"path": "mlmd.sqlite"}'), "path 'mlmd.sqlite' is not absolute"),
    ],
)
def test_what_makes_no_sense_is_refused_by_the_connections_name(fields: dict[str, Any], words: str) -> None:
    said = refused(**fields)
    assert said.startswith("connection 'mlmd_default'")
    assert words in said


def test_a_password_is_in_no_message() -> None:
    said = refused(host="db", password=WORD, schema="a b", extra='{"kind": "postgresql"}')
    assert WORD not in said
    assert WORD not in repr(POSTGRESQL) + POSTGRESQL.shown
