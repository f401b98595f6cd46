"""What served when: asked of a log whose writers' clocks differ, one entry a minute from 14:00 and some of them wrong."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from airflow_model_ops.adapters.lineage.queries import LedgerQueries
from airflow_model_ops.adapters.lineage.recorder import MlmdLedger
from airflow_model_ops.adapters.lineage.settings import LedgerSettings
from airflow_model_ops.adapters.lineage.verification import LedgerVerification
from airflow_model_ops.core.log import Entry
from tests.adapters.lineage_story import START, ListLog, manifest_of, told

pytestmark = pytest.mark.integration


def told_by(settings: LedgerSettings, *, wrong: range, by: timedelta) -> LedgerQueries:
    entries: list[Entry] = []
    for entry in told().log.stored:
        at = datetime.fromisoformat(entry.at) + (by if entry.sequence in wrong else timedelta())
        moved = replace(entry, at=at.isoformat(timespec="milliseconds")).after(entries[-1] if entries else None)
        entries.append(Entry.from_bytes(moved.to_bytes()))
    log = ListLog(entries)
    MlmdLedger(settings).catch_up("digits", log, manifest_of)
    assert [str(found) for found in LedgerVerification(settings).compare("digits", log, manifest_of)] == []
    return LedgerQueries(settings)


@pytest.mark.parametrize(
    ("wrong", "by"),
    [
        (range(10, 11), timedelta(days=365)),
        (range(9, 14), timedelta(days=1)),
        (range(10, 11), -timedelta(days=3)),
        (range(15, 17), -timedelta(minutes=30)),
    ],
    ids=["one in the future", "a release in the future", "one in the past", "two in the past"],
)
def test_a_few_wrong_times_change_no_answer_and_are_told(tmp_path: Path, wrong: range, by: timedelta) -> None:
    odd = told_by(LedgerSettings(path=tmp_path / "odd.sqlite"), wrong=wrong, by=by)
    right = told_by(LedgerSettings(path=tmp_path / "right.sqlite"), wrong=range(0), by=by)
    doubts = []
    for minute in (*range(7), *range(17, 20)):  # far from the odd ones; nearby nobody can know
        moment = (START + timedelta(minutes=minute, seconds=30)).isoformat()
        answer, expected = (each.served_at("digits", at=moment) for each in (odd, right))
        assert (answer.split, answer.changing) == (expected.split, expected.changing), moment
        assert expected.contradicted == 0
        doubts.append(answer.contradicted)
    assert max(doubts) == len(wrong)


def test_what_nothing_speaks_against_is_not_in_doubt(tmp_path: Path) -> None:
    odd = told_by(LedgerSettings(path=tmp_path / "odd.sqlite"), wrong=range(10, 11), by=timedelta(days=365))
    assert odd.served_at("digits", at="2023-06-02T14:03:30Z").contradicted == 0
    assert odd.served_at("digits", at="2099-01-01").contradicted == 0
    assert odd.served_at("digits", at="2020-01-01").contradicted == 0
