"""Whatever is sent to the page's API, it never fails: sound and odd requests made from its OpenAPI document."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error

from airflow_model_ops.plugin.app import create_app

if TYPE_CHECKING:
    from fastapi import FastAPI

    from tests.plugin.page_story import PageStory

StartedRuns = list[tuple[str, Mapping[str, Any]]]

schema = schemathesis.openapi.from_dict(create_app().openapi())


@pytest.fixture
def admin_token(token_of: Callable[[str], str]) -> str:
    return token_of("admin")


@schema.parametrize()
@settings(
    max_examples=15,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_no_request_makes_the_server_fail(
    case: schemathesis.Case,
    story: PageStory,
    app: FastAPI,
    admin_token: str,
    started_runs: StartedRuns,
) -> None:
    case.headers["Authorization"] = f"Bearer {admin_token}"
    if "model" in (case.path_parameters or {}) and len(str(case.path_parameters["model"])) % 2:
        case.path_parameters["model"] = "digits"  # half of them reach a model that is there
    response = case.call(app=app, base_url="http://testserver/model-ops")
    case.validate_response(response, checks=[not_a_server_error])
