"""From a Google Cloud connection and ``target.vertex_ai`` to an endpoint, without asking Airflow for the connection again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from airflow.sdk import Connection

from airflow_model_ops.config.target_part import VertexPart
from airflow_model_ops.core.errors import InvalidConfig
from airflow_model_ops.hooks.vertex_ai import (
    credentials_of,
    project_of,
    vertex_access_of,
    vertex_settings_of,
    vertex_target_of,
)
from airflow_model_ops.testing import InMemoryRepository
from tests.adapters.vertex_story import V1, brought, plan_of, state_of
from tests.vertex_fake.rig import VertexFake

PART = VertexPart(location="europe-west4", initially="empty", machine_type="n1-standard-4", drain="5m")  # type: ignore[arg-type]


def connection(**extra: Any) -> Connection:
    return Connection(conn_id="gcp", conn_type="google_cloud_platform", extra=json.dumps(extra))


class BucketRepository(InMemoryRepository):
    """One that says it is in a bucket."""

    @property
    def uri(self) -> str:
        return "gs://models"

    def version_uri(self, model: str, version: Any) -> str:
        return f"gs://models/{model}/versions/{version.number}"


@pytest.fixture
def fake() -> Iterator[VertexFake]:
    with VertexFake() as running:
        running.control.duration("*", 0.02)
        yield running


@pytest.mark.integration
def test_an_anonymous_connection_to_another_address_serves_and_is_never_fetched_again(fake: VertexFake) -> None:
    given = connection(project="p", is_anonymous=True, api_endpoint=fake.address.rest_url, api_transport="rest")
    with mock.patch("airflow.sdk.BaseHook.get_connection", side_effect=AssertionError("fetched again")):
        target = vertex_target_of(PART, given, BucketRepository(), "digits")
        assert brought(target, plan_of(1, state_of(V1))) == {str(V1.number): 100.0}
    target.check()
    upload = fake.control.log(method="UploadModel")[0]["request"]["model"]
    assert upload["artifact_uri"] == f"gs://models/digits/versions/{V1.number}"


def test_a_repository_on_disk_is_refused_before_anything_is_asked() -> None:
    target = vertex_target_of(PART, connection(project="p", is_anonymous=True), InMemoryRepository(), "digits")
    with pytest.raises(InvalidConfig, match="gs://<bucket>"):
        target.check()


def test_settings_come_from_the_part_and_what_it_leaves_open_from_model_and_connection() -> None:
    settings = vertex_settings_of(PART, connection(extra__google_cloud_platform__project="old-form"), "digits")
    assert (settings.project, settings.endpoint, settings.registry_model) == ("old-form", "digits", "digits")
    assert (settings.machine_type, settings.drain_seconds, settings.declared_empty) == ("n1-standard-4", 300.0, True)
    assert settings.container_image.startswith("us-docker.pkg.dev/vertex-ai/prediction/tf2-cpu")
    named = PART.model_copy(update={"project": "other", "container_image": "tf/serving"})
    assert vertex_settings_of(named, connection(project="p"), "digits").project == "other"
    assert vertex_settings_of(named, connection(project="p"), "digits").container_image == "tf/serving"


def test_a_project_is_taken_from_the_key_and_never_guessed() -> None:
    assert project_of(connection(keyfile_dict=json.dumps({"project_id": "of-the-key"}))) == "of-the-key"
    with pytest.raises(InvalidConfig, match="names no Google Cloud project"):
        project_of(connection())


@pytest.mark.parametrize("extra", [{"keyfile_dict": "{no json"}, {"key_path": "/nowhere/key.json"}])
def test_a_key_that_is_none_is_told_with_the_connection(extra: dict[str, str]) -> None:
    with pytest.raises(InvalidConfig, match="connection 'gcp' gives no credentials"):
        credentials_of(connection(**extra))


def test_a_key_and_a_chain_of_impersonation_are_used_as_the_google_provider_does(tmp_path: Path) -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    secret = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    key = {
        "type": "service_account",
        "project_id": "p",
        "private_key_id": "1",
        "private_key": secret.decode(),
        "client_email": "airflow@p.iam.gserviceaccount.com",
        "client_id": "1",
        "token_uri": "https://oauth2.googleapis.com/token",
    }
    path = tmp_path / "key.json"
    path.write_text(json.dumps(key))
    for extra in ({"key_path": str(path)}, {"keyfile_dict": json.dumps(key)}):
        assert credentials_of(connection(**extra)).service_account_email == key["client_email"]
    chain = credentials_of(
        connection(keyfile_dict=json.dumps(key), impersonation_chain="deployer@p.iam.gserviceaccount.com")
    )
    assert chain.service_account_email == "deployer@p.iam.gserviceaccount.com"


def test_a_connection_of_another_type_or_with_nonsense_is_refused() -> None:
    other = Connection(conn_id="tf", conn_type="tf_serving")
    for ask in (project_of, partial(vertex_access_of, location="europe-west4")):  # the project is asked for first
        with pytest.raises(InvalidConfig, match="is of type 'tf_serving'"):
            ask(other)
    with pytest.raises(InvalidConfig, match="write grpc or rest"):
        vertex_access_of(connection(api_transport="soap"), location="europe-west4")
    with pytest.raises(InvalidConfig, match="api_transport to rest"):
        vertex_access_of(connection(api_endpoint="http://127.0.0.1:1"), location="europe-west4")
    for nonsense in ("http://[", "ftp://vertex.corp", "vertex.corp/v1", "vertex.corp:x"):
        with pytest.raises(InvalidConfig, match=r"is no address; write host or host:port") as caught:
            vertex_access_of(connection(api_endpoint=nonsense, api_transport="rest"), location="europe-west4")
        assert str(nonsense) in str(caught.value)
    private = vertex_access_of(connection(api_endpoint="vertex.corp:443"), location="europe-west4")
    assert (private.address, private.transport) == ("vertex.corp:443", "grpc")
