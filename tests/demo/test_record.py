from __future__ import annotations

from pathlib import Path
from string import Template

import pytest

from airflow_model_ops.adapters.repository.posix_repository import PosixRepository
from airflow_model_ops.config.model_file import ModelFile, parse_model_file
from airflow_model_ops.control.evidence_book import EvidenceBook, Position
from airflow_model_ops.core.checks import Evidence, Measurement
from airflow_model_ops.core.judge.record import Opening
from airflow_model_ops.core.log import Entry, FactKind, Origin, fact
from airflow_model_ops.core.state import Actor, ActorKind, Fence
from airflow_model_ops.core.versioning import Version
from demo.record import Record

TEMPLATE = Path(__file__).resolve().parents[2] / "demo" / "digits.yaml.template"
VERSION = Version(name="v-20230601-120000", number=20230601120000)
FENCE = Fence(release="release", attempt=1)


@pytest.fixture
def file() -> ModelFile:
    return parse_model_file(Template(TEMPLATE.read_text()).substitute(examples="examples.npz"))


@pytest.fixture
def record(file: ModelFile, tmp_path: Path) -> Record:
    root = tmp_path / "models"
    root.mkdir()
    return Record(file, root=root, ledger=tmp_path / "metadata.sqlite")


def write(record: Record, kind: FactKind, *, run_id: str, taken_in: int = 0) -> Entry:
    log = PosixRepository(record.directory.parent).log(record.directory.name)
    entry = fact(
        kind,
        reason="told",
        origin=Origin(actor=Actor(kind=ActorKind.AUTOMATION, name="release"), run={"run_id": run_id}),
        at="2023-06-01T12:00:00.000+00:00",
        write_id=f"{kind}-{run_id}",
        version=VERSION,
        release=FENCE,
        detail={"taken_in": taken_in},
    ).after(log.last())
    assert log.put_if_absent(entry)
    return entry


def wrong_predictions(at: str, *, canary: int) -> Evidence:
    return Evidence(
        check="wrong_predictions",
        at=at,
        canary=Measurement(value=canary / 100, samples=100, bad=canary, age_seconds=1.0),
        stable=Measurement(value=0.04, samples=400, bad=16, age_seconds=1.0),
    )


def keep(record: Record, file: ModelFile, *wrong: int) -> int:
    """Keep one interval of 100 answers every two seconds; return how many entries there are."""
    book = EvidenceBook(PosixRepository(record.directory.parent), model=file.model, fence=FENCE)
    policy = file.policy()
    opening = Opening(checks=policy.checks, settings=policy.judge, has_stable=True)
    book.begin(opening, Position(step=0, started_at=0.0, deadline_from=0.0), percent=20)
    for index, each in enumerate(wrong, start=1):
        book.add((wrong_predictions(f"2023-06-01T12:00:0{2 * index}+00:00", canary=each),))
    return book.taken_in


def test_what_a_run_wrote_is_told_from_what_others_wrote(record: Record) -> None:
    write(record, FactKind.PUSHED, run_id="mine")
    write(record, FactKind.PUSHED, run_id="other")
    write(record, FactKind.VERDICT, run_id="mine")

    assert [entry.sequence for entry in record.of_run("mine")] == [1, 3]
    assert record.pushed_in("mine") == VERSION
    assert record.pushed_in("nobody") is None
    assert [entry.sequence for entry in record.verdicts_of("mine")] == [3]


def test_the_first_bad_evidence_is_where_the_judges_evidence_first_speaks_for_harm(
    record: Record, file: ModelFile
) -> None:
    taken_in = keep(record, file, 4, 50, 55)
    verdict = write(record, FactKind.VERDICT, run_id="mine", taken_in=taken_in)

    assert record.first_bad_evidence_at(verdict) == 1685620804.0


def test_a_verdict_without_bad_evidence_has_no_first_bad_moment(record: Record, file: ModelFile) -> None:
    before = write(record, FactKind.VERDICT, run_id="before anything was kept")
    assert record.first_bad_evidence_at(before) is None
    taken_in = keep(record, file, 4, 4)

    assert record.first_bad_evidence_at(write(record, FactKind.VERDICT, run_id="mine", taken_in=taken_in)) is None


def test_before_the_first_release_there_is_no_state_and_no_entry(record: Record) -> None:
    assert record.state is None
    assert record.entries() == []
