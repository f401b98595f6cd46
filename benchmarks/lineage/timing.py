"""How long a call takes: its median and 95th percentile over many repetitions."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Milliseconds of one call, over ``runs`` calls.

    :param processor: The median of its processor time, which other work on the machine lengthens little; ``None``: not measured.
    """

    median: float
    p95: float
    runs: int
    processor: float | None = None

    @classmethod
    def of(cls, seconds: Iterable[float], *, processor: Sequence[float] = ()) -> Timing:
        """Sum up measured seconds.

        :param processor: Seconds of processor time, if they were measured.
        :raises ValueError: if there are none.
        """
        values = sorted(1000 * each for each in seconds)
        if not values:
            raise ValueError("nothing was measured: give at least one duration")
        return cls(
            median=statistics.median(values),
            p95=values[math.ceil(0.95 * len(values)) - 1],
            runs=len(values),
            processor=1000 * statistics.median(processor) if processor else None,
        )

    def __str__(self) -> str:
        return f"{shown(self.median)} / {shown(self.p95)}"


def measure(
    call: Callable[[T], object], cases: Iterable[T], *, at_most_seconds: float = math.inf, warm: bool = True
) -> Timing:
    """Time ``call`` with each case; stop early once they have taken ``at_most_seconds``.

    :param warm: Whether the first case is called once before, untimed.
    """
    seconds: list[float] = []
    processor: list[float] = []
    for case in cases:
        if warm and not seconds:
            call(case)
        begin, used = time.perf_counter(), time.process_time()
        call(case)
        processor.append(time.process_time() - used)
        seconds.append(time.perf_counter() - begin)
        if sum(seconds) > at_most_seconds:
            break
    return Timing.of(seconds, processor=processor)


def shown(milliseconds: float) -> str:
    """Return milliseconds with three digits that matter."""
    digits = 0 if milliseconds >= 100 else 1 if milliseconds >= 10 else 2
    return f"{milliseconds:,.{digits}f}"
