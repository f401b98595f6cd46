"""The ledger is killed during a release and hangs during a rollback: both finish, and it is complete after it returns."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_model_ops.adapters.lineage.queries import LedgerQueries
from airflow_model_ops.adapters.lineage.rows import HistoryRow
from airflow_model_ops.adapters.lineage.settings import LedgerSettings
from tests.adapters.ledger_dump import dump
from tests.adapters.mlmd_grpc_rig import MlmdGrpcServer
from tests.e2e.story import MODEL, RELEASE, Story

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]

KEPT = "mlmd_kept"
SHIFT_AGAIN = "step_2_60_percent.shift"
GIVEN_UP_SECONDS = 60.0
"""Three tries of two seconds each, five seconds between two, and what a busy machine adds."""


@pytest.fixture
def remote(story: Story, tmp_path: Path) -> Iterator[MlmdGrpcServer]:
    """A remote ledger, empty, which the model's connection names for the time of a test."""
    before = dict(story.stack.connections["mlmd_default"])
    with MlmdGrpcServer(tmp_path / "remote.sqlite") as server:
        extra = {"kind": "grpc", "timeout": "2s", "retry": "2s"}
        connect(story, {"conn_type": "mlmd", "host": "127.0.0.1", "port": server.port, "extra": extra})
        yield server
        connect(story, {"host": None, "port": None, **before})


def connect(story: Story, fields: dict[str, object]) -> None:
    body = {**fields, "connection_id": KEPT, "extra": json.dumps(fields["extra"])}
    story.rest.request("PATCH", f"connections/{KEPT}", json=body)


def everything(settings: LedgerSettings) -> list[HistoryRow]:
    """The whole history, oldest first."""
    queries, rows = LedgerQueries(settings), list[HistoryRow]()
    while page := queries.history(MODEL, limit=100, before_sequence=rows[-1].sequence if rows else None):
        rows += page
    return rows[::-1]


@pytest.mark.slow
def test_a_ledger_killed_in_a_release_and_hung_in_a_rollback_changes_neither_and_is_complete_after_it_returns(
    story: Story, remote: MlmdGrpcServer
) -> None:
    before = story.state.stable
    assert before is not None
    release = story.hasty_release(dag=RELEASE)
    release.reaches(SHIFT_AGAIN, "running", "success")
    remote.kill()
    release.ends("success")
    assert story.state.stable is not None
    assert story.state.stable.number == int(release.returned("push")["number"])
    assert release.tasks["record"] == "failed"
    assert "cannot be reached" in release.log("record")

    remote.start()
    remote.freeze()
    asked, generation = time.time(), story.head.generation
    rollback = story.rollback(target="previous", reason="the ledger hangs")
    assert story.serves_only_stable(since=asked, after=generation) < GIVEN_UP_SECONDS
    assert story.state.stable == before
    done = time.time()
    rollback.ends("success")
    assert rollback.ended_at - done < GIVEN_UP_SECONDS
    assert rollback.tasks == {"rollback": "success", "record": "failed"}
    assert "does not answer" in rollback.log("record")

    remote.thaw()
    story.stack.airflow.cli("model-ops", "record", MODEL)
    entries = story.entries()
    recorded = dump(remote.settings())["executions"]
    assert [each["externalId"] for each in recorded] == [
        f"airflow_model_ops.{MODEL}/entry/{entry.sequence:020d}" for entry in entries
    ]
    assert [each["properties"]["digest"]["stringValue"] for each in recorded] == [entry.digest for entry in entries]
    assert [(row.sequence, row.name, row.reason) for row in everything(remote.settings())] == [
        (entry.sequence, entry.name, entry.reason) for entry in entries
    ]
