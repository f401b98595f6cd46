"""google.auth, unmodified, gets tokens with a service account's key, and they are what lets callers in."""

from __future__ import annotations

import pytest
import requests
from google.api_core import exceptions
from google.auth.exceptions import RefreshError
from google.auth.transport.requests import AuthorizedSession, Request
from google.oauth2 import service_account

from tests.vertex_fake.oauth import ServiceAccount
from tests.vertex_fake.rig import VertexFake
from tests.vertex_fake.story import ENDPOINT, Caller

SCOPES = ["https://www.googleapis.com/auth/cloud-platform"]


@pytest.fixture(scope="module")
def stranger() -> ServiceAccount:
    return ServiceAccount()


def credentials(key: dict[str, str]) -> service_account.Credentials:
    return service_account.Credentials.from_service_account_info(key, scopes=SCOPES)


def test_a_token_is_fetched_with_the_key_used_and_fetched_anew_when_it_is_revoked(fake: VertexFake) -> None:
    Caller(fake.address).create_endpoint()
    fake.control.require_bearer("issued")
    holder = credentials(fake.control.service_account_key(fake.address.rest_url))
    client = fake.address.endpoint_client("rest", credentials=holder)
    assert client.get_endpoint(name=ENDPOINT).name == ENDPOINT

    session = AuthorizedSession(holder)
    url = f"{fake.address.rest_url}/v1/projects/acme/location/global/prometheus/api/v1/query"
    assert session.get(url, timeout=10).status_code == 503, "let in; there is no Prometheus"
    first = holder.token
    fake.control.revoke_tokens()
    assert session.get(url, timeout=10).status_code == 503
    assert holder.token != first


def test_a_token_of_another_key_is_no_token(fake: VertexFake, stranger: ServiceAccount) -> None:
    fake.control.require_bearer("issued")
    theirs = credentials(stranger.key(token_uri=f"{fake.address.rest_url}/token"))
    with pytest.raises(RefreshError, match="invalid_grant"):
        theirs.refresh(Request())
    with pytest.raises(exceptions.Unauthorized):
        fake.address.endpoint_client("grpc").get_endpoint(
            {"name": ENDPOINT}, metadata=[("authorization", "Bearer ya29.made-up")]
        )
    assert (
        requests.post(f"{fake.address.rest_url}/token", data={"grant_type": "password"}, timeout=10).status_code == 400
    )
