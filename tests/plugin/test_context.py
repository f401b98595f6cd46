"""The tab on Airflow's pages finds the model that a DAG or a run is about, and tells strangers of none."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from starlette.routing import Mount

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.testclient import TestClient

ANSWERS: dict[tuple[str, ...], dict[str, Any]] = {
    ("dags", "my_spam_release"): {"tags": [{"name": "model-ops"}, {"name": "spam"}, {"name": "nightly"}]},
    ("dags", "spam_report"): {"tags": [{"name": "spam"}]},
    ("dags", "two_models"): {"tags": [{"name": "model-ops"}, {"name": "spam"}, {"name": "tags"}]},
    ("dags", "model_rollback"): {"tags": [{"name": "model-ops"}]},
    ("dags", "model_rollback", "dagRuns", "manual__1"): {"conf": {"model": "tags", "reason": "it harms"}},
    ("dags", "model_rollback", "dagRuns", "manual__2"): {"conf": {"model": ["odd"]}},
    ("dags", "model_rollback", "dagRuns", "manual__3"): {"conf": None},
}
"""What Airflow's own API says; anything else is not there."""


class Airflow:
    """Airflow's API as far as this needs it."""

    async def get(self, *path: str) -> httpx.Response:
        return httpx.Response(200, json=ANSWERS[path]) if path in ANSWERS else httpx.Response(404, json={})


@pytest.fixture(autouse=True)
def _airflow(app: FastAPI) -> Iterator[None]:
    from airflow_model_ops.plugin.runs.airflow_api import airflow_api_of

    (page,) = (each.app for each in app.routes if isinstance(each, Mount) and each.path == "/model-ops")
    page.dependency_overrides[airflow_api_of] = Airflow  # type: ignore[attr-defined]
    yield
    page.dependency_overrides.clear()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("query", "model", "release"),
    [
        ("dag_id=model_release_digits", "digits", None),
        ("dag_id=model_release_digits&run_id=manual__9", "digits", "model_release_digits/manual__9"),
        ("dag_id=model_release_digits&run_id=manual__9&task_id=push", "digits", "model_release_digits/manual__9"),
        ("dag_id=my_spam_release&run_id=a", "spam", "my_spam_release/a"),
        ("dag_id=spam_report", None, None),
        ("dag_id=two_models", None, None),
        ("dag_id=model_rollback", None, None),
        ("dag_id=model_rollback&run_id=manual__1", "tags", None),
        ("dag_id=model_rollback&run_id=manual__2", None, None),
        ("dag_id=model_rollback&run_id=manual__3", None, None),
        ("dag_id=model_rollback&run_id=gone", None, None),
        ("dag_id=somebody_elses", None, None),
    ],
)
def test_a_page_of_airflow_is_about_a_model_or_none(
    as_viewer: TestClient, query: str, model: str | None, release: str | None
) -> None:
    assert as_viewer.get(f"context?{query}").json() == {"model": model, "release": release}


def test_who_may_not_see_the_model_is_told_of_none(as_stranger: TestClient) -> None:
    for query in ("dag_id=model_release_digits&run_id=a", "dag_id=model_rollback&run_id=manual__1"):
        assert as_stranger.get(f"context?{query}").json() == {"model": None, "release": None}


def test_a_page_without_a_dag_is_none(as_viewer: TestClient) -> None:
    assert as_viewer.get("context").status_code == 422
    assert as_viewer.get("context?dag_id=").status_code == 422
