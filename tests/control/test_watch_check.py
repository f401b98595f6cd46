"""The watch after a promotion, interval by interval: what goes back, what only warns, what ends it, and what a restart keeps."""

from __future__ import annotations

import itertools
import logging
from dataclasses import replace
from typing import Any

import pytest

from airflow_model_ops.control.replay import replay_release
from airflow_model_ops.control.upkeep import Upkeep
from airflow_model_ops.control.watch_check import WatchCheck, WatchOutcome, WatchResult, stop_watching
from airflow_model_ops.core.checks import Check, CheckKind, Verdict
from airflow_model_ops.core.errors import PreEmpted
from airflow_model_ops.core.log import Entry, FactKind, Origin
from airflow_model_ops.core.policy import Watch
from airflow_model_ops.core.state import Fence
from tests.control.counted_traffic import arms_of
from tests.control.watched_release import AUTOMATION, INTERVAL, PERSON, WatchedRelease, v

WATCHED_SECONDS = 600.0


class PromotedRelease(WatchedRelease):
    """Version 2 went through its steps and was promoted over version 1, of which a share may be held back."""

    def __init__(self, *, hold_back: float = 5, stable: bool = True, checks: tuple[Check, ...] | None = None) -> None:
        super().__init__(stable=stable)
        self.policy = replace(
            self.policy,
            watch=Watch(seconds=WATCHED_SECONDS, hold_back=hold_back),
            checks=checks or self.policy.checks,
        )
        for index, step in enumerate(self.policy.steps):
            if index:
                self.shift(step.percent)
            assert self.ticks(100, step=index) is not None
        self.control().promote(
            v(2), fence=self.fence, proof="good", hold_back=hold_back, hold_back_seconds=WATCHED_SECONDS
        )
        self.apply()

    def watch(self) -> WatchCheck:
        """A watcher that remembers nothing, as after a restart."""
        return WatchCheck(
            control=self.control(),
            source=self.traffic,
            policy=self.policy,
            fence=self.fence,
            version=v(2),
            arms_of=arms_of,
        )

    def watched(self, times: int, *, watch: WatchCheck | None = None) -> WatchOutcome | None:
        """Measure every interval until the watch is over; without ``watch`` each time by another watcher."""
        for _ in range(times):
            self.clock.advance(INTERVAL)
            outcome = (watch or self.watch()).tick()
            if outcome is not None:
                return outcome
        return None

    def watched_to_the_end(self, *, watch: WatchCheck | None = None) -> WatchOutcome:
        outcome = self.watched(1 + int(WATCHED_SECONDS / INTERVAL), watch=watch)
        assert outcome is not None, "the watch did not end in its time"
        return outcome

    def verdicts(self) -> list[Entry]:
        return [entry for entry in self.entries if entry.name == FactKind.VERDICT and "held_back" in entry.detail]

    def abandoned(self) -> Any:
        upkeep = Upkeep(
            repository=self.repository,
            target=self.target,
            fleet="main",
            clock=self.clock,
            origin=Origin(actor=AUTOMATION),
        )
        return upkeep.neglected().abandoned


@pytest.fixture
def promoted() -> PromotedRelease:
    return PromotedRelease()


def only_ceiling() -> tuple[Check, ...]:
    return (Check(name="errors", kind=CheckKind.ERROR_RATE, max=0.2),)


