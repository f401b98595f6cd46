"""Actions through the real API of Airflow, which authorises them, records who it was and writes its audit log.

The app is Airflow's own with the page mounted by its plugin, below a path of ``[api] base_url``, on a database of these tests.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest

from tests.plugin.conftest import ROLES, SECRET, settings

if TYPE_CHECKING:
    from fastapi import FastAPI
    from sqlalchemy.orm import Session
    from starlette.testclient import TestClient

    from tests.plugin.page_story import PageStory

pytestmark = pytest.mark.integration
HOST = "http://testserver"
PAGE = f"{HOST}/air/model-ops/api/v1/"
REASON = {"reason": "the audit is on"}
_LIFT = {"version": "v-1", **REASON}
WISHES: dict[str, tuple[dict[str, Any], str, dict[str, Any]]] = {
    "rollback": ({"to": "golden", **REASON}, "model_rollback", {"target": "golden", "seen": None, **REASON}),
    "pin": ({}, "model_pin_golden", {"version": None}),
    "resume": (REASON, "model_resume", REASON),
    "abort": (REASON, "model_abort", REASON),
    "lift": (_LIFT, "model_lift", _LIFT),
    "quarantine": (_LIFT, "model_quarantine", {"force": False, **_LIFT}),
}
"""By action: a wish, and the DAG and the parameters, beside the model, that it becomes."""


@pytest.fixture(scope="module")
def app(story: PageStory, airflow_database: None) -> Iterator[FastAPI]:
    """Airflow's API server without its execution API, and the bundled DAGs in its database."""
    from airflow.api_fastapi import app as airflow_app

    _read_dags()
    users = ",".join(f"{name}:{role}" for name, role in ROLES.items())
    with (
        settings(core__simple_auth_manager_users=users, api_auth__jwt_secret=SECRET),
        mock.patch.object(airflow_app, "API_ROOT_PATH", "/air/"),
    ):
        yield airflow_app.create_app(apps="core")
        airflow_app.purge_cached_app()


@pytest.fixture
def session() -> Iterator[Session]:
    from airflow.utils.session import create_session

    with create_session() as opened:
        yield opened


@pytest.fixture
def bearer(app: FastAPI, token_of: Callable[[str], str]) -> Callable[[str], TestClient]:
    """Return the client of a user with a bearer token."""
    from starlette.testclient import TestClient

    return lambda name: TestClient(app, base_url=PAGE, headers={"Authorization": f"Bearer {token_of(name)}"})


@pytest.fixture
def browser(app: FastAPI, token_of: Callable[[str], str]) -> Callable[..., TestClient]:
    """Return the client of a user whom Airflow's UI has signed in, on a page of an origin."""
    from starlette.testclient import TestClient

    def client(name: str, *, origin: str | None = HOST) -> TestClient:
        headers = {"Referer": f"{HOST}/air/plugin/model-ops/digits"} | ({"Origin": origin} if origin else {})
        return TestClient(app, base_url=PAGE, headers=headers, cookies={"_token": token_of(name), "other": "mine"})

    return client


def _read_dags() -> None:
    """Let Airflow know the bundled DAGs, as its DAG processor does."""
    from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db
    from airflow.models.dagbundle import DagBundleModel
    from airflow.utils.db import synchronize_log_template
    from airflow.utils.session import create_session

    from airflow_model_ops.bundles import ModelOpsDagBundle

    path = ModelOpsDagBundle(name="model-ops").path
    with create_session() as session:
        synchronize_log_template(session=session)
        session.merge(DagBundleModel(name="model-ops"))
        session.commit()
        for file in ("model_changes.py", "model_rollback.py"):
            bag = DagBag(dag_folder=path / file, safe_mode=False, bundle_path=path, bundle_name="model-ops")
            sync_bag_to_db(bag, "model-ops", None, session=session)


def runs_of(session: Session, dag_id: str) -> list[Any]:
    from airflow.models.dagrun import DagRun
    from sqlalchemy import select

    return list(session.scalars(select(DagRun).where(DagRun.dag_id == dag_id).order_by(DagRun.id)))


