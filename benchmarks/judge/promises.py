"""What our judge promises of healthy releases and of those at a margin, one goal after the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from benchmarks.judge.contenders import ours
from benchmarks.judge.day import Judged, batch_size, judge_days, rate_of, worst_difference
from benchmarks.judge.ours import SETTINGS
from benchmarks.judge.profiles import Profile
from benchmarks.judge.rates import Rate, median_seconds, minutes, promoted, rolled_back
from benchmarks.judge.report import Finding, Report, Table
from benchmarks.judge.scenes import Scene
from benchmarks.judge.work import Workers

HOUR, DAY = 3_600.0, 86_400.0
RAMP = ((0.0, 1.0), (4 * HOUR, 5.0), (8 * HOUR, 25.0), (12 * HOUR, 40.0))
TWIN_TOLERANCE = 1e-9

_WITHIN_ALPHA = f"lower bound of the share rolled back <= {100 * SETTINGS.alpha:g} %"
_WITHIN_BETA = f"lower bound of the share promoted <= {100 * SETTINGS.beta:g} %"


def run(workers: Workers, profile: Profile, report: Report) -> None:
    """Put every promise to the test."""
    judged: list[Judged] = []
    for goal, scene, runs in healthy(profile):
        found = workers.batches(judge_days, scene, runs=runs, size=batch_size(scene))
        report.findings.append(_within_alpha(goal, scene, found))
        judged += found
    report.findings += [_twin(judged), *_margins(workers, profile), *_few_errors(workers, profile)]
    if profile.beyond:
        report.tables.append(_beyond(workers, profile))


def healthy(profile: Profile) -> Iterator[tuple[str, Scene, int]]:
    """Yield the goal, the scene and the runs of every cell in which nothing may be rolled back."""
    for rps in profile.traffics:
        yield _cell("healthy canaries stay", rps, runs=profile.healthy_runs)
        yield _cell("healthy canaries stay", rps, runs=profile.fast_runs, peek_seconds=15.0)
    for rps in (10.0, 1000.0):
        yield _cell(
            "healthy canaries stay", rps, runs=profile.second_runs, peek_seconds=1.0, seconds=profile.second_seconds
        )
    for rps in profile.traffics:
        yield _cell("an incident of both arms is no harm", rps, runs=profile.healthy_runs, incidents=4)
        yield _cell("a swinging day is no harm", rps, runs=profile.healthy_runs, diurnal=True)
        yield _cell("a changing split is no harm", rps, runs=profile.healthy_runs, ramp=RAMP)
    for cv2 in (0.05, 0.25):
        for rps in profile.traffics:
            yield _cell("bursts are no harm once measured", rps, runs=profile.healthy_runs, burst_cv2=cv2)
            for burst_seconds in (15.0, 60.0):
                yield _cell(
                    "bursts are no harm once measured",
                    rps,
                    runs=profile.fast_runs,
                    peek_seconds=15.0,
                    burst_cv2=cv2,
                    burst_seconds=burst_seconds,
                )


def _cell(goal: str, rps: float, *, runs: int, **settings: object) -> tuple[str, Scene, int]:
    scene = Scene(**{"name": goal, "rps": rps, "seconds": DAY, **settings})  # type: ignore[arg-type]
    return goal, scene, runs


def _words(scene: Scene) -> str:
    words = [f"{scene.rps:g} rps", f"a look every {scene.peek_seconds:g} s for {scene.seconds / HOUR:g} h"]
    words += [f"{scene.incidents} incidents"] if scene.incidents else []
    words += ["swinging"] if scene.diurnal else []
    words += ["steps " + ", ".join(f"{percent:g} %" for _, percent in scene.ramp)] if len(scene.ramp) > 1 else []
    words += [f"CV^2 {scene.burst_cv2:g} per {scene.burst_seconds:g} s"] if scene.burst_cv2 else []
    return ", ".join(words)


def _within_alpha(goal: str, scene: Scene, judged: Sequence[Judged]) -> Finding:
    rate = rate_of(judged)
    measured = f"{rate} of {rate.runs}"
    return Finding(
        goal=goal, cell=_words(scene), rule=_WITHIN_ALPHA, measured=measured, holds=rate.low <= SETTINGS.alpha
    )


def _twin(judged: Sequence[Judged]) -> Finding:
    sampled, decided = (sum(each.difference is not None for each in judged), sum(each.decided for each in judged))
    worst = worst_difference(judged)
    return Finding(
        goal="the twin that screens healthy releases is the judge's equal",
        cell=f"{sampled} sampled releases; {decided} of {len(judged):,} came near and were decided by the judge itself",
        rule=f"evidence differs by less than {TWIN_TOLERANCE:g} nats",
        measured=f"{worst:.1e} nats at most",
        holds=worst < TWIN_TOLERANCE,
    )


def _margins(workers: Workers, profile: Profile) -> Iterator[Finding]:
    """Canaries exactly at the margin, and exactly at the negligible rate while stable has even less."""
    scenes = [
        Scene(name=f"at the margin {rps:g}", rps=rps, ratio=1.5, seconds=DAY, peek_seconds=60.0)
        for rps in (10.0, 100.0)
    ]
    scenes.append(Scene(name="at both limits", rps=100.0, base=0.001 / 1.5, ratio=1.5, seconds=6 * HOUR))
    for scene in scenes:
        found = workers.outcomes(ours, scene, runs=profile.margin_runs, stop_at_promotion=True)
        rate = promoted(found)
        yield Finding(
            goal="a canary at the margin is not promoted",
            cell=f"{scene.rps:g} rps, base {100 * scene.base:.2g} %, x{scene.ratio:g}, {scene.seconds / HOUR:g} h",
            rule=_WITHIN_BETA,
            measured=f"{rate} of {rate.runs} promoted, {rolled_back(found).hits} rolled back",
            holds=rate.low <= SETTINGS.beta,
        )


def _few_errors(workers: Workers, profile: Profile) -> Iterator[Finding]:
    runs = profile.story_runs
    none = Scene(name="no errors at all", rps=10.0, base=0.0, seconds=6 * HOUR)
    found = workers.outcomes(ours, none, runs=runs, stop_at_promotion=True)
    yield _all_or_none(
        "a canary without errors is promoted, also if stable has none",
        "10 rps, no errors in either arm",
        promoted(found),
        wanted=runs,
        extra=f"after {minutes(median_seconds(each.promoted for each in found))}",
    )
    few = Scene(name="3 in a million", rps=1000.0, base=0.0, canary_base=3e-6, seconds=3 * HOUR)
    found = workers.outcomes(ours, few, runs=runs)
    yield _all_or_none(
        "3 errors in a million against none are negligible",
        "1000 rps for 3 h: about a million requests of the canary",
        rolled_back(found),
        wanted=0,
        extra=f"{promoted(found).hits} of {runs} promoted",
    )


def _all_or_none(goal: str, cell: str, rate: Rate, *, wanted: int, extra: str) -> Finding:
    verb = "promoted" if wanted else "rolled back"
    measured = f"{rate.hits} of {rate.runs} {verb}, {extra}"
    return Finding(goal=goal, cell=cell, rule=f"{wanted} {verb}", measured=measured, holds=rate.hits == wanted)


def _beyond(workers: Workers, profile: Profile) -> Table:
    """Bursts together with what changes their size: promised by nobody, so shown and not judged."""
    rows = []
    for cv2 in (0.05, 0.25):
        for rps in (10.0, 100.0, 1000.0):
            make = partial(_cell, "beyond the promise", rps, runs=profile.healthy_runs, burst_cv2=cv2)
            for _, scene, runs in (make(diurnal=True, incidents=3), make(ramp=RAMP)):
                found = workers.batches(judge_days, scene, runs=runs, size=batch_size(scene))
                rows.append([_words(scene), str(rate_of(found))])
    note = (
        "The claim is proven for independent requests and measured under bursts that are like those of the calibration. Here "
        "bursts meet incidents, a swinging day or a growing split, which make them weigh more than when they were measured."
    )
    return Table(
        title="Beyond the promise: healthy canaries rolled back", head=["cell", "rolled back"], rows=rows, note=note
    )
