"""What breaks between the servers and the judge must neither roll back nor promote."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from airflow_model_ops.adapters.metrics.counting import Count, Counter, count
from airflow_model_ops.core.checks import Verdict
from benchmarks.judge.contenders import ours
from benchmarks.judge.judges import Outcome, let_judge
from benchmarks.judge.profiles import Profile
from benchmarks.judge.promises import count_outcomes
from benchmarks.judge.rates import Rate, promoted, rolled_back
from benchmarks.judge.report import Finding, Report
from benchmarks.judge.scenes import Fault, Faulty, Scene
from benchmarks.judge.traffic import Drawn, Whole, draw
from benchmarks.judge.work import Workers

HOUR = 3_600.0
GOAL = "what the judge cannot see it does not act on"
GROUPS = ("canary", "stable", "control")

_RESET_SHARE = 0.1


def run(workers: Workers, profile: Profile, report: Report) -> None:
    """Break everything between the servers and the judge, one after the other."""
    for fault in Fault:
        report.findings += _lasting(workers, profile, fault)
        report.findings.append(_passing(workers, profile, fault))
    report.findings += _resets(workers, profile)


def _lasting(workers: Workers, profile: Profile, fault: Fault) -> Iterator[Finding]:
    """The fault comes after two minutes, before anything can be proven, and stays for the rest of the release."""
    for canary_only in (False, True):
        ended: list[Outcome] = []
        for ratio in (1.0, 1.5):
            faulty = Faulty(kind=fault, from_seconds=120.0, canary_only=canary_only)
            name = f"{fault} for good x{ratio:g} {canary_only}"
            scene = Scene(name=name, rps=100.0, ratio=ratio, seconds=6 * HOUR, faulty=faulty)
            ended += workers.outcomes(ours, scene, runs=profile.story_runs)
        yield Finding(
            goal=GOAL,
            cell=f"{fault}{' of the canary alone' if canary_only else ''}, from the second minute on, x1 and x1.5",
            rule="0 rollbacks, 0 promotions",
            measured=count_outcomes(ended),
            holds=rolled_back(ended).hits == promoted(ended).hits == 0,
        )


def judge_blinks(scene: Scene, seed: int, runs: range) -> list[int]:
    """Count, of some healthy releases, the looks at a hidden interval that say HARM, BREACH or SAFE."""
    acting = {Verdict.HARM, Verdict.BREACH, Verdict.SAFE}
    blinks = []
    for run in runs:
        judge = ours(scene, seed, run)
        looks = [(seen.fault, judge.look(seen).verdict) for seen in draw(scene, seed=seed, run=run)]
        blinks.append(sum(fault is not None and verdict in acting for fault, verdict in looks))
    return blinks


def _passing(workers: Workers, profile: Profile, fault: Fault) -> Finding:
    """Every other interval is hidden, so that the judge learns that the canary is safe, but may not say so blindly."""
    scene = Scene(name=f"{fault} now and then", rps=100.0, seconds=3 * HOUR, faulty=Faulty(kind=fault, share=0.5))
    blinks = workers.batches(judge_blinks, scene, runs=profile.story_runs, size=max(1, profile.story_runs // 8))
    return Finding(
        goal=GOAL,
        cell=f"{fault}, every other interval, healthy",
        rule="no look at a hidden interval acts or promotes",
        measured=f"{sum(blinks)} of about {profile.story_runs * scene.peeks // 2:,} looks",
        holds=not any(blinks),
    )


def _resets(workers: Workers, profile: Profile) -> Iterator[Finding]:
    runs, size = profile.story_runs, max(1, profile.story_runs // 8)
    scene = Scene(name="resets", rps=100.0, seconds=HOUR)
    healthy = workers.batches(judge_resets, scene, runs=runs, size=size)
    bad = workers.batches(judge_resets, replace(scene, name="resets of a bad one", ratio=3.0), runs=runs, size=size)
    for words, ended, rate in (
        ("healthy: not rolled back", healthy, rolled_back(healthy)),
        ("x3: not promoted", bad, promoted(bad)),
    ):
        yield Finding(
            goal="a counter reset is neither harm nor safety",
            cell=f"the router restarts in {100 * _RESET_SHARE:g} % of the intervals; {words}",
            rule="0 in all runs; never more events than there were",
            measured=count_outcomes(ended),
            holds=rate == Rate(hits=0, runs=runs),
        )


def judge_resets(scene: Scene, seed: int, runs: range) -> list[Outcome]:
    """Judge some releases on what is counted from the raw samples of a router that restarts."""
    ended = []
    for run in runs:
        true = draw(scene, seed=seed, run=run)
        counted = count_with_resets(true, random=np.random.default_rng([seed, run, 2]))
        if (counted.samples > true.samples).any() or (counted.bad > true.bad).any():
            raise AssertionError(f"run {run}: a reset made events out of nothing")
        ended.append(let_judge(ours(scene, seed, run), counted))
    return ended


def count_with_resets(true: Drawn, *, random: np.random.Generator) -> Drawn:
    """Give what the Prometheus adapter counts when the router restarts in some intervals and forgets what it had counted.

    One scrape per interval; what came between the last scrape and the restart is lost to everybody.
    """
    kept = np.where(random.random(len(true.ends)) < _RESET_SHARE, random.random(len(true.ends)), 1.0)[:, None]
    bad = random.binomial(true.bad, kept)
    samples = bad + random.binomial(true.samples - true.bad, kept)
    series = {
        (group, kind): _cumulative(column, restarts=kept[:, 0] < 1)
        for index, group in enumerate(GROUPS)
        for kind, column in (("good", samples[:, index] - bad[:, index]), ("bad", bad[:, index]))
    }
    times = [0, *(1000 * true.ends).astype(int).tolist()]
    counts = [_count(series, times, until=end) for end in range(1, len(times))]
    counted = np.array(
        [[(each.get(group, Count()).all, each.get(group, Count()).bad) for group in GROUPS] for each in counts]
    )
    return replace(true, samples=counted[:, :, 0], bad=counted[:, :, 1])


def _cumulative(events: Whole, *, restarts: np.ndarray) -> list[int]:
    values, total = [0], 0
    for count_now, restarted in zip(events.tolist(), restarts.tolist(), strict=True):
        total = count_now if restarted else total + count_now
        values.append(total)
    return values


def _count(series: Mapping[tuple[str, str], list[int]], times: list[int], *, until: int) -> Mapping[str, Count]:
    """Count one interval, as the adapter does at a look right after a scrape."""
    first = max(0, until - 3)
    counters = [
        Counter(
            process=(("instance", "router"),),
            group=group,
            name=kind,
            of_all=1,
            of_bad=int(kind == "bad"),
            values=dict(zip(times[first : until + 1], values[first : until + 1], strict=True)),
        )
        for (group, kind), values in series.items()
    ]
    return count(counters, begin=times[0], after=times[until - 1]).counts
