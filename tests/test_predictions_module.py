"""A label that arrives hours late is counted for the version that answered, or left out for a reason that is shown."""

from __future__ import annotations

import threading

import pytest
from prometheus_client import CollectorRegistry

from airflow_model_ops.predictions import LabelFate, PredictionJournal
from tests.waits import all_ended

HOUR = 3_600.0


class Bench:
    """A journal whose clock the test moves, and what it counted."""

    def __init__(self, *, max_predictions: int = 1_000, max_age_seconds: float = 24 * HOUR) -> None:
        self.now = 1_685_620_800.0
        self.registry = CollectorRegistry()
        self.journal = PredictionJournal(
            "digits",
            max_predictions=max_predictions,
            max_age_seconds=max_age_seconds,
            registry=self.registry,
            clock=lambda: self.now,
        )

    def counted(self, version: str, outcome: str) -> float | None:
        labels = {"model": "digits", "version": version, "outcome": outcome}
        return self.registry.get_sample_value("model_predictions_total", labels)

    def left_out(self, reason: LabelFate) -> float | None:
        labels = {"model": "digits", "reason": reason.value}
        return self.registry.get_sample_value("model_labels_left_out_total", labels)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_a_label_hours_later_counts_for_the_version_that_answered_and_not_for_the_one_that_serves(bench: Bench) -> None:
    bench.journal.answered("before", "1")
    bench.journal.answered("canary", "2")
    bench.journal.answered("stable", 1)
    bench.now += 5 * HOUR
    assert bench.journal.labelled("canary", "wrong") is LabelFate.COUNTED
    assert bench.journal.labelled("stable", "right") is LabelFate.COUNTED
    assert (bench.counted("2", "wrong"), bench.counted("1", "wrong"), bench.counted("1", "right")) == (1, 0, 1)


def test_predictions_from_before_the_newest_version_came_are_left_out(bench: Bench) -> None:
    """Stable's night would be compared with the canary's morning."""
    bench.journal.answered("night", "1")
    bench.now += 8 * HOUR
    bench.journal.answered("morning", "2")
    bench.now += HOUR
    bench.journal.answered("later", "1")
    assert bench.journal.labelled("night", "wrong") is LabelFate.BEFORE_NEWEST
    assert bench.journal.labelled("morning", "right") is LabelFate.COUNTED
    assert bench.journal.labelled("later", "right") is LabelFate.COUNTED
    assert bench.counted("1", "wrong") == 0
    assert bench.left_out(LabelFate.BEFORE_NEWEST) == 1


def test_a_version_that_comes_back_within_the_day_is_not_new(bench: Bench) -> None:
    bench.journal.answered("first", "1")
    bench.journal.answered("try", "2")
    bench.now += 12 * HOUR
    bench.journal.answered("between", "1")
    bench.now += HOUR
    bench.journal.answered("again", "2")
    assert bench.journal.labelled("between", "right") is LabelFate.COUNTED
    bench.now += 25 * HOUR
    bench.journal.answered("other day", "1")
    bench.now += 1
    bench.journal.answered("new to this day", "2")
    assert bench.journal.labelled("other day", "right") is LabelFate.BEFORE_NEWEST


def test_a_label_counts_once(bench: Bench) -> None:
    bench.journal.answered("p", "1")
    assert bench.journal.labelled("p", "wrong") is LabelFate.COUNTED
    assert bench.journal.labelled("p", "wrong") is LabelFate.UNKNOWN
    assert bench.journal.labelled("never seen", "wrong") is LabelFate.UNKNOWN
    assert bench.counted("1", "wrong") == 1
    assert bench.left_out(LabelFate.UNKNOWN) == 2


def test_the_newer_of_two_answers_counts(bench: Bench) -> None:
    bench.journal.answered("p", "1")
    bench.journal.answered("p", "2")
    bench.journal.labelled("p", "right")
    assert (bench.counted("1", "right"), bench.counted("2", "right"), len(bench.journal)) == (None, 1, 0)


def test_a_label_that_comes_too_late_is_told_from_an_unknown_one_and_both_are_forgotten_in_the_end(
    bench: Bench,
) -> None:
    bench.journal.answered("old", "1")
    bench.now += 25 * HOUR
    assert bench.journal.labelled("old", "right") is LabelFate.TOO_LATE
    bench.journal.answered("never labelled", "1")
    bench.now += 49 * HOUR
    bench.journal.answered("today", "1")
    assert len(bench.journal) == 1


def test_the_oldest_predictions_make_room_for_new_ones() -> None:
    bench = Bench(max_predictions=3)
    for number in range(5):
        bench.journal.answered(number, "1")
    assert len(bench.journal) == 3
    assert [bench.journal.labelled(number, "right") for number in range(5)] == [LabelFate.UNKNOWN] * 2 + [
        LabelFate.COUNTED
    ] * 3


def test_many_threads_lose_no_label(bench: Bench) -> None:
    def work(name: int) -> None:
        for number in range(100):
            bench.journal.answered((name, number), "1")
            bench.journal.labelled((name, number), "right")

    threads = [threading.Thread(target=work, args=(name,), daemon=True) for name in range(8)]
    for thread in threads:
        thread.start()
    all_ended(*threads, within=60)
    assert bench.counted("1", "right") == 800
    assert len(bench.journal) == 0


def test_what_makes_no_sense_is_refused(bench: Bench) -> None:
    with pytest.raises(ValueError, match="has no version; pass the response header x-model-version"):
        bench.journal.answered("p", " ")
    bench.journal.answered("p", "1")
    with pytest.raises(ValueError, match="outcome 'maybe' is unknown"):
        bench.journal.labelled("p", "maybe")
    assert bench.journal.labelled("p", "right") is LabelFate.COUNTED, "the refused label used nothing up"
    with pytest.raises(ValueError, match="seconds above 0"):
        PredictionJournal("digits", max_age_seconds=0)


def test_two_journals_share_one_registry(bench: Bench) -> None:
    other = PredictionJournal("letters", registry=bench.registry)
    assert other.labelled("p", "right") is LabelFate.UNKNOWN
    assert bench.left_out(LabelFate.UNKNOWN) is None
