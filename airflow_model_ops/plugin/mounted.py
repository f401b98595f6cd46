"""An app that remembers the app it is mounted in: Starlette forgets that as soon as the mounted one is called."""

from __future__ import annotations

from fastapi import FastAPI, HTTPException, Request, status
from starlette.types import ASGIApp, Receive, Scope, Send

_PARENT = "model_ops.mounted_in"


class MountedApp(FastAPI):
    """The page's app. That it is mounted in Airflow's is what lets it ask Airflow's own API, in the same process."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Keep the parent, which is the scope's app until this call."""
        if scope["type"] == "http":
            scope[_PARENT] = scope.get("app")
        await super().__call__(scope, receive, send)


def airflow_app_of(request: Request) -> ASGIApp:
    """Return the app of Airflow that a request came through.

    :raises HTTPException: 503, if the page's app is not mounted in one.
    """
    parent: ASGIApp | None = request.scope.get(_PARENT)
    if parent is None:
        raise HTTPException(
            status.HTTP_503_SERVICE_UNAVAILABLE, "this app is not mounted in Airflow's API server, so no DAG can be run"
        )
    return parent
