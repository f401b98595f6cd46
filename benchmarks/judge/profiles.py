"""How much is simulated: the quick profile for CI, the full one by hand."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """Numbers of runs.

    :param healthy_runs: Healthy releases of a day per cell, our judge, with a look a minute.
    :param fast_runs: The same with a look every 15 s.
    :param second_runs: The same with a look every second, for ``second_seconds`` each.
    :param rival_runs: Healthy releases per cell, the other judges.
    :param slow_runs: The same for a day of Kayenta's, which takes seconds each.
    :param delay_runs: Bad releases per cell and judge.
    :param oracle_runs: Healthy hours that the oracle tunes Argo on.
    :param margin_runs: Releases exactly at a margin.
    :param story_runs: Releases of each of the stories (late onset, few errors, restarts, faults).
    :param story_peek_seconds: How often a late onset is looked for.
    :param contest_cells: Requests per second and base rate.
    :param beyond: Whether to show also what nobody promises.
    """

    name: str
    healthy_runs: int
    fast_runs: int
    second_runs: int
    second_seconds: float
    rival_runs: int
    slow_runs: int
    delay_runs: int
    oracle_runs: int
    margin_runs: int
    story_runs: int
    story_peek_seconds: float
    contest_cells: tuple[tuple[float, float], ...]
    ratios: tuple[float, ...]
    beyond: bool
    base: float = 0.01
    traffics: tuple[float, ...] = (1.0, 10.0, 100.0, 1000.0)


QUICK = Profile(
    name="quick",
    healthy_runs=150,
    fast_runs=40,
    second_runs=40,
    second_seconds=7_200.0,
    rival_runs=60,
    slow_runs=6,
    delay_runs=60,
    oracle_runs=1_000,
    margin_runs=40,
    story_runs=16,
    story_peek_seconds=30.0,
    contest_cells=((10.0, 0.01), (100.0, 0.01)),
    ratios=(1.2, 2.0, 3.0, 5.0),
    beyond=False,
)

FULL = Profile(
    name="full",
    healthy_runs=1_000,
    fast_runs=400,
    second_runs=200,
    second_seconds=86_400.0,
    rival_runs=200,
    slow_runs=16,
    delay_runs=200,
    oracle_runs=5_000,
    margin_runs=300,
    story_runs=40,
    story_peek_seconds=15.0,
    contest_cells=((1.0, 0.01), (10.0, 0.01), (100.0, 0.01), (1000.0, 0.01), (10.0, 0.001), (100.0, 0.001)),
    ratios=(1.2, 1.5, 2.0, 3.0, 5.0, 10.0),
    beyond=True,
)
