"""Whoever edits, deletes, swaps or adds anything in the log or the ledger is found, by name and number."""

from __future__ import annotations

import base64
import json
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from airflow_model_ops.adapters.lineage.differences import Finding, FindingKind
from airflow_model_ops.adapters.lineage.recorder import MlmdLedger
from airflow_model_ops.adapters.lineage.settings import LedgerSettings
from airflow_model_ops.adapters.lineage.verification import LedgerVerification
from airflow_model_ops.core.errors import InvalidState, LedgerUnavailable
from airflow_model_ops.core.log import Entry
from tests.adapters.lineage_family import Family, trained
from tests.adapters.lineage_family import artifact as artifact_of_pipeline
from tests.adapters.lineage_story import V1, V2, ListLog, long_log, manifest_of, record_one_by_one, told

pytestmark = pytest.mark.integration


@pytest.fixture
def settings(tmp_path: Path) -> LedgerSettings:
    """The settings of a ledger that holds the told story of 19 entries."""
    settings = LedgerSettings(path=tmp_path / "mlmd.sqlite")
    MlmdLedger(settings).catch_up("digits", told().log, manifest_of)
    return settings


@contextmanager
def edited(settings: LedgerSettings) -> Iterator[sqlite3.Connection]:
    """The store's file, open for edits that ML Metadata knows nothing of."""
    assert settings.path is not None
    with sqlite3.connect(settings.path) as database:
        yield database
    database.close()


def findings(settings: LedgerSettings, entries: list[Entry] | None = None) -> list[Finding]:
    log = ListLog(told().log.stored if entries is None else entries)
    return list(LedgerVerification(settings).compare("digits", log, manifest_of))


def execution(database: sqlite3.Connection, sequence: int) -> int:
    (number,) = database.execute("SELECT id FROM Execution WHERE name = ?", (f"digits/{sequence:020d}",)).fetchone()
    return int(number)


def artifact(database: sqlite3.Connection, name: str) -> int:
    (number,) = database.execute("SELECT id FROM Artifact WHERE name = ?", (name,)).fetchone()
    return int(number)


def edit_struct(database: sqlite3.Connection, table: str, *, owner: int, name: str, edit: Callable[[str], str]) -> None:
    """Change the JSON text in a STRUCT as ML Metadata stores it: a prefix, then the serialized proto in base64."""
    from google.protobuf.struct_pb2 import Struct

    key = f"{table.lower()}_id"
    (text,) = database.execute(
        f"SELECT string_value FROM {table}Property WHERE {key} = ? AND name = ?",  # noqa: S608 (a table's name)
        (owner, name),
    ).fetchone()
    mark, _, content = text.rpartition(":")
    struct = Struct.FromString(base64.b64decode(content))
    struct.fields["json"].string_value = edit(struct.fields["json"].string_value)
    changed = f"{mark}:{base64.b64encode(struct.SerializeToString()).decode()}"
    database.execute(
        f"UPDATE {table}Property SET string_value = ? WHERE {key} = ? AND name = ?",  # noqa: S608 (a table's name)
        (changed, owner, name),
    )


def chained_anew(entries: list[Entry]) -> list[Entry]:
    """The entries with numbers and digests that follow one another again."""
    chain: list[Entry] = []
    for entry in entries:
        chain.append(replace(entry).after(chain[-1] if chain else None))
    return chain


@pytest.mark.parametrize("record", [MlmdLedger, None], ids=["in one go", "entry by entry"])
def test_a_ledger_that_is_the_projection_of_its_log_has_nothing_to_find(record: type | None, tmp_path: Path) -> None:
    settings = LedgerSettings(path=tmp_path / "mlmd.sqlite")
    if record is None:
        record_one_by_one(settings, "digits", told().log)
    else:
        MlmdLedger(settings).catch_up("digits", told().log, manifest_of)
    assert findings(settings) == []


def test_other_models_in_the_same_ledger_are_not_looked_at(settings: LedgerSettings) -> None:
    MlmdLedger(settings).catch_up("letters", long_log(7), manifest_of)
    assert findings(settings) == []


def test_an_edited_property_is_found(settings: LedgerSettings) -> None:
    with edited(settings) as database:
        database.execute(
            "UPDATE ExecutionProperty SET string_value = 'person eve' WHERE name = 'actor' AND execution_id = ?",
            (execution(database, 17),),
        )
    (found,) = findings(settings)
    assert (found.kind, found.where) == (FindingKind.EDITED, 17)
    assert str(found).startswith("entry 17: edited: property 'actor' of execution 'digits/00000000000000000017'")
    assert (found.expected, found.found) == ("'ada'", "'person eve'")


