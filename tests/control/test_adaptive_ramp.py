"""An adaptive ramp from the YAML file to the last share: evidence alone lets it rise, and a harm budget holds it back."""

from __future__ import annotations

from dataclasses import replace

import pytest

from airflow_model_ops.config.model_file import parse_model_file
from airflow_model_ops.control.step_check import StepResult
from airflow_model_ops.core.checks import Verdict
from tests.control.watched_release import WatchedRelease

YAML = """
model: digits
versions: {{scheme: semantic, prefix: digits}}
canary: {{adaptive: {{start: 10, end: 50, factor: 2}}, interval: 10s, deadline: 1h{more}}}
checks:
  - {{name: errors, kind: error_rate, margin: 2}}
"""


def ramp(*, more: str = "", rps: float = 300) -> WatchedRelease:
    """A release that has its first share of 10 %."""
    watch = WatchedRelease()
    watch.policy = parse_model_file(YAML.format(more=more)).policy()
    watch.traffic.rps = rps
    return watch


def intervals_of_each_share(watch: WatchedRelease) -> list[int]:
    """Let the release rise to its last share; return how many intervals each one took."""
    taken = []
    for index, step in enumerate(watch.policy.steps):
        if index:
            watch.shift(step.percent)
        before = watch.clock.now()
        outcome = watch.ticks(360, step=index)
        assert outcome is not None
        assert (outcome.result, outcome.verdict) == (StepResult.PASSED, Verdict.SAFE)
        taken.append(round((watch.clock.now() - before) / 10))
    return taken


def test_each_share_lasts_as_long_as_safety_takes_to_show_and_a_larger_one_less() -> None:
    watch = ramp()

    taken = intervals_of_each_share(watch)

    assert [step.percent for step in watch.policy.steps] == [10, 20, 40, 50]
    assert taken == sorted(taken, reverse=True)
    assert taken[0] < 30


def test_more_traffic_makes_it_rise_sooner() -> None:
    assert sum(intervals_of_each_share(ramp(rps=1000))) < sum(intervals_of_each_share(ramp(rps=300)))


def test_a_harm_budget_makes_it_slower_and_stops_no_good_canary() -> None:
    free, capped = intervals_of_each_share(ramp()), intervals_of_each_share(ramp(more=", max_bad_events: 60"))

    assert all(late >= soon for soon, late in zip(free, capped, strict=True))
    assert sum(capped) > sum(free)


def test_a_budget_too_small_for_the_next_share_holds_the_release_at_its_deadline() -> None:
    watch = ramp(more=", max_bad_events: 0.001")
    watch.policy = replace(watch.policy, deadline_seconds=300)
    watch.traffic.canary_bad = 0.0125  # a little more than stable's, so that something is spent

    assert watch.ticks(40) is None

    assert watch.book.judge.summary(subject="it").verdict is Verdict.SAFE
    assert watch.state.hold is not None
    assert watch.split == {1: 90, 2: 10}


@pytest.mark.parametrize("ratio", [3, 5, 10])
def test_a_bad_canary_is_out_before_it_costs_more_than_the_budget(ratio: float) -> None:
    watch = ramp(more=", max_bad_events: 150")
    watch.traffic.canary_bad = ratio * watch.traffic.stable_bad

    outcome = watch.ticks(360)

    assert outcome is not None
    assert (outcome.result, outcome.verdict) == (StepResult.ABORTED, Verdict.HARM)
    requests, _ = watch.counted()
    assert requests * (watch.traffic.canary_bad - watch.traffic.stable_bad) < 150