def set_task(session: Session, run_id: str, dag_id: str, task_id: str, state: str | None) -> Any:
    """Let the acting task of a run be in a state, as the scheduler and a worker would."""
    from airflow.models.taskinstance import TaskInstance
    from sqlalchemy import select

    task = session.scalars(
        select(TaskInstance).where(TaskInstance.run_id == run_id, TaskInstance.task_id == task_id)
    ).one()
    task.state, task.try_number = state, 1
    session.commit()
    return task


class TestStart:
    def test_a_click_makes_a_run_in_the_name_of_the_signed_in_user_and_an_audit_entry(
        self, browser: Callable[..., TestClient], session: Session
    ) -> None:
        from airflow.models.log import Log
        from sqlalchemy import select

        audited = select(Log).where(Log.dag_id == "model_hold").order_by(Log.id)
        runs, entries = len(runs_of(session, "model_hold")), len(session.scalars(audited).all())

        answer = browser("op").post("models/digits/hold", json=REASON)

        assert answer.status_code == 202, answer.text
        (run,) = runs_of(session, "model_hold")[runs:]
        assert answer.json() == {"dag_id": "model_hold", "run_id": run.run_id}
        assert (run.triggering_user_name, run.triggered_by.value, run.state) == ("op", "ui", "queued")
        assert run.conf == {"model": "digits", **REASON}
        (entry,) = session.scalars(audited).all()[entries:]
        assert (entry.event, entry.owner) == ("trigger_dag_run", "op")
        assert json.loads(entry.extra)["conf"] == {"model": "digits", **REASON}

    def test_two_who_want_the_previous_version_at_once_do_not_go_back_by_two(
        self, bearer: Callable[[str], TestClient], session: Session
    ) -> None:
        back = {"to": "previous", **REASON}
        first = bearer("op").post("models/churn/rollback", json=back)
        assert first.status_code == 202, first.text

        second = bearer("admin").post("models/churn/rollback", json=back)

        assert second.status_code == 409
        assert first.json()["run_id"] in second.json()["detail"]
        assert bearer("viewer").post("models/churn/rollback", json=back).status_code == 403
        assert bearer("admin").post("models/spam/rollback", json=back).status_code == 202
        assert bearer("admin").post("models/churn/rollback", json={"to": "golden", **REASON}).status_code == 202
        for run in runs_of(session, "model_rollback"):
            run.state = "success"
        session.commit()
        assert bearer("admin").post("models/churn/rollback", json=back).status_code == 202

    @pytest.mark.parametrize("action", WISHES)
    def test_every_actions_dag_takes_the_parameters_that_the_page_gives(
        self, bearer: Callable[[str], TestClient], session: Session, action: str
    ) -> None:
        wish, dag_id, conf = WISHES[action]

        answer = bearer("op").post(f"models/tags/{action}", json=wish)

        assert answer.status_code == 202, answer.text
        run = runs_of(session, dag_id)[-1]
        assert (run.triggered_by.value, run.conf) == ("rest_api", {"model": "tags", **conf})

    def test_airflow_itself_refuses_who_may_not_trigger_the_dag(
        self, bearer: Callable[[str], TestClient], session: Session, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("airflow_model_ops.plugin.routes.actions.may_trigger", lambda *_, **__: True)
        before = len(runs_of(session, "model_hold"))

        answer = bearer("viewer").post("models/digits/hold", json=REASON)

        assert answer.status_code == 403
        assert answer.json()["detail"].startswith("Airflow does not let you: DAG model_hold")
        assert len(runs_of(session, "model_hold")) == before

    @pytest.mark.parametrize("origin", ["http://evil.example", "null", None])
    def test_a_page_of_another_origin_starts_nothing(
        self, browser: Callable[..., TestClient], session: Session, origin: str | None
    ) -> None:
        before = len(runs_of(session, "model_hold"))

        assert browser("op", origin=origin).post("models/digits/hold", json=REASON).status_code == 403

        assert len(runs_of(session, "model_hold")) == before

    def test_a_paused_dag_is_told_before_a_run_waits_in_vain(
        self, bearer: Callable[[str], TestClient], session: Session
    ) -> None:
        from airflow.models.dag import DagModel

        session.get_one(DagModel, "model_abort").is_paused = True
        session.commit()
        before = len(runs_of(session, "model_abort"))

        answer = bearer("op").post("models/digits/abort", json=REASON)

        session.get_one(DagModel, "model_abort").is_paused = False
        session.commit()
        assert answer.status_code == 409
        assert "DAG model_abort is paused" in answer.json()["detail"]
        assert len(runs_of(session, "model_abort")) == before

    def test_a_dag_that_airflow_has_not_is_told(self, bearer: Callable[[str], TestClient], session: Session) -> None:
        from airflow.models.dag import DagModel

        session.get_one(DagModel, "model_lift").is_stale = True
        session.commit()

        answer = bearer("op").post("models/digits/lift", json={"version": "v-1", **REASON})

        session.get_one(DagModel, "model_lift").is_stale = False
        session.commit()
        assert answer.status_code == 409
        assert "Airflow has no DAG model_lift" in answer.json()["detail"]

    def test_a_model_that_the_dag_processor_has_not_read_yet_is_refused_in_airflows_words(
        self, story: PageStory, bearer: Callable[[str], TestClient]
    ) -> None:
        from airflow_model_ops.plugin import catalogue

        story.add_model("newest")
        catalogue.forget()

        answer = bearer("op").post("models/newest/hold", json=REASON)

        (story.models_dir / "newest.yaml").unlink()
        assert answer.status_code == 400
        assert "DAG model_hold does not take this" in answer.json()["detail"]
        assert "newest" in answer.json()["detail"]


class TestFollow:
    def test_from_the_click_to_the_end(
        self, story: PageStory, bearer: Callable[[str], TestClient], session: Session
    ) -> None:
        from airflow_model_ops.operators.changes import HoldModelOperator
        from tests.airflow.release_story import context_of

        run_id = bearer("op").post("models/spam/hold", json=REASON).json()["run_id"]
        path = f"models/spam/actions/model_hold/{run_id}"
        queued = bearer("viewer").get(path).json()
        assert (queued["state"], queued["done"], queued["succeeded"]) == ("queued", False, None)
        assert queued["message"] == "waiting for Airflow to start it"

        set_task(session, run_id, "model_hold", "hold", "running")
        assert bearer("viewer").get(path).json()["message"] == "at work"
        story.clock.advance(datetime.now(UTC).timestamp() - story.clock.now())
        held = HoldModelOperator(task_id="hold", model=story.models["spam"], **REASON)
        held.execute(context_of(dag_id="model_hold", run_id=run_id, task_id="hold", user="op"))
        going = bearer("viewer").get(path).json()
        assert (
            going["message"] == "committed: held by person op: the audit is on; waiting for the routers to confirm it"
        )

        set_task(session, run_id, "model_hold", "hold", "success")
        done = bearer("viewer").get(path).json()
        assert (done["done"], done["succeeded"], done["message"]) == (True, True, "held by person op: the audit is on")
        assert done["generation"] == story.control("spam").committer.head()[1]

    def test_a_wish_that_held_already_ends_in_the_tasks_words(
        self, bearer: Callable[[str], TestClient], session: Session
    ) -> None:
        from airflow.models.xcom import XComModel

        run_id = bearer("op").post("models/tags/pin", json={}).json()["run_id"]
        task = set_task(session, run_id, "model_pin_golden", "pin", "success")
        session.add(
            XComModel(
                dag_run_id=task.dag_run.id,
                task_id="pin",
                run_id=run_id,
                dag_id="model_pin_golden",
                map_index=-1,
                key="return_value",
                value={"version": "v-1", "reason": "v-1 already is golden"},
            )
        )
        session.commit()

        done = bearer("op").get(f"models/tags/actions/model_pin_golden/{run_id}").json()

        assert (done["succeeded"], done["message"], done["generation"]) == (True, "v-1 already is golden", None)

    def test_a_failed_task_ends_in_the_words_of_its_log(
        self, bearer: Callable[[str], TestClient], session: Session
    ) -> None:
        from airflow.configuration import conf
        from airflow.utils.log.file_task_handler import FileTaskHandler

        wish = {"version": "v-20230601-120000", **REASON}
        run_id = bearer("op").post("models/tags/quarantine", json=wish).json()["run_id"]
        task = set_task(session, run_id, "model_quarantine", "quarantine", "failed")
        why = "v-20230601-120000 is stable: use force"
        log = Path(conf.get("logging", "base_log_folder")) / FileTaskHandler("")._render_filename(task, 1)
        log.parent.mkdir(parents=True)
        error = [{"exc_type": "AirflowFailException", "exc_value": why, "frames": []}]
        lines = [
            {"timestamp": "2026-01-01T00:00:00Z", "event": "begins", "level": "info"},
            {"timestamp": "2026-01-01T00:00:01Z", "event": "Task failed", "level": "error", "error_detail": error},
            {"timestamp": "2026-01-01T00:00:02Z", "event": "the end", "level": "info"},
        ]
        log.write_text("".join(json.dumps(line) + "\n" for line in lines))

        done = bearer("op").get(f"models/tags/actions/model_quarantine/{run_id}").json()

        assert (done["done"], done["succeeded"], done["message"]) == (True, False, why)

    def test_a_run_that_nobody_begins_is_worth_a_word(
        self, bearer: Callable[[str], TestClient], session: Session
    ) -> None:
        run_id = bearer("op").post("models/churn/hold", json=REASON).json()["run_id"]
        run = runs_of(session, "model_hold")[-1]
        run.queued_at = datetime.now(UTC) - timedelta(minutes=2)
        session.commit()

        assert (
            "is the scheduler running?"
            in bearer("op").get(f"models/churn/actions/model_hold/{run_id}").json()["message"]
        )

    def test_what_is_no_action_about_this_model_is_not_followed(self, bearer: Callable[[str], TestClient]) -> None:
        run_id = bearer("op").post("models/churn/hold", json=REASON).json()["run_id"]

        answers = {
            what: bearer("op").get(f"models/{what}")
            for what in (
                f"digits/actions/model_hold/{run_id}",
                "digits/actions/model_hold/manual__none",
                "digits/actions/model_hold/%2e%2e",
                f"churn/actions/model_guard/{run_id}",
            )
        }
        assert {answer.status_code for answer in answers.values()} == {404}, answers


class TestLinks:
    def test_a_task_that_still_waits_leads_to_its_models_page(
        self, story: PageStory, bearer: Callable[[str], TestClient], session: Session
    ) -> None:
        """Airflow knows a link by its name and key in the DAG that it has stored, and finds its address in the XCom."""
        from airflow.models.xcom import XComModel

        from airflow_model_ops.operators.rollback import RollbackModelOperator
        from tests.airflow.release_story import context_of

        run_id = bearer("op").post("models/digits/rollback", json={"to": "golden", **REASON}).json()["run_id"]
        path = f"{HOST}/air/api/v2/dags/model_rollback/dagRuns/{run_id}/taskInstances/rollback/links"
        task = set_task(session, run_id, "model_rollback", "rollback", "deferred")
        assert bearer("viewer").get(path).json()["extra_links"] == {"Model": None}

        context = context_of()
        with settings(api__base_url=f"{HOST}/air"):
            RollbackModelOperator(task_id="rollback", model=story.models["digits"], **REASON).link_model(context)
        where = {"dag_run_id": task.dag_run.id, "run_id": run_id, "dag_id": "model_rollback", "task_id": "rollback"}
        session.add_all(XComModel(**where, map_index=-1, key=key, value=it) for key, it in context["ti"].pushed.items())
        session.commit()

        assert bearer("viewer").get(path).json()["extra_links"] == {
            "Model": f"{HOST}/air/plugin/model-ops/models/digits"
        }