def test_an_edited_struct_is_found_and_both_are_shown_where_they_differ(settings: LedgerSettings) -> None:
    with edited(settings) as database:
        owner = execution(database, 8)
        edit_struct(
            database, "Execution", owner=owner, name="entry", edit=lambda text: text.replace("pushed", "pulled", 1)
        )
    (found,) = findings(settings)
    assert (found.kind, found.where) == (FindingKind.EDITED, 8)
    assert "STRUCT 'entry'" in found.what
    assert "pushed" in found.expected
    assert "pulled" in found.found


@pytest.mark.parametrize("part", ["external_id", "name"])
def test_a_key_that_no_entry_can_have_is_found(settings: LedgerSettings, part: str) -> None:
    with edited(settings) as database:
        database.execute(
            f"UPDATE Execution SET {part} = replace({part}, '00012', 'eve') WHERE id = ?",  # noqa: S608 (a column's name)
            (execution(database, 12),),
        )
    assert 12 in {found.where for found in findings(settings) if found.is_fault}


def test_a_number_that_is_none_behind_a_head_that_was_set_back_is_found(settings: LedgerSettings) -> None:
    with edited(settings) as database:
        database.execute(
            "UPDATE ExecutionProperty SET string_value = 'eve' WHERE name = 'sequence' AND execution_id = ?",
            (execution(database, 19),),
        )
        edit_struct(
            database,
            "Artifact",
            owner=artifact(database, "digits"),
            name="recorded",
            edit=lambda text: text.replace('"sequence":19', '"sequence":18'),
        )
    assert any(found.kind is FindingKind.SURPLUS for found in findings(settings))


def test_a_struct_that_cannot_be_parsed_any_more_is_told_in_a_line(settings: LedgerSettings) -> None:
    with edited(settings) as database:
        database.execute(
            "UPDATE ExecutionProperty SET string_value = substr(string_value, 1, length(string_value) - 9) || 'ZZZZ' "
            "WHERE name = 'entry' AND execution_id = ?",
            (execution(database, 12),),
        )
    with pytest.raises(LedgerUnavailable, match=r"could not read by external id"):
        findings(settings)


def test_a_deleted_entry_is_found(settings: LedgerSettings) -> None:
    with edited(settings) as database:
        owner = execution(database, 12)
        for table, key in (("Execution", "id"), ("ExecutionProperty", "execution_id"), ("Event", "execution_id")):
            database.execute(f"DELETE FROM {table} WHERE {key} = ?", (owner,))  # noqa: S608 (a table's name)
    assert [(found.kind, found.where) for found in findings(settings)] == [(FindingKind.MISSING, 12)]


def test_two_swapped_generations_are_found(settings: LedgerSettings) -> None:
    with edited(settings) as database:
        one, other = execution(database, 10), execution(database, 12)
        keys = {
            number: database.execute("SELECT name, external_id FROM Execution WHERE id = ?", (number,)).fetchone()
            for number in (one, other)
        }
        database.execute("UPDATE Execution SET name = 'aside', external_id = 'aside' WHERE id = ?", (one,))
        database.execute("UPDATE Execution SET name = ?, external_id = ? WHERE id = ?", (*keys[one], other))
        database.execute("UPDATE Execution SET name = ?, external_id = ? WHERE id = ?", (*keys[other], one))
    swapped = [found for found in findings(settings) if found.kind is FindingKind.SWAPPED]
    assert {found.where for found in swapped} >= {10, 12}
    assert any((found.expected, found.found) == ("entry 10", "entry 12") for found in swapped)


def test_ids_that_were_exchanged_are_found_by_the_order_of_recording(settings: LedgerSettings) -> None:
    with edited(settings) as database:
        one, other = execution(database, 10), execution(database, 12)
        for table, key in (
            ("Execution", "id"),
            ("ExecutionProperty", "execution_id"),
            ("Event", "execution_id"),
            ("Association", "execution_id"),
        ):
            for old, new in ((one, -1), (other, one), (-1, other)):
                database.execute(f"UPDATE {table} SET {key} = ? WHERE {key} = ?", (new, old))  # noqa: S608 (a table's name)
    found = findings(settings)
    assert {(each.kind, each.what) for each in found} == {(FindingKind.SWAPPED, "the order of recording")}
    assert {each.where for each in found} == {11, 12}


