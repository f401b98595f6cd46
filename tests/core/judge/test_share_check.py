"""Stories of a share under the judge: what is shown, when, and what is never shown."""

from __future__ import annotations

import math

import pytest

from airflow_model_ops.core.checks import Verdict
from airflow_model_ops.core.judge import DispersionMeter, JudgeSettings
from airflow_model_ops.core.judge.counts import Counts
from tests.core.judge.releases import INDEPENDENT, Release, counted, errors

GOOD, BAD, STABLE = (20, 1_000), (60, 1_000), (180, 9_000)
"""Stable fails 2 %; so does a good canary, and a bad one three times as much."""
SIX_HOURS = 6 * 60 * 4


def intervals_until(release: Release, verdict: Verdict, canary: tuple[int, int], *, most: int = 1_000) -> int:
    for looks in range(1, most + 1):
        if release.sees(canary, STABLE).verdict is verdict:
            return looks
    raise AssertionError(f"{verdict} was not seen in {most} intervals: {release.reason}")


def test_a_canary_three_times_as_bad_as_stable_is_harm_within_a_few_intervals() -> None:
    assert intervals_until(Release(), Verdict.HARM, BAD) <= 3


def test_a_canary_as_good_as_stable_is_safe_in_the_end_and_undecided_before() -> None:
    release = Release()
    assert release.sees(GOOD, STABLE).verdict is Verdict.UNDECIDED
    assert intervals_until(release, Verdict.SAFE, GOOD) <= 15
    assert set(release.verdicts([GOOD] * 100, STABLE)) == {Verdict.SAFE}


def test_a_canary_worse_than_stable_by_less_than_is_allowed_is_no_harm_and_safe_in_the_end() -> None:
    verdicts = Release(errors(max_ratio_to_stable=1.4, margin=1.6)).verdicts([(26, 1_000)] * 300, STABLE)
    assert Verdict.HARM not in verdicts
    assert verdicts[-1] is Verdict.SAFE


def test_a_canary_between_the_allowed_ratio_and_the_margin_is_harm_even_where_it_could_be_shown_safe() -> None:
    """At 1.3 times stable it is more than the allowed 1.1 and less than the margin of 1.5: both hold, and harm wins."""
    release = Release().sees((260, 10_000), (1_800, 90_000), times=100)
    assert release.verdict is Verdict.HARM
    assert release.of("errors").numbers["log_safe"] > math.log(20)


def test_a_canary_without_errors_against_a_stable_without_errors_becomes_safe_through_the_negligible_rate() -> None:
    release = Release()
    verdicts = release.verdicts([(0, 1_000)] * 20, (0, 9_000))
    assert verdicts[0] is Verdict.UNDECIDED
    assert verdicts[-1] is Verdict.SAFE
    assert "below the negligible 0.10 % with 95 % confidence" in release.reason


def test_without_a_negligible_rate_nothing_can_be_shown_where_nothing_fails() -> None:
    release = Release(errors(negligible=0))
    assert release.sees((0, 1_000), (0, 9_000), times=500).verdict is Verdict.UNDECIDED


def test_three_errors_in_a_million_requests_against_none_are_not_harm() -> None:
    release = Release(percent=1)
    for bad in (1, 1, 1, 0, 0, 0, 0, 0, 0, 0):
        assert release.sees((bad, 100_000), (0, 9_900_000)).verdict is not Verdict.HARM
    assert release.verdict is Verdict.SAFE


def test_a_rate_that_is_shown_to_be_worse_and_negligible_is_nothing_to_act_on() -> None:
    """Six in two million against none at all: surely worse than stable, and surely below one in a thousand."""
    for negligible, verdict in ((0.001, Verdict.SAFE), (0.0, Verdict.HARM)):
        release = Release(errors(negligible=negligible), percent=1).sees((6, 2_000_000), (0, 198_000_000))
        assert release.log_harm() > math.log(100)
        assert release.verdict is verdict


def test_harm_above_the_negligible_rate_is_still_harm_where_stable_has_no_errors_at_all() -> None:
    assert Release().sees((30, 1_000), (0, 9_000)).verdict is Verdict.HARM


def test_a_canary_that_turns_bad_after_six_good_hours_is_found_within_three_times_as_long() -> None:
    fresh = intervals_until(Release(), Verdict.HARM, (6, 100))
    late = Release()
    late.sees(GOOD, STABLE, times=SIX_HOURS)
    assert intervals_until(late, Verdict.HARM, (6, 100)) <= 3 * fresh + 1


@pytest.mark.parametrize("dispersion", [1.0, 2.0])
def test_safety_is_gone_after_a_few_bad_events_however_long_the_canary_was_good(dispersion: float) -> None:
    release = Release(settings=JudgeSettings(dispersion=dispersion))
    assert release.sees((2, 100), (18, 900), times=SIX_HOURS).verdict is Verdict.SAFE
    bad = 0
    while release.sees((3, 50), (9, 450)).verdict is Verdict.SAFE:
        bad += 3
    assert bad <= 15 * dispersion


