"""The page of one model: what its log says now, what really serves, and what may be done."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from airflow_model_ops.core.state import Canary, Golden, Hold, LiveRelease, ServingState
from airflow_model_ops.core.versioning import Scheme, VersionNaming
from airflow_model_ops.plugin.backends.fleet_look import FleetLook
from airflow_model_ops.plugin.model_reading import ModelReader
from airflow_model_ops.plugin.model_rows import row_of
from airflow_model_ops.plugin.offers import offers_of
from airflow_model_ops.plugin.runs.action_dags import DAG_OF
from tests.plugin.page_story import PageStory, release_of

NAMING = VersionNaming(scheme=Scheme.SEMANTIC, prefix="m")
V1, V2 = NAMING.parse("m-v1.0.0"), NAMING.parse("m-v2.0.0")
EVERYTHING = dict.fromkeys(DAG_OF, True)


def shown(client: TestClient, model: str) -> dict[str, Any]:
    answer = client.get(f"models/{model}")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_nobody_is_asked_to_sign_in(as_nobody: TestClient) -> None:
    assert as_nobody.get("models/digits").status_code == 401


@pytest.mark.parametrize("model", ["digits", "no-such-model"])
def test_a_model_that_one_may_not_see_is_as_unknown_as_one_that_is_not_there(
    as_stranger: TestClient, model: str
) -> None:
    assert as_stranger.get(f"models/{model}").status_code == 404


def test_a_live_release_is_shown_with_its_run_and_its_steps(as_viewer: TestClient) -> None:
    release = shown(as_viewer, "digits")["release"]

    assert release["id"] == release_of("digits", 3)
    assert release["run"] == {"dag_id": "model_release_digits", "run_id": "manual__3", "task_id": "load"}
    assert release["steps"] == [5, 10, 50]


def test_of_a_canary_each_check_is_told(as_viewer: TestClient) -> None:
    canary = shown(as_viewer, "digits")["row"]["canary"]

    assert [(each["check"], each["verdict"], each["decides"]) for each in canary["checks"]] == [
        ("errors", "UNDECIDED", True),
        ("slow", "UNDECIDED", True),
    ]
    assert canary["reason"] == "; ".join(each["reason"] for each in canary["checks"])


def test_where_the_evidence_is_lost_the_log_tells_what_each_check_said_last(tmp_path: Path) -> None:
    story = PageStory(directory=tmp_path)
    story.add_model("digits")
    story.release("digits", 1)
    story.start("digits", 2, percent=5)
    outcome = story.judge("digits", 2, step=0, ticks=60)
    shutil.rmtree(tmp_path / "repository" / "digits" / "evidence")

    row = row_of(story.models["digits"], ModelReader("digits").read(story.fleet), FleetLook(), trouble=None)

    assert outcome is not None
    assert row.canary is not None
    assert row.canary.verdict == outcome.verdict
    assert [each.check for each in row.canary.checks] == ["errors", "slow"]


def test_what_serves_is_asked_of_the_fleet(as_viewer: TestClient) -> None:
    observed = shown(as_viewer, "digits")["observed"]["value"]

    assert observed["split"] == [
        {"version": "v-20230602-120000", "percent": 90},
        {"version": "v-20230603-120000", "percent": 10},
    ]
    assert [(server["name"], server["answers"]) for server in observed["servers"]] == [
        ("server-1", True),
        ("server-2", True),
    ]
    assert "v-20230603-120000" in observed["servers"][0]["loaded"]
    assert observed["labels"]["canary"] == "v-20230603-120000"


def test_the_head_says_who_wanted_it_and_when_it_was_applied(as_viewer: TestClient) -> None:
    answer = shown(as_viewer, "spam")

    assert answer["head"]["action"] == "rollback"
    assert answer["head"]["who"] == {"kind": "person", "name": "ada"}
    assert answer["head"]["run"]["dag_id"] == "model_rollback"
    assert answer["head"]["applied_at"] is not None
    assert answer["quarantined"] == ["v-20230603-120000"]
    assert answer["user"] == "viewer"


def test_a_change_shows_at_once_on_the_models_own_page(as_viewer: TestClient, story: PageStory) -> None:
    assert shown(as_viewer, "tags")["row"]["hold"] is None

    story.control("tags").hold(reason="the story goes on")

    assert shown(as_viewer, "tags")["row"]["hold"]["reason"] == "the story goes on"


@pytest.fixture
def no_fleet(story: PageStory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fleet that fails when it is asked."""

    def fail(_: str) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(story.target, "observe", fail)


