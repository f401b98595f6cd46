"""Stories of a value: plain thresholds in a row, and a sign test against stable that holds however often one looks."""

from __future__ import annotations

import math

import numpy as np
import pytest

from airflow_model_ops.core.checks import Measurement, Verdict
from tests.core.judge.releases import Release, gauge


def value(number: float | None) -> Measurement:
    return Measurement(value=number)


def hears(release: Release, canary: float, stable: float | None = None, *, seconds: float = 60) -> Verdict:
    return release.hears(value(canary), None if stable is None else value(stable), seconds=seconds).verdict


def test_a_value_below_its_minimum_twice_in_a_row_is_a_breach_that_says_it_has_no_error_bound() -> None:
    release = Release(gauge(min=0.9))
    assert hears(release, 0.42) is Verdict.UNDECIDED
    assert release.reason.endswith("0.42: below the required 0.9; seen 1 of 2 times in a row")
    assert release.summary.suspicious
    assert hears(release, 0.42) is Verdict.BREACH
    assert release.reason == (
        "accuracy of v-20230601-120000 0.42: below the required 0.9, 2 times in a row (a plain threshold, no error bound)"
    )


def test_a_value_above_its_maximum_is_a_breach_too() -> None:
    release = Release(gauge(max=1, min=-1, consecutive=1))
    assert hears(release, 1.0) is Verdict.SAFE
    assert hears(release, 1.01) is Verdict.BREACH
    assert hears(release, -1.01) is Verdict.BREACH
    assert "below the required -1" in release.reason


def test_a_value_within_its_limits_as_often_is_safe() -> None:
    release = Release(gauge(min=0.9, consecutive=3))
    assert [hears(release, 0.95) for _ in range(3)] == [Verdict.UNDECIDED, Verdict.UNDECIDED, Verdict.SAFE]
    assert release.reason.endswith("0.95: within at least 0.9")


def test_one_measurement_the_other_way_starts_the_row_anew() -> None:
    release = Release(gauge(min=0.9))
    for number in (0.42, 0.95, 0.42, 0.95, 0.42):
        assert hears(release, number) is Verdict.UNDECIDED


@pytest.mark.parametrize("blind", [Measurement(error="away"), value(None), value(math.nan), value(math.inf)])
def test_a_blind_measurement_between_bad_ones_breaks_the_row(blind: Measurement) -> None:
    release = Release(gauge(min=0.9))
    hears(release, 0.42)
    release.hears(blind)
    assert hears(release, 0.42) is Verdict.UNDECIDED
    assert hears(release, 0.42) is Verdict.BREACH


def test_a_blind_measurement_between_good_ones_breaks_the_row_too() -> None:
    release = Release(gauge(min=0.9))
    hears(release, 0.95)
    release.hears(Measurement(error="away"))
    assert hears(release, 0.95) is Verdict.UNDECIDED


def test_the_same_instant_measured_twice_counts_once() -> None:
    """A restarted watcher may hand in a measurement again."""
    release = Release(gauge(min=0.9))
    hears(release, 0.42)
    assert hears(release, 0.42, seconds=0) is Verdict.UNDECIDED


def test_measurements_of_the_past_neither_pass_nor_act() -> None:
    """Nothing says how they lie to the later ones; a worse canary must not pass on what was seen before."""
    release = Release(gauge(min=0.9))
    for _ in range(3):
        hears(release, 0.95)
    for _ in range(4):
        assert hears(release, 0.42, seconds=-10) is Verdict.STALE
    assert "check the clocks" in release.reason


def test_an_outage_that_is_dated_by_a_fast_clock_costs_no_measurement() -> None:
    """Who is away does not tell the time, so its answer carries another clock's."""
    release = Release(gauge(min=0.9))
    release.hears(Measurement(error="away"), seconds=3_600)
    assert hears(release, 0.42, seconds=-3_500) is Verdict.UNDECIDED
    assert hears(release, 0.42) is Verdict.BREACH


def test_a_breach_is_carried_into_a_step_and_safety_is_not() -> None:
    release = Release(gauge(min=0.9))
    hears(release, 0.42)
    assert hears(release.enters(50), 0.42) is Verdict.BREACH
    good = Release(gauge(min=0.9))
    hears(good, 0.95)
    assert hears(good, 0.95) is Verdict.SAFE
    assert good.enters(50).verdict is Verdict.UNDECIDED


def test_a_first_release_leaves_out_what_it_cannot_compare() -> None:
    both = Release(gauge(min=0.9, max_difference_to_stable=0.1), has_stable=False)
    hears(both, 0.95)
    assert hears(both, 0.95) is Verdict.SAFE
    skipped = Release(gauge(max_difference_to_stable=0.1), has_stable=False)
    assert hears(skipped, 0.95) is Verdict.UNDECIDED
    assert skipped.of("accuracy").skipped


def test_an_age_that_the_selector_should_tell_and_does_not_is_stale() -> None:
    assert hears(Release(gauge(min=0.9, selector="x")), 0.95) is Verdict.STALE


# -- against stable -----------------------------------------------------------------------------------------------------


