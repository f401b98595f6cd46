"""The FastAPI app of the page: its API below ``/api/v1`` and its bundle below ``/bundle``."""

from __future__ import annotations

import json
from pathlib import Path

from fastapi import FastAPI, Request, Response, status
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.staticfiles import StaticFiles

from airflow_model_ops import __version__
from airflow_model_ops.core.errors import ModelOpsError
from airflow_model_ops.plugin.backends.reading import Unanswered
from airflow_model_ops.plugin.mounted import MountedApp
from airflow_model_ops.plugin.routes import (
    actions,
    comparison,
    context,
    evidence,
    lineage,
    model,
    models,
    timeline,
    traffic,
    versions,
)

BUNDLE = Path(__file__).parent / "bundle"
"""The built page, as the wheel carries it. It is public: it holds no data."""


def create_app() -> FastAPI:
    """Return the app; every route below ``/api`` asks who calls."""
    app = MountedApp(
        title="Model Ops",
        description="What the page Model Ops of the Airflow UI shows and does.",
        version=__version__,
        docs_url=None,  # Airflow's pages allow no scripts of other hosts, which the two need
        redoc_url=None,
        openapi_url=None,
    )
    for router in (
        models.router,
        model.router,
        timeline.router,
        traffic.router,
        evidence.router,
        actions.router,
        versions.router,
        comparison.router,
        lineage.router,
        context.router,
    ):
        app.include_router(router, prefix="/api/v1")
    app.mount("/bundle", StaticFiles(directory=BUNDLE), name="bundle")
    app.add_exception_handler(Unanswered, _unanswered)
    app.add_exception_handler(ModelOpsError, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    return app


async def _unanswered(_: Request, error: Exception) -> JSONResponse:
    """Answer 503 with which backend it is, where a route has nothing to show without it."""
    trouble = error.trouble.model_dump(mode="json") if isinstance(error, Unanswered) else None
    return JSONResponse({"detail": str(error), "trouble": trouble}, status_code=status.HTTP_503_SERVICE_UNAVAILABLE)


async def _refused(_: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"detail": str(error)}, status_code=status.HTTP_409_CONFLICT)


async def _invalid(_: Request, error: Exception) -> Response:
    """Say what is wrong with a request, without repeating it: JSON takes neither NaN nor half a character in an answer."""
    faults = error.errors() if isinstance(error, RequestValidationError) else []
    told = [{part: fault[part] for part in ("type", "loc", "msg")} for fault in faults]
    return Response(json.dumps({"detail": told}), status_code=422, media_type="application/json")
