"""The guard's detector: seldom wrong for as long as stable serves, fast once it turns bad, and the same after a restart."""

from __future__ import annotations

import json
import math
import random
import statistics
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_model_ops.core.checks import Check, CheckKind, Evidence, Measurement
from airflow_model_ops.core.errors import InvalidState
from airflow_model_ops.core.judge.counts import Counts
from airflow_model_ops.core.judge.detector import CeilingDetector
from airflow_model_ops.core.judge.guard import KEPT_INTERVALS, GuardJudge
from airflow_model_ops.core.judge.mixture import unpack
from airflow_model_ops.core.judge.processes import ODDS_ABOVE, by_odds

CEILING, INTERVAL = 0.01, 15.0
NINETY_DAYS = 90 * 86_400.0
MIDNIGHT = datetime(2023, 6, 1, tzinfo=UTC)


def check(name: str = "errors", **more: Any) -> Check:
    return Check(**{"name": name, "kind": CheckKind.ERROR_RATE, "max": CEILING, **more})


def judge(*checks: Check, mean_seconds: float = NINETY_DAYS, dispersion: float = 1.0) -> GuardJudge:
    return GuardJudge(checks or (check(),), mean_seconds=mean_seconds, interval_seconds=INTERVAL, dispersion=dispersion)


def measured(counts: Counts | None, **more: Any) -> Measurement:
    if counts is None:
        return Measurement(**more)
    rate = counts.rate if counts.n else None
    return Measurement(value=rate, samples=float(counts.n), bad=float(counts.bad), **{"age_seconds": 1.0, **more})


def evidence(
    number: int,
    stable: Counts | None,
    control: Counts | None = None,
    *,
    name: str = "errors",
    every: float = INTERVAL,
    **more: Any,
) -> Evidence:
    """The ``number``-th interval."""
    begin = MIDNIGHT + timedelta(seconds=number * every)
    return Evidence(
        check=name,
        canary=measured(stable, **more),
        control=None if control is None else measured(control),
        begin=begin.isoformat(),
        at=(begin + timedelta(seconds=every)).isoformat(),
    )


def binomial(chance: random.Random, n: int, rate: float) -> int:
    return sum(chance.random() < rate for _ in range(n))


def days(chance: random.Random, *, n: int, rate: float) -> Iterator[Counts]:
    while True:
        yield Counts(n, binomial(chance, n, rate))


def first_alarm(guard: GuardJudge, stream: Iterator[Counts], *, at_most: int) -> int:
    """Return after how many intervals it says something."""
    for number, counts in zip(range(at_most), stream, strict=False):
        guard.fold([evidence(number, counts)])
        if guard.alarm(subject="stable v1"):
            return number + 1
    return at_most


