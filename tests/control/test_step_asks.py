"""A step that asks a person at its deadline: frozen and still watched, and an answer counts only for what was asked about."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from airflow_model_ops.control.step_check import StepCheck, StepOutcome, StepResult
from airflow_model_ops.core.checks import Verdict
from airflow_model_ops.core.policy import OnDeadline, Step, StepMove, next_move
from airflow_model_ops.core.question import KEEP_WAITING, Answer, Choice, Question
from airflow_model_ops.core.state import Actor, ActorKind, Fence
from tests.control.counted_traffic import CountedTraffic, arms_of
from tests.control.watched_release import PERSON, WatchedRelease, v

ALICE = Actor(kind=ActorKind.PERSON, name="alice")
TO_THE_DEADLINE = 31
"""So many measurements, 10 s apart, pass the deadline of 300 s."""
BLINDNESS: dict[Verdict, Callable[[CountedTraffic], None]] = {
    Verdict.NO_DATA: lambda traffic: setattr(traffic, "rps", 0.0),
    Verdict.STALE: lambda traffic: setattr(traffic, "behind", 3600.0),
    Verdict.PROVIDER_DOWN: lambda traffic: setattr(traffic, "trouble", "connection refused"),
    Verdict.SPLIT_MISMATCH: lambda traffic: setattr(traffic, "misrouted", 1.5),
    Verdict.UNDECIDED: lambda traffic: setattr(traffic, "rps", 10.0),
}


class AskingRelease(WatchedRelease):
    """A release whose steps ask, with too little traffic to decide."""

    def __init__(self) -> None:
        super().__init__(on_deadline=OnDeadline.ASK)
        self.traffic.rps = 10

    def watcher(self) -> StepCheck:
        """A watcher that knows that the question has been put."""
        return StepCheck(
            control=self.control(),
            source=self.traffic,
            policy=self.policy,
            step_index=0,
            fence=self.fence,
            version=v(2),
            arms_of=arms_of,
            asked=True,
        )

    def asks(self) -> StepOutcome:
        """Let the deadline pass."""
        outcome = self.ticks(TO_THE_DEADLINE)
        assert outcome is not None
        assert outcome.result is StepResult.ASKED
        return outcome

    def answers(self, choice: Choice, *, by: str = "alice") -> StepOutcome | None:
        """Let a worker that remembers nothing carry out an answer."""
        return self.check().answer(Answer(choice=choice, by=by))

    @property
    def last_actor(self) -> Actor:
        return next(entry.origin.actor for entry in reversed(self.entries) if entry.action is not None)


@pytest.fixture
def watch() -> AskingRelease:
    return AskingRelease()


class TestAsking:
    def test_the_deadline_freezes_the_step_and_asks_and_not_before(self, watch: AskingRelease) -> None:
        assert watch.ticks(29) is None
        assert watch.state.hold is None

        outcome = watch.asks()

        assert outcome.verdict is Verdict.UNDECIDED
        assert watch.state.hold is not None
        assert not watch.state.hold.by_person
        assert "found no verdict within 300 s" in watch.state.hold.reason
        assert "a person is asked" in watch.state.hold.reason
        assert watch.split == {1: 90, 2: 10}

    @pytest.mark.parametrize("verdict", BLINDNESS)
    def test_blindness_is_asked_about_too(self, watch: AskingRelease, verdict: Verdict) -> None:
        BLINDNESS[verdict](watch.traffic)

        assert watch.asks().verdict is verdict

    def test_a_step_that_was_shown_safe_asks_nobody(self, watch: AskingRelease) -> None:
        watch.traffic.rps = 1000

        outcome = watch.ticks(TO_THE_DEADLINE)

        assert outcome is not None
        assert outcome.result is StepResult.PASSED

    def test_a_restarted_watcher_asks_again_until_it_knows_that_the_question_was_put(
        self, watch: AskingRelease
    ) -> None:
        watch.asks()
        holds = watch.names.count("hold")

        again = watch.ticks(1)
        silence = watch.ticks(5, check=watch.watcher())

        assert again is not None
        assert again.result is StepResult.ASKED
        assert silence is None
        assert watch.names.count("hold") == holds == 1

    def test_a_crash_between_the_note_and_the_hold_asks_again(self, watch: AskingRelease) -> None:
        watch.asks()
        watch.control(PERSON).resume(reason="as if the hold had never been committed")
        position = watch.book.position
        assert position is not None
        assert position.asked
        assert not position.held

        outcome = watch.ticks(1)

        assert outcome is not None
        assert outcome.result is StepResult.ASKED
        assert watch.state.hold is not None

    @pytest.mark.parametrize(("harm", "verdict"), [("harmful", Verdict.HARM), ("awful", Verdict.BREACH)])
    def test_while_the_question_is_open_harm_acts_at_once(
        self, watch: AskingRelease, harm: str, verdict: Verdict
    ) -> None:
        watch.asks()
        watch.traffic.rps = 1000
        getattr(watch.traffic, harm)()

        outcome = watch.ticks(5, check=watch.watcher())

        assert outcome is not None
        assert (outcome.result, outcome.verdict) == (StepResult.ABORTED, verdict)
        assert watch.split == {1: 100}
        assert (v(2) in watch.state.quarantined) is (verdict is Verdict.HARM)
        assert watch.state.hold is None

    def test_while_a_person_holds_nobody_is_asked(self, watch: AskingRelease) -> None:
        watch.control(PERSON).hold(reason="I look at it myself")

        assert watch.ticks(TO_THE_DEADLINE) is None

    def test_safety_shown_later_does_not_answer_for_the_person(self, watch: AskingRelease) -> None:
        watch.asks()
        watch.traffic.rps = 1000

        assert watch.ticks(20, check=watch.watcher()) is None
        assert watch.state.hold is not None

    @pytest.mark.parametrize("policy", OnDeadline)
    def test_only_the_policy_ask_asks(self, policy: OnDeadline) -> None:
        move = next_move(
            Verdict.NO_DATA,
            baked_seconds=500,
            step=Step(percent=10, bake_seconds=60),
            waited_seconds=500,
            deadline_seconds=300,
            on_deadline=policy,
        )
        assert (move is StepMove.ASK) is (policy is OnDeadline.ASK)


class TestLettingItPass:
    def test_the_step_passes_without_proof_in_the_name_of_the_person(self, watch: AskingRelease) -> None:
        watch.asks()

        outcome = watch.answers(Choice.PASS)

        assert outcome is not None
        assert outcome.result is StepResult.PASSED_WITHOUT_PROOF
        assert outcome.reason.startswith("without proof, approved by alice: UNDECIDED")
        assert watch.state.hold is None
        assert watch.last_actor == ALICE
        fact = watch.entries[-1]
        assert (fact.name, fact.detail["result"], fact.detail["answered_by"]) == (
            "verdict",
            "passed_without_proof",
            "alice",
        )
        watch.shift(50)
        assert watch.split == {1: 50, 2: 50}

    @pytest.mark.parametrize("verdict", BLINDNESS)
    def test_a_person_may_let_a_blind_step_pass_and_that_is_recorded(
        self, watch: AskingRelease, verdict: Verdict
    ) -> None:
        BLINDNESS[verdict](watch.traffic)
        watch.asks()

        outcome = watch.answers(Choice.PASS)

        assert outcome is not None
        assert (outcome.result, outcome.verdict) == (StepResult.PASSED_WITHOUT_PROOF, verdict)
        assert watch.entries[-1].detail["verdict"] == verdict.value

    def test_safety_shown_meanwhile_is_proof_beside_the_approval(self, watch: AskingRelease) -> None:
        watch.asks()
        watch.traffic.rps = 1000
        watch.ticks(20, check=watch.watcher())

        outcome = watch.answers(Choice.PASS)

        assert outcome is not None
        assert (outcome.result, outcome.verdict) == (StepResult.PASSED, Verdict.SAFE)
        assert outcome.reason.startswith("approved by alice: SAFE")

    def test_harm_in_the_newest_counts_is_stronger_than_the_approval(self, watch: AskingRelease) -> None:
        watch.asks()
        watch.traffic.rps = 1000
        watch.traffic.harmful()
        watch.clock.advance(10)

        outcome = watch.answers(Choice.PASS)

        assert outcome is not None
        assert (outcome.result, outcome.verdict) == (StepResult.ABORTED, Verdict.HARM)
        assert watch.split == {1: 100}

    def test_it_never_passes_a_persons_hold_but_counts_once_that_ends(self, watch: AskingRelease) -> None:
        watch.asks()
        watch.control(PERSON).hold(reason="wait for me")

        assert watch.answers(Choice.PASS) is None
        assert watch.ticks(3) is None
        assert watch.state.hold is not None
        assert watch.state.hold.by_person
        watch.control(PERSON).resume(reason="go on")
        outcome = watch.ticks(1)

        assert outcome is not None
        assert outcome.result is StepResult.PASSED_WITHOUT_PROOF
        assert "approved by alice" in outcome.reason

    def test_a_worker_that_dies_after_keeping_the_answer_is_finished_by_the_next_watcher(
        self, watch: AskingRelease, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        watch.asks()
        with monkeypatch.context() as death:
            death.setattr(StepCheck, "tick", lambda check: (_ for _ in ()).throw(KeyboardInterrupt))
            with pytest.raises(KeyboardInterrupt):
                watch.answers(Choice.PASS)
        assert watch.state.hold is not None

        outcome = watch.ticks(1)

        assert outcome is not None
        assert outcome.result is StepResult.PASSED_WITHOUT_PROOF
        assert watch.last_actor == ALICE

    def test_repeated_it_is_recorded_once(self, watch: AskingRelease) -> None:
        watch.asks()
        watch.answers(Choice.PASS)

        again = watch.ticks(3)

        assert again is not None
        assert again.result is StepResult.PASSED_WITHOUT_PROOF
        assert [watch.names.count(name) for name in ("verdict", "resume")] == [1, 1]

    def test_the_next_step_needs_an_approval_of_its_own(self, watch: AskingRelease) -> None:
        watch.asks()
        watch.answers(Choice.PASS)
        watch.shift(50)

        outcome = watch.ticks(TO_THE_DEADLINE, step=1)

        assert outcome is not None
        assert outcome.result is StepResult.ASKED


class TestOtherAnswers:
    def test_an_abort_is_the_persons_and_leaves_the_version_a_candidate(self, watch: AskingRelease) -> None:
        watch.asks()

        outcome = watch.answers(Choice.ABORT)

        assert outcome is not None
        assert outcome.result is StepResult.ABORTED
        assert "ended by alice when asked: UNDECIDED" in outcome.reason
        assert watch.last_actor == ALICE
        assert watch.split == {1: 100}
        assert watch.state.quarantined == ()

    def test_keep_waiting_thaws_the_step_and_the_deadline_counts_anew(self, watch: AskingRelease) -> None:
        watch.traffic.rps = 0
        watch.asks()

        assert watch.answers(Choice.WAIT) is None
        assert watch.state.hold is None
        assert watch.ticks(29) is None
        outcome = watch.ticks(2)

        assert outcome is not None
        assert outcome.result is StepResult.ASKED
        assert watch.names.count("hold") == 2

    def test_after_keep_waiting_safety_lets_the_step_pass_by_itself(self, watch: AskingRelease) -> None:
        watch.asks()
        watch.answers(Choice.WAIT)
        watch.traffic.rps = 1000

        outcome = watch.ticks(20)

        assert outcome is not None
        assert outcome.result is StepResult.PASSED

    def test_a_resume_by_other_means_makes_the_question_moot(self, watch: AskingRelease) -> None:
        watch.asks()
        check = watch.watcher()
        watch.ticks(1, check=check)
        assert check.still_asks

        watch.control(PERSON).resume(reason="let it run")
        assert watch.ticks(1, check=check) is None

        assert not check.still_asks
        assert watch.answers(Choice.PASS) is None
        assert watch.ticks(10) is None


class TestVoidAnswers:
    @pytest.mark.parametrize("choice", Choice)
    def test_after_harm_an_answer_is_void_and_says_why(self, watch: AskingRelease, choice: Choice) -> None:
        watch.asks()
        watch.traffic.rps = 1000
        watch.traffic.harmful()
        watch.ticks(2, check=watch.watcher())
        before = watch.names

        outcome = watch.answers(choice)

        assert outcome is not None
        assert (outcome.result, outcome.verdict) == (StepResult.ABORTED, Verdict.HARM)
        assert f"the answer of alice ({choice}) is void" in outcome.reason
        assert "HARM" in outcome.reason
        assert watch.names == before

    def test_an_answer_to_an_older_attempt_approves_nothing(self, watch: AskingRelease) -> None:
        watch.asks()
        late = watch.check()
        watch.release(2, fence=Fence(release="r", attempt=2), percent=10)

        outcome = late.answer(Answer(choice=Choice.PASS, by="alice"))

        assert outcome is not None
        assert outcome.result is StepResult.PRE_EMPTED
        assert watch.split == {1: 90, 2: 10}

    def test_an_answer_that_nobody_waits_for_changes_nothing(self, watch: AskingRelease) -> None:
        watch.ticks(3)
        before = watch.names

        assert [watch.answers(choice) for choice in Choice] == [None, None, None]
        assert watch.names == before


class TestQuestion:
    QUESTION = Question(model="digits", version=v(2), percent=10)

    def test_it_offers_to_pass_to_abort_and_to_wait_and_names_version_and_share(self) -> None:
        assert dict(self.QUESTION.options) == {
            "Let digits-v2.0.0 pass 10 % without proof": Choice.PASS,
            "Abort digits-v2.0.0": Choice.ABORT,
            KEEP_WAITING: Choice.WAIT,
        }
        assert "digits-v2.0.0" in self.QUESTION.subject

    @pytest.mark.parametrize(
        "other",
        [Question(model="digits", version=v(3), percent=10), Question(model="digits", version=v(2), percent=50)],
    )
    def test_the_approval_of_another_version_or_step_is_no_answer_to_it(self, other: Question) -> None:
        approval = next(text for text, choice in other.options.items() if choice is Choice.PASS)

        assert self.QUESTION.choice_of([approval]) is None

    @pytest.mark.parametrize("chosen", [[], ["Abort digits-v2.0.0", KEEP_WAITING], ["yes"]])
    def test_no_two_or_unknown_answers_are_none(self, chosen: list[str]) -> None:
        assert self.QUESTION.choice_of(chosen) is None
