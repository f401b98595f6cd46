"""Who may do what: every route of the page's API against every role. A route that is not in the matrix fails the test."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import pytest
from starlette.routing import Mount, Route

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.testclient import TestClient

    from tests.plugin.page_story import PageStory

StartedRuns = list[tuple[str, Mapping[str, Any]]]

MODEL = "/api/v1/models/{model}"
READS = {
    "/api/v1/models": "",
    "/api/v1/context": "?dag_id=model_release_digits",
    MODEL: "",
    f"{MODEL}/timeline": "",
    f"{MODEL}/traffic": "",
    f"{MODEL}/evidence": "",
    f"{MODEL}/versions": "",
    f"{MODEL}/comparison": "?version={version}&version={other}",
    f"{MODEL}/versions/{{version}}/lineage": "",
    f"{MODEL}/rollback-preview": "?to=previous",
    f"{MODEL}/actions/{{dag_id}}/{{run_id}}": "",
}
"""Routes that read, with the query that a sound request has: for whoever may read the model's release DAG."""
WISHES: dict[str, dict[str, Any]] = {
    "rollback": {"to": "previous", "reason": "it harms"},
    "pin": {"version": None},
    "hold": {"reason": "wait for me"},
    "resume": {"reason": "go on"},
    "abort": {"reason": "not today"},
    "lift": {"version": "v-20230601-120000", "reason": "it was the data"},
    "quarantine": {"version": "v-20230601-120000", "reason": "it harms"},
}
ACTS = {f"{MODEL}/{action}": wish for action, wish in WISHES.items()}
"""Routes that act, with a sound wish: for whoever may trigger the DAG of the action."""
ROLES = ("nobody", "stranger", "viewer", "user", "op", "admin")


def routes_of(app: FastAPI) -> Iterator[tuple[str, str]]:
    """Yield method and path of every route of the page's app; a directory of files is a GET of its path."""
    (page,) = (each.app for each in app.routes if isinstance(each, Mount) and each.path == "/model-ops")
    for each in page.routes:  # type: ignore[attr-defined]
        if isinstance(each, Mount):
            yield "GET", each.path
        elif isinstance(each, Route):
            yield from ((method, each.path) for method in sorted(each.methods or ()) if method != "HEAD")


def test_every_route_is_in_the_matrix_and_nothing_else_is(app: FastAPI) -> None:
    expected = {("GET", path) for path in (*READS, "/bundle")} | {("POST", path) for path in ACTS}
    assert set(routes_of(app)) == expected


def address(story: PageStory, path: str) -> str:
    """Return a path of the matrix as one of the story's model ``digits``, below ``/api/v1/``."""
    names = [version.name for version in story.repository.versions("digits")]
    filled = path.format(
        model="digits", version=names[0], other=names[-1], dag_id="model_rollback", run_id="manual__no_such"
    )
    return filled.removeprefix("/api/v1/")


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("path", READS)
def test_who_may_read_the_release_dag_may_read_the_model(
    story: PageStory, client_of: Callable[[str | None], TestClient], path: str, role: str
) -> None:
    answer = client_of(None if role == "nobody" else role).get(address(story, f"{path}{READS[path]}"))
    about_a_model = path.startswith(MODEL)
    if role == "nobody":
        assert answer.status_code == 401
    elif role == "stranger" and about_a_model:
        assert answer.status_code == 404
        assert "no model 'digits' that you may see" in answer.json()["detail"]
    else:
        # There is no such run; it is the only thing here that a reader does not get.
        assert answer.status_code == (404 if "{run_id}" in path else 200), answer.text
    if role == "stranger" and not about_a_model:
        assert "digits" not in answer.text.replace("model_release_digits", "")


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("path", ACTS)
def test_who_may_trigger_the_dag_of_an_action_may_act(
    story: PageStory,
    client_of: Callable[[str | None], TestClient],
    started_runs: StartedRuns,
    path: str,
    role: str,
) -> None:
    before = len(list(story.repository.log("digits").entries()))
    answer = client_of(None if role == "nobody" else role).post(address(story, path), json=ACTS[path])
    refused = {"nobody": 401, "stranger": 404, "viewer": 403}
    assert answer.status_code == refused.get(role, 202), answer.text
    assert len(started_runs) == (role not in refused)
    assert len(list(story.repository.log("digits").entries())) == before  # the page itself changes no log: the run does


@pytest.mark.parametrize("path", READS)
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_what_reads_takes_no_other_method(story: PageStory, as_admin: TestClient, path: str, method: str) -> None:
    assert as_admin.request(method, address(story, path)).status_code == 405


@pytest.mark.parametrize("path", ACTS)
def test_no_action_is_done_by_a_get(
    story: PageStory, as_admin: TestClient, started_runs: StartedRuns, path: str
) -> None:
    assert as_admin.get(address(story, path)).status_code in {404, 405}
    assert started_runs == []
