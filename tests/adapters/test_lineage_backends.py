"""One ledger on every backend: real PostgreSQL, MariaDB and gRPC servers keep, answer and rebuild what a SQLite file does."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from airflow_model_ops.adapters.lineage.queries import LedgerQueries
from airflow_model_ops.adapters.lineage.recorder import MlmdLedger
from airflow_model_ops.adapters.lineage.settings import LedgerKind, LedgerSettings
from airflow_model_ops.core.errors import LedgerUnavailable
from airflow_model_ops.core.log import Entry, FactKind, Origin
from tests.adapters.database_rig import DatabaseServer
from tests.adapters.ledger_dump import dump
from tests.adapters.lineage_story import AUTOMATION, V1, V2, ListLog, Story, long_log, manifest_of, told
from tests.adapters.mariadb_rig import MariadbServer
from tests.adapters.mlmd_grpc_rig import MlmdGrpcServer
from tests.adapters.postgresql_rig import PostgresqlServer
from tests.waits import all_ended

pytestmark = pytest.mark.integration

SPAWN = multiprocessing.get_context("spawn")
WRITERS, MODELS, ENTRIES_EACH = 8, 4, 500
Server = DatabaseServer | MlmdGrpcServer
_NUMBERS = itertools.count(1)

AWKWARD = (
    "C:\\new\\u0041 ends in a backslash \\",
    '\' OR 1=1; -- "quoted" `so` $$too$$ %s {0}',
    'JSON: {"lines": "a\\nb",\n\t"sum": 20230601120000}\r\n',
    "größer 模型 🙈 \u29f5 \u2028 \ufeff",
    "NUL \x00 and bell \x07 and a lone \ud800 surrogate",
    "long " * 2_000,
)


@pytest.fixture(scope="module")
def postgresql() -> Iterator[PostgresqlServer]:
    with PostgresqlServer() as server:
        yield server


@pytest.fixture(scope="module")
def mariadb() -> Iterator[MariadbServer]:
    with MariadbServer() as server:
        yield server


@pytest.fixture
def mlmd_grpc(tmp_path: Path) -> Iterator[MlmdGrpcServer]:
    with MlmdGrpcServer(tmp_path / "remote.sqlite") as server:
        yield server


def server_of(request: pytest.FixtureRequest, kind: LedgerKind) -> Server:
    """Start only the server that a test asks for."""
    name = {LedgerKind.POSTGRESQL: "postgresql", LedgerKind.MYSQL: "mariadb", LedgerKind.GRPC: "mlmd_grpc"}[kind]
    server: Server = request.getfixturevalue(name)
    return server


def empty_ledger(server: Server, **more: Any) -> LedgerSettings:
    if isinstance(server, MlmdGrpcServer):
        return server.settings(**more)
    return server.settings(f"ledger_{os.getpid()}_{next(_NUMBERS)}", **more)


@pytest.fixture(params=[LedgerKind.POSTGRESQL, LedgerKind.MYSQL, LedgerKind.GRPC])
def server(request: pytest.FixtureRequest) -> Server:
    return server_of(request, request.param)


@pytest.fixture(params=[LedgerKind.POSTGRESQL, LedgerKind.MYSQL])
def database(request: pytest.FixtureRequest) -> Server:
    return server_of(request, request.param)


def awkward() -> Story:
    """The told story, then texts that a store may stumble over, and names longer than a column."""
    story = told()
    for number, text in enumerate(AWKWARD):
        run = {"dag_id": f"dag_{number}", "run_id": f"manual__{text[:300]}", "task_id": "t", "try": "1"}
        story.happens(FactKind.VERDICT, V2, text, detail={"verdict": "SAFE", "text": text})
        last = story.log.stored.pop()
        # Reasons are plain text today; logs of before have them as they came.
        entry = replace(last, reason=text, origin=Origin(actor=AUTOMATION, run=run)).after(story.log.last())
        story.log.stored.append(Entry.from_bytes(entry.to_bytes()))
    return story


def answers(settings: LedgerSettings) -> dict[str, Any]:
    """Everything that the ledger can be asked about the model."""
    queries = LedgerQueries(settings)
    return {
        "history": [asdict(row) for row in queries.history("digits", limit=100)],
        "versions": [asdict(row) for row in queries.versions("digits")],
        "ancestry": asdict(queries.ancestry("digits", version=V2.name)),
        "descendants": asdict(queries.descendants("digits", version=V2.name)),
        "served": [
            asdict(queries.served_at("digits", at=f"2023-06-02T14:{minute:02d}:30Z")) for minute in range(0, 20, 3)
        ],
    }


def test_every_backend_keeps_and_answers_what_a_file_does_and_is_rebuilt_the_same(
    server: Server, tmp_path: Path
) -> None:
    log = awkward().log
    file = LedgerSettings(path=tmp_path / "mlmd.sqlite")
    MlmdLedger(file).catch_up("digits", log, manifest_of)
    settings, ledger = empty_ledger(server), None
    for newest in (3, 11, len(log.stored)):  # live: as the log grows
        ledger = MlmdLedger(settings)
        ledger.catch_up("digits", ListLog(log.stored[:newest]), manifest_of)
    expected = dump(file)
    assert dump(settings) == expected
    assert answers(settings) == answers(file)
    assert [row["reason"] for row in reversed(answers(settings)["history"][: len(AWKWARD)])] == list(AWKWARD)
    if not isinstance(server, MlmdGrpcServer):
        rebuilt = empty_ledger(server)
        assert MlmdLedger(rebuilt).catch_up("digits", log, manifest_of) == len(log.stored)
        assert dump(rebuilt) == expected


def test_a_serving_number_of_14_digits_is_kept_whole(server: Server) -> None:
    settings = empty_ledger(server)
    MlmdLedger(settings).catch_up("digits", told().log, manifest_of)
    numbers = {row.version: row.serving_number for row in LedgerQueries(settings).versions("digits")}
    assert numbers == {V1.name: "20230601120000", V2.name: "20230602120000"}


def _record_all(settings: LedgerSettings, start: Any, first: int) -> None:
    """For a child process: record every model's log, each writer beginning with another model."""
    start.wait()
    for number in range(MODELS):
        model = f"model-{(first + number) % MODELS}"
        MlmdLedger(settings).catch_up(model, long_log(ENTRIES_EACH), manifest_of)


