"""How often something happened among so many runs, and how fast, with the uncertainty of a simulation."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from scipy.stats import beta

from benchmarks.judge.judges import Outcome

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """``hits`` among ``runs``, with the exact (Clopper-Pearson) interval."""

    hits: int
    runs: int

    @property
    def share(self) -> float:
        """The observed share, 0 to 1."""
        return self.hits / self.runs if self.runs else math.nan

    @property
    def low(self) -> float:
        """Lower bound of the 95 % interval."""
        return float(beta.ppf((1 - CONFIDENCE) / 2, self.hits, self.runs - self.hits + 1)) if self.hits else 0.0

    @property
    def high(self) -> float:
        """Upper bound of the 95 % interval."""
        if self.hits == self.runs:
            return 1.0
        return float(beta.ppf((1 + CONFIDENCE) / 2, self.hits + 1, self.runs - self.hits))

    def __str__(self) -> str:
        return f"{100 * self.share:.3g} % [{100 * self.low:.2g}, {100 * self.high:.2g}]"


def rolled_back(outcomes: Sequence[Outcome]) -> Rate:
    """Tell how many releases were rolled back."""
    return Rate(hits=sum(each.rolled_back is not None for each in outcomes), runs=len(outcomes))


def promoted(outcomes: Sequence[Outcome]) -> Rate:
    """Tell in how many releases the judge would have gone on at some time."""
    return Rate(hits=sum(each.promoted is not None for each in outcomes), runs=len(outcomes))


def median_seconds(times: Iterable[float | None]) -> float:
    """Give the median of all runs, where ``None`` is later than any time; infinite if half of them never came."""
    ordered = sorted(math.inf if time is None else time for time in times)
    return (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2 if ordered else math.inf


def median_delay(outcomes: Sequence[Outcome], *, onset_seconds: float = 0.0) -> float:
    """Give the median seconds from the onset to the rollback; a rollback before the onset is none."""
    times = (each.rolled_back for each in outcomes)
    return median_seconds(None if time is None or time < onset_seconds else time - onset_seconds for time in times)


def minutes(seconds: float) -> str:
    """Write a delay as people say it."""
    return "never" if math.isinf(seconds) else f"{seconds / 60:.3g} min"
