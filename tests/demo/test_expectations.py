from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from airflow_model_ops.core.checks import Verdict
from airflow_model_ops.core.errors import LedgerUnavailable
from airflow_model_ops.core.state import Actor, ActorKind, Golden, ServingState
from airflow_model_ops.core.versioning import Version
from demo.expectations import Expectation, expectations
from demo.outcomes import Outcome, Recovery, Requests

GOOD, BETTER, BAD, SLOW = (
    Version(name=f"v-20230601-12000{second}", number=20230601120000 + second) for second in range(4)
)
PERSON = Actor(kind=ActorKind.PERSON, name="admin")
FIRST = ServingState(fleet="default", stable=GOOD)
SECOND = replace(FIRST, stable=BETTER, earlier=(GOOD,), golden=Golden(version=GOOD, by_person=True))
AFTER_BAD = replace(SECOND, quarantined=(BAD,))
LAST = replace(AFTER_BAD, stable=GOOD, earlier=(), left=(BETTER,))


@dataclass
class WrittenDown:
    """What `Record` would read: the last state, a log of nine entries, and a ledger."""

    state: ServingState | None = LAST
    in_ledger: Callable[[], int] = field(default=lambda: 9)

    def entries(self) -> list[int]:
        return list(range(9))

    def recorded(self) -> int:
        return self.in_ledger()


def recovery(*, seconds: float) -> Recovery:
    return Recovery(
        begun_by="wrong answer",
        begun_at=1_000.0,
        evidence_at=1_002.0,
        committed_at=1_003.0,
        applied_at=1_003.1,
        last_answer_at=1_000.0 + seconds,
    )


def outcome(name: str, **changes: Any) -> Outcome:
    values: dict[str, Any] = {
        "name": name,
        "run_state": "success",
        "version": GOOD,
        "verdict": Verdict.SAFE,
        "action": "promoted",
        "why": "every check shown safe",
        "state": FIRST,
        "requests": Requests(sent=100, failed=0),
    }
    return Outcome(**(values | changes))


def the_story() -> dict[str, Outcome]:
    back = recovery(seconds=8.0)
    story = [
        outcome("good-1"),
        outcome("good-2", version=BETTER, state=SECOND),
        outcome(
            "bad",
            run_state="failed",
            version=BAD,
            verdict=Verdict.HARM,
            action="quarantined",
            why="wrong_predictions 60 %",
            state=AFTER_BAD,
            recovery=back,
        ),
        outcome(
            "slow",
            run_state="failed",
            version=SLOW,
            verdict=Verdict.BREACH,
            action="aborted",
            why="latency 100 % over 50 ms",
            state=AFTER_BAD,
            recovery=back,
            median_ms=87.0,
        ),
        outcome("rollback", verdict=None, action="stable again", state=LAST, recovery=back, actor=PERSON),
    ]
    return {part.name: part for part in story}


def the_account() -> dict[str, Any]:
    return {
        "sent": 500,
        "failed": 0,
        "failures": [],
        "wanted_rate": 40.0,
        "rate": 39.9,
        "by_version": {str(GOOD.number): {"last_at": 2_000.0}, str(BETTER.number): {"last_at": 1_990.0}},
    }


def judged(
    *, story: dict[str, Outcome] | None = None, account: dict[str, Any] | None = None, record: WrittenDown | None = None
) -> list[Expectation]:
    return expectations(
        story or the_story(),
        record=record or WrittenDown(),  # type: ignore[arg-type]
        account=the_account() | (account or {}),
        golden_run="success",
    )


def test_a_story_that_went_as_it_had_to_holds_in_every_point() -> None:
    assert [str(each) for each in judged() if not each.held] == []


