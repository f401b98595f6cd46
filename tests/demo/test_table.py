from __future__ import annotations

import pytest

from demo.table import WHY_CHARS, ReleaseRow, format_table


def row(**changes: object) -> ReleaseRow:
    values: dict[str, object] = {
        "version": "v-20230601-120000",
        "verdict": "promoted",
        "why": "all checks passed",
        "recovery_seconds": None,
        "sent": 1200,
        "failed": 0,
    }
    return ReleaseRow(**(values | changes))  # type: ignore[arg-type]


def test_each_release_is_a_line_and_the_last_line_adds_the_requests_up() -> None:
    bad = row(
        version="v-20230602-120000",
        verdict="rolled back",
        why="wrong answers",
        recovery_seconds=4.26,
        sent=34,
        failed=2,
    )

    assert format_table([row(), bad]).splitlines() == [
        "version            verdict      why                recovery   sent  failed",
        "-----------------  -----------  -----------------  --------  -----  ------",
        "v-20230601-120000  promoted     all checks passed         -  1,200       0",
        "v-20230602-120000  rolled back  wrong answers         4.3 s     34       2",
        "-----------------  -----------  -----------------  --------  -----  ------",
        "all                                                          1,234       2",
    ]


def test_a_long_reason_continues_on_the_next_line_under_its_column() -> None:
    lines = format_table([row(why="word " * 20)]).splitlines()

    column = lines[0].index("why")
    continued = lines[3]
    assert continued.strip().startswith("word")
    assert continued.index("word") == column
    assert len(continued) <= column + WHY_CHARS


def test_an_empty_reason_is_shown_as_a_dash_and_not_dropped() -> None:
    assert format_table([row(why="")]).splitlines()[2].split()[:3] == ["v-20230601-120000", "promoted", "-"]


def test_a_demo_that_ended_before_its_first_release_still_has_a_table() -> None:
    assert format_table([]).splitlines()[-1].split() == ["all", "0", "0"]


@pytest.mark.parametrize(("sent", "failed"), [(3, 4), (3, -1)])
def test_more_failures_than_requests_is_refused(sent: int, failed: int) -> None:
    with pytest.raises(ValueError, match=rf"{failed} failed of {sent} sent"):
        row(sent=sent, failed=failed)
