"""What a `model_repository` connection opens: a directory, or a bucket with the credentials of another connection."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from airflow.models.connection import Connection

from airflow_model_ops.adapters.repository.gcs_store import GcsStore
from airflow_model_ops.adapters.repository.object_repository import ObjectRepository
from airflow_model_ops.adapters.repository.posix_repository import PosixRepository
from airflow_model_ops.adapters.repository.s3_store import S3Store
from airflow_model_ops.core.errors import ConnectionUnavailable, InvalidConfig, RepositoryUnavailable
from airflow_model_ops.hooks.repository import ModelRepositoryHook, repository_of, served_root, store_of
from tests.adapters.bucket_rig import S3_KEYS, BucketServer, run_gcs, run_s3


def connection(root: str | None, **extra: Any) -> Connection:
    return Connection(
        conn_id="model_repository_default",
        conn_type="model_repository",
        extra=json.dumps(extra if root is None else {"root": root, **extra}),
    )


def define(monkeypatch: pytest.MonkeyPatch, conn_id: str, **fields: Any) -> None:
    """Define a connection as people do in the environment."""
    monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(fields))


def test_a_directory_is_a_posix_repository(tmp_path: Path) -> None:
    for root in (str(tmp_path), f"file://{tmp_path}"):
        assert isinstance(repository_of(connection(root)), PosixRepository)
        assert served_root(connection(root)) == str(tmp_path)


@pytest.mark.parametrize(
    ("root", "kind", "served"),
    [
        ("gs://bucket/models/", GcsStore, "gs://bucket/models"),
        ("gcs://bucket", GcsStore, "gs://bucket"),
        ("s3://bucket/a/b", S3Store, "s3://bucket/a/b"),
        ("s3a://bucket/a", S3Store, "s3://bucket/a"),
    ],
)
def test_a_bucket_is_opened_without_asking_anybody(root: str, kind: type, served: str) -> None:
    """No credentials exist here, nor the connection that is named: both are needed at first use."""
    opened = connection(root, storage_conn_id="not_there_yet")
    assert isinstance(store_of(opened), kind)
    assert isinstance(repository_of(opened), ObjectRepository)
    assert served_root(opened) == repository_of(opened).uri == served


@pytest.mark.parametrize(
    ("root", "words"),
    [
        (None, "names no root"),
        ("  ", "names no root"),
        ("gs://", "names no bucket"),
        ("gs:///models", "names no bucket"),
        ("s3://bucket//models", "empty or relative part"),
        ("sftp://host/models", "looks first and writes then"),
        ("memory://models", "no other worker sees"),
        ("file://host/models", "a directory on a disk"),
        ("gs:/bucket/models", "neither an absolute path nor a URL"),
        ("srv/models", "neither an absolute path nor a URL"),
    ],
)
def test_a_root_that_cannot_hold_a_repository_is_refused(root: str | None, words: str) -> None:
    for ask in (repository_of, served_root):
        with pytest.raises(InvalidConfig, match=words):
            ask(connection(root))


def test_an_unknown_scheme_is_refused_at_first_use() -> None:
    with pytest.raises(InvalidConfig, match="Airflow knows no file system for nonsense://"):
        store_of(connection("nonsense://bucket/models")).get("a")


def test_a_storage_connection_that_is_missing_is_named() -> None:
    store = store_of(connection("gs://bucket/models", storage_conn_id="nobody_defined_it"))
    with pytest.raises(ConnectionUnavailable, match="'nobody_defined_it'"):
        store.get("a")


def test_a_missing_package_is_named_with_what_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    define(monkeypatch, "aws_lacking", conn_type="aws")
    monkeypatch.setitem(__import__("sys").modules, "s3fs", None)
    store = store_of(connection("s3://bucket/models", storage_conn_id="aws_lacking"))
    with pytest.raises(InvalidConfig, match=r"extra `s3` of airflow-model-ops"):
        store.get("a")


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ({"root": "gs://bucket", "storage_con_id": "keys_here"}, "'storage_con_id', which means nothing here"),
        ({"root": "gs://bucket", "storage_conn_id": "keys_here"}, "'keys_here' of type 'aws'.*google_cloud_platform"),
    ],
)
def test_the_test_of_a_connection_tells_a_slip_before_it_asks_a_store(
    extra: dict[str, str], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    define(monkeypatch, "keys_here", conn_type="aws")
    define(monkeypatch, "model_repository_default", conn_type="model_repository", extra=extra)
    works, said = ModelRepositoryHook().test_connection()
    assert not works
    assert re.search(words, said)


def test_a_key_file_that_is_not_on_this_host_is_no_missing_bucket(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    gone = tmp_path / "key.json"
    define(monkeypatch, "gcs_keyless", conn_type="google_cloud_platform", extra={"key_path": str(gone), "project": "p"})
    store = store_of(connection("gs://bucket/models", storage_conn_id="gcs_keyless"))
    with pytest.raises(RepositoryUnavailable, match=rf"this host has no file '{gone}'"):
        store.get("a")


@pytest.mark.integration
def test_a_bucket_of_gcs_is_tried_with_the_credentials_of_its_connection(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "http://127.0.0.1:9")  # the connection's endpoint comes first
    with run_gcs(tmp_path) as server:
        extra = {"gcs.endpoint": server.url, "is_anonymous": True, "project": "test"}
        define(monkeypatch, "gcs_here", conn_type="google_cloud_platform", extra=extra)
        check_bucket(server, "gcs_here", monkeypatch)


@pytest.mark.integration
def test_a_bucket_of_s3_is_tried_with_the_credentials_of_its_connection(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with run_s3(tmp_path) as server:
        extra = {"endpoint_url": server.url, "region_name": "us-east-1"}
        secrets = {"login": S3_KEYS["key"], "password": S3_KEYS["secret"]}
        define(monkeypatch, "aws_here", conn_type="aws", extra=extra, **secrets)
        check_bucket(server, "aws_here", monkeypatch)


def check_bucket(server: BucketServer, storage_conn_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    root = f"{server.scheme}://{server.new_bucket()}/models"
    for bucket, works, words in (
        (root, True, "of two writers"),
        (f"{server.scheme}://not-there-1", False, "no such bucket"),
    ):
        extra = {"root": bucket, "storage_conn_id": storage_conn_id}
        define(monkeypatch, "model_repository_default", conn_type="model_repository", extra=extra)
        answer, said = ModelRepositoryHook().test_connection()
        assert (answer, words in said) == (works, True), said
    repository = repository_of(connection(root, storage_conn_id=storage_conn_id))
    assert repository.models() == ()
