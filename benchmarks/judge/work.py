"""Run many releases on all cores; every run is named by its number, so the order of work changes nothing."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from types import TracebackType
from typing import Self, TypeVar

from benchmarks.judge.judges import Judge, Outcome, let_judge
from benchmarks.judge.scenes import Scene
from benchmarks.judge.traffic import draw

T = TypeVar("T")

MakeJudge = Callable[[Scene, int, int], Judge]
"""Makes the judge of one release from its scene, the seed and the run's number; must be picklable."""


class Workers:
    """Processes that work off runs in batches.

    :param seed: Of all that they draw.
    """

    def __init__(self, *, seed: int, processes: int | None = None) -> None:
        self.seed = seed
        self._pool = ProcessPoolExecutor(max_workers=processes or os.cpu_count())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(cancel_futures=True)

    def batches(
        self, work: Callable[[Scene, int, range], Sequence[T]], scene: Scene, *, runs: int, size: int
    ) -> list[T]:
        """Give what ``work`` returns for all runs of a scene, in the order of their numbers."""
        ranges = [range(start, min(start + size, runs)) for start in range(0, runs, size)]
        done = self._pool.map(partial(work, scene, self.seed), ranges)
        return [result for batch in done for result in batch]

    def outcomes(self, make: MakeJudge, scene: Scene, *, runs: int, stop_at_promotion: bool = False) -> list[Outcome]:
        """Let a judge judge all runs of a scene."""
        work = partial(_judge_runs, make, stop_at_promotion)
        return self.batches(work, scene, runs=runs, size=max(1, min(25, runs // 4)))


def _judge_runs(make: MakeJudge, stop: bool, scene: Scene, seed: int, runs: range) -> list[Outcome]:
    return [let_judge(make(scene, seed, run), draw(scene, seed=seed, run=run), stop_at_promotion=stop) for run in runs]