def test_windows_that_are_nearly_all_worse_than_stable_are_harm() -> None:
    release = Release(gauge("drift", max_difference_to_stable=0.1))
    looks = 0
    while hears(release, 1.0 + looks / 100, 0.5 - looks / 100) is Verdict.UNDECIDED and looks < 30:
        looks += 1
    assert release.verdict is Verdict.HARM
    assert 6 <= looks <= 15
    assert f"beyond what stable allows in {looks + 1} of {looks + 1} windows at this step" in release.reason
    assert "more than half with 99 % confidence" in release.reason


def test_windows_that_are_nearly_all_no_worse_than_stable_are_safe() -> None:
    release = Release(gauge("drift", max_difference_to_stable=0.1))
    verdicts = [hears(release, 0.5, 0.5) for _ in range(12)]
    assert verdicts[0] is Verdict.UNDECIDED
    assert verdicts[-1] is Verdict.SAFE
    assert release.reason.endswith("0.5 against stable's 0.5: within stable plus 0.1")


def test_a_comparison_must_be_safe_and_the_thresholds_kept() -> None:
    release = Release(gauge("drift", max=0.4, max_difference_to_stable=0.1, consecutive=99))
    assert {hears(release, 0.5, 0.5) for _ in range(30)} == {Verdict.UNDECIDED}


def test_a_value_that_was_set_once_is_one_witness_however_often_it_is_read() -> None:
    """A metric that a training run wrote says nothing new each minute; whether luck made it worse was drawn once."""
    release = Release(gauge("drift", max_difference_to_stable=0.1))
    assert {hears(release, 1.0, 0.5) for _ in range(200)} == {Verdict.UNDECIDED}
    assert release.of("drift").numbers["windows"] == 1


@pytest.mark.parametrize("fresh", ["canary", "stable"])
def test_one_lucky_draw_that_is_compared_with_fresh_ones_is_one_witness(fresh: str) -> None:
    """What was measured once, at the training's end or at its own release, was lucky or not; that says little about the other."""
    release = Release(gauge("drift", max_difference_to_stable=0.0))
    for window in range(100):
        canary, stable = (1.0 + window, 0.5) if fresh == "canary" else (100.0, 1.0 + window / 10)
        assert hears(release, canary, stable) is Verdict.UNDECIDED
    assert release.of("drift").numbers["windows"] == 1


def test_windows_that_are_as_good_as_before_count_though_nothing_changed() -> None:
    """Only what speaks for harm must be new: leaving out the good ones would make the bad ones many."""
    release = Release(gauge("drift", max_difference_to_stable=0.0))
    for index in range(300):
        assert hears(release, float(index) if index % 3 == 0 else 0.0, 0.0) is not Verdict.HARM


def test_windows_that_overlap_are_left_out() -> None:
    """They tell the same twice: a minute's window looked at each second is not sixty witnesses."""
    release = Release(gauge("drift", max_difference_to_stable=0.1, window_seconds=60))
    for second in range(60 * 4):
        assert hears(release, 1.0 + second, 0.5 - second, seconds=1) is Verdict.UNDECIDED
    assert release.of("drift").numbers["windows"] == 4


def test_a_canary_that_is_no_worse_is_seldom_harm_however_often_one_looks() -> None:
    """Heavy tails, a drift that both share, and equal medians: only signs are looked at."""
    chance, harmed = np.random.default_rng(7), 0
    for _ in range(150):
        release = Release(gauge("drift", max_difference_to_stable=0.0))
        noise, drift = chance.standard_cauchy((80, 2)), 5 * np.sin(np.arange(80))
        for (canary, stable), common in zip(noise.tolist(), drift.tolist(), strict=True):
            if hears(release, canary + common, stable + common) is Verdict.HARM:
                harmed += 1
                break
    assert harmed <= 3


def test_a_ratio_of_negative_values_tells_nothing() -> None:
    release = Release(gauge("drift", max_ratio_to_stable=2))
    assert {hears(release, 5.0, -1.0) for _ in range(50)} == {Verdict.UNDECIDED}
    assert release.of("drift").numbers["windows"] == 0


def test_a_ratio_and_a_difference_may_be_limited_together_and_the_stricter_counts() -> None:
    limits = gauge("drift", max_ratio_to_stable=2, max_difference_to_stable=0.1)
    for canary, worse in ((0.15, 1), (0.05, 0), (0.25, 1)):
        release = Release(limits)
        hears(release, canary, 0.1 if canary != 0.15 else 0.02)
        assert release.of("drift").numbers["worse"] == worse


def test_a_blind_stable_adds_no_window() -> None:
    release = Release(gauge("drift", max_difference_to_stable=0.1))
    for blind in (value(None), value(math.nan), Measurement(error="away")):
        release.hears(value(5.0), blind, seconds=60)
        assert release.verdict in {Verdict.NO_DATA, Verdict.PROVIDER_DOWN}
    assert hears(release, 5.0) is Verdict.NO_DATA
    assert release.reason == "drift of stable was not measured"
    assert release.of("drift").numbers["windows"] == 0


def test_a_breach_needs_no_sound_stable() -> None:
    release = Release(gauge(min=0.9, max_difference_to_stable=0.1))
    for _ in range(2):
        release.hears(value(0.42), Measurement(error="away"))
    assert release.verdict is Verdict.BREACH