@pytest.mark.parametrize("key", ["airflow_model_ops.digits/entry/00000000000000000020", None])
def test_a_surplus_entry_is_found_with_or_without_a_key(settings: LedgerSettings, key: str | None) -> None:
    with edited(settings) as database:
        owner = execution(database, 19)
        database.execute(
            "INSERT INTO Execution (type_id, last_known_state, name, external_id) SELECT type_id, last_known_state, ?, ? FROM"
            " Execution WHERE id = ?",
            ("digits/00000000000000000020", key, owner),
        )
        added = execution(database, 20)
        database.execute(
            "INSERT INTO ExecutionProperty SELECT ?, name, is_custom_property, int_value, double_value, string_value,"
            " byte_value, proto_value, bool_value FROM ExecutionProperty WHERE execution_id = ?",
            (added, owner),
        )
    assert {found.kind for found in findings(settings)} == {FindingKind.SURPLUS}
    assert any("digits/00000000000000000020" in found.what for found in findings(settings))


def test_an_artifact_that_no_entry_explains_is_found(settings: LedgerSettings) -> None:
    with edited(settings) as database:
        owner = artifact(database, f"digits/{V2.name}")
        database.execute(
            "INSERT INTO Artifact (type_id, state, name) SELECT type_id, state, 'digits/v-20990101-000000' FROM Artifact"
            " WHERE id = ?",
            (owner,),
        )
        added = artifact(database, "digits/v-20990101-000000")
        database.execute(
            "INSERT INTO ArtifactProperty SELECT ?, name, is_custom_property, int_value, double_value, string_value,"
            " byte_value, proto_value, bool_value FROM ArtifactProperty WHERE artifact_id = ?",
            (added, owner),
        )
    (found,) = findings(settings)
    assert (found.kind, found.what) == (
        FindingKind.SURPLUS,
        "artifact airflow_model_ops.ModelVersion 'digits/v-20990101-000000'",
    )


def test_an_edited_version_is_found_with_the_entry_that_named_it(settings: LedgerSettings) -> None:
    with edited(settings) as database:
        owner = artifact(database, f"digits/{V1.name}")
        database.execute(
            "UPDATE ArtifactProperty SET string_value = 'digits@8' WHERE name = 'dataset_version' AND artifact_id = ?",
            (owner,),
        )
        edit_struct(
            database,
            "Artifact",
            owner=owner,
            name="metrics",
            edit=lambda text: json.dumps(json.loads(text) | {"accuracy": 0.99}),
        )
    found = findings(settings)
    assert {(each.kind, each.where) for each in found} == {(FindingKind.EDITED, 1)}
    assert {each.what.split(" of ")[0] for each in found} == {"property 'dataset_version'", "STRUCT 'metrics'"}


def test_an_edited_serving_state_is_found(settings: LedgerSettings) -> None:
    with edited(settings) as database:
        database.execute(
            "UPDATE ArtifactProperty SET string_value = '90' WHERE name = 'canary_percent' AND string_value = '50'"
            " AND artifact_id IN (SELECT Artifact.id FROM Artifact JOIN Type ON Type.id = type_id"
            " WHERE Type.name LIKE '%ServingState')"
        )
    (found,) = findings(settings)
    assert (found.kind, found.where, found.expected, found.found) == (FindingKind.EDITED, 12, "'50'", "'90'")


def test_a_lost_event_and_one_too_many_are_found(settings: LedgerSettings) -> None:
    with edited(settings) as database:
        lost = execution(database, 10)
        database.execute("DELETE FROM Event WHERE execution_id = ? AND type = 4", (lost,))
        database.execute(
            "INSERT INTO Event (artifact_id, execution_id, type) VALUES (?, ?, 3)",
            (artifact(database, f"digits/{V1.name}"), execution(database, 8)),
        )
    kinds = [(found.kind, found.where) for found in findings(settings)]
    assert kinds == [(FindingKind.SURPLUS, 8), (FindingKind.MISSING, 10)]


def test_an_entry_that_was_taken_out_of_its_release_is_found(settings: LedgerSettings) -> None:
    with edited(settings) as database:
        database.execute(
            "DELETE FROM Association WHERE execution_id = ? AND context_id = (SELECT id FROM Context WHERE name = 'digits/r2')",
            (execution(database, 14),),
        )
    (found,) = findings(settings)
    assert (found.kind, found.where) == (FindingKind.MISSING, 14)
    assert "digits/r2" in found.what