@pytest.mark.usefixtures("no_fleet")
def test_a_dead_fleet_leaves_what_the_log_says(as_viewer: TestClient) -> None:
    answer = shown(as_viewer, "digits")

    assert answer["observed"]["value"] is None
    assert answer["observed"]["trouble"]["backend"] == "fleet"
    assert answer["row"]["stable"] == "v-20230602-120000"


def test_a_log_that_cannot_be_read_leaves_the_fleet_and_the_ways_back(
    as_admin: TestClient, story: PageStory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: str) -> None:
        raise OSError("stale file handle")

    monkeypatch.setattr(story.repository, "log", fail)
    answer = shown(as_admin, "digits")

    assert "API server's log has more" in answer["row"]["trouble"]
    assert answer["head"] is None
    assert answer["observed"]["value"]["split"]
    assert all(offer["why_not"] is None for offer in answer["offers"])


def test_a_viewer_is_offered_nothing_and_told_why(as_viewer: TestClient) -> None:
    offers = shown(as_viewer, "digits")["offers"]

    assert [offer["action"] for offer in offers] == list(DAG_OF)
    assert not any(offer["allowed"] for offer in offers)
    assert offers[0]["why_not"] == "you may not trigger the DAG model_rollback"


def test_an_operator_is_offered_what_the_state_leaves_to_do(as_op: TestClient) -> None:
    offers = {offer["action"]: offer for offer in shown(as_op, "digits")["offers"]}

    assert all(offer["allowed"] for offer in offers.values())
    assert offers["abort"]["why_not"] is None
    assert offers["lift"]["why_not"] == "no version is quarantined"
    assert offers["resume"]["why_not"] == "nothing is held"


def whys(state: ServingState) -> dict[str, str]:
    """Return why actions make no sense, those that do left out."""
    offers = offers_of(state, allowed=EVERYTHING)
    return {offer.action: offer.why_not for offer in offers if offer.why_not is not None}


def test_a_model_without_a_past_can_only_be_held_or_a_version_of_it_banned() -> None:
    assert set(whys(ServingState(fleet="main"))) == {"rollback", "pin", "resume", "abort", "lift"}


def test_a_person_may_take_over_the_automations_hold_but_not_a_persons() -> None:
    automatic = ServingState(fleet="main", stable=V1, hold=Hold(by="automation a", reason="why", by_person=False))
    by_person = ServingState(fleet="main", stable=V1, hold=Hold(by="person ada", reason="why", by_person=True))

    assert "hold" not in whys(automatic)
    assert whys(by_person)["hold"] == "held already by person ada: why"


def test_a_live_first_release_may_be_aborted_and_rolled_back() -> None:
    release = LiveRelease(id="r", attempt=1, version=V2, started_at="2023-06-01T12:00:00+00:00")
    state = ServingState(fleet="main", canary=Canary(version=V2, percent=100), release=release)

    assert "abort" not in whys(state)
    assert "rollback" not in whys(state)
    assert whys(state)["pin"] == "no version was ever stable"


def test_what_is_quarantined_may_be_lifted() -> None:
    state = ServingState(
        fleet="main", stable=V1, quarantined=(V2,), golden=Golden(version=V1, by_person=True), earlier=()
    )

    assert set(whys(state)) == {"resume", "abort"}
