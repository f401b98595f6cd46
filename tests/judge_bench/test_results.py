"""What the benchmark tells: rates with their uncertainty, medians, tables, the picture, and the exit status."""

from __future__ import annotations

import math
import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from benchmarks.judge import __main__ as program
from benchmarks.judge.chart import Mark, Panel, draw_chart
from benchmarks.judge.judges import Outcome
from benchmarks.judge.profiles import Profile
from benchmarks.judge.rates import Rate, median_delay, minutes, promoted, rolled_back
from benchmarks.judge.report import Finding, Report, Table


@pytest.mark.parametrize(
    ("hits", "runs", "low", "high"),
    [(0, 100, 0.0, 0.0362), (5, 100, 0.0164, 0.1128), (100, 100, 0.9638, 1.0)],
)
def test_rates_carry_the_exact_interval_of_clopper_and_pearson(hits: int, runs: int, low: float, high: float) -> None:
    rate = Rate(hits=hits, runs=runs)
    assert (rate.low, rate.high) == pytest.approx((low, high), abs=1e-4)


def test_a_median_counts_what_was_never_found_as_later_than_everything() -> None:
    found, never = Outcome(rolled_back=120.0), Outcome(promoted=60.0)
    assert median_delay([found, found, never]) == 120.0
    assert math.isinf(median_delay([found, never, never]))
    assert math.isinf(median_delay([found], onset_seconds=180.0))
    assert (minutes(math.inf), minutes(90.0)) == ("never", "1.5 min")
    assert (rolled_back([found, never]).hits, promoted([found, never]).hits) == (1, 1)


def finding(*, holds: bool) -> Finding:
    return Finding(goal="healthy stay", cell="10 rps", rule="<= 1 %", measured="0 %", holds=holds)


def test_a_table_is_markdown_in_which_no_cell_can_break_a_row() -> None:
    assert str(Table(title="T", head=["a", "b"], rows=[["1|2", "3"]], note="n")).splitlines() == [
        "### T", "", "| a | b |", "| --- | --- |", "| 1/2 | 3 |", "", "n",
    ]  # fmt: skip


def test_the_picture_is_well_formed_and_has_one_mark_with_its_numbers_per_judge_and_traffic() -> None:
    marks = [
        Mark(judge=judge, group="10 rps", delay_minutes=delay, false_rate=Rate(hits=hits, runs=100))
        for judge, delay, hits in (("ours", 2.0, 0), ("a < b & c", math.inf, 100))
    ]
    picture = ET.fromstring(draw_chart([Panel(title="hour", marks=marks, latest_minutes=60.0)], alpha=0.01))  # noqa: S314 - our own text
    titles = [title.text or "" for title in picture.iter("{http://www.w3.org/2000/svg}title")]
    assert any(title.startswith("ours, 10 rps: 0 %") for title in titles)
    assert any(title.startswith("a < b & c") for title in titles)


@pytest.mark.parametrize(("holds", "status"), [(True, 0), (False, 1)])
def test_the_exit_status_and_the_last_line_tell_whether_all_goals_hold(
    holds: bool, status: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def measured(profile: Profile, *, seed: int) -> tuple[Report, str]:
        assert (profile.name, seed) == ("quick", 3)
        return Report(findings=[finding(holds=True), finding(holds=holds)]), "<svg/>"

    monkeypatch.setattr(program, "measure", measured)

    assert program.main(["--seed", "3", "--write", str(tmp_path)]) == status

    last = capsys.readouterr().out.splitlines()[-1]
    assert re.fullmatch(rf"judge benchmark \(quick, seed 3\): {2 if holds else 1} of 2 goals hold, \d+ s", last)
    written = (tmp_path / "judge_results.md").read_text()
    assert "--profile quick --seed 3" in written
    assert ("**FAILS**" in written) is not holds
    assert (tmp_path / "images" / "judge.svg").read_text() == "<svg/>"
