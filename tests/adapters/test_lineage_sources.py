"""What versions were made from, in a ledger that models share, and in one that is the pipeline's own store."""

from __future__ import annotations

import shutil
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from airflow_model_ops.adapters.lineage import recorder, schema
from airflow_model_ops.adapters.lineage.mlmd_store import LedgerStore, PutIds
from airflow_model_ops.adapters.lineage.queries import LedgerQueries
from airflow_model_ops.adapters.lineage.recorder import MlmdLedger
from airflow_model_ops.adapters.lineage.records import NO_MANIFEST
from airflow_model_ops.adapters.lineage.settings import LedgerSettings
from airflow_model_ops.adapters.lineage.verification import LedgerVerification
from airflow_model_ops.core.errors import InvalidState, LedgerUnavailable, ModelOpsError, VersionNotFound
from airflow_model_ops.core.ports import Manifest
from airflow_model_ops.core.upstream import SOURCE_KEY, UpstreamArtifact, UpstreamEvent
from airflow_model_ops.core.versioning import Version
from tests.adapters.lineage_dump import dump_of, rows_of_others
from tests.adapters.lineage_family import Family, artifact, trained, v
from tests.adapters.lineage_story import RUN, ListLog
from tests.adapters.lineage_writers import eight_writers

pytestmark = pytest.mark.integration

TFX = Path(__file__).parent.parent / "fixtures" / "tfx_1_21_metadata.sqlite"
EXAMPLES = artifact(3, "Examples")


@pytest.fixture
def settings(tmp_path: Path) -> LedgerSettings:
    return LedgerSettings(path=tmp_path / "mlmd.sqlite")


def file_of(settings: LedgerSettings) -> Path:
    assert settings.path is not None
    return settings.path


def family(settings: LedgerSettings) -> Family:
    """Two models from the same examples and dataset; one version is promoted."""
    told = Family(settings=settings)
    told.pushes("digits", v(1), dataset="mnist@7", upstream=trained(artifact(11, "Model"), EXAMPLES))
    told.promotes("digits", v(1))
    told.pushes("letters", v(1), dataset="mnist@7", upstream=trained(artifact(12, "Model"), EXAMPLES))
    told.pushes("digits", v(2), dataset="mnist@8", upstream=trained(artifact(13, "Model"), EXAMPLES))
    return told


def read_by(settings: LedgerSettings, type_name: str) -> dict[str, list[tuple[str, str, int]]]:
    """Names of a type's artifacts, each with model or type, role and index of the executions that read it."""
    store = LedgerStore(settings, create=False)
    newest, _ = store.newest_ids()
    found = [each for each in store.artifacts_by_id(range(1, newest + 1)) if each.type == type_name]
    edges = store.edges_of_artifacts([each.id for each in found])
    executions = {each.id: each for each in store.executions_by_id(sorted({edge.execution_id for edge in edges}))}
    return {
        each.name: sorted(
            (executions[edge.execution_id].properties["model"], edge.key, edge.index)
            for edge in edges
            if edge.artifact_id == each.id
        )
        for each in found
    }


def test_models_share_the_artifacts_they_came_from(settings: LedgerSettings) -> None:
    family(settings).record()
    assert read_by(settings, schema.DATASET) == {
        "mnist@7": [("digits", "dataset", 0), ("letters", "dataset", 0)],
        "mnist@8": [("digits", "dataset", 0)],
    }
    upstream = {name.rsplit("/", 1)[0]: readers for name, readers in read_by(settings, schema.UPSTREAM).items()}
    assert upstream["tfx/3/1600000000003"] == [
        ("digits", "ancestor", 1),
        ("digits", "ancestor", 1),
        ("letters", "ancestor", 1),
    ]
    assert upstream["tfx/12/1600000000012"] == [("letters", "upstream", 0)]
    assert [each.name for each in LedgerStore(settings, create=False).artifacts_by_uri("/pipeline/Examples/3")] == [
        name for name in read_by(settings, schema.UPSTREAM) if name.startswith("tfx/3/")
    ]


def test_an_upstream_artifact_that_had_changed_is_another_one_under_the_same_id(settings: LedgerSettings) -> None:
    told = family(settings)
    told.record()
    for day, seen in ((3, artifact(3, "Examples", uri="/moved")), (4, replace(EXAMPLES, created="9"))):
        told.pushes("digits", v(day), upstream=trained(artifact(10 + day, "Model"), seen))
    told.record()
    keys = [schema.upstream_key("tfx", "3", ordinal) for ordinal in range(1, 10)]
    found = LedgerStore(settings, create=False).artifacts_by_external_ids(keys)
    assert sorted((each.uri, each.properties["created"]) for each in found) == [
        ("/moved", "1600000000003"),
        ("/pipeline/Examples/3", "1600000000003"),
        ("/pipeline/Examples/3", "9"),
    ]