@pytest.mark.parametrize("kind", [LedgerKind.POSTGRESQL, pytest.param(LedgerKind.MYSQL, marks=pytest.mark.slow)])
def test_eight_writers_lose_nothing_and_double_nothing(request: pytest.FixtureRequest, kind: LedgerKind) -> None:
    database = server_of(request, kind)
    assert isinstance(database, DatabaseServer)
    settings = empty_ledger(database, retry_seconds=120.0)
    start = SPAWN.Barrier(WRITERS)  # also the making of the database and its tables is contended
    writers = [
        SPAWN.Process(target=_record_all, args=(settings, start, first), daemon=True) for first in range(WRITERS)
    ]
    for writer in writers:
        writer.start()
    all_ended(*writers, within=240)
    assert [writer.exitcode for writer in writers] == [0] * WRITERS
    names = database.sql("SELECT name FROM Execution ORDER BY id", database=settings.database).split()
    assert len(names) == len(set(names)) == MODELS * ENTRIES_EACH
    for number in range(MODELS):
        model = f"model-{number}"
        mine = [name for name in names if name.startswith(f"{model}/")]
        assert mine == [f"{model}/{sequence:020d}" for sequence in range(1, ENTRIES_EACH + 1)]


class InterruptedLog(ListLog):
    """A log during whose reading something happens."""

    def __init__(self, entries: list[Entry], *, at: int, then: Callable[[], None]) -> None:
        super().__init__(entries)
        self._at, self._then = at, then

    def entries(self, *, after: int = 0) -> Iterator[Entry]:
        for entry in super().entries(after=after):
            if entry.sequence == self._at:
                self._then()
            yield entry


def assert_complete(settings: LedgerSettings, entries: list[Entry]) -> None:
    """Every entry once, in order."""
    recorded = [row["name"] for row in dump(settings)["executions"]]
    assert recorded == [f"digits/{entry.sequence:020d}" for entry in entries]


def test_a_server_killed_while_it_is_caught_up_and_started_again_has_everything_once(server: Server) -> None:
    settings, entries = empty_ledger(server, retry_seconds=1.0), long_log(400).stored
    interrupted = InterruptedLog(entries, at=250, then=server.kill)
    with pytest.raises(LedgerUnavailable):
        MlmdLedger(settings).catch_up("digits", interrupted, manifest_of)
    with pytest.raises(LedgerUnavailable):
        MlmdLedger(settings).catch_up("digits", ListLog(entries), manifest_of)
    server.start()
    recorded = MlmdLedger(settings).catch_up("digits", ListLog(entries), manifest_of)
    assert 0 < recorded < len(entries)
    assert_complete(settings, entries)


def test_a_server_killed_at_any_moment_of_a_transaction_has_everything_once(database: DatabaseServer) -> None:
    settings, entries = empty_ledger(database, retry_seconds=1.0), long_log(400).stored
    killing = threading.Thread(target=database.kill, name="killing", daemon=True)
    # Once tables and first entries are there: MySQL makes tables one by one, and half of them are no ledger.
    interrupted = InterruptedLog(entries, at=150, then=killing.start)
    with suppress(LedgerUnavailable):  # it depends on the machine how far it comes
        MlmdLedger(settings).catch_up("digits", interrupted, manifest_of)
    all_ended(killing, within=120)
    database.start()
    MlmdLedger(settings).catch_up("digits", ListLog(entries), manifest_of)
    assert_complete(settings, entries)


def test_a_server_that_hangs_is_given_up_within_the_bound_and_caught_up_later(server: Server) -> None:
    settings, entries = empty_ledger(server), long_log(300).stored
    MlmdLedger(settings).ping()  # a slow disk may take longer for the tables than the impatient one waits
    impatient = replace(settings, answer_seconds=1.0, retry_seconds=1.0)
    stopped = InterruptedLog(entries, at=150, then=server.freeze)
    with pytest.raises(LedgerUnavailable, match=r"does not answer: .*(said nothing for|no answer within) 1 s"):
        MlmdLedger(impatient).catch_up("digits", stopped, manifest_of)
    server.thaw()
    assert MlmdLedger(settings).catch_up("digits", ListLog(entries), manifest_of) > 0
    assert_complete(settings, entries)