def test_a_head_that_was_set_back_or_edited_is_found(settings: LedgerSettings) -> None:
    def set_back(text: str) -> str:
        return json.dumps(json.loads(text) | {"sequence": 17, "digest": told().log.stored[16].digest})

    with edited(settings) as database:
        head = artifact(database, "digits")
        database.execute(
            "UPDATE ArtifactProperty SET string_value = 'v-9' WHERE name = 'stable' AND artifact_id = ?", (head,)
        )
    (found,) = findings(settings)
    assert (found.kind, found.where) == (FindingKind.EDITED, 19)
    with edited(settings) as database:
        edit_struct(database, "Artifact", owner=head, name="recorded", edit=set_back)
    assert {(each.kind, each.where) for each in findings(settings)} >= {
        (FindingKind.SURPLUS, 18),
        (FindingKind.SURPLUS, 19),
    }


def test_a_log_that_was_cut_is_found(settings: LedgerSettings) -> None:
    (found,) = findings(settings, told().log.stored[:16])
    assert (found.kind, found.where) == (FindingKind.TRUNCATED, 17)
    assert "entries 17 to 19" in found.expected


def test_a_log_that_was_rewritten_with_a_new_chain_of_digests_is_found_at_the_entry_where_it_parts(
    settings: LedgerSettings,
) -> None:
    entries = told().log.stored
    forged = chained_anew([*entries[:16], replace(entries[16], reason="a routine rollback"), *entries[17:]])
    (found,) = findings(settings, forged)
    assert (found.kind, found.where) == (FindingKind.REWRITTEN, 17)
    assert entries[16].digest in found.expected


def test_two_swapped_entries_of_a_log_with_a_new_chain_are_found(settings: LedgerSettings) -> None:
    entries = told().log.stored
    forged = chained_anew([*entries[:7], entries[8], entries[7], *entries[9:]])
    (found,) = findings(settings, forged)
    assert (found.kind, found.where) == (FindingKind.REWRITTEN, 8)


def test_a_ledger_that_is_behind_says_so_and_is_no_fault(settings: LedgerSettings) -> None:
    story = told()
    story.is_applied()
    (found,) = findings(settings, story.log.stored)
    assert (found.kind, found.where, found.is_fault) == (FindingKind.BEHIND, 20, False)


def test_a_model_artifact_that_cannot_be_read_and_a_missing_ledger_say_so(
    settings: LedgerSettings, tmp_path: Path
) -> None:
    with edited(settings) as database:
        edit_struct(database, "Artifact", owner=artifact(database, "digits"), name="recorded", edit=lambda _: "{}")
    with pytest.raises(InvalidState, match="was altered"):
        findings(settings)
    with pytest.raises(LedgerUnavailable, match="does not exist"):
        findings(LedgerSettings(path=tmp_path / "none.sqlite"))


def test_two_thousand_entries_are_compared_in_seconds(tmp_path: Path) -> None:
    settings, log = LedgerSettings(path=tmp_path / "mlmd.sqlite"), long_log(2000)
    MlmdLedger(settings).catch_up("digits", log, manifest_of)
    begin = time.process_time()
    assert findings(settings, log.stored) == []
    assert time.process_time() - begin < 10


@pytest.mark.parametrize("ordinal", ["000099", "000000", "9999999999", "00000x", ""])
def test_an_upstream_artifact_that_nobody_finds_by_its_id_any_more_is_found(tmp_path: Path, ordinal: str) -> None:
    family = Family(settings=LedgerSettings(path=tmp_path / "family.sqlite"))
    examples = artifact_of_pipeline(2, "Examples")
    family.pushes("digits", V1, upstream=trained(artifact_of_pipeline(11, "Model"), examples))
    changed = replace(examples, properties={"split": "train"})  # another state of the same id: its ordinal is 2
    family.pushes("digits", V2, upstream=trained(artifact_of_pipeline(12, "Model"), changed))
    family.record()
    log, manifests = family.stories["digits"].log, family.manifests_of("digits")
    assert list(LedgerVerification(family.settings).compare("digits", log, manifests)) == []
    with edited(family.settings) as database:
        where = (
            "type_id = (SELECT id FROM Type WHERE name = 'airflow_model_ops.Upstream') AND external_id LIKE '%/000002'"
        )
        done = database.execute(
            f"UPDATE Artifact SET external_id = replace(external_id, '/000002', '/' || ?) WHERE {where}",  # noqa: S608
            (ordinal,),
        )
        assert done.rowcount == 1
    found = list(LedgerVerification(family.settings).compare("digits", log, manifests))
    assert {(each.kind, each.where) for each in found} == {(FindingKind.EDITED, 2)}
