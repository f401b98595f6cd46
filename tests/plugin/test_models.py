"""The list of models: who sees which, and what a row says."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.plugin.page_story import MODELS, PageStory
from tests.waits import until


def rows(client: TestClient) -> dict[str, dict[str, Any]]:
    """Return the rows by model once all were read."""

    def complete() -> dict[str, Any] | None:
        answer = client.get("models").json()
        return answer if answer["complete"] else None

    answer = until(complete, what="every model read once")
    return {row["model"]: row for row in answer["models"]}


def test_nobody_is_asked_to_sign_in(as_nobody: TestClient) -> None:
    assert as_nobody.get("models").status_code == 401


def test_who_may_read_no_dag_sees_no_model(as_stranger: TestClient) -> None:
    answer = as_stranger.get("models")

    assert answer.status_code == 200
    assert answer.json() == {"models": [], "age_seconds": None, "complete": True, "mistakes": 0}


def test_a_viewer_sees_every_model_once_it_was_read(as_viewer: TestClient) -> None:
    assert sorted(rows(as_viewer)) == sorted(MODELS)


def test_the_list_says_how_old_it_is(as_viewer: TestClient) -> None:
    rows(as_viewer)

    assert 0 <= as_viewer.get("models").json()["age_seconds"] < 60


def test_a_live_canary_shows_its_share_and_the_verdict_so_far(as_viewer: TestClient) -> None:
    row = rows(as_viewer)["digits"]

    assert row["stable"] == "v-20230602-120000"
    assert row["canary"]["version"] == "v-20230603-120000"
    assert row["canary"]["percent"] == 10
    assert row["canary"]["verdict"] == "UNDECIDED"
    assert "errors of v-20230603-120000" in row["canary"]["reason"]
    assert row["split"] == [
        {"version": "v-20230602-120000", "percent": 90},
        {"version": "v-20230603-120000", "percent": 10},
    ]
    assert (row["live"], row["traffic"]) == (True, "applied")


def test_a_model_that_was_rolled_back_shows_what_is_quarantined_and_who_acted_last(as_viewer: TestClient) -> None:
    row = rows(as_viewer)["spam"]

    assert row["stable"] == "v-20230601-120000"
    assert (row["quarantined"], row["canary"], row["live"]) == (1, None, False)
    assert row["last_event"]["name"] == "rollback"
    assert row["last_event"]["reason"].endswith("customers complain about lost mail")
    assert row["last_event"]["who"]["name"] == "ada"


def test_a_steady_model_shows_its_golden_version_and_since_when_it_serves(
    as_viewer: TestClient, story: PageStory
) -> None:
    row = rows(as_viewer)["tags"]
    promoted = [entry.at for entry in story.repository.log("tags").entries() if entry.name == "promote"]

    assert row["golden"] == "v-20230601-120000"
    assert datetime.fromisoformat(row["stable_since"]) == datetime.fromisoformat(promoted[-1])


def test_a_held_model_shows_by_whom_and_what_is_held_back(as_viewer: TestClient) -> None:
    row = rows(as_viewer)["churn"]

    assert row["hold"] == {"by": "bob", "by_person": True, "reason": "the audit is on"}
    assert row["hold_back"] == {"version": "v-20230601-120000", "percent": 5}
    assert row["live"] is True


def test_a_model_that_was_never_released_has_a_row_all_the_same(as_viewer: TestClient) -> None:
    row = rows(as_viewer)["fresh"]

    assert (row["stable"], row["split"], row["traffic"], row["trouble"]) == (None, [], "none", None)


@pytest.fixture
def silent_server(story: PageStory) -> Iterator[str]:
    """A server of the fleet that does not answer."""
    story.target.unavailable_servers.add("server-2")
    yield "server-2"
    story.target.unavailable_servers.clear()


def test_a_server_that_does_not_answer_shows_on_every_row_of_its_fleet(
    as_viewer: TestClient, silent_server: str
) -> None:
    health = until(lambda: rows(as_viewer)["tags"]["health"]["value"], what="a look at the fleet")

    assert (health["answering"], health["servers"]) == (1, 2)
    assert silent_server in health["reason"]
