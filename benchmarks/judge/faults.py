"""What breaks between the servers and the judge must neither roll back nor promote."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from airflow_model_ops.adapters.metrics.counting import Count, Counter, count
from airflow_model_ops.core.checks import Verdict
from benchmarks.judge.contenders import ours
from benchmarks.judge.judges import Outcome, let_judge
from benchmarks.judge.profiles import Profile
from benchmarks.judge.rates import Rate, promoted, rolled_back
from benchmarks.judge.report import Finding, Report
from benchmarks.judge.scenes import Fault, Faulty, Scene
from benchmarks.judge.traffic import Drawn, Whole, draw
from benchmarks.judge.work import Workers

HOUR = 3_600.0
GOAL = "what the judge cannot see it does not act on"
GROUPS = ("canary", "stable", "control")

_ACTING = {Verdict.HARM, Verdict.BREACH, Verdict.SAFE}
_RESET_SHARE = 0.1


def run(workers: Workers, profile: Profile, report: Report) -> None:
    """Break everything between the servers and the judge, one after the other."""
    for fault in Fault:
        report.findings += _lasting(workers, profile, fault)
        report.findings.append(_passing(workers, profile, fault))
    report.findings += _resets(workers, profile)


def judge_blindly(scene: Scene, seed: int, runs: range) -> list[int]:
    """Count, of some releases, the looks at a hidden interval that say HARM, BREACH or SAFE.

    A release that ends before, by what was seen until then, has none.
    """
    return [_acts_blindly(scene, seed, run) for run in runs]


def _acts_blindly(scene: Scene, seed: int, run: int) -> int:
    judge, blindly = ours(scene, seed, run), 0
    for seen in draw(scene, seed=seed, run=run):
        verdict = judge.look(seen).verdict
        blindly += seen.fault is not None and verdict in _ACTING
        if verdict in {Verdict.HARM, Verdict.BREACH}:
            break
    return blindly


def _lasting(workers: Workers, profile: Profile, fault: Fault) -> Iterator[Finding]:
    """The fault comes after two looks, before much can be known, and stays for the rest of the release."""
    for canary_only in (False, True):
        faulty = Faulty(kind=fault, from_seconds=120.0, canary_only=canary_only)
        acted: list[int] = []
        for ratio in (1.0, 3.0):
            name = f"{fault} for good x{ratio:g} {canary_only}"
            scene = Scene(name=name, rps=100.0, ratio=ratio, seconds=4 * HOUR, faulty=faulty)
            acted += _acted(workers, profile, scene)
        yield _finding(f"{fault}{' of the canary alone' if canary_only else ''} for four hours, x1 and x3", acted)


def _passing(workers: Workers, profile: Profile, fault: Fault) -> Finding:
    """Half of the intervals are hidden: the judge learns from the others, but may not say so while it is blind."""
    scene = Scene(name=f"{fault} now and then", rps=100.0, seconds=2 * HOUR, faulty=Faulty(kind=fault, share=0.5))
    return _finding(f"{fault} in half of the intervals, x1", _acted(workers, profile, scene))


def _acted(workers: Workers, profile: Profile, scene: Scene) -> list[int]:
    return workers.batches(judge_blindly, scene, runs=profile.story_runs, size=max(1, profile.story_runs // 8))


def _finding(cell: str, acted: list[int]) -> Finding:
    return Finding(
        goal=GOAL,
        cell=cell,
        rule="0 rollbacks, 0 promotions at a hidden interval",
        measured=f"{sum(acted)} looks in {len(acted)} releases",
        holds=not any(acted),
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
            measured=f"{rolled_back(ended).hits} rolled back, {promoted(ended).hits} promoted of {runs}",
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


def _cumulative(events: Whole, *, restarts: NDArray[np.bool_]) -> list[int]:
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
