"""False rollbacks of our judge over days of looks: screened by the twin, decided by the real judge."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

from benchmarks.judge.contenders import ours
from benchmarks.judge.judges import let_judge
from benchmarks.judge.ours import MAX_RATIO, SETTINGS
from benchmarks.judge.rates import Rate
from benchmarks.judge.scenes import Scene
from benchmarks.judge.traffic import Drawn, draw, draw_history
from benchmarks.judge.twin import highest_evidence

NEAR_NATS = 0.1
"""A release whose evidence comes as near to the threshold as this is judged again by the real judge."""
SAMPLED_LOOKS = 1_440
"""Looks over which the real judge's evidence is compared with the twin's, in the sampled releases."""

_BATCH_LOOKS = 8_640_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """One release.

    :param rolled_back: Whether the real judge rolled it back.
    :param decided: Whether the real judge was asked for the verdict.
    :param difference: Between the twin's and the real judge's evidence, natural logarithms; ``None`` if not sampled.
    """

    rolled_back: bool
    decided: bool
    difference: float | None


def judge_days(scene: Scene, seed: int, runs: range, *, sampled: int = 1) -> list[Judged]:
    """Judge some releases; the first ``sampled`` ones are also compared look by look."""
    drawn = [draw(scene, seed=seed, run=run) for run in runs]
    histories = [draw_history(scene, seed=seed, run=run) for run in runs]
    trails = highest_evidence(
        drawn,
        histories,
        max_ratio=MAX_RATIO,
        default_dispersion=SETTINGS.dispersion,
        trail=SAMPLED_LOOKS if runs.start == 0 else 0,
    )
    near = math.log(1 / SETTINGS.alpha) - NEAR_NATS
    judged = []
    for index, run in enumerate(runs):
        decided = bool(trails.highest[index] >= near)
        outcome = let_judge(ours(scene, seed, run), drawn[index]) if decided else None
        is_sampled = runs.start == 0 and index < sampled
        difference = (
            _difference(scene, seed, run, drawn[index], trails.first[:, index].tolist()) if is_sampled else None
        )
        rolled_back = outcome is not None and outcome.rolled_back is not None
        judged.append(Judged(rolled_back=rolled_back, decided=decided, difference=difference))
    return judged


def batch_size(scene: Scene) -> int:
    """Return how many releases fit into one batch without filling the memory."""
    return max(10, min(250, _BATCH_LOOKS // scene.peeks))


def _difference(scene: Scene, seed: int, run: int, drawn: Drawn, trail: Sequence[float]) -> float:
    judge, worst = ours(scene, seed, run), 0.0
    for seen, twin in zip(islice(drawn, SAMPLED_LOOKS), trail, strict=False):
        judge.look(seen)
        worst = max(worst, abs(judge.log_harm - twin))
    return worst


def rate_of(judged: Sequence[Judged]) -> Rate:
    """Tell how many were rolled back."""
    return Rate(hits=sum(each.rolled_back for each in judged), runs=len(judged))


def worst_difference(judged: Sequence[Judged]) -> float:
    """Tell by how much the twin is off at most, in the sampled releases."""
    return max((each.difference for each in judged if each.difference is not None), default=math.nan)
