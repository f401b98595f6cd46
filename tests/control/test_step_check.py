"""One step under watch, second by second: what acts, what waits, what a person's hold freezes, and what a restart keeps."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pytest

from airflow_model_ops.control.leases import LeaseKeeper
from airflow_model_ops.control.replay import replay_release
from airflow_model_ops.control.step_check import StepOutcome, StepResult, abandon
from airflow_model_ops.core.checks import Check, CheckKind, Measurement, Verdict
from airflow_model_ops.core.errors import InvalidConfig, InvalidState, RepositoryUnavailable
from airflow_model_ops.core.judge.record import replay
from airflow_model_ops.core.policy import OnDeadline
from airflow_model_ops.core.state import Fence
from airflow_model_ops.testing import ManualClock
from tests.control.counted_traffic import CountedTraffic
from tests.control.watched_release import INTERVAL, PERSON, WatchedRelease, v
from tests.waits import until

BLIND: dict[Verdict, Callable[[CountedTraffic], None]] = {
    Verdict.NO_DATA: lambda traffic: setattr(traffic, "rps", 0.0),
    Verdict.STALE: lambda traffic: setattr(traffic, "behind", 3600.0),
    Verdict.PROVIDER_DOWN: lambda traffic: setattr(traffic, "trouble", "connection refused"),
    Verdict.SPLIT_MISMATCH: lambda traffic: setattr(traffic, "misrouted", 1.5),
    Verdict.UNDECIDED: lambda traffic: setattr(traffic, "rps", 10.0),
}


@pytest.fixture
def watch() -> WatchedRelease:
    return WatchedRelease()


class TestPassing:
    def test_a_good_canary_passes_when_it_has_baked_and_not_before(self, watch: WatchedRelease) -> None:
        check = watch.check()

        assert watch.ticks(5, check=check) is None
        outcome = watch.ticks(1, check=check)

        assert outcome is not None
        assert (outcome.result, outcome.verdict) == (StepResult.PASSED, Verdict.SAFE)
        assert "errors of digits-v2.0.0" in outcome.reason
        assert "below 2 with 95 % confidence" in outcome.reason
        assert watch.split == {1: 90, 2: 10}

    def test_baking_is_not_enough_where_safety_is_not_shown_yet(self, watch: WatchedRelease) -> None:
        watch.traffic.rps = 300

        assert watch.ticks(12) is None
        outcome = watch.ticks(12)

        assert outcome is not None
        assert (outcome.result, outcome.verdict) == (StepResult.PASSED, Verdict.SAFE)

    def test_without_an_error_in_either_version_the_negligible_rate_shows_safety(self, watch: WatchedRelease) -> None:
        watch.traffic.canary_bad = watch.traffic.stable_bad = 0.0

        outcome = watch.ticks(20)

        assert outcome is not None
        assert outcome.verdict is Verdict.SAFE
        assert "0.10 %" in outcome.reason

    def test_the_verdict_is_recorded_once_however_often_the_last_tick_is_repeated(self, watch: WatchedRelease) -> None:
        watch.ticks(6)
        watch.ticks(3)

        assert watch.names.count("verdict") == 1

    def test_the_record_carries_the_numbers_of_every_check(self, watch: WatchedRelease) -> None:
        outcome = watch.ticks(6)

        last = watch.entries[-1]
        assert outcome is not None
        assert (last.name, last.evidence, last.release) == ("verdict", outcome.evidence, watch.fence)
        assert [each["check"] for each in last.detail["assessments"]] == ["errors", "muted"]
        assert (last.detail["verdict"], last.detail["percent"]) == ("SAFE", 10)
        assert last.detail["assessments"][0]["numbers"]["canary"] == {"n": 6000, "bad": 60}

    def test_a_passed_step_leaves_a_lease_that_outlasts_the_way_to_the_next_task(self, watch: WatchedRelease) -> None:
        watch.ticks(6)
        watch.clock.advance(60)

        live = watch.state.release
        assert live is not None
        assert not watch.control().leases.has_expired(live)

    def test_an_outcome_survives_the_trip_through_an_event(self, watch: WatchedRelease) -> None:
        outcome = watch.ticks(6)

        assert outcome is not None
        assert StepOutcome.from_json(outcome.to_json()) == outcome


class TestActing:
    def test_harm_takes_the_canary_down_and_quarantines_it(self, watch: WatchedRelease) -> None:
        watch.traffic.harmful()

        outcome = watch.ticks(1)

        assert outcome is not None
        assert (outcome.result, outcome.verdict) == (StepResult.ABORTED, Verdict.HARM)
        assert "10.0 % (100 of 1,000) against stable's 1.0 % (90 of 9,000): ratio 10.0" in outcome.reason
        assert watch.split == {1: 100}
        assert v(2) in watch.state.quarantined
        assert watch.names[-3:] == ["abort", "applied", "verdict"]

    def test_a_ceiling_that_stable_crosses_too_takes_it_down_and_leaves_it_a_candidate(
        self, watch: WatchedRelease
    ) -> None:
        watch.traffic.awful()

        outcome = watch.ticks(1)

        assert outcome is not None
        assert (outcome.result, outcome.verdict) == (StepResult.ABORTED, Verdict.BREACH)
        assert watch.split == {1: 100}
        assert v(2) not in watch.state.quarantined

    def test_a_few_bad_answers_do_not_act_and_more_of_them_do(self, watch: WatchedRelease) -> None:
        watch.traffic.rps, watch.traffic.canary_bad = 100, 0.05

        assert watch.ticks(2) is None
        assert watch.split == {1: 90, 2: 10}
        outcome = watch.ticks(18)

        assert outcome is not None
        assert (outcome.result, outcome.verdict) == (StepResult.ABORTED, Verdict.HARM)

    def test_a_canary_that_turns_bad_after_a_long_good_time_is_found_at_once(self, watch: WatchedRelease) -> None:
        watch.control(PERSON).hold(reason="audit")
        watch.apply()
        assert watch.ticks(200) is None
        watch.traffic.harmful()

        outcome = watch.ticks(2)

        assert outcome is not None
        assert (outcome.result, outcome.verdict) == (StepResult.ABORTED, Verdict.HARM)

    def test_an_incident_that_hits_both_versions_alike_does_not_act(self, watch: WatchedRelease) -> None:
        watch.traffic.canary_bad = watch.traffic.stable_bad = 0.15  # below the ceiling

        outcome = watch.ticks(6)

        assert outcome is not None
        assert outcome.result is StepResult.PASSED

    def test_a_muted_check_is_shown_and_decides_nothing(self, watch: WatchedRelease) -> None:
        errors, muted = watch.policy.checks
        watch.policy = replace(watch.policy, checks=(replace(errors, max=None), muted))
        watch.traffic.canary_bad = watch.traffic.stable_bad = 0.15

        outcome = watch.ticks(6)

        assert outcome is not None
        assert (outcome.result, outcome.verdict) == (StepResult.PASSED, Verdict.SAFE)
        shown = watch.entries[-1].detail["assessments"][1]
        assert (shown["check"], shown["verdict"], shown["muted"]) == ("muted", "BREACH", True)

    def test_a_scrape_that_is_read_twice_counts_once(self, watch: WatchedRelease) -> None:
        watch.traffic.rps, watch.traffic.canary_bad = 100, 0.1
        watch.clock.advance(10)
        assert watch.check().tick() is None
        once = watch.numbers()

        for _ in range(10):
            assert watch.check().tick() is None

        assert watch.numbers() == once
        assert watch.split == {1: 90, 2: 10}

    def test_a_fleet_that_cannot_confirm_the_abort_does_not_keep_the_verdict_from_being_told(
        self, watch: WatchedRelease
    ) -> None:
        watch.traffic.harmful()
        watch.target.unavailable_servers.add("server-1")

        outcome = watch.ticks(1)

        assert outcome is not None
        assert outcome.result is StepResult.ABORTED
        assert watch.state.canary is None

    def test_a_watcher_that_dies_between_the_way_back_and_its_record_is_made_up_for(
        self, watch: WatchedRelease, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Confirming the way back may take half a minute, in which a triggerer may be restarted."""
        watch.traffic.harmful()
        dying = watch.check()
        monkeypatch.setattr(dying._control.committer, "record", _killed)
        with pytest.raises(KeyboardInterrupt):
            watch.ticks(1, check=dying)
        assert watch.names[-1] == "applied"

        outcomes = [watch.ticks(1), watch.ticks(1)]

        assert [outcome and (outcome.result, outcome.verdict) for outcome in outcomes] == [
            (StepResult.ABORTED, Verdict.HARM)
        ] * 2
        assert watch.names[-2:] == ["applied", "verdict"], "recorded once"
        assert watch.entries[-1].detail["taken_in"] == watch.book.taken_in

    @pytest.mark.parametrize("verdict", BLIND)
    def test_blindness_and_scant_data_never_act(self, watch: WatchedRelease, verdict: Verdict) -> None:
        BLIND[verdict](watch.traffic)

        assert watch.ticks(25) is None
        assert watch.book.judge.summary(subject="it").verdict is verdict
        assert watch.split == {1: 90, 2: 10}
        assert watch.state.hold is None

    def test_harm_that_was_shown_acts_also_when_the_source_falls_silent(self, watch: WatchedRelease) -> None:
        """Its watcher died after it kept the evidence and before it acted."""
        watch.traffic.harmful()
        watch.clock.advance(10)
        watcher = watch.check()
        watcher._act = lambda *_: None  # type: ignore[method-assign, assignment]
        watcher.tick()
        watch.traffic.trouble = "connection refused"

        outcome = watch.ticks(1)

        assert outcome is not None
        assert (outcome.result, outcome.verdict) == (StepResult.ABORTED, Verdict.HARM)


