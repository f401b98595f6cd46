"""The ledger on a real ML Metadata store in a SQLite file."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ml_metadata.errors import AlreadyExistsError
from ml_metadata.metadata_store.metadata_store import MetadataStore

from airflow_model_ops.adapters.lineage.mlmd_store import LedgerStore
from airflow_model_ops.adapters.lineage.queries import LedgerQueries
from airflow_model_ops.adapters.lineage.recorder import MlmdLedger
from airflow_model_ops.adapters.lineage.rows import HistoryRow
from airflow_model_ops.adapters.lineage.settings import LedgerSettings
from airflow_model_ops.core.errors import (
    InvalidConfig,
    InvalidState,
    LedgerUnavailable,
    RepositoryUnavailable,
    VersionNotFound,
)
from airflow_model_ops.core.log import Entry
from airflow_model_ops.core.ports import Manifest
from airflow_model_ops.core.versioning import Version
from tests.adapters.lineage_dump import dump_of
from tests.adapters.lineage_story import (
    ROLLBACK_REASON,
    V1,
    V2,
    ListLog,
    catch_up_in_a_child,
    catch_up_unhurried_in_a_child,
    die_in_a_child,
    long_log,
    manifest_of,
    told,
)
from tests.waits import all_ended, until

pytestmark = pytest.mark.integration

SPAWN = multiprocessing.get_context("spawn")


@pytest.fixture
def settings(tmp_path: Path) -> LedgerSettings:
    return LedgerSettings(path=tmp_path / "ledger" / "mlmd.sqlite")


@pytest.fixture
def recorded(settings: LedgerSettings) -> LedgerQueries:
    """The told story, recorded."""
    MlmdLedger(settings).catch_up("digits", told().log, manifest_of)
    return LedgerQueries(settings)


def file_of(settings: LedgerSettings) -> Path:
    assert settings.path is not None
    return settings.path


def recorded_names(settings: LedgerSettings) -> list[str]:
    """The names of all executions in the order of their ids, read beside ML Metadata."""
    with sqlite3.connect(file_of(settings)) as database:
        return [name for (name,) in database.execute("SELECT name FROM Execution ORDER BY id")]


def expected_names(entries: list[Entry]) -> list[str]:
    return [f"digits/{entry.sequence:020d}" for entry in entries]


def start(
    target: Callable[[Path, int], None], settings: LedgerSettings, number: int
) -> multiprocessing.process.BaseProcess:
    child = SPAWN.Process(target=target, args=(file_of(settings), number), daemon=True)
    child.start()
    return child


@contextmanager
def held_by_another_process(path: Path, *, seconds: float | None = None) -> Iterator[None]:
    """Keep other writers out as another program would; SQLite's locks are per process, so it takes one.

    :param seconds: When it lets go; ``None``: at the end of the block.
    """
    code = (
        "import sqlite3, sys, time; database = sqlite3.connect(sys.argv[1], isolation_level=None);"
        "database.execute('BEGIN IMMEDIATE'); print('held', flush=True);"
        "time.sleep(float(sys.argv[2])) if sys.argv[2] else sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(path), "" if seconds is None else str(seconds)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stdout.readline().strip() == "held"
        try:
            yield
        finally:
            child.stdin.close()
            child.wait(timeout=60)


def test_a_log_is_recorded_once_however_often_it_is_caught_up(settings: LedgerSettings) -> None:
    story, ledger = told(), MlmdLedger(settings)
    assert ledger.catch_up("digits", story.log, manifest_of) == len(story.log.stored)
    assert ledger.catch_up("digits", story.log, manifest_of) == 0
    story.is_applied()
    assert ledger.catch_up("digits", story.log, manifest_of) == 1
    assert recorded_names(settings) == expected_names(story.log.stored)


def test_an_empty_log_leaves_an_empty_ledger(settings: LedgerSettings) -> None:
    assert MlmdLedger(settings).catch_up("digits", ListLog([]), manifest_of) == 0
    assert recorded_names(settings) == []
    assert LedgerQueries(settings).history("digits") == []


def test_history_tells_what_the_log_says_and_nothing_is_lost_on_the_way(recorded: LedgerQueries) -> None:
    rows = recorded.history("digits", limit=100)
    entries = told().log.stored
    assert [(row.sequence, row.name, row.at, row.reason, dict(row.run), dict(row.detail)) for row in rows] == [
        (entry.sequence, entry.name, entry.at, entry.reason, dict(entry.origin.run), dict(entry.detail))
        for entry in reversed(entries)
    ]
    rollback = next(row for row in rows if row.name == "rollback")
    assert ROLLBACK_REASON in rollback.reason
    assert (rollback.actor, rollback.version, rollback.percent) == ("person ada", V1.name, 100.0)
    shift = next(row for row in rows if row.name == "shift")
    assert (shift.version, shift.percent, shift.release, shift.attempt) == (V2.name, 50.0, "r2", 1)


def test_history_is_paged_newest_first(recorded: LedgerQueries) -> None:
    everything = recorded.history("digits", limit=1000)
    pages: list[HistoryRow] = []
    while page := recorded.history("digits", limit=7, before_sequence=pages[-1].sequence if pages else None):
        assert len(page) <= 7
        pages += page
    assert pages == everything


def test_history_reads_more_entries_than_ml_metadata_gives_at_once(settings: LedgerSettings) -> None:
    MlmdLedger(settings).catch_up("digits", long_log(230), manifest_of)
    rows = LedgerQueries(settings).history("digits", limit=500)
    assert [row.sequence for row in rows] == list(range(230, 0, -1))


def test_four_processes_at_once_record_each_entry_once_and_in_order(settings: LedgerSettings) -> None:
    children = [start(catch_up_in_a_child, settings, 150) for _ in range(4)]
    all_ended(*children, within=240)
    assert [child.exitcode for child in children] == [0, 0, 0, 0]
    assert recorded_names(settings) == expected_names(long_log(150).stored)


@pytest.mark.parametrize(("after", "recorded"), [(0, 0), (1, 0), (2, 18), (3, 18)])
def test_a_writer_killed_between_transactions_leaves_a_prefix_that_the_next_one_completes(
    settings: LedgerSettings, after: int, recorded: int, tmp_path: Path
) -> None:
    """Also one that dies between recording a batch and linking it to its releases and DAG runs."""
    child = start(die_in_a_child, settings, after)
    all_ended(child, within=120)
    assert child.exitcode == -signal.SIGKILL
    entries = told().log.stored
    assert recorded_names(settings) == expected_names(entries[:recorded])
    assert MlmdLedger(settings).catch_up("digits", told().log, manifest_of) == len(entries) - recorded
    assert recorded_names(settings) == expected_names(entries)
    alone = LedgerSettings(path=tmp_path / "alone.sqlite")
    MlmdLedger(alone).catch_up("digits", told().log, manifest_of)
    assert dump_of(file_of(settings)) == dump_of(file_of(alone))


def test_a_writer_killed_at_any_moment_leaves_a_prefix_that_the_next_one_completes(settings: LedgerSettings) -> None:
    child = start(catch_up_unhurried_in_a_child, settings, 2000)
    until(file_of(settings).exists, what="the file is made", within=120)
    queries = LedgerQueries(settings)
    until(lambda: queries.history("digits", limit=1), what="the first entries are recorded", within=120)
    assert child.pid is not None
    os.kill(child.pid, signal.SIGKILL)
    all_ended(child)
    before = recorded_names(settings)
    entries = long_log(2000).stored
    assert 0 < len(before) < 2000
    assert MlmdLedger(settings).catch_up("digits", ListLog(entries), manifest_of) == 2000 - len(before)
    assert recorded_names(settings) == expected_names(entries)


def test_a_rebuilt_ledger_gives_the_same_answers(recorded: LedgerQueries, tmp_path: Path) -> None:
    settings = LedgerSettings(path=tmp_path / "rebuilt.sqlite")
    log = told().log
    for length in (3, 11, len(log.stored)):  # in three goes
        MlmdLedger(settings).catch_up("digits", ListLog(log.stored[:length]), manifest_of)
    rebuilt = LedgerQueries(settings)
    assert rebuilt.history("digits", limit=100) == recorded.history("digits", limit=100)
    assert rebuilt.versions("digits") == recorded.versions("digits")
    for version in (V1.name, V2.name):
        assert rebuilt.ancestry("digits", version=version) == recorded.ancestry("digits", version=version)
        assert rebuilt.descendants("digits", version=version) == recorded.descendants("digits", version=version)


def test_models_share_a_ledger_without_touching_one_another(settings: LedgerSettings) -> None:
    ledger, story = MlmdLedger(settings), told()
    ledger.catch_up("digits", story.log, manifest_of)
    assert ledger.catch_up("letters", ListLog(story.log.stored[:7]), manifest_of) == 7
    queries = LedgerQueries(settings)
    assert len(queries.history("digits", limit=100)) == len(story.log.stored)
    assert len(queries.history("letters", limit=100)) == 7
    assert [row.version for row in queries.versions("letters")] == [V1.name]


def test_versions_come_newest_first_with_what_their_manifests_know(recorded: LedgerQueries) -> None:
    newest, oldest = recorded.versions("digits")
    assert (newest.version, newest.serving_number) == (V2.name, "20230602120000")
    assert (oldest.version, oldest.dataset_version, oldest.size) == (V1.name, "digits@7", 1234)
    assert oldest.hyperparameters == {"units": 64, "rate": 0.001}
    assert oldest.source == {"path": "C:\\exports\\1", "run": "größe"}
    assert [row.version for row in recorded.versions("digits", limit=1, skip=1)] == [V1.name]
    assert recorded.versions("digits", limit=1, skip=2) == []


def test_a_versions_lineage_names_its_data_and_everything_that_touched_it(recorded: LedgerQueries) -> None:
    assert recorded.ancestry("digits", version=V2.name).version.digest == manifest_of(V2).digest
    assert recorded.descendants("digits", version=V2.name).counts == Counter(
        pushed=1, validated=1, start_canary=1, shift=1, verdict=1, promote=1, applied=3, rollback=1, quarantine=1
    )
    with pytest.raises(VersionNotFound, match="v-20990101-000000"):
        recorded.ancestry("digits", version="v-20990101-000000")


def test_a_version_that_was_only_adopted_is_known_by_name(settings: LedgerSettings) -> None:
    def no_manifest(version: Version) -> Manifest:
        raise VersionNotFound(f"no manifest of {version}")

    entries = [entry for entry in told().log.stored if entry.name != "pushed"]
    renumbered: list[Entry] = []
    for entry in entries:
        renumbered.append(replace(entry).after(renumbered[-1] if renumbered else None))
    MlmdLedger(settings).catch_up("digits", ListLog(renumbered), no_manifest)
    rows = LedgerQueries(settings).versions("digits")
    assert [(row.version, row.digest, row.dataset_version) for row in rows] == [
        (V2.name, None, None),
        (V1.name, None, None),
    ]


def test_what_served_at_a_moment_is_what_was_confirmed_by_then(recorded: LedgerQueries) -> None:
    by_name = {(row.name, row.sequence): row for row in recorded.history("digits", limit=100)}
    shift = next(row for (name, _), row in by_name.items() if name == "shift")

    changing = recorded.served_at("digits", at=shift.at)
    assert [(share.version, share.percent) for share in changing.split] == [(V1.name, 95.0), (V2.name, 5.0)]
    assert changing.changing
    assert {share.version: share.percent for share in changing.changing_to} == {V1.name: 50.0, V2.name: 50.0}

    applied = next(row for (name, number), row in by_name.items() if name == "applied" and number == shift.sequence + 1)
    settled = recorded.served_at("digits", at=applied.at)
    assert {share.version: share.percent for share in settled.split} == {V1.name: 50.0, V2.name: 50.0}
    assert not settled.changing
    assert settled.because == shift
    assert settled.confirmed_at == applied.at

    now = recorded.served_at("digits", at="2099-01-01")  # the newest transition only quarantines: the split is the same
    assert [(share.version, share.serving_number, share.percent) for share in now.split] == [
        (V1.name, "20230601120000", 100.0)
    ]
    assert not now.changing


def test_nothing_served_before_the_log_began_and_a_wrong_time_is_refused(recorded: LedgerQueries) -> None:
    before = recorded.served_at("digits", at="2020-01-01T00:00:00Z")
    assert (before.split, before.changing, before.because) == ((), False, None)
    with pytest.raises(InvalidConfig, match="last Tuesday"):
        recorded.served_at("digits", at="last Tuesday")


def test_a_ledger_of_another_log_of_the_model_is_refused(settings: LedgerSettings) -> None:
    ledger = MlmdLedger(settings)
    ledger.catch_up("digits", told().log, manifest_of)
    with pytest.raises(InvalidState, match=r"another log of model 'digits'.*is missing"):
        ledger.catch_up("digits", ListLog(told().log.stored[:5]), manifest_of)
    with pytest.raises(InvalidState, match=r"another log of model 'digits'.*has digest"):
        ledger.catch_up("digits", long_log(40), manifest_of)


def test_a_repository_that_is_away_stops_the_recording_and_it_goes_on_later(settings: LedgerSettings) -> None:
    def away(version: Version) -> Manifest:
        raise RepositoryUnavailable(f"cannot read the manifest of {version}")

    ledger, story = MlmdLedger(settings), told()
    with pytest.raises(RepositoryUnavailable):
        ledger.catch_up("digits", story.log, away)
    assert ledger.catch_up("digits", story.log, manifest_of) == len(story.log.stored)


def test_no_string_in_the_store_holds_a_backslash(recorded: LedgerQueries, settings: LedgerSettings) -> None:
    with sqlite3.connect(file_of(settings)) as database:
        dump = "\n".join(database.iterdump())
    assert "größer als erlaubt" in dump
    assert "\\" not in dump


def test_types_of_others_in_the_same_store_stay_as_they_are(settings: LedgerSettings) -> None:
    from ml_metadata import MetadataStore
    from ml_metadata.proto import metadata_store_pb2 as pb2

    from airflow_model_ops.adapters.lineage.settings import connection_config

    file_of(settings).parent.mkdir()
    store = MetadataStore(connection_config(settings, create=True))
    foreign = pb2.ArtifactType(name="PushedModel", properties={"pushed": pb2.INT})
    type_id = store.put_artifact_type(foreign)
    store.put_artifacts([pb2.Artifact(type_id=type_id, name="theirs", properties={"pushed": pb2.Value(int_value=1)})])
    before = (store.get_artifact_type("PushedModel"), store.get_artifacts_by_type("PushedModel"))
    MlmdLedger(settings).catch_up("digits", told().log, manifest_of)
    assert (store.get_artifact_type("PushedModel"), store.get_artifacts_by_type("PushedModel")) == before


def test_a_store_that_others_hold_is_waited_for_within_a_bound(settings: LedgerSettings) -> None:
    MlmdLedger(settings).ping()
    impatient, log = replace(settings, retry_seconds=0.2), told().log
    busy = pytest.raises(LedgerUnavailable, match=r"within 0\.2 s.*try again")
    with held_by_another_process(file_of(settings)), busy:
        MlmdLedger(impatient).catch_up("digits", log, manifest_of)
    assert MlmdLedger(settings).catch_up("digits", log, manifest_of) == len(log.stored)


def test_a_type_that_another_writer_makes_at_the_same_moment_is_used(
    settings: LedgerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ML Metadata looked for its name before, and then finds its external id taken."""
    put, tries = MetadataStore.put_execution_type, list[str]()

    def overtaken(self: MetadataStore, kind: Any, **options: Any) -> int:
        made: int = put(self, kind, **options)
        tries.append(kind.name)
        if len(tries) == 1:
            raise AlreadyExistsError(f"Conflict of external_id: {kind.name}/ExecutionType")
        return made

    monkeypatch.setattr(MetadataStore, "put_execution_type", overtaken)
    assert LedgerStore(settings, create=True).register_types() > 0
    assert tries[0] in tries[1:]