def test_the_first_errors_after_six_hours_without_any_end_safety() -> None:
    release = Release()
    assert release.sees((0, 1_000), (0, 9_000), times=SIX_HOURS).verdict is Verdict.SAFE
    assert release.sees((2, 1_000), (0, 9_000)).verdict is not Verdict.SAFE


def test_each_step_must_show_safety_anew_and_harm_is_carried_over() -> None:
    release = Release()
    assert release.sees(GOOD, STABLE, times=50).verdict is Verdict.SAFE
    assert release.enters(50).verdict is Verdict.NO_DATA
    assert release.sees((100, 5_000), (100, 5_000)).verdict is Verdict.UNDECIDED

    carried, fresh = Release().sees((37, 1_000), STABLE), Release(percent=50)
    assert carried.verdict is Verdict.UNDECIDED
    before = carried.log_harm()
    assert carried.enters(50).log_harm() == before
    for release in (carried, fresh):
        release.sees((165, 5_000), (100, 5_000))
    assert (carried.verdict, fresh.verdict) == (Verdict.HARM, Verdict.UNDECIDED)


def test_an_incident_that_hits_both_arms_is_no_harm() -> None:
    release = Release()
    for factor in (1, 1, 5, 30, 30, 5, 1):
        assert release.sees((20 * factor, 1_000), (180 * factor, 9_000)).verdict is not Verdict.HARM
    assert release.log_harm() < math.log(2)