@pytest.mark.parametrize("lineage", [{"connection": "tfx"}, "not a lineage", ["a"]])
def test_a_lineage_that_cannot_be_read_stops_nothing_and_is_told(settings: LedgerSettings, lineage: object) -> None:
    told = family(settings)
    told.pushes("digits", v(3), dataset="mnist@8", source={SOURCE_KEY: lineage})
    told.record()
    stored = LedgerStore(settings, create=False).artifact(schema.MODEL_VERSION, f"digits/{v(3).name}")
    assert stored is not None
    assert "cannot be read" in stored.properties[schema.UPSTREAM_FAULT]
    assert ("digits", "dataset", 0) in read_by(settings, schema.DATASET)["mnist@8"]
    assert compared(settings, told) == []


def test_a_ledger_that_is_made_again_is_the_same_however_it_was_made(settings: LedgerSettings, tmp_path: Path) -> None:
    """Entry by entry with repetitions and models in turn; or in batches, one model after the other, the last one first."""
    told = family(settings)
    logs = {model: story.log.stored for model, story in told.stories.items()}
    for length in range(1, max(map(len, logs.values())) + 1):
        for model, entries in [*logs.items()] * 2:
            MlmdLedger(settings).catch_up(model, ListLog(entries[:length]), told.manifests_of(model))
    rebuilt = LedgerSettings(path=tmp_path / "rebuilt.sqlite")
    for model, entries in reversed(logs.items()):
        MlmdLedger(rebuilt).catch_up(model, ListLog(entries), told.manifests_of(model))
    assert dump_of(file_of(rebuilt)) == dump_of(file_of(settings))


