from __future__ import annotations

import json
from pathlib import Path
from string import Template

import pytest

from airflow_model_ops.adapters.repository.posix_repository import PosixRepository
from airflow_model_ops.config.model_file import ModelFile, parse_model_file
from airflow_model_ops.core.checks import Evidence, Measurement
from airflow_model_ops.core.log import Entry, FactKind, Origin, fact
from airflow_model_ops.core.state import Actor, ActorKind
from airflow_model_ops.core.versioning import Version
from demo.record import Record

TEMPLATE = Path(__file__).resolve().parents[2] / "demo" / "digits.yaml.template"
VERSION = Version(name="v-20230601-120000", number=20230601120000)
REFERENCE = "evidence/release/attempt-1-step-1.json"


@pytest.fixture
def file() -> ModelFile:
    return parse_model_file(Template(TEMPLATE.read_text()).substitute(examples="examples.npz"))


@pytest.fixture
def record(file: ModelFile, tmp_path: Path) -> Record:
    root = tmp_path / "models"
    root.mkdir()
    return Record(file, root=root, ledger=tmp_path / "metadata.sqlite")


def write(record: Record, kind: FactKind, *, run_id: str, evidence: str | None = None) -> Entry:
    log = PosixRepository(record.directory.parent).log(record.directory.name)
    entry = fact(
        kind,
        reason="told",
        origin=Origin(actor=Actor(kind=ActorKind.AUTOMATION, name="release"), run={"run_id": run_id}),
        at="2023-06-01T12:00:00.000+00:00",
        write_id=f"{kind}-{run_id}",
        version=VERSION,
        evidence=evidence,
    ).after(log.last())
    assert log.put_if_absent(entry)
    return entry


def wrong_predictions(at: str, *, canary: float) -> Evidence:
    return Evidence(
        check="wrong_predictions",
        at=at,
        canary=Measurement(value=canary, samples=100.0, age_seconds=1.0),
        stable=Measurement(value=0.04, samples=400.0, age_seconds=1.0),
    )


def keep(record: Record, *items: Evidence) -> None:
    path = record.directory / REFERENCE
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"evidence": {"wrong_predictions": [item.to_json() for item in items]}}))


def test_what_a_run_wrote_is_told_from_what_others_wrote(record: Record) -> None:
    write(record, FactKind.PUSHED, run_id="mine")
    write(record, FactKind.PUSHED, run_id="other")
    write(record, FactKind.VERDICT, run_id="mine")

    assert [entry.sequence for entry in record.of_run("mine")] == [1, 3]
    assert record.pushed_in("mine") == VERSION
    assert record.pushed_in("nobody") is None
    assert [entry.sequence for entry in record.verdicts_of("mine")] == [3]


def test_the_first_bad_evidence_is_the_first_interval_that_breaks_a_limit_by_itself(record: Record) -> None:
    keep(
        record,
        wrong_predictions("2023-06-01T12:00:02+00:00", canary=0.05),
        wrong_predictions("2023-06-01T12:00:04+00:00", canary=0.50),
        wrong_predictions("2023-06-01T12:00:06+00:00", canary=0.55),
    )
    verdict = write(record, FactKind.VERDICT, run_id="mine", evidence=REFERENCE)

    assert record.first_bad_evidence_at(verdict) == 1685620804.0


def test_a_verdict_without_bad_evidence_has_no_first_bad_moment(record: Record) -> None:
    keep(record, wrong_predictions("2023-06-01T12:00:02+00:00", canary=0.05))
    verdict = write(record, FactKind.VERDICT, run_id="mine", evidence=REFERENCE)

    assert record.first_bad_evidence_at(verdict) is None
    assert record.first_bad_evidence_at(write(record, FactKind.VERDICT, run_id="mine")) is None


def test_before_the_first_release_there_is_no_state_and_no_entry(record: Record) -> None:
    assert record.state is None
    assert record.entries() == []
