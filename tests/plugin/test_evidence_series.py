"""The evidence of a release as its chart shows it: what the judge said after each interval, and nothing of our own."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_model_ops.control.evidence_book import ENTRIES_PER_PAGE, Position
from airflow_model_ops.control.watch_check import WatchCheck
from airflow_model_ops.core.checks import Check, CheckKind, Evidence, Measurement
from airflow_model_ops.core.judge.record import Entry, Opening
from airflow_model_ops.core.judge.settings import JudgeSettings
from airflow_model_ops.core.policy import Watch
from airflow_model_ops.core.state import Fence
from airflow_model_ops.plugin.backends import turns
from airflow_model_ops.plugin.datamodels.history import CheckSeries, EvidenceAnswer, EvidenceSeries, Point
from airflow_model_ops.plugin.history import evidence_replays
from airflow_model_ops.plugin.history.evidence_replays import EvidenceReplays, Replayed
from airflow_model_ops.plugin.history.evidence_series import Replay, describe, series_of, thinned
from airflow_model_ops.plugin.history.release_evidence import ReleaseEvidence, UnknownRelease
from tests.control.counted_traffic import arms_of
from tests.control.watched_release import PERSON, WatchedRelease, v
from tests.plugin.written_log import at

if TYPE_CHECKING:
    from starlette.testclient import TestClient

ERRORS = Check(name="errors", kind=CheckKind.ERROR_RATE, dispersion=1.0, negligible=0)


def answer(watch: WatchedRelease, desk: ReleaseEvidence | None = None, **asked: Any) -> EvidenceAnswer:
    """Ask as the page does, by default as one that has read nothing before."""
    desk = desk or ReleaseEvidence()
    return desk.answer(watch.repository, model="digits", now=watch.clock.now(), **asked)


def series(watch: WatchedRelease, desk: ReleaseEvidence | None = None, **asked: Any) -> EvidenceSeries:
    found = answer(watch, desk, **asked).series
    assert found is not None
    return found


def check_of(told: EvidenceSeries, name: str = "errors") -> CheckSeries:
    return next(each for each in told.checks if each.check == name)


@pytest.fixture
def watch() -> WatchedRelease:
    return WatchedRelease()


@pytest.fixture
def held(watch: WatchedRelease) -> WatchedRelease:
    """A release that a hold keeps at its first step, however good its canary is."""
    watch.control(PERSON).hold(reason="audit")
    watch.apply()
    return watch


class TestAPoint:
    def test_after_each_interval_there_is_one_with_the_totals_of_its_step(self, held: WatchedRelease) -> None:
        held.ticks(3)
        told = check_of(series(held))
        assert [point.canary_total for point in told.points] == [1000, 2000, 3000]
        assert [point.stable_total for point in told.points] == [9000, 18000, 27000]
        assert [point.canary_bad for point in told.points] == [10, 20, 30]
        assert [point.percent for point in told.points] == [10, 10, 10]
        assert [later.at - sooner.at for sooner, later in pairwise(told.points)] == [timedelta(seconds=10)] * 2

    def test_its_figures_are_those_that_the_judge_recorded_with_its_verdict(self, watch: WatchedRelease) -> None:
        watch.ticks(20)
        verdict = watch.entries[-1]
        recorded = verdict.detail["assessments"][0]
        told = check_of(series(watch))
        newest, numbers = told.points[-1], recorded["numbers"]
        assert (told.verdict, told.reason) == (recorded["verdict"], recorded["reason"])
        assert newest.verdict == recorded["verdict"]
        assert newest.ratio == pytest.approx(numbers["ratio"], rel=1e-4)
        assert (newest.low, newest.high) == pytest.approx((numbers["ratio_low"], numbers["ratio_high"]), rel=1e-4)
        assert newest.canary_total == numbers["canary"]["n"]

    def test_a_share_has_lines_where_it_acts_and_a_muted_check_is_told_as_one(self, watch: WatchedRelease) -> None:
        watch.ticks(1)
        errors, muted = check_of(series(watch)), check_of(series(watch), "muted")
        assert (errors.rollback_line, errors.promotion_line, errors.limits) == (1.1, 2, {"max": 0.2})
        assert (errors.kind, errors.muted, muted.muted) == ("share", False, True)
        assert errors.safe_line == pytest.approx(1.301, abs=1e-3)
        assert errors.harm_line == pytest.approx(2.301, abs=1e-3)  # of alpha 0.01, half for the ceiling

    def test_a_canary_that_harms_is_beyond_both_lines(self, watch: WatchedRelease) -> None:
        watch.traffic.harmful()
        watch.ticks(5)
        told = check_of(series(watch))
        newest = told.points[-1]
        assert told.verdict == newest.verdict == "HARM"
        assert newest.harm is not None
        assert told.harm_line is not None
        assert newest.harm > told.harm_line
        assert newest.low is not None
        assert newest.low > 1.1

    def test_a_value_is_told_with_stables_and_its_limits(self, watch: WatchedRelease) -> None:
        accuracy = Check(name="accuracy", kind=CheckKind.PROMQL, query="accuracy", min=0.9, consecutive=9)
        watch.policy = replace(watch.policy, checks=(*watch.policy.checks, accuracy))
        watch.traffic.gauge = (0.5, 0.95)
        watch.ticks(2)
        told = check_of(series(watch), "accuracy")
        assert (told.kind, told.limits, told.rollback_line, told.safe_line) == ("gauge", {"min": 0.9}, None, None)
        assert [(point.value, point.stable_value) for point in told.points] == [(0.5, 0.95)] * 2
        assert [(point.ratio, point.canary_total, point.harm) for point in told.points] == [(None, None, None)] * 2

    def test_a_source_that_is_silent_is_told_as_silent(self, held: WatchedRelease) -> None:
        held.ticks(2)
        held.traffic.trouble = "connection refused"
        held.ticks(1)
        told = check_of(series(held))
        assert [point.verdict for point in told.points][-1] == "PROVIDER_DOWN"
        assert told.points[-1].canary_total == told.points[-2].canary_total

    def test_without_a_stable_version_nothing_is_compared(self) -> None:
        watch = WatchedRelease(stable=False)
        watch.shift(50)
        watch.ticks(3, step=1)
        told = check_of(series(watch))
        assert (told.rollback_line, told.promotion_line, told.harm_line) == (None, None, None)
        assert {(point.ratio, point.low, point.high, point.stable_total) for point in told.points} == {(None,) * 4}

    @pytest.mark.parametrize(
        ("check", "words"),
        [
            (ERRORS, "the share of requests that failed"),
            (
                Check(name="slow", kind=CheckKind.LATENCY, latency_bound_ms=250),
                "the share of requests that took longer than 250 ms",
            ),
            (
                Check(name="wrong", kind=CheckKind.WRONG_PREDICTIONS),
                "the share of labelled predictions that were wrong",
            ),
            (
                Check(name="q", kind=CheckKind.PROMQL, query="up", max_ratio_to_stable=2, max_difference_to_stable=1),
                "the value of up, at most 2 times stable's and stable's plus 1",
            ),
        ],
    )
    def test_a_check_is_described_for_people(self, check: Check, words: str) -> None:
        assert describe(check) == words


def interval(number: int, canary: tuple[int, int], stable: tuple[int, int]) -> Entry:
    arms = [Measurement(value=bad / n, samples=n, bad=bad, age_seconds=1) for n, bad in (canary, stable)]
    found = Evidence(
        check="errors", canary=arms[0], stable=arms[1], begin=at(number).isoformat(), at=at(number + 1).isoformat()
    )
    return Entry(evidence=(found,))


def replay_of(entries: Iterator[Entry] | list[Entry], *, alpha: float = 0.01, check: Check = ERRORS) -> Replay:
    opening = Opening(checks=(check,), settings=JudgeSettings(alpha=alpha), has_stable=True)
    replay = Replay(opening, "the canary")
    replay.take((Entry(percent=10), *entries))
    return replay


class TestTheConfidenceSequence:
    @pytest.mark.parametrize("ratio", [0.5, 1.0, 2.0])
    def test_the_true_ratio_stays_inside_at_all_moments_as_often_as_it_says(self, ratio: float) -> None:
        """At 80 %: of 40 releases looked at 20 times each, more than 8 in expectation would be too many."""
        dice, left_out = random.Random(f"ratio {ratio}"), 0

        def counted(n: int, rate: float) -> tuple[int, int]:
            return n, sum(dice.random() < rate for _ in range(n))

        for _ in range(40):
            entries = [interval(number, counted(100, 0.05 * ratio), counted(200, 0.05)) for number in range(20)]
            points = replay_of(entries, alpha=0.2).points["errors"]
            left_out += any((point.low or 0) > ratio or (point.high or 1e9) < ratio for point in points)
        assert left_out <= 8

    @given(
        bads=st.lists(st.tuples(st.integers(0, 100), st.integers(0, 100)), min_size=1, max_size=12),
    )
    @settings(max_examples=60)
    def test_harm_acts_where_its_line_is_crossed_and_the_estimate_lies_between_the_bounds(
        self, bads: list[tuple[int, int]]
    ) -> None:
        replay = replay_of([interval(number, (100, c), (100, b)) for number, (c, b) in enumerate(bads)])
        (told,) = series_of(replay)
        assert told.harm_line is not None
        for point in told.points:
            assert point.harm is not None
            if abs(point.harm - told.harm_line) > 1e-3:
                assert (point.verdict == "HARM") == (point.harm > told.harm_line)
            if point.low is not None and point.high is not None:
                assert point.low < point.high
            if point.ratio:
                assert (point.low or 0) <= point.ratio * 1.2  # a grid's neighbours are 19 % apart
                assert point.ratio <= (point.high or 1e9) * 1.2


drawn_points = st.lists(
    st.tuples(st.integers(0, 90), st.sampled_from(("UNDECIDED", "SAFE")), st.integers(0, 9)), min_size=1, max_size=80
)
NOTHING = dict.fromkeys(
    (
        "ratio",
        "low",
        "high",
        "canary_bad",
        "canary_total",
        "stable_bad",
        "stable_total",
        "value",
        "stable_value",
        "safe",
    )
)


def points_of(drawn: list[tuple[int, str, int]]) -> list[Point]:
    """Return a series: each point so many seconds later, with a verdict; where the last number is 0, another step begins."""
    found: list[Point] = []
    seconds, percent = 0, 5
    for number, (later, verdict, step) in enumerate(drawn):
        seconds += later
        percent += step == 0
        found.append(Point(**NOTHING, at=at(seconds / 60), percent=percent, harm=number, verdict=verdict))
    return found


class TestThinning:
    @given(drawn=drawn_points, most=st.integers(2, 30))
    def test_ends_and_steps_are_kept_in_order_and_no_point_is_made_up(
        self, drawn: list[tuple[int, str, int]], most: int
    ) -> None:
        points = points_of(drawn)
        kept = thinned(points, most=most)
        assert [point for point in points if point in kept] == kept
        assert (kept[0], kept[-1]) == (points[0], points[-1])
        steps = [index for index, (one, other) in enumerate(pairwise(points)) if one.percent != other.percent]
        assert all(points[index] in kept and points[index + 1] in kept for index in steps)
        assert len(kept) <= most + 2 * len(steps) + 2
        if len(points) <= most:
            assert kept == points

    def test_where_the_verdict_changes_both_points_are_kept(self) -> None:
        points = points_of([(60, "SAFE" if 700 <= minute < 703 else "UNDECIDED", 1) for minute in range(1440)])
        kept = thinned(points)
        assert 150 <= len(kept) <= 300
        assert {699, 700, 702, 703} <= {int(point.harm or 0) for point in kept}

    def test_a_verdict_that_changes_without_end_does_not_fill_the_chart(self) -> None:
        points = points_of([(60, ("SAFE", "UNDECIDED")[minute % 2], 1) for minute in range(5000)])
        assert len(thinned(points)) <= 300


def down(told: CheckSeries) -> int:
    return sum(point.verdict == "PROVIDER_DOWN" for point in told.points)


class TestALiveCanary:
    def test_what_was_shown_before_is_gone_on_with_and_is_what_a_fresh_look_shows(self, held: WatchedRelease) -> None:
        """Across the border of a page of evidence, looking after one interval or several, or in vain."""
        desk = ReleaseEvidence()
        for ticks in (1, 0, 5, ENTRIES_PER_PAGE - 8, 1, 1, 1, ENTRIES_PER_PAGE + 3, 1):
            held.ticks(ticks)
            assert series(held, desk) == series(held)

    def test_only_what_is_new_is_read_again(self, held: WatchedRelease, monkeypatch: pytest.MonkeyPatch) -> None:
        desk = ReleaseEvidence()
        held.ticks(2 * ENTRIES_PER_PAGE)
        series(held, desk)
        read: list[str] = []
        original = held.repository.read_evidence
        monkeypatch.setattr(held.repository, "read_evidence", lambda *args: (read.append(args[-1]), original(*args))[1])
        series(held, desk)
        assert set(read) == {"attempt-1-judge", "attempt-1-evidence-3"}
        held.ticks(ENTRIES_PER_PAGE)
        series(held, desk)
        read.clear()
        series(held, desk)
        assert set(read) == {"attempt-1-judge", "attempt-1-evidence-4"}

    def test_an_interval_that_another_watcher_replaced_is_not_gone_on_with(self, held: WatchedRelease) -> None:
        desk = ReleaseEvidence()
        held.ticks(3)
        series(held, desk)
        content = held.repository.read_evidence("digits", "r", "attempt-1-evidence-1")
        assert content is not None
        page = json.loads(content)
        for each in page["entries"][-1]["evidence"]:
            each["canary"]["bad"] = 0
        held.repository.write_evidence("digits", "r", "attempt-1-evidence-1", json.dumps(page).encode())
        assert check_of(series(held, desk)).points[-1].canary_bad == 20
        assert series(held, desk) == series(held)

    def test_a_hold_does_not_end_it_and_an_abort_does(self, held: WatchedRelease) -> None:
        desk = ReleaseEvidence()
        held.ticks(2)
        assert series(held, desk).live
        held.control(PERSON).abort(reason="not today", fence=None)
        told = answer(held, desk)
        assert told.series is not None
        assert not told.series.live
        assert [(choice.release, choice.outcome) for choice in told.releases] == [("r", "abort")]

    def test_of_long_evidence_old_uneventful_pages_are_told_by_their_ends(
        self, held: WatchedRelease, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        held.ticks(2 * ENTRIES_PER_PAGE)
        held.traffic.trouble = "connection refused"
        held.ticks(3)
        held.traffic.trouble = None
        held.ticks(2 * ENTRIES_PER_PAGE)
        whole = series(held)
        monkeypatch.setattr(evidence_replays, "FULL_PAGES", 0)
        brief = series(held)

        for one, other in zip(brief.checks, whole.checks, strict=True):
            assert [point for point in other.points if point in one.points] == one.points
            assert one.points[0] == other.points[0]
            assert one.points[-1] == other.points[-1]
            assert down(one) == down(other)
            assert len(one.points) < len(other.points) - ENTRIES_PER_PAGE + 1
        assert down(check_of(brief)) == 3
        assert brief.model_copy(update={"checks": []}) == whole.model_copy(update={"checks": []})


class TestSteps:
    def test_each_is_marked_when_its_share_began_the_watch_after_the_promotion_too(self, watch: WatchedRelease) -> None:
        watch.policy = replace(watch.policy, watch=Watch(seconds=60, hold_back=5))
        began = [watch.clock.now()]
        assert watch.ticks(20) is not None
        watch.shift(50)
        began.append(watch.clock.now())
        assert watch.ticks(20, step=1) is not None
        watch.control().promote(v(2), fence=watch.fence, proof="good", hold_back=5, hold_back_seconds=60)
        watch.apply()
        began.append(watch.clock.now())
        after = WatchCheck(
            control=watch.control(),
            source=watch.traffic,
            policy=watch.policy,
            fence=watch.fence,
            version=v(2),
            arms_of=arms_of,
        )
        watch.clock.advance(10)
        assert after.tick() is None
        told = series(watch)
        assert [(step.percent, step.watch) for step in told.steps] == [(10, False), (50, False), (100, True)]
        assert [step.at.timestamp() for step in told.steps] == pytest.approx(began, abs=0.01)
        assert told.live
        assert (told.version, told.stable) == (v(2).name, v(1).name)
        assert answer(watch).releases[0].outcome == "promote"

        watch.traffic.harmful()
        for _ in range(3):
            watch.clock.advance(10)
            after.tick()
        assert answer(watch).releases[0].outcome == "rollback"
        assert not series(watch).live
        assert series(watch).verdict == "HARM"

    def test_one_in_which_nothing_was_measured_yet_is_marked_too(self, held: WatchedRelease) -> None:
        held.ticks(1)
        began = held.clock.now() + 5
        held.book.enter(Position(step=1, started_at=began, deadline_from=began), percent=50)
        step = series(held).steps[-1]
        assert (step.percent, step.at.timestamp()) == (50, pytest.approx(began, abs=1e-3))

    def test_a_watch_without_a_hold_back_is_live_while_it_measures(self, watch: WatchedRelease) -> None:
        watch.policy = replace(watch.policy, watch=Watch(seconds=3600, hold_back=0))
        watch.ticks(20)
        watch.shift(50)
        watch.ticks(20, step=1)
        watch.control().promote(v(2), fence=watch.fence, proof="good")
        watch.apply()
        assert not series(watch).live
        after = WatchCheck(
            control=watch.control(),
            source=watch.traffic,
            policy=watch.policy,
            fence=watch.fence,
            version=v(2),
            arms_of=arms_of,
        )
        watch.clock.advance(10)
        after.tick()
        assert series(watch).live
        watch.clock.advance(3600)  # whoever watched is gone
        assert not series(watch).live


class TestReleases:
    def test_the_live_one_is_shown_though_nothing_was_measured_yet(self, watch: WatchedRelease) -> None:
        told = series(watch)
        assert (told.release, told.attempt, told.live, told.verdict) == ("r", 1, True, "NO_DATA")
        assert (told.checks, told.steps, told.reason) == ([], [], "nothing has been measured yet")

    def test_a_release_that_nothing_judged_cannot_be_asked_for(self, watch: WatchedRelease) -> None:
        assert [choice.release for choice in answer(watch).releases] == ["r"]  # "first" was promoted unjudged
        with pytest.raises(UnknownRelease, match="no evidence of release 'first'; see its list"):
            answer(watch, release="first")
        with pytest.raises(UnknownRelease, match="no evidence of attempt 7 of release 'r'"):
            answer(watch, release="r", attempt=7)

    def test_an_attempt_that_another_one_replaced_is_kept_apart(self, watch: WatchedRelease) -> None:
        watch.ticks(2)
        watch.fence = Fence(release="r", attempt=2)
        watch.release(2, fence=watch.fence, percent=10)
        watch.ticks(1)
        told = answer(watch)
        assert [(each.attempt, each.outcome) for each in told.releases] == [(2, None), (1, "start_canary")]
        assert len(check_of(series(watch)).points) == 1
        assert len(check_of(series(watch, release="r")).points) == 1
        assert len(check_of(series(watch, release="r", attempt=1)).points) == 2
        assert not series(watch, release="r", attempt=1).live

    def test_one_whose_evidence_is_gone_is_told_by_its_verdicts(self, watch: WatchedRelease) -> None:
        watch.traffic.harmful()
        watch.ticks(5)
        watch.repository.read_evidence = lambda *_: None  # type: ignore[method-assign]
        told = series(watch)
        (point,) = check_of(told).points
        assert (told.verdict, told.live, told.confidence) == ("HARM", False, 0.99)
        assert (point.verdict, point.percent) == ("HARM", 10)
        assert point.ratio == pytest.approx(10, rel=0.1)
        assert [step.percent for step in told.steps] == [10]
        assert told.reason.startswith("HARM: errors of digits-v2.0.0")

    def test_one_whose_evidence_cannot_be_read_is_told_by_its_verdicts_and_says_so(self, watch: WatchedRelease) -> None:
        watch.traffic.harmful()
        watch.ticks(5)
        watch.repository.write_evidence("digits", "r", "attempt-1-evidence-1", b"{")
        told = answer(watch)
        assert [choice.release for choice in told.releases] == ["r"]
        assert told.series is not None
        assert told.series.verdict == "HARM"
        assert "kept evidence cannot be read" in told.series.reason

    def test_one_that_the_log_does_not_tell_of_any_more_is_still_found(
        self, watch: WatchedRelease, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        watch.ticks(2)
        monkeypatch.setattr("airflow_model_ops.plugin.history.releases.MOST_ENTRIES", 0)
        assert answer(watch).series is None
        told = series(watch, release="r", attempt=1)
        assert len(check_of(told).points) == 2
        assert told.version is None

    def test_a_model_without_a_log_has_none(self, watch: WatchedRelease) -> None:
        desk = ReleaseEvidence()
        assert desk.answer(watch.repository, model="other", now=0) == EvidenceAnswer(series=None, releases=[])
        with pytest.raises(UnknownRelease):
            desk.answer(watch.repository, model="other", now=0, release="r")


def test_the_oldest_replays_are_forgotten(watch: WatchedRelease, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidence_replays, "_MOST_REPLAYS", 1)
    watch.ticks(1)
    replays = EvidenceReplays()
    seen = []
    for model in ("digits", "digits", "other"):
        for name in ("attempt-1-judge", "attempt-1-evidence-1"):
            content = watch.repository.read_evidence("digits", "r", name)
            assert content is not None
            watch.repository.write_evidence(model, "r", name, content)
        with replays.up_to_now(watch.repository, model=model, fence=watch.fence, subject="it") as found:
            assert found is not None
            seen.append(found.replay)
    assert seen[0] is seen[1]
    assert [key[1] for key in replays._places] == ["other"]


def test_who_would_wait_long_for_anothers_reading_is_told_so(
    watch: WatchedRelease, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the threads that wait for one long release would be missing to all other models."""
    monkeypatch.setattr(turns, "PATIENCE_SECONDS", 0.01)
    watch.ticks(1)
    replays = EvidenceReplays()

    def look() -> AbstractContextManager[Replayed | None]:
        return replays.up_to_now(watch.repository, model="digits", fence=watch.fence, subject="it")

    with look(), pytest.raises(turns.StillReading, match="evidence of release 'r' is still being read"), look():
        raise AssertionError("two took it in at once")
    with look() as found:
        assert found is not None


class TestTheRoute:
    def test_the_live_canary_of_digits_is_shown(self, as_viewer: TestClient) -> None:
        told = as_viewer.get("models/digits/evidence").json()
        assert told["series"]["live"]
        assert [step["percent"] for step in told["series"]["steps"]] == [5, 10]
        assert told["releases"][0]["outcome"] is None

    def test_a_release_is_asked_for_by_its_id_slash_and_all(self, as_viewer: TestClient) -> None:
        query = {"release": "model_release_spam/manual__3", "attempt": 1}
        told = as_viewer.get("models/spam/evidence", params=query).json()
        assert told["series"]["verdict"] == "HARM"
        assert not told["series"]["live"]

    def test_one_that_there_is_not_is_not_found(self, as_viewer: TestClient) -> None:
        answer = as_viewer.get("models/spam/evidence", params={"release": "../../etc", "attempt": 1})
        assert answer.status_code == 404
        assert "no evidence of attempt 1 of release '../../etc'" in answer.json()["detail"]

    def test_a_model_that_was_never_judged_has_none(self, as_viewer: TestClient) -> None:
        assert as_viewer.get("models/fresh/evidence").json() == {"series": None, "releases": []}
