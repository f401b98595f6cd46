"""A whole release under the judge: one alpha for all checks, restarts, and what is kept."""

from __future__ import annotations

import json
import math
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_model_ops.core.checks import Check, Evidence, Measurement, Verdict
from airflow_model_ops.core.errors import InvalidConfig, InvalidState
from airflow_model_ops.core.judge import DispersionMeter, JudgeSettings, ReleaseJudge
from airflow_model_ops.core.judge.finding import CheckJudge
from airflow_model_ops.core.judge.gauge_check import GaugeCheck
from airflow_model_ops.core.judge.mixture import pack, unpack
from airflow_model_ops.core.judge.release import CRITICAL_SHARE, parts_of_alpha
from airflow_model_ops.core.judge.share_check import ShareCheck
from tests.core.judge.releases import ACTING, START, VERSION, Release, counted, errors, gauge

GOOD, BAD, STABLE = (20, 1_000), (60, 1_000), (180, 9_000)
SETTINGS = JudgeSettings()


def judge_of(check: Check, *, has_stable: bool = True) -> CheckJudge:
    if check.is_share:
        return ShareCheck(check, settings=SETTINGS, has_stable=has_stable, meter=DispersionMeter())
    return GaugeCheck(check, settings=SETTINGS, has_stable=has_stable)


# -- one alpha for all checks -------------------------------------------------------------------------------------------


@given(
    kinds=st.lists(st.tuples(st.sampled_from(["share", "ceiling", "gauge", "plain"]), st.booleans(), st.booleans())),
    has_stable=st.booleans(),
)
def test_the_parts_of_alpha_are_one_together_whatever_the_checks(
    kinds: list[tuple[str, bool, bool]], has_stable: bool
) -> None:
    fields: dict[str, dict[str, float]] = {
        "share": {},
        "ceiling": {"max": 0.1},
        "gauge": {"max_difference_to_stable": 0.1},
        "plain": {"max": 0.1},
    }
    judges = []
    for index, (kind, critical, muted) in enumerate(kinds):
        make = errors if kind in {"share", "ceiling"} else gauge
        check = make(f"c{index}", critical=critical, muted=muted, **fields[kind])
        judges.append(judge_of(check, has_stable=has_stable))
    parts = parts_of_alpha(judges)
    assert set(parts) == {judge.check.name for judge in judges if judge.parts and not judge.check.muted}
    assert not parts or math.fsum(parts.values()) == pytest.approx(1)
    assert all(part > 0 for part in parts.values())


def test_critical_checks_have_half_of_alpha_among_themselves_and_all_of_it_alone() -> None:
    checks = [errors("a", critical=True), errors("b", critical=True), errors("c"), errors("d"), errors("e")]
    parts = parts_of_alpha([judge_of(check) for check in checks])
    assert parts["a"] == parts["b"] == CRITICAL_SHARE / 2
    assert parts["c"] == parts["e"] == pytest.approx((1 - CRITICAL_SHARE) / 3)
    assert parts_of_alpha([judge_of(checks[0])]) == {"a": 1.0}


def test_a_critical_check_acts_sooner_and_each_further_check_makes_all_of_them_later() -> None:
    def looks(*checks: Check) -> int:
        release, count = Release(*checks), 0
        while release.verdict is not Verdict.HARM:
            release.sees((4, 100), (18, 900), check="errors")
            for other in checks[1:]:
                release.sees((2, 100), (18, 900), check=other.name, seconds=0.001)
            count += 1
        return count

    others = tuple(errors(f"other{index}") for index in range(9))
    alone, critical, equal = looks(errors()), looks(errors(critical=True), *others), looks(errors(), *others)
    assert alone < critical < equal


def test_only_the_check_that_shows_harm_is_blamed_for_it() -> None:
    release = Release(errors(), errors("slow", kind="latency", latency_bound_ms=250))
    for _ in range(10):
        release.sees(BAD, STABLE, check="errors").sees(GOOD, STABLE, check="slow", seconds=0)
    assert release.verdict is Verdict.HARM
    assert release.reason.startswith("errors of")
    assert "slow" not in release.reason
    assert release.of("slow").verdict is not Verdict.HARM


