"""The benchmark on a small real ledger: every question has an answer, and the guide's way gives the same."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace

import pytest

from airflow_model_ops.adapters.lineage.queries import LedgerQueries
from benchmarks.lineage import guide
from benchmarks.lineage.ledgers import WrittenLedger, write_ledger
from benchmarks.lineage.measures import contradictions, measure_ledger
from benchmarks.lineage.questions import QUESTIONS, draw_cases

pytestmark = pytest.mark.integration

VERSIONS, MODELS = 90, 2


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> WrittenLedger:
    path = tmp_path_factory.mktemp("ledger") / "mlmd.sqlite"
    return write_ledger(path, versions=VERSIONS, seed=1, models=MODELS)


def test_a_ledger_holds_every_entry_of_its_stories(ledger: WrittenLedger) -> None:
    with closing(sqlite3.connect(ledger.file)) as database:
        assert database.execute("SELECT count(*) FROM Execution").fetchone() == (ledger.entries,)
    assert (ledger.versions, len(ledger.models)) == (VERSIONS, MODELS)
    assert 0 < ledger.telling_seconds < ledger.seconds
    assert ledger.bytes >= ledger.file.stat().st_size > 0
    assert not list(ledger.file.parent.glob("*.floor"))


def test_every_question_is_measured_and_no_answer_contradicts_the_logs(ledger: WrittenLedger) -> None:
    measured = measure_ledger(ledger, repetitions=3, seed=1, fresh_runs=1)
    assert measured.wrong == ()
    assert [each.question for each in measured.answered] == list(QUESTIONS)
    timings = [timing for each in measured.answered for timing in (each.ours, each.kept_open, each.floor)]
    assert min(timing.median for timing in [*timings, measured.opening, measured.by_name, measured.fresh]) > 0
    assert all(contest.same and contest.ratio > 0 for contest in measured.contests)


def test_a_ledger_that_contradicts_the_logs_is_found_out(ledger: WrittenLedger) -> None:
    other = tuple(replace(each, stable="v-20000101-000000") for each in ledger.models)
    wrong = contradictions(replace(ledger, models=other), list(draw_cases(ledger, count=1, seed=1)))
    assert len(wrong) == MODELS
    assert "v-20000101-000000" in wrong[0]


def test_the_guides_way_finds_the_stable_version_and_the_newest_ones(ledger: WrittenLedger) -> None:
    for each in ledger.models:
        model = each.source.model
        assert guide.latest_stable(ledger.file, model) == each.stable
        newest = [each.source.version(each.versions - 1 - place).name for place in range(10)]
        assert guide.newest_versions(ledger.file, model, limit=10) == newest
    assert guide.latest_stable(ledger.file, "unheard-of") is None


def test_the_floor_never_measures_an_empty_read(ledger: WrittenLedger) -> None:
    case = next(draw_cases(ledger, count=1, seed=1))
    unknown = replace(case, recorded=replace(case.recorded, source=replace(case.recorded.source, number=77)))
    for question in QUESTIONS:
        assert question.floor(ledger.file, case)
        with pytest.raises(LookupError):
            question.floor(ledger.file, unknown)


def test_the_same_seed_asks_the_same_and_a_ledger_too_small_to_ask_is_refused(ledger: WrittenLedger) -> None:
    assert list(draw_cases(ledger, count=5, seed=4)) == list(draw_cases(ledger, count=5, seed=4))
    assert list(draw_cases(ledger, count=5, seed=5)) != list(draw_cases(ledger, count=5, seed=4))
    tiny = tuple(replace(each, versions=3) for each in ledger.models)
    with pytest.raises(ValueError, match="too few"):
        next(draw_cases(replace(ledger, models=tiny), count=1, seed=1))


def test_what_a_question_asks_lies_within_the_log(ledger: WrittenLedger) -> None:
    queries = LedgerQueries(ledger.settings)
    for case in draw_cases(ledger, count=20, seed=2):
        assert queries.served_at(case.model, at=case.at).changing is False
        assert case.version in {row.version for row in queries.versions(case.model)}
