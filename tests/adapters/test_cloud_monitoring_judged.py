"""What Cloud Monitoring's delay means for a release: the judge asks every 15 s, and sees minutes that are six minutes old."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest

from airflow_model_ops.adapters.serving.vertex_names import deployed_model_id
from airflow_model_ops.config.model_file import parse_model_file
from airflow_model_ops.core.checks import Verdict
from airflow_model_ops.core.judge.record import Opening
from airflow_model_ops.core.judge.settings import JudgeSettings
from airflow_model_ops.triggers.version import measure_once
from tests.adapters.monitoring_rig import CANARY, STABLE, DeltaMonitoring, Release
from tests.adapters.prometheus_rig import check

NOON = 1_700_000_000 // 3600 * 3600.0
APPLIED = NOON + 17
"""When the share was applied: within a minute, which is not counted."""
FIRST_SEEN = 60 - 17 + 60 + 360
"""Seconds until the first whole minute after it is complete."""
INTERVAL, RPS, PERCENT, BASE = 15, 100, 5, 0.001
ERRORS = check(kind="error_rate", max_age_seconds=180, min_samples=100, negligible=0.005)


@pytest.fixture
def monitoring() -> Iterator[DeltaMonitoring]:
    served = DeltaMonitoring(now=APPLIED)
    yield served
    served.stop()


@dataclass(frozen=True)
class Told:
    """A verdict, and how many seconds after the share was applied it was first told."""

    verdict: Verdict
    after: float


def watch(monitoring: DeltaMonitoring, *, canary_rate: float, minutes: int, seed: int = 1) -> list[Told]:
    """Serve, ask and judge as a step does; give each change of the verdict."""
    dice = random.Random(seed)
    for minute in range(1, minutes + 1):
        for deployed, share, rate in ((CANARY, PERCENT, canary_rate), (STABLE, 100 - PERCENT, BASE)):
            everything = round(dice.gauss(RPS * 60 * share / 100, (RPS * 60 * share / 100) ** 0.5))
            bad = sum(dice.random() < rate for _ in range(everything))
            shows_at = NOON + minute * 60 + dice.uniform(60, 360)
            monitoring.add(deployed, at=NOON + minute * 60, shows_at=shows_at, c2xx=everything - bad, c5xx=bad)
    source = monitoring.source(clock=lambda: monitoring.now)
    judge = Opening(checks=(ERRORS,), settings=JudgeSettings(), has_stable=True).judge()
    judge.enter_step(PERCENT)
    told: list[Told] = []
    after = None
    while monitoring.now < NOON + minutes * 60:
        found = Release(arms=replace(Release().arms, control=None)).gather(source, ERRORS, begin=APPLIED, after=after)
        after = found.at
        judge.fold([found])
        verdict = judge.summary(subject="the canary").verdict
        if not told or told[-1].verdict is not verdict:
            told.append(Told(verdict, monitoring.now - APPLIED))
        monitoring.now += INTERVAL
    return told


@pytest.mark.integration
@pytest.mark.parametrize(("canary_rate", "within_minutes"), [(0.2, 0), (0.05, 0), (0.02, 4)])
def test_a_bad_canary_is_found_when_its_first_minutes_are_visible(
    monitoring: DeltaMonitoring, canary_rate: float, within_minutes: int
) -> None:
    told = watch(monitoring, canary_rate=canary_rate, minutes=13)
    harm = next(each for each in told if each.verdict is Verdict.HARM)
    assert FIRST_SEEN <= harm.after < FIRST_SEEN + INTERVAL + 60 * within_minutes
    assert {each.verdict for each in told if each.after < FIRST_SEEN} == {Verdict.NO_DATA}


@pytest.mark.integration
def test_a_good_canary_is_shown_safe_and_the_judge_is_never_blind_once_it_sees(monitoring: DeltaMonitoring) -> None:
    told = watch(monitoring, canary_rate=BASE, minutes=25)
    seen = [each.verdict for each in told if each.after >= FIRST_SEEN + INTERVAL]
    assert set(seen) <= {Verdict.UNDECIDED, Verdict.SAFE}, told
    assert Verdict.SAFE in seen


@pytest.mark.integration
@pytest.mark.parametrize(("bad", "verdict"), [(0, Verdict.SAFE), (30, Verdict.BREACH)])
def test_a_sensors_window_ends_where_everything_is_visible_and_so_is_full(
    monitoring: DeltaMonitoring, bad: int, verdict: Verdict
) -> None:
    model = parse_model_file(
        "model: digits\ntarget: {vertex_ai: {location: europe-west4}}\nchecks: [{name: e, kind: error_rate}]\n"
    )
    version = model.naming().parse("v-20230601-120000")
    this_minute = time.time() // 60 * 60
    monitoring.now = this_minute + 30  # at a minute's very begin, the time that a query takes lets a third period in
    for minute in range(20):
        at = this_minute - minute * 60
        monitoring.add(deployed_model_id(version), at=at, shows_at=at + 350, c2xx=270, c5xx=bad)
    asked = {"name": "errors", "kind": "error_rate", "max": 0.05, "window": "2m"}
    told = measure_once(monitoring.source(), model, version.to_json(), asked)
    assert told.verdict is verdict, told.reason
    assert f"({2 * bad} of {2 * (270 + bad)})" in told.reason
