"""The generators draw what a scene says, and any run again by its number alone."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.judge.evidence import Source
from benchmarks.judge.scenes import Fault, Faulty, Scene
from benchmarks.judge.traffic import CANARY, CONTROL, STABLE, Arm, Seen, draw, draw_history

HOUR = 3_600.0


def test_a_run_is_drawn_again_by_its_number_and_another_is_another() -> None:
    scene = Scene(name="again", rps=10)
    first, again, other = (draw(scene, seed=1, run=run) for run in (7, 7, 8))
    assert (first.samples == again.samples).all()
    assert (first.bad == again.bad).all()
    assert (first.samples != other.samples).any()


def test_the_arms_share_the_traffic_and_err_as_the_scene_says() -> None:
    drawn = draw(Scene(name="shares", rps=1000, ratio=3), seed=1, run=0)
    samples, bad = drawn.samples.sum(axis=0), drawn.bad.sum(axis=0)
    assert samples / samples.sum() == pytest.approx([0.1, 0.8, 0.1], rel=0.01)
    assert bad / samples == pytest.approx([0.03, 0.01, 0.01], rel=0.05)


def test_a_canary_is_as_good_as_stable_until_its_onset() -> None:
    drawn = draw(Scene(name="later", rps=1000, ratio=3, onset_seconds=HOUR / 2), seed=1, run=0)
    rates = drawn.bad[:, CANARY] / drawn.samples[:, CANARY]
    assert rates[:30].mean() == pytest.approx(0.01, rel=0.1)
    assert rates[30:].mean() == pytest.approx(0.03, rel=0.1)


def test_an_incident_hits_all_arms_for_six_minutes() -> None:
    drawn = draw(Scene(name="incident", rps=10_000, incidents=1, seconds=24 * HOUR), seed=1, run=0)
    rates = drawn.bad / drawn.samples
    hit = rates > 0.03
    assert (hit.all(axis=1) == hit.any(axis=1)).all()
    assert hit[:, STABLE].sum() == 6


def test_bursts_scatter_one_arm_by_itself_as_much_as_the_scene_says() -> None:
    drawn = draw(Scene(name="bursts", rps=100_000, burst_cv2=0.25, seconds=24 * HOUR), seed=1, run=0)
    rates = drawn.bad / drawn.samples
    assert rates.var(axis=0) / rates.mean(axis=0) ** 2 == pytest.approx([0.25] * 3, rel=0.15)
    assert abs(np.corrcoef(rates[:, CANARY], rates[:, CONTROL])[0, 1]) < 0.1


def test_a_ramp_moves_control_with_the_canary_and_leaves_stable_the_rest() -> None:
    drawn = draw(Scene(name="ramp", rps=1000, ramp=((0.0, 5.0), (HOUR / 2, 25.0))), seed=1, run=0)
    late = drawn.samples[30:].sum(axis=0)
    assert set(drawn.percents[:30]) == {5.0}
    assert late / late.sum() == pytest.approx([0.25, 0.5, 0.25], rel=0.02)


def test_before_a_release_there_is_no_canary() -> None:
    history = draw_history(Scene(name="before", rps=10, ratio=5), seed=1, run=0)
    assert history.samples[:, CANARY].sum() == 0
    assert history.samples[:, CONTROL].sum() > 0
    assert history.ends[-1] == 0


def test_a_fault_hides_intervals_from_its_begin_on() -> None:
    scene = Scene(name="faults", rps=10, faulty=Faulty(kind=Fault.NAN, from_seconds=600))
    assert [seen.fault for seen in draw(scene, seed=1, run=0)] == [None] * 10 + [Fault.NAN] * 50


SEEN = Seen(120.0, 10.0, Arm(60, 1), Arm(480, 5), Arm(60, 0))


def test_what_a_source_answers_is_the_counts_of_all_arms_and_the_interval() -> None:
    evidence = Source("errors").answer(SEEN)
    assert (evidence.canary.samples, evidence.canary.bad) == (60, 1)
    assert evidence.stable is not None
    assert evidence.stable.value == 5 / 480
    assert (evidence.begin, evidence.at) == ("2023-06-01T00:00:00+00:00", "2023-06-01T00:02:00+00:00")


def test_a_stale_source_repeats_its_last_end_with_a_growing_age_and_counts_nothing() -> None:
    source = Source("errors")
    before = source.answer(SEEN)
    stale = source.answer(SEEN._replace(end=1_500.0, fault=Fault.STALE))
    assert stale.at == before.at
    assert stale.canary.samples == 0
    assert stale.canary.age_seconds == 1_380.0


def test_a_fault_of_the_canary_alone_leaves_stable_measured() -> None:
    evidence = Source("errors").answer(SEEN._replace(fault=Fault.OUTAGE, canary_only=True))
    assert evidence.canary.error == "connection refused"
    assert evidence.stable is not None
    assert evidence.stable.samples == 480
