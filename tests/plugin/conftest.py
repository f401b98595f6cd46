"""The real app of the page, mounted as Airflow mounts it, with the real simple auth manager and users of each role.

What a test changes in the story or in Airflow's database must be its own: both are there once per module.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest

from tests.airflow_home import private_airflow_home
from tests.waits import until

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.testclient import TestClient

    from airflow_model_ops.plugin.overview import Projection
    from tests.plugin.page_story import PageStory

ROLES = {"admin": "ADMIN", "op": "OP", "user": "USER", "viewer": "VIEWER", "stranger": ""}
"""Users by name. The simple auth manager lets each role above VIEWER trigger DAGs; ``stranger`` is signed in and may nothing."""
SECRET = "not-so-secret-" * 5
_PATIENCE_SECONDS = 60.0


@pytest.fixture(scope="session")
def airflow_database() -> None:
    """Make Airflow's tables: each request asks there whether its token was revoked."""
    from airflow import settings
    from airflow.models import import_all_models
    from airflow.models.base import Base

    import_all_models()
    engine = settings.get_engine()
    assert engine.url.database == f"{private_airflow_home()}/airflow.db", "Airflow was imported before its home was set"
    Base.metadata.create_all(engine)


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PageStory]:
    """The story whose fleet takes the place of all connections, its YAML files in ``[model_ops] models_dir``."""
    from tests.plugin.page_story import told_in

    with (
        told_in(tmp_path_factory.mktemp("page")) as told,
        settings(model_ops__models_dir=str(told.models_dir)),
        _patient_page(),
    ):
        yield told


@contextmanager
def _patient_page() -> Iterator[None]:
    """Let the page wait for its backends as long as a busy machine needs, not as long as a reader likes to wait."""
    from airflow_model_ops.plugin.backends import reading
    from airflow_model_ops.plugin.routes import comparison
    from airflow_model_ops.plugin.runs import airflow_api

    with (
        mock.patch.dict(reading.SECONDS, dict.fromkeys(reading.SECONDS, _PATIENCE_SECONDS)),
        mock.patch.object(comparison, "_PLOTS_SECONDS", _PATIENCE_SECONDS),
        mock.patch.object(airflow_api, "SECONDS", _PATIENCE_SECONDS),
    ):
        yield


@pytest.fixture(scope="module")
def app(story: PageStory, airflow_database: None) -> Iterator[FastAPI]:
    """Airflow's app as far as the page sees it: an auth manager, and the page's app below ``/model-ops``."""
    from airflow.api_fastapi import app as airflow_app
    from fastapi import FastAPI

    from airflow_model_ops.plugin.app import create_app

    users = ",".join(f"{name}:{role}" for name, role in ROLES.items())
    with settings(core__simple_auth_manager_users=users, api_auth__jwt_secret=SECRET):
        parent = FastAPI()
        parent.mount("/model-ops", create_app())
        airflow_app.init_auth_manager(parent)
        yield parent
        airflow_app._AuthManagerState.instance = None


@pytest.fixture(autouse=True)
def _nothing_kept(request: pytest.FixtureRequest) -> Iterator[None]:
    """Let no test see what another one's page had in mind; before the first one that is the page of another story."""
    told = "story" in request.fixturenames
    if told:
        _forget()
    yield
    if told:
        _forget()


def _forget() -> None:
    from airflow_model_ops.plugin import catalogue, overview
    from airflow_model_ops.plugin.backends import openings

    former = overview.projection()
    overview.forget()
    at_rest(former)
    catalogue.forget()
    openings.forget()


def at_rest(*projections: Projection) -> None:
    """Let projections end and wait until none of their threads reads: what such a thread opens late is kept for the next test."""
    for each in projections:
        each.sleep()
    until(lambda: not any(map(_reads, projections)), what="the threads of the list of models to end", within=60)


def _reads(projection: Projection) -> bool:
    begins_to = any(thread.name == "model-ops-overview" for thread in threading.enumerate())
    return begins_to or projection.is_busy or any(fleet.queued for fleet in list(projection._fleets.values()))


