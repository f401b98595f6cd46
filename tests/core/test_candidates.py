"""Which model of a pipeline is released next, and how often one is told of."""

from __future__ import annotations

import pytest

from airflow_model_ops.core.candidates import Candidate, CandidateKind, rule_candidate
from airflow_model_ops.core.errors import InvalidState
from airflow_model_ops.core.exports import ExportHistory, Ruling
from airflow_model_ops.core.tellings import MOST_TIMES, Telling
from airflow_model_ops.core.versioning import VersionNaming

PROMOTED = VersionNaming().parse("v-20230601-120000")
CANDIDATE = Candidate(
    kind=CandidateKind.BLESSED,
    artifact="7",
    type="Model",
    uri="/m/7",
    created="1685620800123",
    ready="1685620860000",
    pipeline="taxi",
)


def test_a_candidate_survives_the_way_through_xcom() -> None:
    sent = CANDIDATE.of("tfx_mlmd").to_json()

    assert Candidate.from_json(sent) == CANDIDATE.of("tfx_mlmd")
    assert (sent["connection"], sent["artifact"]) == ("tfx_mlmd", "7")
    assert sent["created_at"] == "2023-06-01T12:00:00.123+00:00"


@pytest.mark.parametrize("change", [{"kind": "best"}, {"created": "yesterday"}, {"artifact": "1.5"}])
def test_what_is_no_candidate_is_refused(change: dict[str, str]) -> None:
    with pytest.raises(InvalidState, match="candidate of a pipeline"):
        Candidate.from_json(CANDIDATE.to_json() | change)


@pytest.mark.parametrize(
    ("pushed", "history", "again", "ruling", "why"),
    [
        ({}, ExportHistory(), False, Ruling.RELEASE, "not pushed before"),
        ({}, ExportHistory(chosen_at=1685620859.0), False, Ruling.RELEASE, "not pushed before"),
        ({}, ExportHistory(chosen_at=1685620860.0), False, Ruling.STOP, "was ready already"),
        ({CANDIDATE.key: "d"}, ExportHistory(), False, Ruling.STOP, "has had its release"),
        ({CANDIDATE.key: "d"}, ExportHistory(), True, Ruling.RELEASE, "neither promoted nor refused"),
        ({CANDIDATE.key: "d"}, ExportHistory(promoted={"d": PROMOTED}), True, Ruling.STOP, "which was promoted"),
        ({CANDIDATE.key: "d"}, ExportHistory(refused={"d": "is bad"}), False, Ruling.PASS_OVER, "is bad"),
    ],
)
def test_the_log_says_what_is_to_be_done_with_a_candidate(
    pushed: dict[str, str], history: ExportHistory, again: bool, ruling: Ruling, why: str
) -> None:
    decided, reason = rule_candidate(CANDIDATE, pushed=pushed, history=history, again=again)

    assert decided is ruling
    assert why in reason


class TestTellings:
    def told_at(self, seconds: range) -> list[int]:
        telling, told = Telling(), []
        for now in seconds:
            if telling.is_due("a", now=now, first_pause_seconds=10):
                told.append(now)
                telling = Telling.from_json(telling.told("a", now=now).to_json())
        return told

    def test_each_pause_is_twice_as_long_and_then_it_is_silent(self) -> None:
        told = self.told_at(range(0, 100_000, 10))

        assert told[:4] == [0, 10, 30, 70]
        assert len(told) == MOST_TIMES

    def test_another_candidate_is_told_of_at_once(self) -> None:
        telling = Telling(candidate="a", times=MOST_TIMES, at=100)

        assert telling.is_due("b", now=100, first_pause_seconds=10)
        assert telling.told("b", now=100) == Telling(candidate="b", times=1, at=100)

    def test_a_clock_that_was_set_back_does_not_silence_it(self) -> None:
        assert Telling(candidate="a", times=2, at=100).is_due("a", now=50, first_pause_seconds=10)

    @pytest.mark.parametrize("kept", [None, "x", {}, {"candidate": "a", "times": "many", "at": 0}])
    def test_what_cannot_be_read_counts_as_nothing_told(self, kept: object) -> None:
        assert Telling.from_json(kept) == Telling()