class TestWayBack:
    def test_a_version_that_turns_bad_after_its_promotion_goes_back_to_the_one_that_is_held_back(
        self, promoted: PromotedRelease
    ) -> None:
        assert promoted.watched(6) is None
        promoted.traffic.harmful()

        outcome = promoted.watched(6)

        assert outcome is not None
        assert (outcome.result, outcome.verdict) == (WatchResult.ROLLED_BACK, Verdict.HARM)
        assert "against stable's 1.0 %" in outcome.reason
        assert "digits-v1.0.0, which was held back" in outcome.reason
        assert promoted.split == {1: 100}
        assert promoted.state.quarantined == (v(2),)
        rollback, _, verdict = promoted.entries[-3:]
        assert rollback.reason.startswith("rolled back from digits-v2.0.0 to digits-v1.0.0: HARM after the promotion: ")
        assert rollback.evidence == verdict.evidence == outcome.evidence

    def test_a_ceiling_that_both_cross_goes_back_without_a_quarantine(self, promoted: PromotedRelease) -> None:
        promoted.traffic.awful()

        outcome = promoted.watched(6)

        assert outcome is not None
        assert (outcome.result, outcome.verdict) == (WatchResult.ROLLED_BACK, Verdict.BREACH)
        assert promoted.split == {1: 100}
        assert promoted.state.quarantined == ()

    def test_without_a_hold_back_a_ceiling_still_acts(self) -> None:
        promoted = PromotedRelease(hold_back=0)
        promoted.traffic.awful()

        outcome = promoted.watched(6)

        assert outcome is not None
        assert (outcome.result, outcome.verdict) == (WatchResult.ROLLED_BACK, Verdict.BREACH)
        assert promoted.split == {1: 100}

    def test_a_persons_hold_does_not_stop_it(self, promoted: PromotedRelease) -> None:
        promoted.control(PERSON).hold(reason="audit")
        promoted.apply()
        promoted.traffic.harmful()

        assert promoted.watched(6) is not None
        assert promoted.split == {1: 100}

    def test_a_persons_pin_does_and_the_watch_ends_with_words_for_a_person(self, promoted: PromotedRelease) -> None:
        promoted.control(PERSON).pin_golden(v(2))
        promoted.apply()
        promoted.traffic.harmful()

        outcome = promoted.watched(6)

        assert outcome is not None
        assert (outcome.result, outcome.verdict) == (WatchResult.NOT_ROLLED_BACK, Verdict.HARM)
        assert "until a person acts" in outcome.reason
        assert promoted.split == {2: 100}

    def test_a_first_release_that_breaches_has_nowhere_to_go(self) -> None:
        promoted = PromotedRelease(stable=False, checks=only_ceiling())
        promoted.traffic.awful()

        outcome = promoted.watched(6)

        assert outcome is not None
        assert outcome.result is WatchResult.NOT_ROLLED_BACK
        assert "no version to roll back to" in outcome.reason
        assert promoted.split == {2: 100}

    def test_harm_of_the_steps_and_of_the_watch_share_one_record_and_one_alpha(self, promoted: PromotedRelease) -> None:
        before = promoted.book.taken_in
        promoted.watched(3)

        assert promoted.book.taken_in == before + 4  # the share that began, and three intervals
        spans = promoted.counted()[1]
        assert all(end <= begin for (_, end), (begin, _) in itertools.pairwise(spans)), "counted twice"


class TestEnd:
    def test_it_ends_after_its_time_and_stable_gets_everything(self, promoted: PromotedRelease) -> None:
        assert promoted.split == {1: 5, 2: 95}

        outcome = promoted.watched_to_the_end()

        assert (outcome.result, outcome.verdict) == (WatchResult.ENDED, Verdict.SAFE)
        assert promoted.split == {2: 100}
        assert promoted.state.holdback is None
        (verdict,) = promoted.verdicts()
        assert (verdict.detail["percent"], verdict.detail["held_back"]) == (95, "digits-v1.0.0")
        assert not promoted.abandoned()

    def test_without_a_hold_back_it_says_what_was_seen_of_the_limits(self) -> None:
        promoted = PromotedRelease(hold_back=0)

        outcome = promoted.watched_to_the_end()

        assert (outcome.result, outcome.verdict) == (WatchResult.ENDED, None)
        assert "no absolute limit is shown to be crossed: errors 1.0 %" in outcome.reason
        assert promoted.split == {2: 100}
        assert promoted.names[-1] == "verdict"

    @pytest.mark.parametrize("blind", ["outage", "silence"])
    def test_blindness_never_acts(self, promoted: PromotedRelease, blind: str) -> None:
        promoted.traffic.harmful()
        if blind == "outage":
            promoted.traffic.trouble = "connection refused"
        else:
            promoted.traffic.rps = 0

        outcome = promoted.watched_to_the_end()

        assert outcome.result is WatchResult.ENDED
        assert outcome.verdict in {Verdict.PROVIDER_DOWN, Verdict.NO_DATA}
        assert promoted.split == {2: 100}

    def test_what_it_found_can_be_replayed_bit_for_bit(self, promoted: PromotedRelease) -> None:
        promoted.watched(3)
        promoted.traffic.harmful()
        promoted.watched(6)

        verdicts = replay_release(promoted.repository, model="digits", release="r")

        assert [verdict.recorded for verdict in verdicts] == ["SAFE", "SAFE", "HARM"]
        assert all(verdict.same for verdict in verdicts)

    def test_it_waits_until_the_promotion_is_applied(self) -> None:
        promoted = PromotedRelease()
        promoted.target.unavailable_servers.add("server-1")
        promoted.control(PERSON).hold(reason="audit")  # a newer head, which no server confirms
        asked = promoted.traffic.asked

        assert promoted.watched(1) is None
        assert promoted.traffic.asked == asked


