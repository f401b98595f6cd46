"""The threshold rules follow their documented semantics, faults included."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from benchmarks.judge.judges import Answer, Judge, let_judge
from benchmarks.judge.rates import rolled_back
from benchmarks.judge.scenes import Fault, Scene
from benchmarks.judge.thresholds import ArgoRollouts, Flagger, tune_argo
from benchmarks.judge.traffic import Arm, Seen, draw
from benchmarks.judge.ztests import ZTest, z_value


def intervals(*bad_of_100: int, fault: Fault | None = None) -> Iterator[Seen]:
    """Yield one minute per number: the canary's bad requests of a hundred, with a baseline of 1 %."""
    for index, bad in enumerate(bad_of_100):
        yield Seen(60.0 * (index + 1), 10.0, Arm(100, bad), Arm(800, 8), Arm(100, 1), fault)


def rollback_minute(judge: Judge, seen: Iterator[Seen]) -> float | None:
    """Give the minute at which a judge rolls back."""
    ended = let_judge(judge, seen).rolled_back
    return None if ended is None else ended / 60


def test_argo_ends_the_rollout_at_the_measurement_after_its_failure_limit_however_far_apart_the_failures_are() -> None:
    assert rollback_minute(ArgoRollouts(limit=0.05), intervals(6, 0, 6, 0, 0, 6, 0, 6)) == 8
    assert rollback_minute(ArgoRollouts(limit=0.05), intervals(6, 0, 6, 0, 0, 6, 0, 5)) is None


def test_argo_compares_with_the_baseline_where_its_query_does() -> None:
    assert rollback_minute(ArgoRollouts(limit=1.5, relative=True), intervals(2, 2, 2, 2)) == 4
    assert rollback_minute(ArgoRollouts(limit=1.5, relative=True), intervals(1, 1, 1, 1)) is None


def test_argo_measures_once_per_window() -> None:
    judge = ArgoRollouts(limit=0.05, window=5, failure_limit=0)
    assert rollback_minute(judge, intervals(0, 9, 9, 9, 0, 0)) == 5


def test_five_errors_in_a_row_end_argos_rollout_and_four_do_not() -> None:
    assert rollback_minute(ArgoRollouts(limit=0.05), intervals(0, 0, 0, 0, fault=Fault.OUTAGE)) is None
    assert rollback_minute(ArgoRollouts(limit=0.05), intervals(0, 0, 0, 0, 0, fault=Fault.OUTAGE)) == 5


def test_nan_fails_argos_success_condition() -> None:
    assert rollback_minute(ArgoRollouts(limit=0.05), intervals(0, 0, 0, 0, fault=Fault.NAN)) == 4


def test_flagger_rolls_back_one_tick_after_its_last_failed_check_and_forgives_none() -> None:
    assert rollback_minute(Flagger(limit=0.05, threshold=3), intervals(6, 0, 6, 0, 6, 0)) == 6
    assert rollback_minute(Flagger(limit=0.05, threshold=3), intervals(0, 0, 0, 0, fault=Fault.OUTAGE)) == 4


def test_an_oracle_tunes_argo_to_the_false_rate_it_is_given() -> None:
    healthy = [draw(Scene(name="tuning", rps=10), seed=1, run=run) for run in range(400)]

    limit = tune_argo(healthy, false_rate=0.05)

    outcomes = [let_judge(ArgoRollouts(limit=limit), drawn) for drawn in healthy]
    assert 0.04 <= rolled_back(outcomes).share <= 0.05


def test_the_z_value_is_that_of_two_pooled_proportions() -> None:
    assert z_value(200, 20, 200, 10) == 0.05 / np.sqrt(0.075 * 0.925 * 0.01)
    assert z_value(0, 0, 200, 10) == 0
    assert z_value(200, 0, 200, 0) == 0


def test_a_fixed_z_test_waits_for_its_one_look() -> None:
    judge = ZTest(alpha=0.01, at=3)
    assert [judge.observe(seen) for seen in intervals(9, 9, 9, 9)] == [
        Answer.WAIT,
        Answer.WAIT,
        Answer.ROLL_BACK,
        Answer.WAIT,
    ]