class TestGauges:
    """A value that carries no counts is judged by plain thresholds, ``consecutive`` times in a row."""

    @pytest.fixture
    def watch(self) -> WatchedRelease:
        watch = WatchedRelease()
        accuracy = Check(name="accuracy", kind=CheckKind.PROMQL, query="accuracy", min=0.9, consecutive=3)
        watch.policy = replace(watch.policy, checks=(*watch.policy.checks, accuracy))
        return watch

    def test_a_value_within_its_limits_passes_with_the_shares(self, watch: WatchedRelease) -> None:
        outcome = watch.ticks(6)

        assert outcome is not None
        assert outcome.verdict is Verdict.SAFE
        assert "accuracy of digits-v2.0.0 1: within at least 0.9" in outcome.reason

    def test_beyond_a_limit_so_often_in_a_row_is_a_breach(self, watch: WatchedRelease) -> None:
        watch.traffic.gauge = (0.5, 0.95)
        assert watch.ticks(2) is None
        watch.traffic.gauge = (0.95, 0.95)
        assert watch.ticks(1) is None
        watch.traffic.gauge = (0.5, 0.95)
        assert watch.ticks(2) is None

        outcome = watch.ticks(1)

        assert outcome is not None
        assert (outcome.result, outcome.verdict) == (StepResult.ABORTED, Verdict.BREACH)
        assert v(2) not in watch.state.quarantined