def test_weak_evidence_of_two_checks_adds_up_and_is_told_by_the_stronger_one() -> None:
    def after(bad: int, slow: int) -> Release:
        release = Release(errors(), errors("slow", kind="latency", latency_bound_ms=250))
        return release.sees((bad, 1_000), STABLE, check="errors").sees((slow, 1_000), STABLE, check="slow")

    most = max(bad for bad in range(20, 80) if after(bad, 20).verdict is not Verdict.HARM)
    both = after(most, most - 1)
    assert both.verdict is Verdict.HARM
    assert both.reason.startswith("errors of")
    assert both.of("slow").verdict is Verdict.UNDECIDED


def test_every_deciding_check_must_be_safe_by_itself() -> None:
    release = Release(errors(), gauge(min=0.5, consecutive=1))
    for _ in range(50):
        release.sees(GOOD, STABLE, check="errors")
    assert release.of("errors").verdict is Verdict.SAFE
    assert release.verdict is Verdict.NO_DATA
    assert release.hears(Measurement(value=0.9), check="accuracy").verdict is Verdict.SAFE


def test_a_muted_check_is_judged_and_shown_and_decides_nothing() -> None:
    muted = errors("slow", kind="latency", latency_bound_ms=250, muted=True)
    release = Release(errors(), muted)
    for _ in range(50):
        release.sees(GOOD, STABLE, check="errors").sees(BAD, STABLE, check="slow", seconds=0)
    assert release.verdict is Verdict.SAFE
    assert (release.of("slow").verdict, release.of("slow").muted) == (Verdict.HARM, True)
    assert not release.summary.suspicious
    alone = Release(errors())
    for _ in range(50):
        alone.sees(GOOD, STABLE)
    assert alone.log_harm() == release.log_harm()


def test_muted_checks_alone_prove_nothing() -> None:
    release = Release(errors(muted=True, max=0.001), gauge(muted=True, max=1, consecutive=1))
    release.sees(BAD, STABLE, times=20, check="errors").hears(Measurement(value=5), check="accuracy")
    assert (release.verdict, release.reason) == (
        Verdict.UNDECIDED,
        "all 2 checks are muted, so none decides; unmute one",
    )
    assert {each.verdict for each in release.summary.assessments} == ACTING


def test_harm_outranks_a_breach_blindness_and_safety_of_other_checks() -> None:
    release = Release(errors(), errors("blind"), gauge(min=0.5, consecutive=1))
    release.hears(Measurement(value=0.1), check="accuracy")
    release.hears(Measurement(error="away"), Measurement(error="away"), check="blind")
    assert release.verdict is Verdict.BREACH
    assert release.sees(BAD, STABLE, times=10, check="errors").verdict is Verdict.HARM


def test_a_release_without_checks_proves_nothing() -> None:
    judge = ReleaseJudge([], settings=SETTINGS, has_stable=True)
    judge.enter_step(10)
    assert judge.summary(subject=VERSION).verdict is Verdict.UNDECIDED


def test_evidence_of_a_check_that_the_policy_does_not_have_is_refused() -> None:
    with pytest.raises(InvalidState, match="evidence of a check 'other'"):
        Release().sees(GOOD, STABLE, check="other")


# -- restarts -------------------------------------------------------------------------------------------------------------

POLICY = (
    errors(max=0.05, critical=True),
    errors("wrong", kind="wrong_predictions", negligible=0),
    gauge("drift", max=3, max_difference_to_stable=0.5, window_seconds=10),
)
events = st.tuples(st.integers(0, 30), st.integers(30, 2_000))
answers = st.one_of(
    events.map(counted), events.map(counted), st.just(Measurement()), st.just(Measurement(error="away"))
)
happenings = st.lists(
    st.one_of(
        st.tuples(
            st.sampled_from([check.name for check in POLICY]),
            answers,
            answers,
            st.none() | answers,
            st.sampled_from([15.0, 15.0, 1.0, 0.0, -5.0, 90.0]),
        ),
        st.sampled_from([5.0, 25.0, 50.0, 100.0]),
    ),
    max_size=25,
)