class TestPromise:
    @pytest.mark.parametrize("n", [5, 40])
    @pytest.mark.parametrize("rate", [CEILING, 0.6 * CEILING])
    def test_false_alarms_are_as_seldom_as_promised_at_and_below_the_ceiling(self, n: int, rate: float) -> None:
        """Runs are cut off at three times the promise, which can only make the mean look smaller."""
        promised, chance = 60, random.Random(n)
        waits = [
            first_alarm(judge(mean_seconds=promised * INTERVAL), days(chance, n=n, rate=rate), at_most=3 * promised)
            for _ in range(60)
        ]

        spread = statistics.stdev(waits) / math.sqrt(len(waits)) if len(set(waits)) > 1 else 0
        assert statistics.mean(waits) + 2 * spread >= promised

    def test_several_checks_share_one_promise(self) -> None:
        promised, chance = 60, random.Random(4)
        names = [f"check{number}" for number in range(4)]
        waits = []
        for _ in range(25):
            guard = judge(*(check(name) for name in names), mean_seconds=promised * INTERVAL)
            for number in range(3 * promised):
                guard.fold(evidence(number, Counts(30, binomial(chance, 30, CEILING)), name=name) for name in names)
                if guard.alarm(subject="v"):
                    break
            waits.append(number + 1)

        assert statistics.mean(waits) >= promised

    def test_looking_more_often_than_each_interval_starts_no_more_processes(self) -> None:
        """The promise is about time: a guard that is asked each second must not cry wolf fifteen times as often."""
        guard = judge()
        value = [0.0]
        for number in range(60):
            before = guard.checks["errors"].detector.value
            guard.fold([evidence(number, Counts(1, 0), every=1.0)])
            value.append(guard.checks["errors"].detector.value - before)

        assert sum(step > 0.5 for step in value) == 4

    @given(
        n=st.integers(1, 40),
        share=st.floats(0, 1),
        ceiling=st.floats(0.001, 0.5),
        phi=st.floats(1, 10),
        before=st.lists(st.tuples(st.integers(0, 50), st.integers(0, 5)), max_size=5),
    )
    @settings(max_examples=60, deadline=None)
    def test_no_interval_at_or_below_the_ceiling_raises_the_mean_by_more_than_what_starts(
        self, n: int, share: float, ceiling: float, phi: float, before: list[tuple[int, int]]
    ) -> None:
        """M - k is a supermartingale: computed exactly over every count that one interval can have."""
        rate = share * ceiling

        def folded(bad: int | None) -> float:
            detector = CeilingDetector(ceiling=ceiling, log_threshold=math.log(1000))
            for all_, worse in before:
                detector.fold(Counts(max(all_, worse), worse), begin="2023-06-01T00:00:00+00:00", phi=phi)
            if bad is not None:
                detector.fold(Counts(n, bad), begin="2023-06-01T00:00:00+00:00", phi=phi)
            return detector.value

        mean = sum(math.comb(n, bad) * rate**bad * (1 - rate) ** (n - bad) * folded(bad) for bad in range(n + 1))
        assert mean <= (folded(None) + 1) * (1 + 1e-9)

    def test_it_is_the_sum_of_likelihood_ratios_over_all_starts(self) -> None:
        chance = random.Random(7)
        counts = [Counts(50, binomial(chance, 50, 0.02)) for _ in range(12)]
        detector = CeilingDetector(ceiling=CEILING, log_threshold=math.log(1e9))
        for each in counts:
            detector.fold(each, begin="2023-06-01T00:00:00+00:00", phi=2.0)

        def ratio(rate: float, each: Counts) -> float:
            good = each.n - each.bad
            return float(((rate / CEILING) ** each.bad * ((1 - rate) / (1 - CEILING)) ** good) ** 0.5)

        for value, factor in zip(unpack(detector.to_json()["sums"]), ODDS_ABOVE, strict=True):
            rate = by_odds(CEILING, factor)
            starts = [math.prod(ratio(rate, each) for each in counts[start:]) for start in range(len(counts))]
            assert value == pytest.approx(sum(starts))


class TestDelay:
    @pytest.mark.parametrize(("n", "rate", "within"), [(15, 0.5, 4), (150, 0.05, 12), (1500, 0.03, 3), (1500, 0.02, 8)])
    def test_a_version_that_turns_bad_after_a_good_day_is_found_within_minutes(
        self, n: int, rate: float, within: int
    ) -> None:
        chance, guard = random.Random(3), judge(dispersion=2.0)
        for number in range(500):
            guard.fold([evidence(number, Counts(n, binomial(chance, n, 0.002)))])
            assert guard.alarm(subject="v") is None
        for number in range(500, 500 + within):
            guard.fold([evidence(number, Counts(n, binomial(chance, n, rate)))])
            if guard.alarm(subject="v"):
                return
        raise AssertionError(f"not found within {within} intervals")

    def test_good_hours_do_not_delay_it(self) -> None:
        def intervals_after(good: int) -> int:
            guard = judge()
            for number in range(good):
                guard.fold([evidence(number, Counts(150, 0))])
            for number in range(good, good + 50):
                guard.fold([evidence(number, Counts(150, 6))])
                if guard.alarm(subject="v"):
                    return number - good
            raise AssertionError("never found")

        assert intervals_after(2000) == intervals_after(0)

    def test_the_alarm_ends_soon_after_its_cause(self) -> None:
        guard = judge()
        for number in range(200):
            guard.fold([evidence(number, Counts(150, 15))])
        assert guard.alarm(subject="v")
        for number in range(200, 205):
            guard.fold([evidence(number, Counts(150, 0))])

        assert guard.alarm(subject="v") is None

    def test_bursts_between_the_groups_of_stable_make_it_more_patient(self) -> None:
        noisy, calm = judge(), judge()
        for number in range(60):
            burst = 24 if number % 2 else 0
            noisy.fold([evidence(number, Counts(1000, 1 + burst), Counts(1000, 25 - burst))])
            calm.fold([evidence(number, Counts(1000, 13), Counts(1000, 13))])

        assert 0 < noisy.checks["errors"].detector.value < calm.checks["errors"].detector.value / 10


