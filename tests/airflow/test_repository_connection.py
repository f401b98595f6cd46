"""What a `model_repository` connection is told when its extra is not what the form makes."""

from __future__ import annotations

import pytest
from airflow.sdk import Connection

from airflow_model_ops.adapters.repository.gcs_store import GcsStore
from airflow_model_ops.core.errors import ConnectionUnavailable, InvalidConfig
from airflow_model_ops.hooks.repository import repository_of, store_of


def connection(extra: str) -> Connection:
    return Connection(conn_id="models", conn_type="model_repository", extra=extra)


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ("5", "its extra is 5; write an object of JSON"),
        ('["gs://bucket"]', "its extra is .*; write an object of JSON"),
        ('{"root": 5}', "root 5 in its extra is no text"),
        ('{"root": ["/srv"]}', "root .* is no text"),
        ('{"root": "gs://bucket", "storage_conn_id": 7}', "storage_conn_id 7 in its extra is no text"),
        ('{"root": "gs://conn@bucket/x"}', "name the connection in `storage_conn_id`"),
    ],
)
def test_an_extra_of_another_kind_is_a_mistake_that_no_retry_mends(extra: str, words: str) -> None:
    with pytest.raises(InvalidConfig, match=words):
        repository_of(connection(extra))


def test_a_scheme_in_capitals_is_the_same_scheme() -> None:
    """Else fsspec's general words would be used, which know no parts and ask Google over gRPC for minutes."""
    store = store_of(connection('{"root": "GS://bucket/models"}'))
    assert isinstance(store, GcsStore)
    assert store.uri == "gs://bucket/models"


def test_a_missing_aws_connection_is_not_replaced_by_whatever_credentials_are_around() -> None:
    store = store_of(connection('{"root": "s3://bucket/models", "storage_conn_id": "nobody_made_it"}'))
    with pytest.raises(ConnectionUnavailable, match="'nobody_made_it'"):
        store.get("a")