def happen(release: Release, happening: object) -> None:
    if isinstance(happening, float):
        release.enters(happening)
    else:
        check, canary, stable, control, seconds = happening  # type: ignore[misc]
        release.hears(canary, stable, control, check=check, seconds=seconds)


@given(story=happenings, stops=st.sets(st.integers(0, 25)), has_stable=st.booleans())
def test_a_judge_that_is_restarted_at_any_moment_goes_on_bit_for_bit(
    story: list[object], stops: set[int], has_stable: bool
) -> None:
    straight, broken = (Release(*POLICY, settings=SETTINGS, has_stable=has_stable) for _ in range(2))
    for index, happening in enumerate(story):
        if index in stops:
            broken.restarts()
        for release in (straight, broken):
            happen(release, happening)
        assert broken.summary == straight.summary
    assert json.dumps(broken.restarts().judge.to_json()) == json.dumps(straight.judge.to_json())


@given(story=happenings)
def test_looking_changes_nothing(story: list[object]) -> None:
    watched, unwatched = Release(*POLICY), Release(*POLICY)
    for happening in story:
        happen(watched, happening)
        happen(unwatched, happening)
        assert watched.summary == watched.summary
    assert watched.judge.to_json() == unwatched.judge.to_json()


def test_a_judge_takes_over_from_another_step() -> None:
    """What is restored replaces what the new judge was told before."""
    written = Release(percent=100).sees(GOOD, (0, 0)).judge.to_json()
    release = Release(percent=10)
    release.judge.restore(json.loads(json.dumps(written)))
    assert release.judge.to_json() == written


def test_what_is_kept_stays_small_for_a_whole_day() -> None:
    checks = [
        errors(max=0.05),
        errors("wrong", kind="wrong_predictions"),
        errors("slow", kind="latency", latency_bound_ms=250),
    ]
    judge = ReleaseJudge(checks, settings=SETTINGS, has_stable=True)
    judge.enter_step(10)
    for minute in range(24 * 60):
        at = START + timedelta(minutes=minute, milliseconds=123)
        judge.fold(
            Evidence(
                check=check.name,
                canary=Measurement(value=0.0217391304347826, samples=59_987, bad=minute % 7, age_seconds=1.234567),
                stable=Measurement(value=0.0217391304347826, samples=482_123, bad=minute % 53, age_seconds=1.234567),
                control=Measurement(value=0.0217391304347826, samples=59_991, bad=minute % 11, age_seconds=1.234567),
                at=at.isoformat(timespec="milliseconds"),
                begin=(at - timedelta(minutes=1)).isoformat(timespec="milliseconds"),
            )
            for check in checks
        )
    assert len(json.dumps(judge.to_json())) < 10_000


def test_what_another_policy_wrote_is_refused() -> None:
    written = Release(errors(), errors("other")).judge.to_json()
    with pytest.raises(InvalidState, match="checks \\['errors', 'other'\\], but the policy has \\['errors'\\]"):
        Release().judge.restore(written)
    with pytest.raises(InvalidState, match="of schema 99"):
        Release().judge.restore({**Release().judge.to_json(), "schema": 99})


def nodes(tree: object, path: tuple[object, ...] = ()) -> list[tuple[object, ...]]:
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    return [path, *(node for key, value in items for node in nodes(value, (*path, key)))]


def damaged(tree: object, path: tuple[object, ...], value: object) -> object:
    if not path:
        return value
    copy = dict(tree) if isinstance(tree, dict) else list(tree)  # type: ignore[call-overload]
    copy[path[0]] = damaged(copy[path[0]], path[1:], value)
    return copy


