"""Releases with a story: one that turns bad after six good hours, and one whose judge is restarted all the time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from airflow_model_ops.core.checks import Verdict
from benchmarks.judge.contenders import ours
from benchmarks.judge.ours import SETTINGS, Ours
from benchmarks.judge.profiles import Profile
from benchmarks.judge.rates import Rate, median_delay, median_seconds, minutes
from benchmarks.judge.report import Finding, Report
from benchmarks.judge.scenes import Scene
from benchmarks.judge.traffic import draw, draw_history
from benchmarks.judge.work import Workers

HOUR = 3_600.0
ONSET = 6 * HOUR
SLOWER_AT_MOST = 3.0
_RESTART_EVERY = 3


def run(workers: Workers, profile: Profile, report: Report) -> None:
    """Tell every story often enough to see what always holds."""
    for rps in (10.0, 100.0):
        report.findings += _late_onset(workers, profile, rps=rps)
    report.findings.append(_restarts(workers, profile))


@dataclass(frozen=True, slots=True, kw_only=True)
class Turned:
    """A release that turned bad.

    :param found: Seconds from the onset to the rollback; ``None`` if never, or rolled back before.
    :param safe_until: Seconds from the onset to the last look that said SAFE; ``None`` if none did.
    """

    found: float | None
    safe_until: float | None


def turn_bad(scene: Scene, seed: int, runs: range) -> list[Turned]:
    """Judge some releases and watch what is said after the onset."""
    return [_turn_bad(scene, seed, run) for run in runs]


def _turn_bad(scene: Scene, seed: int, run: int) -> Turned:
    judge, safe_until = ours(scene, seed, run), None
    for seen in draw(scene, seed=seed, run=run):
        verdict, since = judge.look(seen).verdict, seen.end - scene.onset_seconds
        if verdict is Verdict.HARM:
            return Turned(found=since if since > 0 else None, safe_until=safe_until)
        if verdict is Verdict.SAFE and since > 0:
            safe_until = since
    return Turned(found=None, safe_until=safe_until)


def _late_onset(workers: Workers, profile: Profile, *, rps: float) -> Iterator[Finding]:
    runs = profile.story_runs
    peek = profile.story_peek_seconds
    start = Scene(name=f"bad from the start {rps:g}", rps=rps, ratio=3.0, seconds=3 * HOUR, peek_seconds=peek)
    late = replace(start, name=f"bad later {rps:g}", onset_seconds=ONSET, seconds=ONSET + 3 * HOUR)
    stepped = replace(late, name=f"bad at a step {rps:g}", ramp=((0.0, 5.0), (ONSET, 10.0)))
    from_start = median_delay(workers.outcomes(ours, start, runs=4 * runs))
    turned = workers.batches(turn_bad, late, runs=2 * runs, size=max(1, runs // 8))
    delay = median_seconds(each.found for each in turned)
    yield Finding(
        goal="a canary that turns bad after six good hours is found nearly as fast",
        cell=f"{rps:g} rps, x3, a look every {peek:g} s",
        rule=f"median delay <= {SLOWER_AT_MOST:g} times that from the start",
        measured=f"{minutes(delay)}, from the start {minutes(from_start)}",
        holds=delay <= SLOWER_AT_MOST * from_start,
    )
    safe = median_seconds(each.safe_until or 0.0 for each in turned)
    yield Finding(
        goal="SAFE is withdrawn when a canary turns bad within a step",
        cell=f"{rps:g} rps, x3 after six hours at one step",
        rule="SAFE is last said, in the median, before harm is found",
        measured=f"SAFE until {minutes(safe)}, found after {minutes(delay)}",
        holds=safe < delay,
    )
    turned = workers.batches(turn_bad, stepped, runs=runs, size=max(1, runs // 8))
    rate = Rate(hits=sum(each.safe_until is not None for each in turned), runs=runs)
    yield Finding(
        goal="a canary that turns bad when it is stepped up is not stepped up again",
        cell=f"{rps:g} rps, x3 from the sixth hour's step on",
        rule=f"lower bound of the share with any SAFE after it <= {100 * SETTINGS.beta:g} %",
        measured=f"{rate} of {runs}",
        holds=rate.low <= SETTINGS.beta,
    )


def restart_often(scene: Scene, seed: int, runs: range) -> list[bool]:
    """Tell of some releases whether a judge that is restarted says and keeps the same as one that is not, bit for bit."""
    return [_is_unmoved(scene, seed, run) for run in runs]


def _is_unmoved(scene: Scene, seed: int, run: int) -> bool:
    history = draw_history(scene, seed=seed, run=run)
    steady, restarted = Ours(scene, history=history), Ours(scene, history=history, restart_every=_RESTART_EVERY)
    for seen in draw(scene, seed=seed, run=run):
        if steady.look(seen) != restarted.look(seen):
            return False
    return steady.state == restarted.state


def _restarts(workers: Workers, profile: Profile) -> Finding:
    scene = Scene(name="restarts", rps=100.0, ratio=1.3, seconds=2 * HOUR, ramp=((0.0, 5.0), (HOUR, 10.0)))
    runs = profile.story_runs
    same = sum(workers.batches(restart_often, scene, runs=runs, size=max(1, runs // 8)))
    return Finding(
        goal="a restart changes nothing",
        cell=f"100 rps, x1.3, two steps, restarted at every {_RESTART_EVERY}rd look",
        rule="every summary and the kept state are the same, bit for bit",
        measured=f"{same} of {runs} releases",
        holds=same == runs,
    )
