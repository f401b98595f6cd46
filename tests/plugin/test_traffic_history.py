"""What served when: periods of one confirmed split, in the log's order whatever workers' clocks showed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_model_ops.core.log import Entry, FactKind
from airflow_model_ops.plugin.datamodels.history import Period, TrafficHistory
from airflow_model_ops.plugin.history.log_walk import newest_first
from airflow_model_ops.plugin.history.traffic_history import CLOCKS_APART, Noted, noted_of, traffic_of
from airflow_model_ops.plugin.history.traffic_reading import TrafficReader
from tests.plugin.written_log import NAMING, WrittenLog, at

if TYPE_CHECKING:
    from starlette.testclient import TestClient

ALL = -1e6


def history(log: WrittenLog, *, since: float = ALL) -> TrafficHistory:
    return traffic_of(noted(newest_first(log)), since=at(since))


def noted(entries: Iterable[Entry]) -> Iterator[Noted]:
    return (found for entry in entries if (found := noted_of(entry, NAMING)) is not None)


def shares(period: Period) -> dict[str, float]:
    return {share.version: share.percent for share in period.split}


def canaries(told: TrafficHistory) -> list[float]:
    return [shares(period).get("digits-v2.0.0", 0.0) for period in told.periods]


def times(told: TrafficHistory) -> list[tuple[datetime, datetime | None]]:
    return [(period.begin, period.end) for period in told.periods]


class TestPeriods:
    def test_each_lasts_from_its_confirmation_to_the_next_and_the_last_one_is_open(self) -> None:
        log = WrittenLog()
        for minutes, share in ((0, 5), (10, 50), (20, 0)):
            log.commit(minutes, canary=share)
            log.confirm(minutes + 1)
        told = history(log)
        assert canaries(told) == [5, 50, 0]
        assert times(told) == [(at(1), at(11)), (at(11), at(21)), (at(21), None)]
        assert told.begin == at(1)
        assert [period.reason for period in told.periods] == ["canary to 5 %", "canary to 50 %", "canary to 0 %"]
        assert [period.generation for period in told.periods] == [1, 3, 5]

    def test_a_change_that_was_committed_and_never_confirmed_is_none(self) -> None:
        log = WrittenLog()
        log.commit(0, canary=5)
        log.confirm(1)
        log.commit(2, canary=50)
        log.commit(3)
        assert canaries(history(log)) == [5]
        log.confirm(4)
        assert canaries(history(log)) == [5, 0]

    def test_what_changes_no_traffic_begins_none(self) -> None:
        log = WrittenLog()
        for minutes in range(0, 50, 10):
            log.commit(minutes, canary=5)
            log.confirm(minutes + 1)
        assert times(history(log)) == [(at(1), None)]

    def test_a_slow_clock_makes_none_that_ends_before_it_begins(self) -> None:
        log = WrittenLog()
        for minutes, share in ((0, 5), (30, 50), (7, 20), (31, 0)):  # the third worker's clock is behind
            log.commit(minutes, canary=share)
            log.confirm(minutes + 1)
        told = history(log)
        assert canaries(told) == [5, 50, 20, 0]
        assert times(told) == [(at(1), at(31)), (at(31), at(31)), (at(31), at(32)), (at(32), None)]

    def test_nothing_served_where_nothing_was_confirmed(self) -> None:
        log = WrittenLog()
        assert history(log) == TrafficHistory(periods=[], begin=None)
        log.commit(0, canary=5)
        assert history(log) == TrafficHistory(periods=[], begin=None)

    def test_a_confirmation_without_a_split_tells_nothing(self) -> None:
        log = WrittenLog()
        log.commit(0, canary=5)
        log.note(FactKind.APPLIED, 1, detail={"generation": 1})
        assert history(log).periods == []


class TestHowFarBack:
    def log(self) -> WrittenLog:
        log = WrittenLog()
        for hour in range(100):
            log.commit(60 * hour, canary=1 + hour % 50)
            log.confirm(60 * hour + 1)
        return log

    def test_the_period_that_covers_the_beginning_is_there_and_none_before_it(self) -> None:
        told = history(self.log(), since=60 * 90 + 30)
        assert [period.generation for period in told.periods] == [181 + 2 * index for index in range(10)]
        assert told.periods[0].begin == at(60 * 90 + 1)
        assert told.periods[0].reason == "canary to 41 %"

    def test_no_more_of_the_log_is_taken_than_that_needs(self) -> None:
        taken: list[int] = []

        def counted() -> Iterator[Entry]:
            for entry in newest_first(self.log()):
                taken.append(entry.sequence)
                yield entry

        traffic_of(noted(counted()), since=at(60 * 90 + 30))
        assert min(taken) == 181  # the transition that the covering period confirms

    def test_a_clock_that_is_behind_hides_no_period(self) -> None:
        log = WrittenLog()
        for minutes, share in ((0, 5), (59, 50), (54, 20)):  # the third worker's clock is behind
            log.commit(minutes, canary=share)
            log.confirm(minutes + 1)
        assert canaries(history(log, since=57)) == [5, 50, 20]

    def test_a_newest_confirmation_from_before_covers_all(self) -> None:
        told = history(self.log(), since=1e5)
        assert [(period.begin, period.end) for period in told.periods] == [(at(60 * 99 + 1), None)]


changes = st.lists(
    st.tuples(
        st.integers(0, 120),  # minutes since the change before
        st.integers(-9, 9),  # how much the worker's clock is off
        st.sampled_from((0, 5, 50)),
        st.booleans(),  # whether it is ever confirmed
        st.booleans(),  # whether something else is noted
    ),
    max_size=12,
)


@given(changes=changes, since=st.integers(-60, 1500))
def test_periods_cover_the_time_without_a_gap_or_an_overlap(changes: list[Any], since: int) -> None:
    """Clocks differ by less than :data:`CLOCKS_APART`; then the periods since a moment are the last ones of all."""
    log, now, confirmed = WrittenLog(), 0, []
    for later, off, share, is_confirmed, is_noted in changes:
        now += later
        log.commit(now, canary=share)
        if is_noted:
            log.note(FactKind.VERDICT, now)
        if is_confirmed:
            confirmed.append((log.confirm(now + off), share))
    told, everything = history(log, since=since), history(log)

    for one, other in pairwise(told.periods):
        assert one.end == other.begin
        assert one.begin <= other.begin
        assert one.split != other.split
    assert all(period.end is None for period in told.periods[-1:])
    assert all(period.end > at(since) for period in told.periods if period.end)
    served = [share for index, (_, share) in enumerate(confirmed) if not index or confirmed[index - 1][1] != share]
    assert canaries(everything) == served
    assert canaries(told) == served[len(served) - len(told.periods) :]
    if confirmed:
        assert canaries(told)[-1] == confirmed[-1][1]
    if confirmed and now + 9 <= since:
        assert told.periods[0].begin <= at(since)
    if any(datetime.fromisoformat(entry.at) <= at(since) - CLOCKS_APART for entry, _ in confirmed):
        assert told.begin is not None
        assert told.begin <= at(since)


class _Repository:
    """A repository of one log, which may be replaced by another."""

    uri = "memory://one"

    def __init__(self, log: WrittenLog) -> None:
        self.the_log = log

    def log(self, model: str) -> WrittenLog:
        del model
        return self.the_log


class TestReadingAgain:
    def read(self, reader: TrafficReader, log: Any, *, since: float = ALL) -> TrafficHistory:
        return reader.read(log, model="digits", naming=NAMING, since=at(since))

    @given(
        questions=st.lists(st.tuples(st.integers(0, 3), st.integers(-60, 700)), min_size=1, max_size=8),
    )
    def test_what_is_kept_changes_no_answer(self, questions: list[tuple[int, int]]) -> None:
        """Whatever came meanwhile, and whether more of the past is asked for, or less."""
        log, reader = WrittenLog(), TrafficReader()
        minutes = 0
        for more, since in questions:
            for _ in range(more):
                log.commit(minutes, canary=1 + minutes % 7)
                if minutes % 3:
                    log.confirm(minutes + 1)
                minutes += 37
            assert self.read(reader, _Repository(log), since=since) == history(log, since=since)

    def test_looking_again_reads_what_came_since(self) -> None:
        log, reader = TestHowFarBack().log(), TrafficReader()
        self.read(reader, _Repository(log))
        log.commit(7000, canary=33)
        log.confirm(7001)
        log.reads.clear()
        assert canaries(self.read(reader, _Repository(log)))[-1] == 33
        assert len(log.reads) < 80
        log.reads.clear()
        self.read(reader, _Repository(log))
        assert log.reads == [202]

    def test_a_log_that_was_restored_from_a_backup_is_read_anew(self) -> None:
        reader, repository = TrafficReader(), _Repository(TestHowFarBack().log())
        self.read(reader, repository)
        other = WrittenLog()
        other.commit(0, canary=7)
        other.confirm(1)
        repository.the_log = other
        assert canaries(self.read(reader, repository)) == [7]
        repository.the_log = WrittenLog()
        assert self.read(reader, repository) == TrafficHistory(periods=[], begin=None)


class TestTheRoute:
    def test_it_tells_the_canarys_shares_up_to_now(self, as_viewer: TestClient) -> None:
        told = as_viewer.get("models/digits/traffic", params={"hours": 24}).json()
        assert [share["percent"] for share in told["periods"][-1]["split"]] == [90, 10]
        assert told["periods"][-1]["end"] is None
        assert told["begin"] == told["periods"][0]["begin"]

    def test_few_hours_tell_less(self, as_viewer: TestClient) -> None:
        told = as_viewer.get("models/digits/traffic", params={"hours": 0.001}).json()
        assert len(told["periods"]) == 1

    def test_a_model_that_never_served_has_none(self, as_viewer: TestClient) -> None:
        assert as_viewer.get("models/fresh/traffic").json() == {"begin": None, "periods": []}

    @pytest.mark.parametrize("hours", ["0", "-1", "2161", "nan", "inf", "x"])
    def test_an_odd_number_of_hours_is_refused(self, as_viewer: TestClient, hours: str) -> None:
        assert as_viewer.get("models/digits/traffic", params={"hours": hours}).status_code == 422
