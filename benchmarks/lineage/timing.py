"""How long a call takes: its median and 95th percentile over many repetitions."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Milliseconds of one call, over ``runs`` calls."""

    median: float
    p95: float
    runs: int

    @classmethod
    def of(cls, seconds: Iterable[float]) -> Timing:
        """Sum up measured seconds.

        :raises ValueError: if there are none.
        """
        values = sorted(1000 * each for each in seconds)
        if not values:
            raise ValueError("nothing was measured: give at least one duration")
        return cls(median=statistics.median(values), p95=values[math.ceil(0.95 * len(values)) - 1], runs=len(values))

    def __str__(self) -> str:
        return f"{_shown(self.median)} / {_shown(self.p95)}"


def measure(
    call: Callable[[T], object], cases: Iterable[T], *, at_most_seconds: float = math.inf, warm: bool = True
) -> Timing:
    """Time ``call`` with each case; stop early once they have taken ``at_most_seconds``.

    :param warm: Whether the first case is called once before, untimed.
    """
    seconds: list[float] = []
    for case in cases:
        if warm and not seconds:
            call(case)
        begin = time.perf_counter()
        call(case)
        seconds.append(time.perf_counter() - begin)
        if sum(seconds) > at_most_seconds:
            break
    return Timing.of(seconds)


def _shown(milliseconds: float) -> str:
    digits = 0 if milliseconds >= 100 else 1 if milliseconds >= 10 else 2
    return f"{milliseconds:,.{digits}f}"
