"""What people send who mean no good, and what is told to those who may see little."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import pytest

from airflow_model_ops.core.errors import RouterRefused
from tests.plugin.test_access import ACTS, READS, address
from tests.waits import until

if TYPE_CHECKING:
    from starlette.testclient import TestClient

    from tests.plugin.page_story import PageStory

JSON = {"Content-Type": "application/json"}


@pytest.fixture
def only_spam(app: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the auth manager know DAGs one by one, as FAB's does: ``viewer`` reads that of ``spam``, ``op`` may also hold."""
    from airflow.api_fastapi.app import get_auth_manager

    readers = {"viewer": {"model_release_spam"}, "op": {"model_release_spam", "model_hold", "model_rollback"}}

    def is_authorized_dag(*, method: str, user: Any, access_entity: Any = None, details: Any = None) -> bool:
        if user.get_name() == "admin":
            return True
        if method == "POST":
            return bool(user.get_name() == "op" and details.id == "model_hold")
        return details is not None and details.id in readers.get(user.get_name(), set())

    monkeypatch.setattr(get_auth_manager(), "is_authorized_dag", is_authorized_dag)


@pytest.mark.parametrize(
    "body",
    [
        b'{"reason": NaN}',
        b'{"reason": -Infinity}',
        b'{"reason": "\\ud800 is half a character"}',
        b'{"reason": "sound", "\\ud800": 1}',
        b'{"reason": 1' + b"0" * 4_000 + b"}",
        b"[" * 100_000,
        b'{"reason": "' + b"a" * 1_000_000 + b'"}',
    ],
)
def test_a_senseless_body_is_the_callers_mistake_and_is_not_repeated(
    as_admin: TestClient, started_runs: list[Any], body: bytes
) -> None:
    answer = as_admin.post("models/digits/hold", content=body, headers=JSON)
    assert answer.status_code in {400, 422}, answer.text
    assert len(answer.content) < 1_000
    assert answer.json()["detail"]
    assert started_runs == []


def test_a_reason_is_one_line_of_text_whatever_was_typed(
    as_admin: TestClient, started_runs: list[tuple[str, Mapping[str, Any]]]
) -> None:
    reason = "too slow\r\nfor \x1b[2Jus\x00, \u202enemal"
    assert as_admin.post("models/digits/hold", json={"reason": reason}).status_code == 202
    assert started_runs[0][1]["reason"] == "too slow for �[2Jus�, �nemal"
    assert as_admin.post("models/digits/lift", json={"version": "a\x00b", "reason": "it was"}).status_code == 202
    assert started_runs[1][1]["version"] == "a�b"


def test_a_log_in_which_half_a_character_was_kept_once_is_shown(
    story: PageStory, as_admin: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow_model_ops.core import log, standing
    from tests.plugin.page_story import ADA

    with monkeypatch.context() as before:
        before.setattr(log, "plain_text", lambda text: text)
        before.setattr(standing, "plain_text", lambda text: text)
        story.control("tags", actor=ADA).hold(reason="f\udcfcr \x1b[2J")
    for path in ("models/tags", "models", "models/tags/timeline", "models/tags/traffic"):
        answer = as_admin.get(path)
        assert answer.status_code == 200, path
    assert as_admin.get("models/tags").json()["row"]["hold"]["reason"] == "f�r �[2J"
    story.control("tags", actor=ADA).resume(reason="enough")


@pytest.mark.usefixtures("only_spam")
class TestWhoMayReadOneModelOnly:
    @pytest.mark.parametrize("path", READS)
    def test_hears_of_no_other_model(
        self, story: PageStory, client_of: Callable[[str | None], TestClient], path: str
    ) -> None:
        asked = address(story, f"{path}{READS[path]}")
        answer = client_of("viewer").get(asked)
        told = answer.text.replace("model 'digits' that you may see", "").replace("DAG model_rollback", "")
        assert answer.status_code == (404 if "models/" in asked else 200)
        assert not any(model in told for model in ("digits", "tags", "churn", "fresh"))

    def test_sees_and_follows_that_one(self, client_of: Callable[[str | None], TestClient]) -> None:
        viewer = client_of("viewer")
        assert [row["model"] for row in viewer.get("models").json()["models"]] == ["spam"]
        assert viewer.get("models/spam").status_code == 200

    @pytest.mark.parametrize("path", ACTS)
    def test_does_what_one_may_trigger_and_only_there(
        self,
        story: PageStory,
        client_of: Callable[[str | None], TestClient],
        started_runs: list[tuple[str, Mapping[str, Any]]],
        path: str,
    ) -> None:
        asked, operator = address(story, path), client_of("op")
        assert operator.post(asked, json=ACTS[path]).status_code == 404
        assert started_runs == []
        own = operator.post(asked.replace("digits", "spam"), json=ACTS[path])
        assert own.status_code == (202 if path.endswith("/hold") else 403)
        assert len(started_runs) == (own.status_code == 202)

    def test_is_not_told_what_a_fleet_says_of_other_models(
        self,
        story: PageStory,
        client_of: Callable[[str | None], TestClient],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        def refuse(*_: object) -> None:
            raise RouterRefused("routers 'a' and 'b' split models ['digits'] differently")

        monkeypatch.setattr(type(story.target), "observe", refuse)
        viewer, admin = client_of("viewer"), client_of("admin")

        def health(client: TestClient) -> str:
            (row,) = [each for each in client.get("models").json()["models"] if each["model"] == "spam"]
            return str((row["health"]["trouble"] or {}).get("reason"))

        until(lambda: "split models ['digits']" in health(admin), what="a look at the fleet", within=60)
        assert health(viewer).startswith("something is wrong with the fleet")
        answer = viewer.get("models/spam")
        assert "digits" not in answer.text
        assert "something is wrong with the fleet" in answer.json()["observed"]["trouble"]["reason"]
        assert "split models ['digits']" in admin.get("models/spam").json()["observed"]["trouble"]["reason"]
