"""What the benchmark makes of its measurements: goals, tables, the exit status and the last line."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from airflow_model_ops.adapters.lineage.settings import LedgerSettings
from benchmarks.judge.report import Finding, Report
from benchmarks.lineage import __main__ as program
from benchmarks.lineage.ledgers import Recorded, WrittenLedger
from benchmarks.lineage.measures import Answered, Contest, Measured
from benchmarks.lineage.pipelines import Source
from benchmarks.lineage.questions import GOAL_MS, QUESTIONS
from benchmarks.lineage.results import JUDGED_FROM, report_of
from benchmarks.lineage.timing import Timing, measure


def took(milliseconds: float) -> Timing:
    return Timing(median=milliseconds, p95=2 * milliseconds, runs=10, processor=milliseconds / 2)


def measured(*, versions: int = JUDGED_FROM, slow: str = "") -> Measured:
    recorded = Recorded(source=Source(number=0), versions=versions, entries=2 * versions, stable="v-20200101-000000")
    ledger = WrittenLedger(
        settings=LedgerSettings(path=Path("/nowhere/ledger.sqlite")),
        models=(recorded,),
        seconds=12.0,
        telling_seconds=2.0,
        bytes=1_000_000,
        floor_per_second=100_000.0,
    )
    answered = tuple(
        Answered(
            question=each, ours=took(2 * GOAL_MS if each.name == slow else 2.0), kept_open=took(1.0), floor=took(0.5)
        )
        for each in QUESTIONS
    )
    contest = Contest(name="latest stable", theirs=took(400.0), ours=took(2.0), same=True)
    return Measured(
        ledger=ledger,
        answered=answered,
        contests=(contest,),
        opening=took(1.0),
        by_name=took(0.1),
        fresh=took(200.0),
        wrong=(),
    )


def failed(found: Measured) -> list[str]:
    return [finding.goal for finding in report_of([found]).failed]


def with_contest(found: Measured, *, theirs: float = 400.0, same: bool = True) -> Measured:
    return replace(found, contests=(replace(found.contests[0], theirs=took(theirs), same=same),))


def test_all_goals_hold_when_answers_are_right_and_quick() -> None:
    assert failed(measured()) == []


@pytest.mark.parametrize("name", [each.name for each in QUESTIONS])
def test_a_slow_median_fails_where_a_goal_was_set_and_is_only_told_elsewhere(name: str) -> None:
    goal = next(each.goal_ms for each in QUESTIONS if each.name == name)
    assert failed(measured(slow=name)) == ([f"{name} is answered at once"] if goal else [])


def test_the_four_questions_of_the_issue_have_a_goal() -> None:
    with_goal = [each.name for each in QUESTIONS if each.goal_ms == 20.0]
    assert with_goal == ["latest stable", "history page (50)", "state at a time", "ancestry of a version"]


def test_the_guides_way_must_be_a_hundred_times_slower_on_a_large_ledger_only() -> None:
    goal = ["latest stable: the guide's way gives the same answer, slower"]
    assert failed(with_contest(measured(), theirs=199.0)) == goal
    assert failed(with_contest(measured(), theirs=200.0)) == []
    assert failed(with_contest(measured(versions=JUDGED_FROM - 1), theirs=4.0)) == []


def test_another_answer_by_the_guides_way_fails_on_every_ledger() -> None:
    for versions in (1_000, JUDGED_FROM):
        assert failed(with_contest(measured(versions=versions), same=False)) != []


def test_an_answer_that_contradicts_the_log_fails_and_is_told() -> None:
    report = report_of([replace(measured(), wrong=("model-03: nothing",))])
    assert [finding.measured for finding in report.failed] == ["model-03: nothing"]


def test_the_tables_have_a_column_per_ledger_and_the_ratio_to_the_floor() -> None:
    told = report_of([measured(versions=1_000), measured()]).markdown()
    assert "| question | 1,000 versions | 100,000 versions |" in told
    assert "| latest stable | 2.00 / 4.00 | 1.00 | 1.00 / 2.00 | 0.50 / 1.00 | 4 |" in told
    assert "| 100,000 | 200,000 | 10.0 | 20,000 | 1 | 5 |" in told


def test_a_timing_is_the_median_and_the_95th_percentile_in_milliseconds() -> None:
    timing = Timing.of([number / 1000 for number in range(100, 0, -1)])
    assert (timing.median, timing.p95, timing.runs) == (50.5, 95.0, 100)
    with pytest.raises(ValueError, match="nothing was measured"):
        Timing.of([])


def test_measuring_warms_up_once_and_stops_when_its_time_is_over() -> None:
    asked: list[int] = []
    assert measure(asked.append, [7, 8, 9]).runs == 3
    assert asked == [7, 7, 8, 9]
    assert measure(asked.append, [1, 2, 3], at_most_seconds=0.0, warm=False).runs == 1


@pytest.mark.parametrize(("holds", "status"), [(True, 0), (False, 1)])
def test_the_exit_status_and_the_last_line_tell_whether_all_goals_hold(
    holds: bool, status: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def found(sizes: list[int], *, seed: int, repetitions: int, directory: Path) -> Report:
        assert (sizes, seed, repetitions, directory.is_dir()) == ([1_000, 5_000], 3, 9, True)
        findings = [
            Finding(goal="at once", cell="5,000 versions", rule="< 20 ms", measured="1 ms", holds=each)
            for each in (True, holds)
        ]
        return Report(findings=findings)

    monkeypatch.setattr(program, "measure", found)
    asked = ["--versions", "1000", "5000", "--seed", "3", "--repetitions", "9", "--write", str(tmp_path)]

    assert program.main(asked) == status

    last = capsys.readouterr().out.splitlines()[-1]
    told = rf"lineage benchmark \(up to 5,000 versions, seed 3\): {2 if holds else 1} of 2 goals hold, \d+ s"
    assert re.fullmatch(told, last)
    written = (tmp_path / "lineage_results.md").read_text()
    assert "--versions 1000 5000 --seed 3" in written
    assert ("**FAILS**" in written) is not holds
    assert "SQLite files on" in written
    assert str(tmp_path) not in written
