"""Refuses what another site makes a signed-in browser ask for.

Airflow's session is a cookie, and it has no CSRF tokens. A browser says where a changing request comes from (``Origin``,
``Sec-Fetch-Site``), and no script can forge that. Callers with a bearer token are no browsers with somebody's cookie.

Source: OWASP, Cross-Site Request Forgery Prevention, "Verifying Origin With Standard Headers".
"""

from __future__ import annotations

from urllib.parse import urlsplit

from airflow.sdk import conf
from fastapi import HTTPException, Request, status


def require_same_origin(request: Request) -> None:
    """Refuse a request with a cookie that a page of another origin sent; to be asked by every route that changes something."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token.strip():  # of anything else Airflow takes no notice, and asks the cookie
        return
    origin = request.headers.get("origin")
    if origin is not None:
        if _origin_of(origin) in _own_origins(request):
            return
        raise HTTPException(
            status.HTTP_403_FORBIDDEN,
            f"a page of {origin!r} asks for this; only Airflow's own page may; if that is it, set [api] base_url to its address",
        )
    if request.headers.get("sec-fetch-site") == "same-origin":
        return
    raise HTTPException(
        status.HTTP_403_FORBIDDEN,
        "the request does not say which page it comes from (no Origin); use Airflow's own page, or a bearer token",
    )


def _own_origins(request: Request) -> set[str | None]:
    """Return how this Airflow may be addressed: as ``[api] base_url`` says, and as the caller's own request does."""
    configured = conf.get("api", "base_url", fallback="") or ""
    host = request.headers.get("host", "")
    return {_origin_of(configured), _origin_of(f"{request.scope['scheme']}://{host}")} - {None}


def _origin_of(url: str) -> str | None:
    try:
        parts = urlsplit(url)
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:  # it is no URL
        return None
    if not parts.scheme or not parts.hostname:
        return None
    return f"{parts.scheme}://{parts.hostname}:{port}"