@pytest.mark.parametrize("value", [None, "x", "AAAA", [], {}, [1]], ids=repr)
def test_what_is_damaged_is_refused_or_harmless(value: object) -> None:
    """Whatever is overwritten: the judge says that it cannot be read, or it can go on."""
    written = json.loads(json.dumps(Release(*POLICY).sees(GOOD, STABLE, GOOD, times=3).judge.to_json()))
    refused = 0
    for path in nodes(written):
        release = Release(*POLICY)
        try:
            release.judge.restore(damaged(written, path, value))  # type: ignore[arg-type]
        except InvalidState:
            refused += 1
        else:
            release.now = START + timedelta(minutes=5)
            assert release.sees(GOOD, STABLE, GOOD).verdict not in ACTING
    assert refused > 20


@pytest.mark.parametrize("number", [math.nan, math.inf, -1.0])
def test_wealth_that_is_no_number_is_refused(number: float) -> None:
    """Otherwise it would be harm at once: nothing is larger than what cannot be compared."""
    written = Release().sees(GOOD, STABLE, GOOD, times=3).judge.to_json()
    for name in ("harm", "above_negligible"):
        mixture = written["checks"]["errors"]["mixtures"][name]
        spoilt = {**mixture, "wealth": pack([number] * len(unpack(mixture["wealth"])))}
        with pytest.raises(InvalidState, match="is no wealth"):
            Release().judge.restore(damaged(written, ("checks", "errors", "mixtures", name), spoilt))  # type: ignore[arg-type]
    shown = pack([number * math.inf] * 41)
    with pytest.raises(InvalidState):
        Release().judge.restore(damaged(written, ("checks", "errors", "interval"), shown))  # type: ignore[arg-type]


@pytest.mark.parametrize("number", [math.nan, math.inf, 10**400], ids=["nan", "inf", "huge"])
def test_noise_that_is_no_number_is_refused(number: float) -> None:
    written = Release().sees(GOOD, STABLE, GOOD, times=3).judge.to_json()
    for path in (("lengths", 0, 3), ("sizes",), ("intervals",)):
        with pytest.raises(InvalidState, match="cannot be read"):
            Release().judge.restore(damaged(written, ("checks", "errors", "meter", *path), number))  # type: ignore[arg-type]


def test_harm_that_was_negligible_does_not_act_later_by_what_is_compared_with_nothing() -> None:
    """After the promotion, without a hold-back, an incident comes to all: the former stable might have had it, too."""
    release = Release(errors(negligible=0.01, max=0.5)).sees((12, 3_000), (3, 27_000), times=10)
    assert release.verdict is Verdict.SAFE
    assert release.log_harm() > 100

    release.enters(100).sees((60, 3_000), times=40)

    assert release.verdict not in ACTING
    assert release.sees((60, 3_000), (3, 27_000)).verdict is Verdict.HARM


# -- settings -------------------------------------------------------------------------------------------------------------


def test_all_mistakes_of_the_settings_are_told_at_once() -> None:
    with pytest.raises(InvalidConfig) as refused:
        JudgeSettings(alpha=0, beta=math.nan, dispersion=0.5, split_band=1.0)
    for words in ("alpha is 0;", "beta is nan;", "dispersion is 0.5; give 1 (none)", "split_band is 1.0;"):
        assert words in str(refused.value)


def test_a_smaller_alpha_takes_longer_and_a_larger_dispersion_too() -> None:
    def looks(settings: JudgeSettings) -> int:
        release, count = Release(settings=settings), 0
        while release.verdict is not Verdict.HARM:
            release.sees((4, 100), (18, 900))
            count += 1
        return count

    usual = looks(JudgeSettings(dispersion=1))
    assert looks(JudgeSettings(alpha=0.0001, dispersion=1)) > usual
    assert looks(JudgeSettings(dispersion=3)) > 2 * usual
