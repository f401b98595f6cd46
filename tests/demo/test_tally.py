from __future__ import annotations

import json

import pytest

from airflow_model_ops.metrics import Outcome
from demo.tally import KEPT_FAILURES, FinishedRequest, Latencies, Tally, clip


def finished(
    *, due: float = 100.0, took: float = 0.01, outcome: Outcome = Outcome.RIGHT, version: str = "1"
) -> FinishedRequest:
    failed = outcome is Outcome.ERROR
    return FinishedRequest(
        due=due, done=due + took, outcome=outcome, version=version, status=503 if failed else 200, body="no" * failed
    )


def test_right_wrong_and_failed_answers_are_counted_per_version() -> None:
    tally = Tally()

    for outcome, version in [("right", "1"), ("wrong", "2"), ("right", "2"), ("error", "2")]:
        tally.add(finished(outcome=Outcome(outcome), version=version))

    account = tally.as_json()
    assert (account["sent"], account["failed"]) == (4, 1)
    assert [account["by_version"]["2"][key] for key in ("sent", "right", "wrong", "error")] == [3, 1, 1, 1]
    assert account["by_version"]["1"]["sent"] == account["by_version"]["1"]["right"] == 1


def test_first_and_last_answer_of_a_version_are_by_time_even_when_answers_overtake_each_other() -> None:
    tally = Tally()

    tally.add(finished(due=105, took=1))
    tally.add(finished(due=101, took=9))
    tally.add(finished(due=102, took=1, outcome=Outcome.WRONG))

    version = tally.by_version["1"]
    assert (version.first_at, version.last_at, version.first_wrong_at) == (103, 110, 103)


def test_nothing_before_the_first_success_counts_when_asked_so() -> None:
    tally = Tally(start_after_first_200=True)

    before = [tally.add(finished(due=due, outcome=Outcome.ERROR)) for due in (1, 2)]
    first = tally.add(finished(due=4))
    overtaken = tally.add(finished(due=3, took=5, outcome=Outcome.ERROR))
    after = tally.add(finished(due=5, outcome=Outcome.ERROR))

    assert (before, first, overtaken, after) == ([False, False], True, False, True)
    assert (tally.sent, tally.failed, tally.left_out, tally.started_at) == (2, 1, 3, 4)


def test_without_being_asked_a_failure_before_the_first_success_counts() -> None:
    tally = Tally()

    assert tally.add(finished(outcome=Outcome.ERROR))
    assert tally.failed == 1


def test_the_first_failures_are_kept_whole_and_all_are_counted() -> None:
    tally = Tally()

    for number in range(KEPT_FAILURES + 5):
        tally.add(finished(due=number, outcome=Outcome.ERROR))

    assert tally.failed == KEPT_FAILURES + 5
    assert [failure["due"] for failure in tally.as_json()["failures"]] == list(range(KEPT_FAILURES))
    assert tally.as_json()["failures"][0] | {"status": 503, "body": "no"} == tally.as_json()["failures"][0]


def test_the_timeline_says_which_versions_answered_in_each_second() -> None:
    tally = Tally()

    for due, version in [(7.1, "1"), (5.5, "1"), (5.2, "2"), (5.3, "1")]:
        tally.add(finished(due=due, version=version))

    assert json.loads(json.dumps(tally.as_json()))["timeline"] == [
        {"at": 5, "versions": {"1": 2, "2": 1}},
        {"at": 7, "versions": {"1": 1}},
    ]


def test_the_achieved_rate_spans_first_due_to_last_done() -> None:
    tally = Tally()
    assert tally.achieved_rate == 0

    for number in range(20):
        tally.add(finished(due=100 + number / 10, took=0.1))

    assert tally.achieved_rate == pytest.approx(10)


@pytest.mark.parametrize("milliseconds", [0.3, 1.0, 7.0, 80.0, 4999.0])
def test_a_quantile_is_within_a_bucket_of_the_true_value(milliseconds: float) -> None:
    latencies = Latencies()
    for _ in range(99):
        latencies.add(milliseconds)
    latencies.add(milliseconds * 50)

    for share in (0.5, 0.99):
        assert milliseconds * 0.98 <= (latencies.quantile(share) or 0) <= milliseconds * 1.06
    assert (latencies.quantile(1.0) or 0) >= milliseconds * 49


def test_no_requests_have_no_quantile() -> None:
    assert Latencies().as_json() == {"p50": None, "p99": None}


def test_a_body_that_is_not_text_is_still_kept_with_its_failure() -> None:
    assert clip(b"\xff" + b"a" * 1000).startswith("\N{REPLACEMENT CHARACTER}aaa")
    assert len(clip(b"a" * 1000)) == 300
