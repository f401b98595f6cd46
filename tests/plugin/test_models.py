"""The list of models: who sees which, and what a row says."""

from __future__ import annotations

from starlette.testclient import TestClient


def test_nobody_is_asked_to_sign_in(as_nobody: TestClient) -> None:
    assert as_nobody.get("models").status_code == 401


def test_who_may_read_no_dag_sees_no_model(as_stranger: TestClient) -> None:
    answer = as_stranger.get("models")

    assert answer.status_code == 200
    assert answer.json()["models"] == []


def test_a_viewer_sees_models(as_viewer: TestClient) -> None:
    assert as_viewer.get("models").status_code == 200