def test_a_changing_weight_alone_is_no_harm() -> None:
    release = Release(percent=1)
    for percent in (1, 5, 25, 50, 75, 99):
        n = 10_000
        canary = n * percent // 100
        release.enters(percent).sees((canary // 50, canary), ((n - canary) // 50, n - canary), times=20)
        assert release.log_harm() < math.log(2)


def test_control_counts_with_stable() -> None:
    """They run the same version; a canary is compared with both together."""
    split = Release().sees(BAD, (160, 8_000), (20, 1_000))
    whole = Release().sees(BAD, STABLE)
    assert split.log_harm() == whole.log_harm()
    assert split.reason == whole.reason


def test_noise_that_was_measured_before_makes_the_judge_more_patient() -> None:
    meter = DispersionMeter()
    for index in range(200):
        meter.fold(Counts(1_000, 50 * (index % 2)), Counts(1_000, 20))
    noisy = Release(settings=JudgeSettings(), meters={"errors": meter})
    assert noisy.sees(BAD, STABLE, times=2).verdict is Verdict.UNDECIDED
    assert noisy.of("errors").numbers["dispersion"] > 2
    assert noisy.of("errors").numbers["dispersion_measured"]


def test_the_caller_keeps_its_own_record_of_the_noise() -> None:
    """A judge that wrote to it would give a second one another start, and another verdict."""
    meter = DispersionMeter()
    Release(meters={"errors": meter}).sees(BAD, (160, 8_000), (20, 1_000), times=50)
    assert meter.to_json() == DispersionMeter().to_json()


def test_the_noise_of_an_interval_is_used_for_the_next_one_only() -> None:
    """Else bad luck in control could choose how the same luck is judged."""
    calm, noisy = Release(settings=JudgeSettings(dispersion=1)), Release(settings=JudgeSettings(dispersion=1))
    for release, control in ((calm, (20, 1_000)), (noisy, (400, 1_000))):
        release.sees((20, 1_000), (160, 8_000), control, times=30)
    assert noisy.of("errors").numbers["dispersion"] > calm.of("errors").numbers["dispersion"]
    one, other = Release(), Release()
    one.sees(BAD, (160, 8_000), (20, 1_000))
    other.sees(BAD, (180, 8_000), (0, 1_000))
    assert one.log_harm() == other.log_harm()


def test_a_dispersion_that_the_check_states_is_believed() -> None:
    release = Release(errors(dispersion=7.5), settings=JudgeSettings())
    assert release.sees(GOOD, STABLE).of("errors").numbers["dispersion"] == 7.5
    assert not release.of("errors").numbers["dispersion_measured"]


# -- the ceiling --------------------------------------------------------------------------------------------------------


def test_a_rate_above_the_ceiling_is_a_breach_even_if_stable_is_as_bad() -> None:
    release = Release(errors(max=0.01))
    assert release.sees(GOOD, STABLE, times=30).verdict is Verdict.BREACH
    assert release.reason == (
        "errors of v-20230601-120000 2.0 % (600 of 30,000): above the allowed 1.0 % with 99 % confidence"
    )


def test_a_rate_at_the_ceiling_is_no_breach() -> None:
    assert Release(errors(max=0.02)).sees(GOOD, STABLE, times=SIX_HOURS).verdict is Verdict.SAFE


def test_harm_goes_first_when_the_canary_is_above_the_ceiling_and_worse_than_stable() -> None:
    """Harm speaks of this version; a ceiling may be crossed for another reason."""
    for canary in ((100, 1_000), (500, 1_000)):
        release = Release(errors(max=0.001)).sees(canary, STABLE, times=3)
        assert release.verdict is Verdict.HARM


def test_a_first_release_is_judged_by_its_ceiling_alone() -> None:
    good = Release(errors(max=0.05), has_stable=False, percent=100)
    assert good.sees((0, 10)).verdict is Verdict.UNDECIDED
    assert good.sees(GOOD).verdict is Verdict.SAFE
    assert good.reason == (
        "errors of v-20230601-120000 2.0 % (20 of 1,010): below the allowed 5.0 % with 95 % confidence "
        "(not compared with stable: there is none yet)"
    )
    bad = Release(errors(max=0.05), has_stable=False, percent=100).sees((100, 1_000))
    assert bad.verdict is Verdict.BREACH
    assert bad.reason.endswith(
        "above the allowed 5.0 % with 99 % confidence (not compared with stable: there is none yet)"
    )
    near = Release(errors(max=0.05), has_stable=False, percent=100).sees((51, 1_000), times=3)
    assert near.verdict is Verdict.UNDECIDED
    assert "neither above nor below the allowed 5.0 % is shown yet" in near.reason


def test_a_first_release_without_a_ceiling_has_nothing_to_be_judged_by() -> None:
    release = Release(has_stable=False, percent=100).sees((900, 1_000), times=50)
    assert (release.verdict, release.of("errors").skipped) == (Verdict.UNDECIDED, True)
    assert "there is no stable version yet, and it has no limit of its own" in release.reason


# -- enough, and in order -------------------------------------------------------------------------------------------------


def test_safety_needs_the_least_samples_of_the_step() -> None:
    release = Release(errors(min_samples=5_000))
    assert release.sees((0, 1_000), (900, 9_000), times=4).verdict is Verdict.UNDECIDED
    assert "4,000 of the 5,000 requests that safety needs" in release.reason
    assert release.sees((0, 1_000), (900, 9_000)).verdict is Verdict.SAFE


def test_a_handful_of_requests_is_no_data_so_that_a_deadline_cannot_promote_on_it() -> None:
    release = Release(errors(min_samples=100))
    assert release.sees((0, 9), (0, 81)).verdict is Verdict.NO_DATA
    assert "only 9 requests at this step, needed 100" in release.reason
    assert release.sees((0, 1), (0, 9)).verdict is Verdict.UNDECIDED


def test_harm_needs_no_least_samples() -> None:
    assert Release(errors(min_samples=10_000)).sees((60, 60), (1, 540)).verdict is Verdict.HARM


def test_the_same_interval_again_or_an_older_one_counts_nothing() -> None:
    release = Release().sees((40, 1_000), STABLE)
    before, at = release.judge.to_json(), release.now
    for again in range(20):
        release.now = at
        release.sees((40, 1_000), STABLE, seconds=-30 * (again % 2))
    release.now = at
    release.sees((40, 1_000), STABLE, seconds=0)
    newest = {**release.judge.to_json()["checks"]["errors"], "newest": None}
    assert newest == {**before["checks"]["errors"], "newest": None}


def test_while_the_sources_clock_is_behind_nothing_is_safe() -> None:
    """Its counts cannot be put in order; a canary that turned bad meanwhile must not pass on what was shown before."""
    release = Release()
    assert release.sees(GOOD, STABLE, times=50).verdict is Verdict.SAFE
    release.sees(BAD, STABLE, seconds=-300)
    assert release.verdict is Verdict.STALE
    assert "dated 300 s before the one before it; check the clocks" in release.reason
    assert release.sees(GOOD, STABLE, seconds=315).verdict is Verdict.SAFE


def test_harm_that_was_shown_stays_harm_while_the_source_is_away() -> None:
    release = Release().sees(BAD, STABLE, times=5)
    down = counted((0, 0))
    assert down is not None
    assert release.hears(down, down, seconds=600).verdict is Verdict.HARM


def test_late_labels_come_in_batches_and_are_silent_in_between() -> None:
    release = Release(errors("wrong", kind="wrong_predictions", max_age_seconds=600))
    assert release.sees(GOOD, STABLE, times=50).verdict is Verdict.SAFE
    assert release.sees((0, 0), (0, 0), seconds=590).verdict is Verdict.SAFE
    assert release.sees((0, 0), (0, 0), seconds=20).verdict is Verdict.NO_DATA
    assert "no labelled predictions were counted for 610 s" in release.reason
    assert release.sees(GOOD, STABLE).verdict is Verdict.SAFE


def test_suspicion_comes_well_before_the_verdict_and_not_from_a_good_canary() -> None:
    release = Release()
    assert not release.sees(GOOD, STABLE, times=5).summary.suspicious
    seen = []
    while release.sees((32, 1_000), STABLE).verdict is not Verdict.HARM:
        seen.append(release.summary.suspicious)
    assert seen
    assert seen[-1]
    assert INDEPENDENT.alpha == 0.01
