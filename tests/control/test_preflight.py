"""Looking ahead of a release: how much traffic there is for it, how noisy it is, and what that leaves undecided."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from airflow_model_ops.control.heads import read_head
from airflow_model_ops.control.preflight import Preflight, StableShare, look_ahead
from airflow_model_ops.core.checks import Check, CheckKind, Evidence, Measurement
from airflow_model_ops.core.errors import MetricsUnavailable
from airflow_model_ops.core.policy import OnDeadline, ReleasePolicy, Step
from tests.control.counted_traffic import arms_of
from tests.control.watched_release import WatchedRelease, v

NOW = 1_700_000_000.0
ERRORS = Check(name="errors", kind=CheckKind.ERROR_RATE)
ARMS = arms_of("digits", v(2), v(1))


def policy(*checks: Check, percents: tuple[float, ...] = (10.0,), **settings: Any) -> ReleasePolicy:
    steps = tuple(Step(percent=percent, bake_seconds=60) for percent in percents)
    return ReleasePolicy(
        model="digits", steps=steps, checks=checks or (ERRORS,), **{"calibration_seconds": 3600.0, **settings}
    )


def counted(samples: int, bad: int) -> Measurement:
    return Measurement(value=bad / samples if samples else None, samples=samples, bad=bad, age_seconds=1.0)


def iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat()


class Past:
    """A source that knows the past only.

    :param rps: Stable's requests per second at a time, of which a tenth goes over its control cluster.
    :param bad: The bad ones among so many requests.
    :param overlap: Seconds by which an interval reaches back before the end of the one before, as with several routers.
    """

    def __init__(
        self,
        *,
        rps: Callable[[float], float] = lambda at: 1000.0,
        bad: Callable[[int], int] = lambda n: n // 100,
        overlap: float = 0.0,
        trouble: dict[str, str] | None = None,
    ) -> None:
        self._rps, self._bad, self._overlap, self._trouble = rps, bad, overlap, trouble or {}

    def gather(self, check: Check, **question: Any) -> Evidence:
        raise AssertionError("nothing of the present is asked before a release")

    def delay_seconds(self, check: Check) -> float:
        del check
        return 0.0

    def ping(self) -> str:
        return "here"

    def history(
        self, check: Check, *, model: str, arms: Any, start: float, end: float, step_seconds: float
    ) -> tuple[Evidence, ...]:
        if check.name in self._trouble:
            raise MetricsUnavailable(self._trouble[check.name])
        return tuple(
            self._evidence(check, start + number * step_seconds, step_seconds)
            for number in range(int((end - start) / step_seconds))
        )

    def _evidence(self, check: Check, begin: float, seconds: float) -> Evidence:
        everything = int(self._rps(begin) * seconds)
        second = everything // 10
        return Evidence(
            check=check.name,
            canary=counted(0, 0),
            stable=counted(everything - second, self._bad(everything - second)),
            control=counted(second, self._bad(second)),
            begin=iso(begin - self._overlap),
            at=iso(begin + seconds),
        )


def ahead(source: Past, of: ReleasePolicy | None = None, *, share: StableShare | None = None) -> Preflight:
    return look_ahead(of or policy(), source=source, arms=ARMS, now=NOW, stable_share=share or StableShare())


def rate(found: Preflight) -> float:
    return round(found.forecasts[0].outlook.traffic.rate_rps, 1)


class TestTraffic:
    def test_it_is_what_stable_got_lately_in_both_of_its_groups(self) -> None:
        found = ahead(Past())

        (forecast,) = found.forecasts
        assert rate(found) == 1000
        assert forecast.outlook.traffic.base_rate == pytest.approx(0.01, rel=0.01)
        assert found.problems == ()
        assert [line.partition(":")[0] for line in found.lines] == ["errors at 10 %"] * 2

    def test_hours_without_traffic_do_not_count_as_slow_ones(self) -> None:
        assert rate(ahead(Past(rps=lambda at: 500.0 if at >= NOW - 900 else 0.0))) == 500

    def test_scrapes_of_several_routers_that_overlap_in_time_are_not_counted_as_more_time(self) -> None:
        assert rate(ahead(Past(overlap=7.5))) == pytest.approx(1000, rel=0.01)

    def test_while_stable_has_a_part_of_the_traffic_there_is_more_than_it_gets(self) -> None:
        """Half of it goes to a canary since ten minutes."""
        half = Past(rps=lambda at: 500.0 if at >= NOW - 600 else 1000.0)

        assert rate(ahead(half, share=StableShare(percent=50, since=NOW - 600))) == 1000

    def test_what_it_got_as_a_canary_is_not_taken_for_all_there_is(self) -> None:
        risen = Past(rps=lambda at: 1000.0 if at >= NOW - 600 else 100.0)

        assert rate(ahead(risen, share=StableShare(since=NOW - 600))) == 1000

    def test_a_share_it_has_since_a_moment_ago_is_not_known_by_counts_yet(self) -> None:
        assert rate(ahead(Past(), share=StableShare(percent=50, since=NOW - 1))) == 1000

    def test_its_share_is_read_off_the_head(self) -> None:
        watch = WatchedRelease()
        head = read_head(watch.repository.log("digits"))
        assert head is not None

        assert StableShare.of(head) == StableShare(percent=90, since=head.applied_at)
        assert StableShare.of(None) == StableShare()


class TestNoise:
    @staticmethod
    def bursty(n: int, *, seed: random.Random) -> int:
        """Bad events in batches of twenty."""
        return min(n, 20 * sum(seed.random() < 0.5 for _ in range(max(1, n // 1000))))

    def test_it_is_measured_between_stables_two_groups_and_lengthens_what_is_forecast(self) -> None:
        seed = random.Random(7)
        calm, bursty = ahead(Past()), ahead(Past(bad=lambda n: self.bursty(n, seed=seed)))

        assert calm.forecasts[0].outlook.phi == 1
        assert bursty.forecasts[0].outlook.phi > 5
        assert (bursty.forecasts[0].safe_seconds or 0) > (calm.forecasts[0].safe_seconds or 0)

    def test_a_larger_share_is_noisier_than_the_one_at_which_it_was_measured(self) -> None:
        """Bursts weigh more the more requests are compared."""
        seed = random.Random(7)
        found = ahead(Past(bad=lambda n: self.bursty(n, seed=seed)), policy(percents=(1.0, 10.0, 50.0)))

        small, measured, large = (each.outlook.phi for each in found.forecasts)
        assert small == measured
        assert large - 1 == pytest.approx((measured - 1) * 0.25 / 0.09)

    def test_what_the_file_says_of_it_counts(self) -> None:
        found = ahead(Past(), policy(replace(ERRORS, dispersion=7.5), percents=(1.0, 50.0)))

        assert [each.outlook.phi for each in found.forecasts] == [7.5, 7.5]


class TestProblems:
    def test_a_policy_that_cannot_decide_says_what_would_help(self) -> None:
        (problem,) = ahead(Past(rps=lambda at: 5.0)).problems

        assert problem.startswith(
            "check 'errors' cannot show a good canary safe at the 10 % step within canary.deadline of 1 h"
        )
        assert "raise canary.deadline to" in problem

    def test_a_remedy_reckons_with_the_noise_at_the_share_that_it_names(self) -> None:
        """What helps by the noise measured at a small share may not help at the larger one."""
        seed = random.Random(7)
        noisy = Past(rps=lambda at: 300.0, bad=lambda n: 3 * TestNoise.bursty(n, seed=seed))
        found = ahead(noisy, policy(percents=(1.0,)))
        (problem,) = found.problems
        named = problem.partition("raise the step to ")[2].partition(" %")[0]

        if named:
            raised = ahead(noisy, policy(percents=(float(named),)))
            assert (raised.forecasts[0].safe_seconds or float("inf")) <= 3600
        else:
            raised = ahead(noisy, policy(percents=(50.0,)))
            assert (raised.forecasts[0].safe_seconds or float("inf")) > 3600

    def test_a_harm_that_would_be_promoted_unnoticed_is_told(self) -> None:
        few = Past(rps=lambda at: 0.67, bad=lambda n: n // 9)
        found = ahead(few, policy(on_deadline=OnDeadline.PROMOTE))

        assert "on_deadline promotes" in found.problems[-1]

    def test_a_muted_check_is_forecast_and_complains_of_nothing(self) -> None:
        muted = replace(ERRORS, name="dry", muted=True)
        found = ahead(Past(rps=lambda at: 5.0), policy(ERRORS, muted))

        assert [each.outlook.check.name for each in found.forecasts] == ["errors", "dry"]
        assert len(found.problems) == 1


class TestUnknown:
    def test_one_check_that_cannot_be_asked_keeps_no_other_from_being_forecast(self) -> None:
        latency = Check(name="slow", kind=CheckKind.LATENCY, latency_bound_ms=100)
        found = ahead(Past(trouble={"slow": "no bucket ends at 100 ms"}), policy(ERRORS, latency))

        assert [each.outlook.check.name for each in found.forecasts] == ["errors"]
        assert found.unknown == {"slow": "no bucket ends at 100 ms"}
        assert found.lines[-1] == "slow cannot be forecast: no bucket ends at 100 ms"

    def test_a_model_without_traffic_cannot_be_forecast(self) -> None:
        found = ahead(Past(rps=lambda at: 0.0))

        assert found == Preflight(unknown={"errors": "no requests of stable were counted lately"})

    def test_nor_can_a_first_release(self) -> None:
        found = look_ahead(
            policy(), source=Past(), arms=arms_of("digits", v(1), None), now=NOW, stable_share=StableShare()
        )

        assert found == Preflight(unknown={"errors": "there is no stable version whose traffic could be measured"})

    def test_a_value_without_counts_is_left_out(self) -> None:
        gauge = Check(name="accuracy", kind=CheckKind.PROMQL, query="accuracy", min=0.9)
        found = ahead(Past(), policy(ERRORS, gauge))

        assert [each.outlook.check.name for each in found.forecasts] == ["errors"]
        assert found.unknown == {}
