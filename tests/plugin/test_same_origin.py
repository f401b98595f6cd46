"""What a browser is refused that somebody else's page sends here, with the cookie of who is signed in."""

from __future__ import annotations

import pytest
from fastapi import HTTPException, Request

from airflow_model_ops.plugin.same_origin import require_same_origin
from tests.plugin.conftest import settings

HOST = {"host": "airflow.example:8080", "cookie": "_token=mine"}


def ask(scheme: str = "http", **headers: str) -> None:
    fields = HOST | {name.replace("_", "-"): value for name, value in headers.items()}
    raw = [(name.encode(), value.encode()) for name, value in fields.items()]
    require_same_origin(
        Request({"type": "http", "scheme": scheme, "method": "POST", "path": "/", "query_string": b"", "headers": raw})
    )


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://airflow.example:8080"},
        {"origin": "HTTP://AIRFLOW.example:8080"},
        {"sec_fetch_site": "same-origin"},
        {"authorization": "Bearer abc"},
        {"authorization": "bearer abc", "origin": "http://evil.example"},
    ],
)
def test_airflows_own_page_and_whoever_has_a_token_may(headers: dict[str, str]) -> None:
    ask(**headers)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"origin": "null"},
        {"origin": "http://evil.example"},
        {"origin": "http://airflow.example"},
        {"origin": "https://airflow.example:8080"},
        {"origin": "http://airflow.example:8080.evil.example"},
        {"origin": "http://evil.example", "sec_fetch_site": "same-origin"},
        {"origin": "http://airflow.example:nonsense"},
        {"origin": "http://["},
        {"origin": "http://[::1"},
        {"sec_fetch_site": "same-site"},
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "none"},
        # Airflow asks the cookie then, as if there were no such header.
        {"authorization": "Basic abc"},
        {"authorization": "Bearer "},
    ],
)
def test_any_other_page_may_not(headers: dict[str, str]) -> None:
    with pytest.raises(HTTPException, match="403"):
        ask(**headers)


def test_behind_a_proxy_the_page_is_where_base_url_says() -> None:
    with settings(api__base_url="https://ops.example/air"):
        ask(origin="https://ops.example")
        with pytest.raises(HTTPException, match=r"ops\.example\.evil"):
            ask(origin="https://ops.example.evil")
