"""Airflow's own public API, asked in the same process and in the caller's name.

Airflow authorises, validates and writes its audit log as if the caller had asked itself: the request carries the caller's own
credentials and nobody else's, and comes from the caller's address.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Annotated, Any
from urllib.parse import quote

import httpx
from airflow.api_fastapi.auth.managers.base_auth_manager import COOKIE_NAME_JWT_TOKEN
from fastapi import Depends, HTTPException, Request, status

from airflow_model_ops.plugin.mounted import airflow_app_of

SECONDS = 15.0
"""How long an answer may take; Airflow's database may be slow."""
_PASSED_ON = frozenset({b"authorization", b"referer", b"user-agent", b"x-request-id"})
"""The caller's headers that Airflow sees. By ``referer`` it tells runs that were started in its UI from others."""
_log = logging.getLogger(__name__)


class AirflowApi:
    """Airflow's API for one caller."""

    def __init__(self, request: Request) -> None:
        self._app = airflow_app_of(request)
        # The public path begins where [api] base_url says; the app itself knows.
        self._root = f"{getattr(self._app, 'root_path', '')}/api/v2"
        self._headers = _credentials(request)
        self._scheme = request.scope["scheme"]
        self._client = (request.client.host, request.client.port) if request.client else ("127.0.0.1", 0)

    async def get(self, *path: str, query: Mapping[str, str] | None = None) -> httpx.Response:
        """Ask for what a path names, its parts not yet quoted."""
        return await self._ask("GET", path, params=dict(query or {}))

    async def post(self, *path: str, body: Mapping[str, Any]) -> httpx.Response:
        """Ask for a change."""
        return await self._ask("POST", path, json=body)

    async def _ask(self, method: str, path: tuple[str, ...], **more: Any) -> httpx.Response:
        if {".", ".."} & set(path):  # a client resolves them, and so would ask for something else
            raise HTTPException(status.HTTP_404_NOT_FOUND, f"there is no {'/'.join(path)}")
        url = "/".join((self._root, *(quote(part, safe="") for part in path)))
        transport = httpx.ASGITransport(app=self._app, client=self._client)
        base_url = f"{self._scheme}://airflow"
        async with httpx.AsyncClient(transport=transport, base_url=base_url, headers=self._headers) as client:
            try:
                async with asyncio.timeout(SECONDS):
                    return await client.request(method, url, **more)
            except TimeoutError:
                may_be = "; it may have done it all the same: look at the DAG's runs" if method == "POST" else ""
                raise HTTPException(
                    status.HTTP_504_GATEWAY_TIMEOUT, f"Airflow's API did not answer within {SECONDS:g} s{may_be}"
                ) from None
            except Exception as error:
                _log.exception("Airflow's own API failed at %s %s", method, url)
                raise HTTPException(
                    status.HTTP_502_BAD_GATEWAY,
                    f"Airflow's API failed ({type(error).__name__}); the API server's log has more",
                ) from error


def airflow_api_of(request: Request) -> AirflowApi:
    """Return Airflow's API for who sent a request."""
    return AirflowApi(request)


Api = Annotated[AirflowApi, Depends(airflow_api_of)]
"""Airflow's API in the caller's name."""


def detail_of(answer: httpx.Response) -> str:
    """Return what Airflow says of a request that it refused."""
    try:
        detail = answer.json()["detail"]
    except (ValueError, KeyError, TypeError):
        return f"status {answer.status_code}"
    if isinstance(detail, dict):
        detail = detail.get("message") or detail.get("reason") or detail
    return str(detail)


def _credentials(request: Request) -> list[tuple[bytes, bytes]]:
    passed = [(name, value) for name, value in request.scope["headers"] if name in _PASSED_ON]
    token = request.cookies.get(COOKIE_NAME_JWT_TOKEN)
    if token is not None:
        passed.append((b"cookie", f"{COOKIE_NAME_JWT_TOKEN}={token}".encode("latin-1", "replace")))
    return passed