@pytest.mark.parametrize("size", [2, 3, 5])
def test_a_ledger_is_the_same_whatever_the_size_of_its_batches(
    settings: LedgerSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    family(settings).record()
    monkeypatch.setattr(recorder, "LARGEST_BATCH", size)
    other = LedgerSettings(path=tmp_path / "other.sqlite")
    family(other).record()
    assert dump_of(file_of(other)) == dump_of(file_of(settings))


def test_a_batch_whose_writer_died_is_linked_to_all_that_it_put(
    settings: LedgerSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = artifact(11, "Model")
    baseline = UpstreamEvent(execution="12", artifact=first.id, output=False, role="baseline_model")
    told = Family(settings=settings)
    told.pushes("digits", v(1), upstream=trained(first, EXAMPLES))
    judged = trained(artifact(12, "Model"), EXAMPLES)
    judged = replace(judged, artifacts=(*judged.artifacts, first), events=(*judged.events, baseline))
    told.pushes("digits", v(2), dataset="mnist@8", upstream=judged, run={**RUN, "run_id": "another"})
    told.pushes("digits", v(3))

    def die(*_: object) -> None:
        raise LedgerUnavailable("killed between the two transactions")

    with monkeypatch.context() as dying:
        dying.setattr(LedgerStore, "link", die)
        with pytest.raises(LedgerUnavailable):
            told.record()
    told.record()

    whole = replace(told, settings=LedgerSettings(path=tmp_path / "whole.sqlite"))
    whole.record()
    assert dump_of(file_of(settings)) == dump_of(file_of(whole.settings))


def test_another_models_writer_that_makes_the_shared_artifact_first_is_no_obstacle(
    settings: LedgerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    told, put, raced = family(settings), LedgerStore.put, []

    def overtaken(store: LedgerStore, **sent: object) -> PutIds | None:
        if not raced:
            raced.append("letters")
            MlmdLedger(settings).catch_up("letters", told.stories["letters"].log, told.manifests_of("letters"))
        return put(store, **sent)  # type: ignore[arg-type]

    monkeypatch.setattr(LedgerStore, "put", overtaken)
    recorded = MlmdLedger(settings).catch_up("digits", told.stories["digits"].log, told.manifests_of("digits"))
    assert (recorded, raced) == (len(told.stories["digits"].log.stored), ["letters"])
    assert len(read_by(settings, schema.DATASET)) == 2
    assert compared(settings, told) == []


def test_another_models_writer_that_makes_the_dag_runs_context_first_is_no_obstacle(
    settings: LedgerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    told, put = family(settings), LedgerStore.put
    told.pushes("digits", v(3), run={**RUN, "run_id": "another"})
    refused: list[object] = []

    def overtaken(store: LedgerStore, **sent: object) -> PutIds | None:
        if not sent["executions"] and sent["contexts"] and len(refused) < 2:
            refused.append(sent["contexts"])
            return None
        return put(store, **sent)  # type: ignore[arg-type]

    monkeypatch.setattr(LedgerStore, "put", overtaken)
    told.record()

    assert len(refused) == 2
    assert compared(settings, told) == []


@pytest.mark.parametrize("fault", [VersionNotFound("gone"), InvalidState("manifest cannot be read")])
def test_a_push_whose_manifest_is_lost_is_recorded_by_name_and_says_so(
    settings: LedgerSettings, fault: ModelOpsError
) -> None:
    told = family(settings)
    log = told.stories["digits"].log

    def manifest_of(version: Version) -> Manifest:
        raise fault

    assert MlmdLedger(settings).catch_up("digits", log, manifest_of) == len(log.stored)
    version = LedgerQueries(settings).versions("digits")[0]
    assert (version.digest, version.upstream_fault) == (None, NO_MANIFEST)
    assert list(LedgerVerification(settings).compare("digits", log, manifest_of)) == []
    assert list(LedgerVerification(settings).compare("digits", log, told.manifests_of("digits"))) != []


def compared(settings: LedgerSettings, told: Family) -> list[str]:
    return [
        str(found)
        for model, story in told.stories.items()
        for found in LedgerVerification(settings).compare(model, story.log, told.manifests_of(model))
    ]


def pushed_model(path: Path) -> UpstreamArtifact:
    """The Model that the pipeline of the fixture pushed."""
    with sqlite3.connect(path) as database:
        number, uri, created = database.execute(
            "SELECT Artifact.id, uri, create_time_since_epoch FROM Artifact JOIN Type ON Type.id = type_id"
            " WHERE Type.name = 'Model'"
        ).fetchone()
    return UpstreamArtifact(id=str(number), type="Model", uri=uri, created=str(created))


def test_a_pipelines_store_that_is_the_ledger_keeps_all_it_had_and_leads_on_to_the_version(
    settings: LedgerSettings,
) -> None:
    shutil.copy(TFX, file_of(settings))
    before, model = rows_of_others(file_of(settings), schema.PREFIX), pushed_model(TFX)
    told = Family(settings=settings)
    told.pushes("taxi", v(1), dataset="taxi@1", upstream=trained(model, EXAMPLES))
    told.promotes("taxi", v(1))
    told.record()
    after = rows_of_others(file_of(settings), schema.PREFIX)
    assert after == before
    assert all(before[table] for table in ("Type", "Artifact", "Execution", "Context", "Event", "Attribution"))

    store = LedgerStore(settings, create=False)
    ours = [edge for edge in store.edges_of_artifacts([int(model.id)]) if edge.key == schema.FOREIGN_ROLE]
    (push,) = [
        each
        for each in store.executions_by_id([edge.execution_id for edge in ours])
        if each.type == "airflow_model_ops.Push"
    ]
    written = [edge.artifact_id for edge in store.edges_of_executions([push.id]) if edge.key == "version"]
    assert [each.name for each in store.artifacts_by_id(written)] == [f"taxi/{v(1).name}"]
    assert compared(settings, told) == []


@pytest.mark.parametrize(
    "changed", [{"uri": "/elsewhere"}, {"created": "1"}, {"type": "Examples"}, {"id": "x7"}, {"id": "9999"}]
)
def test_an_artifact_that_only_looks_like_the_pushed_one_is_not_linked(
    settings: LedgerSettings, changed: dict[str, str]
) -> None:
    shutil.copy(TFX, file_of(settings))
    told = Family(settings=settings)
    told.pushes("taxi", v(1), upstream=trained(replace(pushed_model(TFX), **changed)))
    told.record()
    with sqlite3.connect(file_of(settings)) as database:
        query = "SELECT COUNT(*) FROM Event JOIN Execution ON Execution.id = execution_id WHERE Execution.name LIKE 'taxi/%'"
        assert database.execute(query).fetchone() == (2,)


def test_eight_processes_record_two_thousand_entries_once_and_in_order(settings: LedgerSettings) -> None:
    eight_writers(settings)