class TestSuperseded:
    def test_the_next_release_ends_it(self, promoted: PromotedRelease) -> None:
        promoted.watched(2)
        promoted.release(3, fence=Fence(release="next", attempt=1), percent=10)

        outcome = promoted.watched(1)

        assert outcome is not None
        assert (outcome.result, outcome.verdict) == (WatchResult.SUPERSEDED, None)
        assert "a newer release starts" in outcome.reason
        assert promoted.split == {2: 90, 3: 10}

    def test_a_persons_rollback_ends_it(self, promoted: PromotedRelease) -> None:
        promoted.watched(2)
        promoted.control(PERSON).rollback(reason="I do not like it")

        outcome = promoted.watched(1)

        assert outcome is not None
        assert outcome.result is WatchResult.SUPERSEDED
        assert "I do not like it" in outcome.reason

    def test_a_person_who_ends_the_hold_back_ends_it(self, promoted: PromotedRelease) -> None:
        promoted.control(PERSON).end_hold_back(reason="we need the machine", fence=None)
        promoted.traffic.awful()

        outcome = promoted.watched(1)

        assert outcome is not None
        assert outcome.result is WatchResult.SUPERSEDED
        assert promoted.state.stable == v(2)

    def test_the_next_release_is_told_even_after_it_has_ended(self) -> None:
        promoted = PromotedRelease(hold_back=0)
        fence = Fence(release="next", attempt=1)
        promoted.release(3, fence=fence, percent=10)
        promoted.control().promote(v(3), fence=fence, proof="good")

        outcome = promoted.watched(1)

        assert outcome is not None
        assert "canary digits-v3.0.0 starts" in outcome.reason

    def test_a_release_that_promoted_nothing_has_nothing_to_watch(self) -> None:
        release = WatchedRelease()
        watch = WatchCheck(
            control=release.control(),
            source=release.traffic,
            policy=release.policy,
            fence=release.fence,
            version=v(2),
            arms_of=arms_of,
        )

        with pytest.raises(PreEmpted, match="promoted nothing"):
            watch.tick()