class TestRestarts:
    @pytest.mark.parametrize("story", ["good", "harmful", "awful"])
    def test_a_restart_at_every_tick_changes_nothing(self, story: str) -> None:
        steady, restarted = WatchedRelease(), WatchedRelease()
        for watch in (steady, restarted):
            getattr(watch.traffic, story)()
            watch.traffic.rps = 300

        ends = [steady.ticks(29, check=steady.check()), restarted.ticks(29)]

        assert ends[0] is not None
        assert ends[0] == ends[1]
        assert steady.book.judge.to_json() == restarted.book.judge.to_json(), "bit for bit"
        assert [(each.name, each.reason, each.detail) for each in steady.entries] == [
            (each.name, each.reason, each.detail) for each in restarted.entries
        ]

    def test_a_long_step_turns_its_pages_and_a_restart_reads_only_the_last(self) -> None:
        steady, restarted = WatchedRelease(), WatchedRelease()
        for watch in (steady, restarted):
            watch.traffic.rps = 10
            watch.control(PERSON).hold(reason="audit")
            watch.apply()
        steady.ticks(130, check=steady.check())

        restarted.ticks(130)

        assert steady.book.judge.to_json() == restarted.book.judge.to_json()
        assert restarted.book.taken_in == 131, "one share and 130 intervals"
        assert len(list(restarted.book.entries())) == 131
        restarted.repository.read_evidence = only_the_last_page(restarted)  # type: ignore[method-assign]
        assert restarted.check().tick() is None

    def test_a_clock_that_is_ahead_where_it_was_applied_blinds_nobody(self) -> None:
        """Else a canary that fails every request would serve on until the other clock is there, too."""
        watch = WatchedRelease()
        watch.clock = ManualClock(start=watch.clock.now() - 7200)
        watch.traffic = CountedTraffic(watch.clock, split=lambda: watch.target.observe("digits").split)
        watch.traffic.harmful()

        outcome = watch.ticks(5)

        assert outcome is not None
        assert outcome.verdict is Verdict.HARM

    @pytest.mark.parametrize("before", [2, 4])
    def test_a_watcher_that_slept_while_it_asked_undoes_nothing_that_another_did(self, before: int) -> None:
        """Say its triggerer was suspended: what the other has kept since stays, and a replay finds all of it."""
        watch = WatchedRelease()
        watch.traffic.rps = 300
        watch.ticks(before)

        class Asleep:
            def gather(self, *args: Any, **kwargs: Any) -> Any:
                evidence = watch.traffic.gather(*args, **kwargs)
                if watch.book.position is not None and watch.book.position.step == 0:
                    assert watch.ticks(30) is not None, "the other passes the step"
                    watch.shift(50)
                    assert watch.ticks(4, step=1) is None
                return evidence

        watch.clock.advance(INTERVAL)
        outcome = watch.check(source=Asleep()).tick()

        assert outcome is not None
        assert outcome.result is StepResult.PRE_EMPTED
        assert watch.book.position is not None
        assert watch.book.position.step == 1
        assert watch.ticks(20, step=1) is not None
        assert len(replay_release(watch.repository, model="digits", release="r")) == 2

    def test_two_watchers_at_once_never_count_an_event_twice(self, watch: WatchedRelease) -> None:
        watch.traffic.rps = 10
        one, other = watch.check(), watch.check()

        for _ in range(45):  # past the end of a page
            watch.clock.advance(3)
            assert one.tick() is None
            watch.clock.advance(1)
            assert other.tick() is None

        assert_counted_once(watch, seconds=180)

    def test_a_watcher_that_is_overtaken_while_it_asks_counts_nothing_twice(self, watch: WatchedRelease) -> None:
        watch.traffic.rps = 10
        assert watch.ticks(2) is None

        class OvertakenSource:
            """While the slow watcher asks, a fresh one measures."""

            def gather(self, check: Check, **question: Any) -> Any:
                answer = watch.traffic.gather(check, **question)
                if check.name == "errors":
                    watch.clock.advance(5)
                    watch.check().tick()
                return answer

        assert watch.check(source=OvertakenSource()).tick() is None
        assert watch.ticks(3) is None

        assert_counted_once(watch, seconds=55)

    @pytest.mark.parametrize("dies_at", [1, 2, 3, 39, 40, 41, 80])
    def test_a_watcher_that_dies_between_page_and_head_loses_and_doubles_nothing(
        self, watch: WatchedRelease, dies_at: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        watch.traffic.rps = 10
        watch.control(PERSON).hold(reason="audit")
        watch.apply()
        write, heads = watch.repository.write_evidence, []

        def dying(model: str, release: str, name: str, content: bytes) -> str:
            if name.endswith("-judge"):
                heads.append(name)
                if len(heads) == dies_at:
                    raise ConnectionResetError("the worker died")
            return write(model, release, name, content)

        monkeypatch.setattr(watch.repository, "write_evidence", dying)
        assert watch.ticks(dies_at - 1) is None
        with pytest.raises(ConnectionResetError):
            watch.ticks(1)
        assert watch.ticks(90 - dies_at) is None

        assert_counted_once(watch, seconds=900)

    @pytest.mark.parametrize("fails_at", range(1, 8))
    @pytest.mark.parametrize("turned", [0, 38], ids=["on a page", "at its end"])
    def test_a_watcher_whose_write_fails_goes_on_with_what_is_kept(
        self, watch: WatchedRelease, fails_at: int, turned: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A trigger asks the same watcher again when the repository was away for a moment."""
        watch.traffic.rps = 10
        watch.control(PERSON).hold(reason="audit")
        watch.apply()
        assert watch.ticks(turned) is None
        write, writes = watch.repository.write_evidence, []

        def failing(model: str, release: str, name: str, content: bytes) -> str:
            writes.append(name)
            if len(writes) == fails_at:
                raise RepositoryUnavailable("the disk is full")
            return write(model, release, name, content)

        monkeypatch.setattr(watch.repository, "write_evidence", failing)
        check = watch.check()
        for _ in range(10):
            with suppress(RepositoryUnavailable):
                assert watch.ticks(1, check=check) is None

        assert len(writes) >= fails_at, "one of them failed"
        assert_counted_once(watch, seconds=10 * (turned + 10))

    def test_evidence_that_cannot_be_read_says_what_to_do(self, watch: WatchedRelease) -> None:
        watch.repository.write_evidence("digits", "r", "attempt-1-judge", b"not json")

        with pytest.raises(InvalidState, match="abort the release"):
            watch.ticks(1)


class TestDeadline:
    @pytest.mark.parametrize("verdict", BLIND)
    def test_hold_freezes_the_step_once_and_waits_for_a_person(self, watch: WatchedRelease, verdict: Verdict) -> None:
        BLIND[verdict](watch.traffic)

        assert watch.ticks(60) is None

        hold = watch.state.hold
        assert hold is not None
        assert verdict.value in hold.reason
        assert watch.names.count("hold") == 1
        assert watch.split == {1: 90, 2: 10}

    def test_a_resume_arms_the_deadline_again(self, watch: WatchedRelease) -> None:
        BLIND[Verdict.NO_DATA](watch.traffic)
        watch.ticks(40)
        watch.control(PERSON).resume(reason="the metrics come back")
        watch.apply()

        assert watch.ticks(29) is None
        assert watch.state.hold is None
        watch.ticks(3)
        assert watch.state.hold is not None

    def test_a_resume_lets_a_canary_pass_that_is_safe_by_then(self, watch: WatchedRelease) -> None:
        BLIND[Verdict.NO_DATA](watch.traffic)
        watch.ticks(40)
        watch.traffic.rps = 1000
        assert watch.ticks(5) is None  # held
        watch.control(PERSON).resume(reason="go on")
        watch.apply()

        outcome = watch.ticks(2)

        assert outcome is not None
        assert outcome.result is StepResult.PASSED

    @pytest.mark.parametrize("verdict", BLIND)
    def test_abort_ends_the_canary_without_a_quarantine(self, verdict: Verdict) -> None:
        watch = WatchedRelease(on_deadline=OnDeadline.ABORT)
        BLIND[verdict](watch.traffic)

        outcome = watch.ticks(31)

        assert outcome is not None
        assert (outcome.result, outcome.verdict) == (StepResult.ABORTED, verdict)
        assert watch.split == {1: 100}
        assert not watch.state.quarantined

    def test_promote_goes_on_without_proof_when_undecided(self) -> None:
        watch = WatchedRelease(on_deadline=OnDeadline.PROMOTE)
        BLIND[Verdict.UNDECIDED](watch.traffic)

        outcome = watch.ticks(31)

        assert outcome is not None
        assert outcome.result is StepResult.PASSED_WITHOUT_PROOF
        assert outcome.reason.startswith("without proof")

    def test_much_that_speaks_against_it_just_before_the_deadline_holds_where_it_would_promote(self) -> None:
        watch = WatchedRelease(on_deadline=OnDeadline.PROMOTE)
        BLIND[Verdict.UNDECIDED](watch.traffic)
        watch.ticks(29)
        watch.traffic.rps, watch.traffic.canary_bad = 200, 0.1

        assert watch.ticks(1) is None

        hold = watch.state.hold
        assert hold is not None
        assert hold.reason.startswith("the 10 % step found no verdict within 300 s: UNDECIDED")

    @pytest.mark.parametrize("verdict", sorted(BLIND.keys() - {Verdict.UNDECIDED}))
    def test_blindness_never_promotes(self, verdict: Verdict) -> None:
        watch = WatchedRelease(on_deadline=OnDeadline.PROMOTE)
        BLIND[verdict](watch.traffic)

        assert watch.ticks(31) is None
        assert watch.state.hold is not None

    def test_an_outage_pauses_nothing_that_was_shown_before_and_decides_nothing_itself(
        self, watch: WatchedRelease
    ) -> None:
        assert watch.ticks(5) is None
        watch.traffic.trouble = "connection refused"
        assert watch.ticks(10) is None
        watch.traffic.trouble = None

        outcome = watch.ticks(1)

        assert outcome is not None
        assert outcome.result is StepResult.PASSED
        assert watch.numbers()["canary"]["n"] == 16_000, "what happened during the outage is counted after it"

    def test_a_deadline_does_not_hold_a_model_whose_release_a_person_just_ended(self, watch: WatchedRelease) -> None:
        BLIND[Verdict.NO_DATA](watch.traffic)
        watch.ticks(29)

        class RolledBackSource:
            """While it is asked, a person rolls back."""

            def gather(self, check: Check, **question: Any) -> Any:
                if watch.state.release is not None:
                    watch.control(PERSON).rollback(reason="enough")
                return watch.traffic.gather(check, **question)

        outcome = watch.ticks(1, check=watch.check(source=RolledBackSource()))

        assert outcome is not None
        assert outcome.result is StepResult.PRE_EMPTED
        assert watch.state.hold is None


class TestHold:
    def hold(self, watch: WatchedRelease) -> None:
        watch.control(PERSON).hold(reason="audit")
        watch.apply()

    def test_a_person_freezes_the_step(self, watch: WatchedRelease) -> None:
        self.hold(watch)

        assert watch.ticks(100) is None
        assert watch.names.count("hold") == 1

    def test_harm_still_ends_a_held_canary(self, watch: WatchedRelease) -> None:
        self.hold(watch)
        watch.traffic.harmful()

        outcome = watch.ticks(2)

        assert outcome is not None
        assert outcome.result is StepResult.ABORTED
        assert watch.split == {1: 100}

    def test_a_deadline_that_passes_under_a_hold_does_not_abort(self) -> None:
        watch = WatchedRelease(on_deadline=OnDeadline.ABORT)
        BLIND[Verdict.NO_DATA](watch.traffic)
        self.hold(watch)

        assert watch.ticks(40) is None
        assert watch.split == {1: 90, 2: 10}

        watch.control(PERSON).resume(reason="done")
        watch.apply()
        assert watch.ticks(29) is None
        outcome = watch.ticks(3)
        assert outcome is not None
        assert outcome.result is StepResult.ABORTED


class TestPreEmption:
    def test_a_rollback_ends_the_watch(self, watch: WatchedRelease) -> None:
        watch.ticks(2)
        watch.control(PERSON).rollback(reason="no")

        outcome = watch.ticks(1)

        assert outcome is not None
        assert outcome.result is StepResult.PRE_EMPTED
        assert "digits-v1.0.0 serves" in outcome.reason

    def test_a_newer_attempt_ends_the_watch_of_the_older_one(self, watch: WatchedRelease) -> None:
        watch.release(2, fence=Fence(release="r", attempt=2), percent=10)
        asked = watch.traffic.asked

        outcome = watch.ticks(1)

        assert outcome is not None
        assert outcome.result is StepResult.PRE_EMPTED
        assert watch.traffic.asked == asked

    def test_a_newer_attempt_starts_with_no_evidence_of_the_older_one(self, watch: WatchedRelease) -> None:
        watch.ticks(5)
        watch.fence = Fence(release="r", attempt=2)
        watch.release(2, fence=watch.fence, percent=10)

        assert watch.ticks(5) is None
        assert watch.numbers()["canary"]["n"] == 5_000

    def test_a_late_watcher_of_a_step_that_is_over_begins_nothing_anew(self, watch: WatchedRelease) -> None:
        late = watch.check(step=0)
        watch.ticks(6)
        watch.shift(50)
        watch.ticks(3, step=1)
        before = watch.book.judge.to_json()

        outcome = watch.ticks(1, check=late)

        assert outcome is not None
        assert outcome.result is StepResult.PRE_EMPTED
        assert watch.book.judge.to_json() == before

    def test_abandoning_it_is_fenced_and_done_once(self, watch: WatchedRelease) -> None:
        late = Fence(release="r", attempt=0)

        assert "no longer live" in abandon(watch.control(), fence=late, reason="killed")
        assert watch.split == {1: 90, 2: 10}
        abandon(watch.control(), fence=watch.fence, reason="killed")
        before = watch.names
        abandon(watch.control(), fence=watch.fence, reason="killed")

        assert watch.split == {1: 100}
        assert watch.names == before


class TestApplied:
    def test_nothing_is_measured_before_the_share_is_applied(self, watch: WatchedRelease) -> None:
        watch.control().shift(fence=watch.fence, percent=50)

        assert watch.ticks(5, step=1) is None
        assert watch.traffic.asked == 0

    def test_baking_and_counting_begin_when_the_share_was_applied(self, watch: WatchedRelease) -> None:
        watch.clock.advance(100)

        outcome = watch.ticks(1)

        assert outcome is not None
        assert outcome.result is StepResult.PASSED
        assert watch.numbers()["canary"]["n"] == 11_000

    def test_a_later_head_that_waits_does_not_stop_the_judging(self, watch: WatchedRelease) -> None:
        watch.ticks(1)
        watch.control(PERSON).pin_golden(v(1))  # and its author died before applying it
        watch.traffic.harmful()

        outcome = watch.ticks(2)

        assert outcome is not None
        assert outcome.result is StepResult.ABORTED
        assert watch.split == {1: 100}


class TestNextShare:
    def test_it_must_show_safety_anew(self, watch: WatchedRelease) -> None:
        watch.policy = replace(watch.policy, steps=tuple(replace(step, bake_seconds=0) for step in watch.policy.steps))
        watch.traffic.rps = 200
        assert watch.ticks(29) is not None
        watch.shift(50)

        assert watch.ticks(2, step=1) is None
        assert watch.numbers()["canary"]["n"] == 2_000
        outcome = watch.ticks(20, step=1)

        assert outcome is not None
        assert (outcome.result, outcome.verdict) == (StepResult.PASSED, Verdict.SAFE)

    def test_no_request_from_before_the_share_was_applied_is_counted(self, watch: WatchedRelease) -> None:
        watch.ticks(6)
        watch.clock.advance(7)
        watch.shift(50)
        applied_at = watch.clock.now()

        watch.ticks(1, step=1)

        _, spans = watch.counted()
        assert spans[-1] == (iso(applied_at), iso(applied_at + 10))

    def test_what_speaks_against_the_canary_is_carried_into_it(self) -> None:
        """A canary that is slightly worse is found sooner than one whose release began with the larger share."""
        carried, fresh = WatchedRelease(), WatchedRelease()
        for watch in (carried, fresh):
            watch.traffic.rps, watch.traffic.canary_bad = 100, 0.05
        carried.ticks(4)
        for watch in (carried, fresh):
            watch.traffic.canary_bad = 0.035
            watch.shift(50)

        found, waiting = carried.ticks(1, step=1), fresh.ticks(1, step=1)

        assert found is not None
        assert (found.result, found.verdict) == (StepResult.ABORTED, Verdict.HARM)
        assert waiting is None
        assert fresh.numbers()["canary"] == carried.numbers()["canary"], "what is shown is of this share"

    def test_it_waits_until_it_fits_into_the_harm_budget(self, watch: WatchedRelease) -> None:
        eager = replace(watch.policy, steps=tuple(replace(step, bake_seconds=0) for step in watch.policy.steps))
        watch.policy = replace(eager, max_bad_events=2.0)

        assert watch.ticks(5) is None
        assert watch.book.judge.summary(subject="it").verdict is Verdict.SAFE
        outcome = watch.ticks(5)

        assert outcome is not None
        assert outcome.result is StepResult.PASSED


class TestOpening:
    """What a release is judged by is fixed when its judging begins."""

    def test_a_file_that_changes_in_mid_release_does_not_change_its_checks(self, watch: WatchedRelease) -> None:
        watch.ticks(2)
        strict = Check(name="strict", kind=CheckKind.ERROR_RATE, max=0.0001)
        watch.policy = replace(watch.policy, checks=(strict,), judge=replace(watch.policy.judge, alpha=0.2))

        outcome = watch.ticks(4)

        assert outcome is not None
        assert outcome.result is StepResult.PASSED
        assert [each["check"] for each in watch.entries[-1].detail["assessments"]] == ["errors", "muted"]
        assert watch.book.opening.settings.alpha == 0.01

    def test_the_noise_of_the_past_is_measured_before_it_begins(self, watch: WatchedRelease) -> None:
        watch.traffic.past = bursts

        watch.ticks(1)

        numbers = watch.numbers()
        assert numbers["dispersion_measured"]
        assert numbers["dispersion"] > 2

    def test_the_past_ends_where_the_judging_begins(self, watch: WatchedRelease) -> None:
        told: list[float] = []

        def remember(begin: float, end: float) -> tuple[Measurement, Measurement]:
            told.append(end)
            return calm(begin, end)

        watch.traffic.past = remember
        watch.clock.advance(5 * INTERVAL)
        watch.ticks(1)

        position = watch.book.position
        assert position is not None
        assert position.started_at - INTERVAL < max(told) <= position.started_at

    def test_a_calm_past_makes_it_decide_sooner_than_an_unknown_one(self) -> None:
        known, unknown = WatchedRelease(), WatchedRelease()
        known.traffic.past = calm
        for watch in (known, unknown):
            watch.traffic.rps = 300
            watch.ticks(10)

        assert known.numbers()["dispersion"] < unknown.numbers()["dispersion"] == 2.0
        assert known.numbers()["log_safe"] > unknown.numbers()["log_safe"]

    def test_a_source_that_does_not_know_the_past_delays_nothing(self, watch: WatchedRelease) -> None:
        watch.traffic.trouble = "connection refused"
        watch.ticks(1)
        watch.traffic.trouble = None

        outcome = watch.ticks(5)

        assert outcome is not None
        assert outcome.result is StepResult.PASSED
        assert watch.numbers()["dispersion"] == 2.0

    def test_the_past_is_asked_once_however_often_the_watcher_is_restarted(self, watch: WatchedRelease) -> None:
        watch.traffic.past = calm

        watch.ticks(5)

        assert watch.traffic.past_asked == 2, "of each of the two checks"

    def test_no_past_is_asked_for_where_none_is_wanted_or_the_noise_is_given(self, watch: WatchedRelease) -> None:
        watch.traffic.past = bursts
        errors, muted = (replace(check, dispersion=1.0) for check in watch.policy.checks)
        watch.policy = replace(watch.policy, checks=(errors, muted))
        watch.ticks(1)
        assert (watch.traffic.past_asked, watch.numbers()["dispersion"]) == (0, 1.0)

        other = WatchedRelease()
        other.traffic.past = bursts
        other.policy = replace(other.policy, calibration_seconds=0.0)
        other.ticks(1)
        assert (other.traffic.past_asked, other.numbers()["dispersion"]) == (0, 2.0)


class TestReplay:
    @pytest.mark.parametrize("story", ["good", "harmful", "awful"])
    def test_what_is_kept_gives_the_recorded_verdict_bit_for_bit(self, watch: WatchedRelease, story: str) -> None:
        watch.traffic.past = bursts
        getattr(watch.traffic, story)()
        watch.ticks(29)
        recorded = watch.entries[-1].detail
        kept = list(watch.book.entries())[: recorded["taken_in"]]

        again = replay(watch.book.opening, kept).summary(subject="digits-v2.0.0")

        assert again.verdict.value == recorded["verdict"]
        assert [each.to_json() for each in again.assessments] == recorded["assessments"]

    def test_the_verdict_of_the_first_share_can_be_replayed_when_the_release_went_on(
        self, watch: WatchedRelease
    ) -> None:
        watch.ticks(6)
        watch.shift(50)
        watch.ticks(6, step=1)
        first, second = (entry.detail for entry in watch.entries if entry.name == "verdict")

        for recorded in (first, second):
            kept = list(watch.book.entries())[: recorded["taken_in"]]
            again = replay(watch.book.opening, kept).summary(subject="digits-v2.0.0")
            assert [each.to_json() for each in again.assessments] == recorded["assessments"]

    def test_a_page_that_is_gone_is_told(self, watch: WatchedRelease, monkeypatch: pytest.MonkeyPatch) -> None:
        watch.traffic.rps = 10
        watch.ticks(3)
        book, read = watch.book, watch.repository.read_evidence
        monkeypatch.setattr(
            watch.repository,
            "read_evidence",
            lambda model, release, name: None if "evidence" in name else read(model, release, name),
        )

        with pytest.raises(InvalidState, match=r"page 1 of the evidence .* is missing"):
            list(book.entries())


class TestLease:
    def test_it_is_renewed_while_a_slow_source_is_asked(self, watch: WatchedRelease) -> None:
        watch.traffic.seconds_per_answer = 70.0

        watch.ticks(1)

        live = watch.state.release
        assert live is not None
        assert watch.control().leases.remaining_seconds(live) > 0

    def test_it_is_renewed_while_a_slow_source_tells_the_past(
        self, watch: WatchedRelease, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A day of history is asked piece by piece, each with a time-out of its own."""
        defaults = LeaseKeeper.__init__.__kwdefaults__
        assert defaults is not None
        monkeypatch.setitem(defaults, "working_seconds", 0.2)
        tell, live, leases = watch.traffic.history, watch.state.release, watch.control().leases
        assert live is not None

        def tell_slowly(check: Check, **question: Any) -> Any:
            watch.clock.advance(150)  # longer than the longest lease
            until(lambda: not leases.has_expired(live), what="nobody may take the release for abandoned")
            return tell(check, **question)

        monkeypatch.setattr(watch.traffic, "history", tell_slowly)

        watch.ticks(1)

        assert watch.traffic.past_asked == 2, "of each of the two checks"


class TestFirstRelease:
    def test_early_steps_leave_the_judging_to_the_last(self) -> None:
        watch = WatchedRelease(stable=False)

        outcome = watch.ticks(1)

        assert outcome is not None
        assert (outcome.result, outcome.verdict) == (StepResult.PASSED, None)
        assert watch.traffic.asked == 0
        assert watch.split == {2: 100}

    def test_a_hold_freezes_an_early_step_too(self) -> None:
        watch = WatchedRelease(stable=False)
        watch.control(PERSON).hold(reason="audit")
        watch.apply()

        assert watch.ticks(5) is None

    def test_the_last_step_judges_by_absolute_limits(self) -> None:
        watch = WatchedRelease(stable=False)
        watch.traffic.awful()

        outcome = watch.ticks(2, step=1)

        assert outcome is not None
        assert (outcome.result, outcome.verdict) == (StepResult.ABORTED, Verdict.BREACH)
        assert watch.state.stable is None

    def test_a_canary_below_its_ceiling_passes_the_last_step(self) -> None:
        watch = WatchedRelease(stable=False)

        outcome = watch.ticks(6, step=1)

        assert outcome is not None
        assert (outcome.result, outcome.verdict) == (StepResult.PASSED, Verdict.SAFE)
        assert "not compared with stable" in outcome.reason


@pytest.mark.parametrize(
    ("consecutive", "words"),
    [
        (31, "'drift' needs 31 measurements in a row, one each 10 s, longer than the deadline of 300 s"),
        (1001, "'drift' has consecutive 1001; give at most 1000"),
    ],
)
def test_a_check_that_could_never_decide_is_refused(consecutive: int, words: str, watch: WatchedRelease) -> None:
    drift = Check(name="drift", kind=CheckKind.PROMQL, query="drift", max=3, consecutive=consecutive)

    with pytest.raises(InvalidConfig, match=words):
        replace(watch.policy, checks=(drift,))
    assert replace(watch.policy, checks=(replace(drift, consecutive=30),)).checks[0].consecutive == 30


def calm(begin: float, end: float) -> tuple[Measurement, Measurement]:
    """As noisy as independent requests: one standard deviation to either side in turn."""
    up = int(begin / 10) % 2
    return counted(9_000, 90), counted(1_000, 7 + 6 * up)


def bursts(begin: float, end: float) -> tuple[Measurement, Measurement]:
    """Every third interval control has twice as many bad answers, or none, in turn."""
    bad = {0: 20, 3: 0}.get(int(begin / 10) % 6, 10)
    return counted(9_000, 90), counted(1_000, bad)


def counted(requests: int, bad: int) -> Measurement:
    return Measurement(value=bad / requests, samples=requests, bad=bad, age_seconds=0.0)


def iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()


def assert_counted_once(watch: WatchedRelease, *, seconds: float) -> None:
    """What is kept of each check covers the time once and without a gap, with one canary request per second."""
    for check in ("errors", "muted"):
        requests, spans = watch.counted(check)
        assert requests == seconds, check
        assert all(end == begin for (_, end), (begin, _) in pairwise(spans)), check


def _killed(*_args: Any, **_kwargs: Any) -> None:
    raise KeyboardInterrupt


def only_the_last_page(watch: WatchedRelease) -> Callable[[str, str, str], bytes | None]:
    read = watch.repository.read_evidence

    def reading(model: str, release: str, name: str) -> bytes | None:
        assert "evidence" not in name or name.endswith("-4"), f"{name} is read"
        return read(model, release, name)

    return reading