def test_a_store_that_comes_free_in_time_is_written(settings: LedgerSettings) -> None:
    MlmdLedger(settings).ping()
    with held_by_another_process(file_of(settings), seconds=2.5):
        recorded = MlmdLedger(settings).catch_up("digits", told().log, manifest_of)
    assert recorded == len(told().log.stored)


def test_ping_makes_the_store_and_says_where_it_is(settings: LedgerSettings) -> None:
    assert str(file_of(settings)) in MlmdLedger(settings).ping()
    assert file_of(settings).exists()


def test_a_ledger_that_does_not_exist_is_not_made_by_a_question(settings: LedgerSettings) -> None:
    with pytest.raises(LedgerUnavailable, match="does not exist"):
        LedgerQueries(settings).history("digits")
    assert not file_of(settings).exists()


def test_a_path_that_cannot_be_written_is_named_with_a_remedy(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a directory")
    with pytest.raises(LedgerUnavailable, match=r"cannot be created.*name another path"):
        MlmdLedger(LedgerSettings(path=blocked / "mlmd.sqlite")).ping()
    with pytest.raises(LedgerUnavailable, match="is a directory"):
        MlmdLedger(LedgerSettings(path=tmp_path)).ping()
    no_database = tmp_path / "notes.sqlite"
    no_database.write_text("these are notes, not a database\n" * 100)
    with pytest.raises(LedgerUnavailable, match=r"file is not a database.*check"):
        MlmdLedger(LedgerSettings(path=no_database)).ping()
