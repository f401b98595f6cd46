"""The benchmark judges with the real judge: the twin that screens is its equal, and faults come through the real counting."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.judge.contenders import ours
from benchmarks.judge.day import judge_days, rate_of, worst_difference
from benchmarks.judge.faults import count_with_resets, judge_blindly
from benchmarks.judge.judges import let_judge
from benchmarks.judge.scenes import Fault, Faulty, Scene
from benchmarks.judge.stories import restart_often, turn_bad
from benchmarks.judge.traffic import draw

HOUR = 3_600.0
SCENES = [
    Scene(name="steady", rps=10, seconds=4 * HOUR),
    Scene(name="quiet", rps=0.2, seconds=4 * HOUR),
    Scene(name="fast", rps=100, seconds=HOUR, peek_seconds=5.0),
    Scene(name="rough", rps=100, seconds=12 * HOUR, diurnal=True, incidents=3, burst_cv2=0.25),
    Scene(name="outliers", rps=1000, seconds=4 * HOUR, burst_cv2=0.25),
    Scene(name="unknown noise", rps=100, seconds=4 * HOUR, burst_cv2=0.05, calibration_seconds=60.0),
    Scene(name="growing", rps=10, seconds=4 * HOUR, ramp=((0.0, 1.0), (2 * HOUR, 25.0))),
]


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.name)
def test_the_twin_follows_the_judges_evidence_to_the_last_digits(scene: Scene) -> None:
    assert worst_difference(judge_days(scene, 5, range(2), sampled=2)) < 1e-11


def test_what_comes_near_the_threshold_is_decided_by_the_judge_itself() -> None:
    """On bad canaries, where most come near, the twin's screening changes no outcome."""
    scene = Scene(name="some are found", rps=10, ratio=1.8)
    judged = judge_days(scene, 5, range(12), sampled=0)
    alone = [let_judge(ours(scene, 5, run), draw(scene, seed=5, run=run)).rolled_back is not None for run in range(12)]
    assert [each.rolled_back for each in judged] == alone
    assert 0 < rate_of(judged).hits < 12
    assert all(each.decided for each in judged if each.rolled_back)


def test_a_bad_canary_is_rolled_back_and_a_good_one_promoted() -> None:
    bad, good = Scene(name="bad", rps=100, ratio=5), Scene(name="good", rps=100)
    assert let_judge(ours(bad, 5, 0), draw(bad, seed=5, run=0)).rolled_back is not None
    ended = let_judge(ours(good, 5, 0), draw(good, seed=5, run=0))
    assert ended.rolled_back is None
    assert ended.promoted is not None


def test_a_late_onset_is_timed_from_the_onset_and_tells_how_long_safe_was_said() -> None:
    scene = Scene(name="late", rps=100, ratio=5, onset_seconds=HOUR, seconds=2 * HOUR)
    (turned,) = turn_bad(scene, 5, range(1))
    assert turned.found is not None
    assert 0 < turned.found < 600
    assert turned.safe_until is None or turned.safe_until < turned.found


def test_a_judge_that_is_restarted_says_the_same() -> None:
    assert restart_often(Scene(name="restarted", rps=100, ratio=1.5), 5, range(2)) == [True, True]


@pytest.mark.parametrize("fault", Fault)
def test_nothing_is_done_blindly(fault: Fault) -> None:
    scene = Scene(name="blind", rps=100, faulty=Faulty(kind=fault, from_seconds=120.0))
    assert judge_blindly(scene, 5, range(2)) == [0, 0]


def test_acting_blindly_would_be_counted() -> None:
    """With the fault off the same healthy release is promoted, so the count above can fail."""
    scene = Scene(name="blind", rps=100, faulty=Faulty(kind=Fault.STALE, share=0.0))
    assert let_judge(ours(scene, 5, 0), draw(scene, seed=5, run=0)).promoted is not None


def test_counts_of_a_router_that_restarts_lose_events_and_invent_none() -> None:
    true = draw(Scene(name="resets", rps=100), seed=5, run=0)
    counted = count_with_resets(true, random=np.random.default_rng(5))
    assert (counted.samples <= true.samples).all()
    assert (counted.bad <= true.bad).all()
    assert 0.8 < counted.samples.sum() / true.samples.sum() < 1.0


def test_counts_of_a_router_that_never_restarts_are_exact() -> None:
    true = draw(Scene(name="no resets", rps=100), seed=5, run=0)
    never = np.random.default_rng(5)
    never = type("Never", (), {"random": lambda _, n: np.ones(n), "binomial": staticmethod(never.binomial)})()
    counted = count_with_resets(replace(true), random=never)
    assert (counted.samples == true.samples).all()
    assert (counted.bad == true.bad).all()