class TestBlindness:
    def bad(self) -> GuardJudge:
        guard = judge()
        for number in range(100):
            guard.fold([evidence(number, Counts(150, 15))])
        assert guard.alarm(subject="v") is not None
        return guard

    @pytest.mark.parametrize(
        "blind",
        [
            pytest.param(evidence(100, None, error="connection refused"), id="down"),
            pytest.param(evidence(100, Counts(0, 0)), id="no requests"),
            pytest.param(evidence(100, Counts(150, 150), age_seconds=3600.0), id="stale"),
            pytest.param(evidence(100, None), id="nothing"),
            pytest.param(evidence(99, Counts(150, 150)), id="nothing new"),
            pytest.param(evidence(100, None, age_seconds=1.0, samples=math.nan, bad=math.nan), id="no numbers"),
            pytest.param(evidence(100, None, age_seconds=1.0, samples=10.0, bad=11.0), id="more bad than all"),
            pytest.param(evidence(100, None, age_seconds=1.0, samples=10.5, bad=1.5), id="fractions"),
        ],
    )
    def test_without_fresh_counts_it_says_nothing_whatever_it_knew(self, blind: Evidence) -> None:
        guard = self.bad()

        guard.fold([blind])

        assert guard.alarm(subject="v") is None

    def test_an_interval_that_comes_twice_is_counted_once(self) -> None:
        once, twice = judge(), judge()
        for number in range(5):
            once.fold([evidence(number, Counts(150, 5))])
            twice.fold([evidence(number, Counts(150, 5))])
            twice.fold([evidence(number, Counts(150, 5))])

        assert twice.to_json() == once.to_json()

    def test_outages_only_never_make_an_alarm(self) -> None:
        guard = judge(mean_seconds=100 * INTERVAL)
        for number in range(500):
            guard.fold([evidence(number, None, error="connection refused")])
            assert guard.alarm(subject="v") is None

        assert guard.checks["errors"].detector.value == 0


class TestRestart:
    @given(
        counts=st.lists(
            st.tuples(st.integers(0, 500), st.integers(0, 30), st.integers(0, 60)), min_size=1, max_size=40
        ),
        cut=st.integers(0, 40),
    )
    @settings(max_examples=60, deadline=None)
    def test_one_that_was_restarted_goes_on_bit_for_bit(self, counts: list[tuple[int, int, int]], cut: int) -> None:
        def fold(guard: GuardJudge, number: int) -> None:
            n, bad, control = counts[number]
            guard.fold([evidence(number, Counts(n + bad, bad), Counts(control, min(control, bad)))])

        through, first = judge(), judge()
        for number in range(len(counts)):
            fold(through, number)
            if number < cut:
                fold(first, number)
        second = judge()
        second.restore("errors", json.loads(json.dumps(first.to_json()["errors"])))
        for number in range(cut, len(counts)):
            fold(second, number)

        assert second.to_json() == through.to_json()

    def test_its_state_stays_small_for_ever(self) -> None:
        guard = judge()
        for number in range(1000):
            guard.fold([evidence(number, Counts(15_000, 900), Counts(1_500, 70))])

        assert len(json.dumps(guard.to_json())) < 8_000
        assert len(guard.checks["errors"].intervals) == KEPT_INTERVALS

    @pytest.mark.parametrize("damage", ["sums", "recent", "ceiling"])
    def test_a_state_that_is_not_its_own_is_refused(self, damage: str) -> None:
        data = judge().to_json()["errors"]
        data["detector"][damage] = 0.5 if damage == "ceiling" else "AAAA"

        with pytest.raises(InvalidState, match="start anew"):
            judge().restore("errors", data)


class TestWords:
    def alarm(self, given: Check) -> str:
        guard = judge(given)
        for number in range(40):
            guard.fold([evidence(number, Counts(1_000, 2), name=given.name)])
        for number in range(40, 44):
            guard.fold([evidence(number, Counts(900, 54), Counts(100, 6), name=given.name)])
        alarm = guard.alarm(subject="stable v-20230601-120000")
        assert alarm is not None
        assert alarm.check == given.name
        return alarm.reason

    def test_an_alarm_tells_what_since_when_and_how_seldom_it_is_wrong(self) -> None:
        assert self.alarm(check()) == (
            "errors of stable v-20230601-120000 6.0 % (240 of 4,000) since 00:10:00 UTC: above the allowed 1.0 %; "
            "by chance the guard says so once in 90 days or more seldom"
        )

    def test_that_of_a_latency_names_its_bound(self) -> None:
        told = self.alarm(check("slow", kind=CheckKind.LATENCY, latency_bound_ms=250.0))

        assert told.startswith("slow of stable v-20230601-120000 6.0 % over 250 ms (240 of 4,000)")

    def test_of_several_checks_the_worst_is_named(self) -> None:
        guard = judge(check("errors"), check("slow", kind=CheckKind.LATENCY, latency_bound_ms=250.0))
        for number in range(20):
            guard.fold(
                [
                    evidence(number, Counts(1_000, 5), name="errors"),
                    evidence(number, Counts(1_000, 60), name="slow"),
                ]
            )
        alarm = guard.alarm(subject="v")

        assert alarm is not None
        assert alarm.check == "slow"
        assert set(alarm.numbers["values"]) == {"errors", "slow"}