@pytest.mark.parametrize(
    ("part", "changes", "complaint"),
    [
        ("good-1", {"run_state": "failed"}, "good-1 was judged SAFE"),
        ("good-2", {"verdict": Verdict.UNDECIDED}, "good-2 was judged SAFE"),
        ("bad", {"verdict": Verdict.SAFE}, "bad was judged HARM"),
        ("bad", {"why": "latency 30 % over 50 ms"}, "bad was judged HARM on wrong_predictions"),
        ("bad", {"state": SECOND}, "aborted and quarantined"),
        ("bad", {"recovery": None}, "last answer by bad"),
        ("bad", {"recovery": recovery(seconds=31.0)}, "last answer by bad"),
        ("slow", {"state": replace(AFTER_BAD, quarantined=(BAD, SLOW))}, "left a candidate"),
        ("slow", {"verdict": Verdict.HARM}, "aborted and quarantined"),
        ("slow", {"verdict": Verdict.UNDECIDED}, "slow was judged HARM or BREACH on latency"),
        ("slow", {"state": replace(AFTER_BAD, stable=SLOW)}, "good-2 stayed stable"),
        ("slow", {"median_ms": 12.0}, "half of the answers of slow"),
        ("rollback", {"actor": Actor(kind=ActorKind.AUTOMATION, name="x")}, "a person's rollback"),
        ("rollback", {"state": AFTER_BAD}, "made golden (good-1) stable again"),
    ],
)
def test_each_part_of_the_story_that_went_wrong_is_named(part: str, changes: dict[str, Any], complaint: str) -> None:
    story = the_story()

    failed = [str(each) for each in judged(story=story | {part: replace(story[part], **changes)}) if not each.held]

    assert len(failed) == 1
    assert failed[0].startswith("FAILED")
    assert complaint in failed[0]


def test_a_slow_candidate_that_is_shown_worse_than_stable_is_quarantined_too() -> None:
    slow = replace(
        the_story()["slow"],
        verdict=Verdict.HARM,
        state=replace(AFTER_BAD, quarantined=(BAD, SLOW)),
        action="quarantined",
    )

    assert [str(each) for each in judged(story=the_story() | {"slow": slow}) if not each.held] == []


def test_one_failed_request_in_thousands_fails_the_demo_and_is_shown() -> None:
    (failed,) = [
        each for each in judged(account={"failed": 1, "failures": [{"status": 503, "body": "no"}]}) if not each.held
    ]

    assert failed.text == "no request failed"
    assert "1 of 500" in failed.found
    assert "503" in failed.found


@pytest.mark.parametrize(
    ("account", "complaint"),
    [
        ({"sent": 0}, "no request failed"),
        ({"rate": 30.0}, "requests per second were sent"),
        ({"by_version": {str(BETTER.number): {"last_at": 2_000.0}}}, "golden alone answers now"),
    ],
)
def test_traffic_that_was_not_as_asked_is_named(account: dict[str, Any], complaint: str) -> None:
    (failed,) = [str(each) for each in judged(account=account) if not each.held]

    assert complaint in failed


def test_an_entry_missing_in_the_ledger_fails_the_demo() -> None:
    (failed,) = [str(each) for each in judged(record=WrittenDown(in_ledger=lambda: 8)) if not each.held]

    assert "8 of 9" in failed


def test_a_ledger_that_cannot_be_read_fails_the_demo_with_its_own_words() -> None:
    def unreadable() -> int:
        raise LedgerUnavailable("nothing is recorded")

    (failed,) = [str(each) for each in judged(record=WrittenDown(in_ledger=unreadable)) if not each.held]

    assert "nothing is recorded" in failed


def test_a_golden_version_that_no_person_pinned_is_no_pin() -> None:
    state = replace(LAST, golden=Golden(version=GOOD, by_person=False))

    (failed,) = [str(each) for each in judged(record=WrittenDown(state=state)) if not each.held]

    assert "good-1 is golden, pinned by a person" in failed


def test_the_moments_of_a_recovery_are_told_in_their_order_and_from_the_first() -> None:
    words = replace(recovery(seconds=3.05)).in_words()

    assert words == (
        "first wrong answer 00:16:40.00, first evidence of harm +2.00 s, way back committed +3.00 s, "
        "last answer by it +3.05 s, confirmed by the router +3.10 s"
    )


def test_a_release_becomes_a_row_with_its_training_run_under_its_version() -> None:
    row = the_story()["bad"].as_row()

    assert (row.version, row.verdict, row.recovery_seconds) == (f"{BAD}\nbad", "HARM,\nquarantined", 8.0)