@pytest.fixture(scope="module")
def token_of(app: FastAPI) -> Callable[[str], str]:
    """Return a user's token, good as a bearer token and as the UI's cookie ``_token``."""
    from airflow.api_fastapi.app import get_auth_manager
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser

    def token(name: str) -> str:
        user = SimpleAuthManagerUser(username=name, role=ROLES[name] or None, teams=[])
        return get_auth_manager().generate_jwt(user)

    return token


@pytest.fixture(scope="module")
def client_of(app: FastAPI, token_of: Callable[[str], str]) -> Iterator[Callable[[str | None], TestClient]]:
    """Return the client of a user, who sends a bearer token; ``None``: of nobody. Its paths begin below ``/api/v1/``."""
    from starlette.testclient import TestClient

    with ExitStack() as clients:

        def client(name: str | None) -> TestClient:
            headers = {"Authorization": f"Bearer {token_of(name)}"} if name else {}
            base_url = "http://testserver/model-ops/api/v1/"
            return clients.enter_context(
                TestClient(app, base_url=base_url, headers=headers, raise_server_exceptions=False)
            )

        yield client


@pytest.fixture(scope="module")
def as_admin(client_of: Callable[[str | None], TestClient]) -> TestClient:
    """Who may everything."""
    return client_of("admin")


@pytest.fixture(scope="module")
def as_op(client_of: Callable[[str | None], TestClient]) -> TestClient:
    """Who may trigger DAGs."""
    return client_of("op")


@pytest.fixture(scope="module")
def as_viewer(client_of: Callable[[str | None], TestClient]) -> TestClient:
    """Who may only read."""
    return client_of("viewer")


@pytest.fixture(scope="module")
def as_stranger(client_of: Callable[[str | None], TestClient]) -> TestClient:
    """Who is signed in and may see nothing."""
    return client_of("stranger")


@pytest.fixture(scope="module")
def as_nobody(client_of: Callable[[str | None], TestClient]) -> TestClient:
    """Who is not signed in."""
    return client_of(None)


@contextmanager
def settings(**values: str) -> Iterator[None]:
    """Set options of Airflow, as ``section__option``, while the context lasts."""
    with mock.patch.dict(os.environ, {f"AIRFLOW__{name.upper()}": value for name, value in values.items()}):
        yield


@pytest.fixture
def started_runs(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Mapping[str, Any]]]:
    """Collect the DAG runs that the page would start: no Airflow is behind it here, as it is in ``test_dag_runs``."""
    from airflow_model_ops.plugin.runs import dag_runs

    started: list[tuple[str, Mapping[str, Any]]] = []

    async def start(_: object, dag_id: str, *, conf: Mapping[str, Any]) -> str:
        started.append((dag_id, conf))
        return f"manual__{len(started)}"

    monkeypatch.setattr(dag_runs, "start", start)
    return started


@pytest.fixture(scope="module")
def ledger_file(story: PageStory, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real ledger, in a SQLite file, that holds the log of ``spam`` as the story left it."""
    from airflow_model_ops.adapters.lineage.recorder import MlmdLedger
    from airflow_model_ops.adapters.lineage.settings import LedgerSettings
    from airflow_model_ops.control.recording import record

    path = tmp_path_factory.mktemp("ledger") / "mlmd.sqlite"
    record(MlmdLedger(LedgerSettings(path=path)), story.repository, "spam")
    return path


@pytest.fixture
def recorded(ledger_file: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same, behind the models' connection."""
    from airflow_model_ops.plugin.backends import openings

    monkeypatch.setenv("AIRFLOW_CONN_MLMD_DEFAULT", ledger_connection(ledger_file))
    openings.forget()
    return ledger_file


def ledger_connection(path: Path) -> str:
    """Return the connection of a ledger in a SQLite file, as an environment variable holds it."""
    return json.dumps({"conn_type": "mlmd", "extra": {"kind": "sqlite", "path": str(path)}})