class TestRestart:
    def test_a_restart_at_every_tick_changes_nothing(self) -> None:
        restarted, steady = PromotedRelease(), PromotedRelease()
        told = []
        for promoted, watch in ((restarted, None), (steady, steady.watch())):
            promoted.watched(3, watch=watch)
            promoted.traffic.harmful()
            outcome = promoted.watched(6, watch=watch)
            assert outcome is not None
            told.append((outcome.reason, promoted.clock.now()))

        assert told[0] == told[1]

    def test_one_that_dies_between_the_way_back_and_its_record_is_made_up_for(
        self, promoted: PromotedRelease, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        promoted.watched(3)
        promoted.traffic.harmful()
        dying = promoted.watch()
        monkeypatch.setattr(dying._control.committer, "record", _killed)
        with pytest.raises(KeyboardInterrupt):
            promoted.watched(6, watch=dying)

        outcome = promoted.watched(1)

        assert outcome is not None
        assert (outcome.result, outcome.verdict) == (WatchResult.ROLLED_BACK, Verdict.HARM)
        assert len(promoted.verdicts()) == 1

    def test_a_second_watcher_records_the_end_once(self, promoted: PromotedRelease) -> None:
        late = promoted.watch()
        promoted.watched_to_the_end()

        ended = late.tick()

        assert ended is not None
        assert ended.result is WatchResult.SUPERSEDED
        assert len(promoted.verdicts()) == 1

    def test_it_keeps_the_lease_and_a_watch_that_nobody_keeps_is_found(self, promoted: PromotedRelease) -> None:
        watch = promoted.watch()
        for _ in range(30):
            promoted.clock.advance(INTERVAL)
            assert watch.look_after() is None
            assert not promoted.abandoned()

        promoted.clock.advance(200)

        assert promoted.abandoned() == ("digits",)

    def test_steps_that_are_added_to_the_file_meanwhile_do_not_begin_the_watch_anew(
        self, promoted: PromotedRelease
    ) -> None:
        promoted.watched(2)
        began = promoted.book.position
        promoted.policy = replace(promoted.policy, steps=promoted.policy.steps[:1])
        promoted.watched(2)

        assert promoted.book.position == began


class TestStopping:
    def test_a_watch_that_is_killed_leaves_the_promoted_version_with_everything(
        self, promoted: PromotedRelease
    ) -> None:
        stop_watching(promoted.control(), fence=promoted.fence, reason="killed")

        assert promoted.split == {2: 100}
        assert promoted.state.quarantined == ()

    def test_a_late_one_changes_nothing(self, promoted: PromotedRelease) -> None:
        before = promoted.names
        stop_watching(promoted.control(), fence=Fence(release="r", attempt=7), reason="late")

        assert promoted.names == before


class TestAlert:
    """Without a hold-back there is only what was recorded of the former version: no bound, so no way back."""

    def test_a_version_that_looks_worse_than_the_record_is_told_once_and_serves_on(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        promoted = PromotedRelease(hold_back=0)
        promoted.traffic.harmful()

        with caplog.at_level(logging.WARNING):
            outcome = promoted.watched_to_the_end(watch=promoted.watch())

        assert outcome.result is WatchResult.ENDED
        assert promoted.split == {2: 100}
        told = [record.getMessage() for record in caplog.records if "looks worse" in record.getMessage()]
        assert len(told) == 1
        assert "no error bound" in told[0]
        (verdict,) = promoted.verdicts()
        assert verdict.detail["alerts"] == [told[0].split("model=digits ")[1]]

    def test_each_check_is_told_of_once_also_when_another_was_told_of_before(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        strict = Check(name="strict", kind=CheckKind.ERROR_RATE, margin=2, max=0.99)
        promoted = PromotedRelease(hold_back=0, checks=(strict, replace(strict, name="lax", negligible=0.3)))
        watch = promoted.watch()

        with caplog.at_level(logging.WARNING):
            for rate in (0.1, 0.9):
                promoted.traffic.canary_bad = rate
                assert promoted.watched(10, watch=watch) is None

        told = [record.getMessage() for record in caplog.records if "looks worse" in record.getMessage()]
        assert [next(name for name in ("strict", "lax") if f" {name} of " in each) for each in told] == [
            "strict",
            "lax",
        ]

    def test_one_that_is_as_good_is_not_told(self) -> None:
        promoted = PromotedRelease(hold_back=0)
        promoted.watched_to_the_end()

        assert "alerts" not in promoted.verdicts()[0].detail

    def test_with_a_hold_back_nobody_looks_into_the_past(self, promoted: PromotedRelease) -> None:
        promoted.traffic.canary_bad = promoted.traffic.stable_bad = 0.1  # the traffic itself has become worse
        outcome = promoted.watched_to_the_end()

        assert (outcome.result, outcome.verdict) == (WatchResult.ENDED, Verdict.SAFE)
        assert "alerts" not in promoted.verdicts()[0].detail

    def test_a_first_release_has_no_record_to_be_held_against(self) -> None:
        promoted = PromotedRelease(hold_back=0, stable=False, checks=only_ceiling())
        promoted.traffic.harmful()

        assert promoted.watched_to_the_end().result is WatchResult.ENDED
        assert "alerts" not in promoted.verdicts()[0].detail


def _killed(*_args: Any, **_kwargs: Any) -> None:
    raise KeyboardInterrupt
