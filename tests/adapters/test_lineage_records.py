"""What the ledger keeps of a log entry, without ML Metadata."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_model_ops.adapters.lineage import schema
from airflow_model_ops.adapters.lineage.batch import Planner, batches
from airflow_model_ops.adapters.lineage.head import RecordedHead
from airflow_model_ops.adapters.lineage.mlmd_store import LedgerStore
from airflow_model_ops.adapters.lineage.nodes import Direction, Node, Record
from airflow_model_ops.adapters.lineage.protos import fill_node, read_node
from airflow_model_ops.adapters.lineage.records import record_of, versions_named
from airflow_model_ops.adapters.lineage.settings import LedgerKind, LedgerSettings, connection_config, load_ml_metadata
from airflow_model_ops.adapters.lineage.shown import Pair, merged
from airflow_model_ops.adapters.lineage.text import (
    LONGEST_STRING,
    escape,
    stored_name,
    stored_string,
    unescape,
)
from airflow_model_ops.core import transitions
from airflow_model_ops.core.errors import InvalidConfig, InvalidState, LedgerUnsuitable
from airflow_model_ops.core.log import Entry, FactKind
from airflow_model_ops.core.state import Fence, Golden, LiveRelease
from airflow_model_ops.core.transitions import Action
from airflow_model_ops.core.versioning import Version
from tests.adapters.lineage_story import ADA, V1, V2, Story, long_log, manifest_of, told


def record(entry: Entry, **more: object) -> Record:
    manifests = {version: manifest_of(version) for version in versions_named(entry)}
    return record_of(entry, model="digits", manifests=manifests, **more)  # type: ignore[arg-type]


def entry_named(name: str) -> Entry:
    """The last such entry of the story."""
    return next(entry for entry in reversed(told().log.stored) if entry.name == name)


def held_back() -> Story:
    """A second release is promoted with a hold-back, which then ends."""
    story, fence = Story(), Fence(release="r2", attempt=1)
    story.releases(V1, id="r1", steps=(100.0,))
    live = LiveRelease(id="r2", attempt=1, version=V2, started_at="2023-06-02T14:00:00+00:00")
    story.decides(transitions.start_canary(story.state, release=live, percent=50), release=fence)
    promotion = transitions.promote(story.state, fence=fence, version=V2, proof="shown safe", hold_back=5)
    story.decides(promotion, release=fence)
    story.decides(transitions.end_hold_back(story.state, fence=fence, reason="no harm"), release=fence)
    return story


def links(of: Record) -> set[tuple[str, str, str]]:
    return {(use.direction.value, use.key, use.node.name) for use in of.uses}


@given(st.text())
def test_any_text_is_read_back_as_it_was_and_is_stored_without_a_backslash(text: str) -> None:
    stored = escape(text)
    assert unescape(stored) == text
    assert "\\" not in stored
    assert "\0" not in stored
    stored.encode()  # protobuf takes it


@pytest.mark.parametrize("text", ["\udc80 broken", "\u29f5{5c}", "\\{0}", "\u29f5\u29f5", "a\\\u29f5b", "\x00"])
def test_text_that_looks_escaped_already_is_read_back_too(text: str) -> None:
    assert unescape(escape(text)) == text
    escape(text).encode()


def test_an_ordinary_reason_is_stored_as_it_is() -> None:
    assert stored_string("größer als 5 %\n\tnext 🙈") == "größer als 5 %\n\tnext 🙈"


def test_a_long_string_is_cut_with_a_mark_and_a_long_name_stays_apart_from_another() -> None:
    assert len(stored_string("x" * 5000).encode()) == LONGEST_STRING
    assert len(stored_string("\x00größer 🙈" * 500).encode()) <= LONGEST_STRING
    assert stored_string("x" * 5000).endswith("(cut)")
    one, other = stored_name("r" * 400 + "1"), stored_name("r" * 400 + "2")
    assert one != other
    assert len(one) == len(other) == schema.LONGEST_NAME
    assert len(stored_name("模型" * 200).encode()) <= schema.LONGEST_NAME


def test_every_action_and_fact_has_a_type_with_our_prefix() -> None:
    assert set(schema.EXECUTION_TYPES) == {*map(str, Action), *map(str, FactKind)}
    specs = (*schema.ARTIFACTS, *schema.EXECUTIONS, *schema.CONTEXTS)
    assert all(spec.name.startswith("airflow_model_ops.") for spec in specs)


def test_every_property_that_a_record_carries_is_declared_in_its_type() -> None:
    declared = {
        kind: {spec.name: (set(spec.strings), set(spec.structs)) for spec in specs}
        for kind, specs in (("a", schema.ARTIFACTS), ("e", schema.EXECUTIONS), ("c", schema.CONTEXTS))
    }
    head = RecordedHead(model="digits")
    for entry in (*told().log.stored, *held_back().log.stored):
        made = record(entry)
        head = head.after(entry, new_versions=1)
        nodes = [("e", made.execution), ("a", head.node()), *(("c", node) for node in made.contexts)]
        for kind, node in [*nodes, *(("a", use.node) for use in made.uses)]:
            strings, structs = declared[kind][node.type]
            assert set(node.properties) <= strings
            assert set(node.structs) <= structs


def test_an_entry_keeps_its_key_its_bytes_and_its_numbers_as_strings() -> None:
    entry = entry_named("shift")
    made = record(entry).execution
    assert made.type == "airflow_model_ops.CanaryStep"
    assert made.name == f"digits/{entry.sequence:020d}"
    assert made.external_id == schema.entry_key("digits", entry.sequence)
    assert (made.properties["serving_number"], made.properties["percent"]) == ("20230602120000", "50")
    assert made.properties["run_id"] == "manual__2023-06-02"
    again = Entry.from_bytes(made.structs[schema.ENTRY].encode())
    assert (again, again.digest) == (entry, made.properties["digest"])


def test_the_same_entry_always_gives_the_same_record() -> None:
    assert [record(entry) for entry in told().log.stored] == [record(entry) for entry in told().log.stored]


def test_a_push_writes_its_version_with_what_the_manifest_knows() -> None:
    made = record(entry_named("pushed"))
    use, dataset = made.uses
    assert (use.direction, use.key, use.renews) == (Direction.OUTPUT, "version", True)
    assert use.node.properties["dataset_version"] == "digits@7"
    assert (dataset.direction, dataset.key, dataset.node.name) == (Direction.INPUT, "dataset", "digits@7")
    assert json.loads(use.node.structs["hyperparameters"]) == {"units": 64, "rate": 0.001}


def test_a_canary_step_reads_both_versions_and_writes_the_serving_state() -> None:
    entry = entry_named("shift")
    assert links(record(entry)) == {
        ("input", "version", f"digits/{V2.name}"),
        ("input", "serving", f"digits/{V1.name}"),
        ("output", "state", f"digits/{entry.sequence:020d}"),
    }
    assert [context.name for context in record(entry).contexts] == [
        "digits",
        "digits/r2",
        "model_release/manual__2023-06-02",
    ]


def test_a_rollback_is_linked_to_the_version_that_it_left() -> None:
    entry = entry_named("rollback")
    assert links(record(entry, served_before=(V2,))) == {
        ("input", "version", f"digits/{V1.name}"),
        ("input", "left", f"digits/{V2.name}"),
        ("output", "state", f"digits/{entry.sequence:020d}"),
    }


def test_a_hold_back_serves_from_its_promotion_to_its_end_which_is_an_execution_of_its_own() -> None:
    promoted, ended = (record(entry, served_before=(V2, V1)) for entry in held_back().log.stored[-2:])
    assert ("input", "serving", f"digits/{V1.name}") in links(promoted)
    state = next(use.node.properties for use in promoted.uses if use.key == "state")
    assert (state["stable"], state["holdback"], state["holdback_percent"]) == (V2.name, V1.name, "5")
    assert promoted.execution.properties["percent"] == "95"
    assert ended.execution.type == "airflow_model_ops.EndHoldBack"
    assert ended.execution.properties["percent"] == "100"
    assert ("input", "left", f"digits/{V1.name}") in links(ended)
    assert "digits/r2" in [context.name for context in ended.contexts]


def test_the_recorded_head_knows_what_is_held_back() -> None:
    promoted, ended = held_back().log.stored[-2:]
    head = RecordedHead(model="digits").after(promoted, new_versions=2)
    assert head.serving == (V2, V1)
    assert head.after(ended, new_versions=0).serving == (V2,)


def test_applied_reads_the_serving_state_of_its_generation() -> None:
    entry = entry_named("applied")
    assert ("input", "state", f"digits/{entry.detail['generation']:020d}") in links(record(entry))


def test_a_verdict_is_an_artifact_with_its_evidence() -> None:
    (verdict,) = [use.node for use in record(entry_named("verdict")).uses if use.key == "verdict"]
    assert (verdict.properties["verdict"], verdict.properties["evidence"]) == ("SAFE", "evidence/r2/1.json")


def test_a_retirement_is_linked_to_the_versions_that_go() -> None:
    story = told()
    story.decides(transitions.retire(story.state, versions=[V2], reason="keep_last"))
    assert ("input", "retired", f"digits/{V2.name}") in links(record(story.log.stored[-1]))


def test_an_entry_without_release_or_dag_run_is_in_the_models_context_alone() -> None:
    story = Story()
    story.decides(transitions.hold(story.state, actor=ADA, reason="freeze"), actor=ADA)
    made = record(story.log.stored[0])
    assert [context.name for context in made.contexts] == ["digits"]
    assert "version" not in made.execution.properties


def test_the_head_says_how_far_it_is_and_keeps_the_labels_over_facts() -> None:
    head = RecordedHead(model="digits")
    for entry in told().log.stored:
        head = head.after(entry, new_versions=1 if entry.name == "pushed" else 0)
    last = told().log.stored[-1]
    assert (head.sequence, head.digest, head.versions, head.serving) == (last.sequence, last.digest, 2, (V1,))
    node = head.node()
    assert RecordedHead.of("digits", properties=node.properties, structs=node.structs) == head
    assert "golden" not in head.labels
    golden = told()
    golden.decides(transitions.pin_golden(golden.state, version=V1, actor=ADA), actor=ADA)
    assert golden.state.golden == Golden(version=V1, by_person=True)
    assert head.after(golden.log.stored[-1], new_versions=0).labels["golden"] == V1.name


def test_an_altered_head_is_refused() -> None:
    with pytest.raises(InvalidState, match=r"'digits' was altered.*empty ledger"):
        RecordedHead.of("digits", properties={}, structs={"recorded": '{"sequence": "many"}'})


def test_settings_that_make_no_sense_are_refused_with_every_mistake() -> None:
    with pytest.raises(InvalidConfig, match="is not absolute"):
        LedgerSettings(path=Path("mlmd.sqlite"))
    with pytest.raises(
        InvalidConfig, match=r"needs the name or address of a host; .* postgresql needs the name of a database"
    ):
        LedgerSettings(kind=LedgerKind.POSTGRESQL)


def test_a_password_is_never_shown() -> None:
    settings = LedgerSettings(
        kind=LedgerKind.MYSQL,
        host="db",
        port=3306,
        database="mlmd",
        user="airflow",
        password="s3cret",  # noqa: S106
    )
    assert "s3cret" not in f"{settings!r} {settings.shown}"
    assert settings.shown == "ledger mysql://db:3306/mlmd"


def test_ml_metadata_that_is_installed_but_does_not_load_is_explained(tmp_path: Path) -> None:
    (tmp_path / "ml_metadata").mkdir()
    (tmp_path / "ml_metadata" / "__init__.py").write_text("import sys\nsys.stderr.write('Error importing')\n")
    code = "from airflow_model_ops.adapters.lineage.settings import load_ml_metadata as load; load()"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-c", code]
    child = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60, env=environment)
    assert child.returncode == 1
    assert "LedgerUnsuitable: ML Metadata is installed, but does not load" in child.stderr
    assert "pip install --no-deps ml-metadata==1.17.1" in child.stderr


def test_ml_metadata_that_is_missing_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ml_metadata", None)
    with pytest.raises(LedgerUnsuitable, match=r"pip install --no-deps ml-metadata==1\.17\.1") as refusal:
        load_ml_metadata()
    assert not refusal.value.retryable


@pytest.mark.parametrize(
    ("kind", "field"), [(LedgerKind.POSTGRESQL, "postgresql"), (LedgerKind.MYSQL, "mysql"), (LedgerKind.GRPC, None)]
)
def test_each_server_kind_gives_ml_metadatas_own_configuration(kind: LedgerKind, field: str | None) -> None:
    settings = LedgerSettings(kind=kind, host="db.example", port=5432, database="mlmd", user="u")
    config = connection_config(settings, create=True)
    server = getattr(config, field) if field else config
    assert (server.host, str(server.port)) == ("db.example", "5432")


def test_importing_the_ledger_imports_no_ml_metadata() -> None:
    modules = ("recorder", "queries", "settings", "mlmd_store")
    code = "; ".join(f"import airflow_model_ops.adapters.lineage.{name}" for name in modules)
    code = f"import sys; bare = set(sys.modules); {code}"  # files of wheels make empty namespaces such as google at each start
    code += "; print([each for each in set(sys.modules) - bare if each.partition('.')[0] in {'ml_metadata', 'google'}])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert found.stdout.strip() == "[]"


def test_a_long_text_of_a_struct_is_kept_in_parts_that_fit_into_postgresqls_index() -> None:
    from ml_metadata.proto import metadata_store_pb2 as pb2

    text = '{"reason":"' + "größer 模型 🙈 " * 1000 + '"}'
    node = Node(type=schema.VERDICT, name="digits/1", structs={"detail": text, "short": "{}"})
    message = fill_node(pb2.Artifact(), node, type_id=1)
    values = [*message.properties.values(), *message.custom_properties.values()]
    stored = [len(base64.b64encode(value.struct_value.SerializeToString())) for value in values]
    assert max(stored) < 2600
    assert read_node(message).structs == {"detail": text, "short": "{}"}


COUNTED = {
    "check": "errors",
    "verdict": "SAFE",
    "numbers": {"canary": {"n": 200, "bad": 1}, "stable": {"n": 400, "bad": 4}, "ratio": 0.5},
}
MEASURED = {"check": "latency", "verdict": "UNDECIDED", "numbers": {"canary": 0.21, "stable": 0.25, "windows": 3}}


def judged(*assessments: object, subject: Version = V2) -> Entry:
    """A verdict on the second release with these assessments."""
    story = told()
    fence = Fence(release="r2", attempt=1)
    story.happens(FactKind.VERDICT, subject, "judged", release=fence, detail={"assessments": list(assessments)})
    return story.log.stored[-1]


def online_of(entry: Entry, *, pair: Pair | None) -> dict[str, object]:
    """What an entry adds to versions' online numbers, by the version's name and the check."""
    made = record(entry, pair=pair)
    return {use.node.name: use.adds[schema.ONLINE] for use in made.uses if schema.ONLINE in use.adds}


def test_a_verdict_leaves_what_the_canary_showed_and_what_stable_showed_beside_it() -> None:
    entry = judged(COUNTED, MEASURED)
    common = {"at": entry.at, "release": "r2"}
    assert online_of(entry, pair=Pair(subject=V2, beside=V1)) == {
        f"digits/{V2.name}": {
            "errors": {
                "canary": {**common, "verdict": "SAFE", "n": 200, "bad": 1, "value": 0.005, "beside": V1.name},
            },
            "latency": {"canary": {**common, "verdict": "UNDECIDED", "value": 0.21, "beside": V1.name}},
        },
        f"digits/{V1.name}": {
            "errors": {"stable": {**common, "verdict": "SAFE", "n": 400, "bad": 4, "value": 0.01, "beside": V2.name}},
            "latency": {"stable": {**common, "verdict": "UNDECIDED", "value": 0.25, "beside": V2.name}},
        },
    }


def test_a_first_release_and_a_verdict_about_an_older_pair_leave_nothing_on_another_version() -> None:
    for pair in (None, Pair(subject=V2, beside=None), Pair(subject=V1, beside=V2)):
        assert set(online_of(judged(COUNTED), pair=pair)) == {f"digits/{V2.name}"}


@pytest.mark.parametrize(
    "assessment",
    [
        "words",
        {"check": "errors"},
        {"check": 7, "numbers": {"canary": 1}},
        {"check": "errors", "numbers": [1]},
        {"check": "errors", "numbers": {"canary": {"n": 0, "bad": 0}, "stable": None}},
        {"check": "errors", "numbers": {"canary": {"bad": 1}, "stable": "many"}},
        {"check": "errors", "numbers": {"canary": None, "stable": True}},
    ],
)
def test_an_assessment_without_numbers_leaves_nothing_and_stops_nothing(assessment: object) -> None:
    assert online_of(judged(assessment), pair=Pair(subject=V2, beside=V1)) == {}


def test_the_newest_numbers_of_each_check_and_arm_stay_and_others_are_kept() -> None:
    pair = Pair(subject=V2, beside=V1)
    first = online_of(judged(COUNTED, MEASURED), pair=pair)[f"digits/{V2.name}"]
    structs = merged({"source": "{}"}, {schema.ONLINE: first})  # type: ignore[dict-item]
    worse = {**COUNTED, "verdict": "HARM", "numbers": {"canary": {"n": 300, "bad": 30}, "stable": None}}
    second = online_of(judged(worse), pair=pair)[f"digits/{V2.name}"]
    shown = json.loads(merged(structs, {schema.ONLINE: second})[schema.ONLINE])  # type: ignore[dict-item]
    assert (shown["errors"]["canary"]["verdict"], shown["errors"]["canary"]["value"]) == ("HARM", 0.1)
    assert shown["latency"] == first["latency"]  # type: ignore[index]
    as_stable = merged(structs, {schema.ONLINE: {"errors": {"stable": {"value": 0.2}}}})
    assert set(json.loads(as_stable[schema.ONLINE])["errors"]) == {"canary", "stable"}


def test_a_validation_leaves_its_plain_numbers() -> None:
    story = Story()
    detail = {
        "blessed": True,
        "accuracy": 0.97,
        "stable_accuracy": None,
        "details": {"examples": 7},
        "odd": float("inf"),
    }
    story.happens(FactKind.VALIDATED, V1, "accuracy 0.97", detail=detail)
    (use,) = record(story.log.stored[0]).uses
    assert use.adds == {
        schema.VALIDATION: {"at": story.log.stored[0].at, "blessed": True, "metrics": {"accuracy": 0.97}}
    }


def test_the_recorded_head_remembers_which_versions_were_compared_last() -> None:
    story, head = held_back(), RecordedHead(model="digits")
    pairs = []
    for entry in story.log.stored:
        head = head.after(entry, new_versions=0)
        pairs.append(head.pair)
        node = head.node()
        assert RecordedHead.of("digits", properties=node.properties, structs=node.structs) == head
    changes = [pair for before, pair in zip([None, *pairs], pairs, strict=False) if pair != before]
    assert changes == [
        Pair(subject=V1, beside=None),
        Pair(subject=V2, beside=V1),
    ]


def test_a_head_with_something_pending_is_read_back() -> None:
    head = RecordedHead(model="digits", sequence=3, pending=(2, 3))
    node = head.node()
    assert RecordedHead.of("digits", properties=node.properties, structs=node.structs) == head


def test_a_batch_holds_a_hundred_entries_or_half_a_megabyte_and_what_has_other_contexts_ends_alone() -> None:
    assert [len(batch) for batch in batches(long_log(250).stored, model="digits", largest=100)] == [100, 100, 50]
    assert [len(batch) for batch in batches(told().log.stored, model="digits", largest=100)] == [18, 1]
    large = Story()
    for number in range(7):
        large.happens(FactKind.VERDICT, None, "verdict", detail={"words": "x" * 200_000, "number": number})
    assert [len(batch) for batch in batches(large.log.stored, model="digits", largest=100)] == [2, 2, 2, 1]


def test_a_push_counts_with_its_manifest_since_a_server_takes_messages_of_4_mib() -> None:
    story, lineage = Story(), "x" * 200_000
    for version in (V1, V2):
        story.happens(FactKind.PUSHED, version, "pushed")
    story.happens(FactKind.VERDICT, V2, "verdict")
    planner = Planner(
        store=cast("LedgerStore", None),  # its size is known before anything is looked up
        model="digits",
        manifest_of=lambda version: replace(
            manifest_of(version), source={"upstream": lineage}, hyperparameters={"x": lineage}
        ),
    )
    entries = story.log.stored
    assert [planner.size_of(entry) > 400_000 for entry in entries] == [True, True, False]
    parts = batches(entries, model="digits", largest=100, size_of=planner.size_of)
    assert [[entry.sequence for entry in part] for part in parts] == [[1], [2, 3]]
