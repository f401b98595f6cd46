"""What the judge promises, as numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from airflow_model_ops.core.errors import InvalidConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeSettings:
    """The error rates of one release and what is assumed where nothing was measured.

    :param alpha: Greatest chance that a release whose canary is no worse than allowed is rolled back, over its whole life and
        however often it is looked at.
    :param beta: Greatest chance that a canary at the margin is shown safe at a step.
    :param dispersion: The overdispersion assumed of a check whose control arm was not (yet) measured; 1 is none. Twice the
        Poisson variance is a caution, not a bound: only a measured one is right for bursty traffic.
    :param split_band: How far the canary's share of requests may be off the declared one, relative to it.
    :raises InvalidConfig: with every mistake at once.
    """

    alpha: float = 0.01
    beta: float = 0.05
    dispersion: float = 2.0
    split_band: float = 0.1

    def __post_init__(self) -> None:
        mistakes = list(_mistakes(self))
        if mistakes:
            raise InvalidConfig(f"judge: {'; '.join(mistakes)}", mistakes=mistakes)


def _mistakes(settings: JudgeSettings) -> Iterator[str]:
    for name in ("alpha", "beta"):
        rate = getattr(settings, name)
        if not 1e-6 <= rate <= 0.2:
            yield f"{name} is {rate!r}; give a probability from 0.000001 to 0.2, such as 0.01"
    if not (math.isfinite(settings.dispersion) and 1 <= settings.dispersion <= 1000):
        yield f"dispersion is {settings.dispersion!r}; give 1 (none) to 1000"
    if not 0.01 <= settings.split_band <= 0.9:
        yield f"split_band is {settings.split_band!r}; give 0.01 to 0.9, such as 0.1 for 10 % either way"
