"""Overdispersion: how much noisier counts are than chance, measured by comparing the stable version with itself.

The judge's processes are proven for requests that fail independently. Real errors come in bursts, and a burst in one arm
looks like harm. So every log-likelihood ratio is divided by ``phi``, the factor by which the variance of a comparison
exceeds that of independent requests. Control and stable run the same version: whatever tells them apart beyond chance is
overdispersion.

Per interval, given the bad events T of both arms together, those of the first have expectation T*q and variance
V = T*q*(1 - q)*(N - T)/(N - 1), where q is its share of the N requests (hypergeometric, so exact whatever the base rate
does). Over a block of intervals, chi^2 = (sum of deviations)^2 / (sum of V) has expectation 1 under independence.

A burst that lasts longer than an interval hardly shows in single intervals, so blocks of 1, 4, 16 and 64 intervals are
compared, and the noisiest length wins. What lasts longer than 64 intervals is not seen, nor is what hits both arms alike
(that cancels in every comparison, so it does no harm). A block also grows until V reaches :data:`LEAST_VARIANCE`: the variance of
chi^2 with one degree is 2, that of a block's is at most about 2 + 1/V, so from V = 1 on the quantiles mean something.

Source: K. Pearson 1900 (chi^2); Wedderburn 1974 (quasi-likelihood, phi = chi^2/df); E. B. Wilson and M. M. Hilferty,
"The distribution of chi-square", PNAS 17, 1931.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from airflow_model_ops.core.checks.evidence import Evidence
from airflow_model_ops.core.errors import InvalidState
from airflow_model_ops.core.judge.counts import Counts, counts_of

BLOCK_LENGTHS = (1, 4, 16, 64)
"""Intervals in a block, finest first."""

LEAST_VARIANCE = 1.0
"""Binomial variance of a block's count at which it is compared; about the expected bad events in the smaller arm."""

LEAST_DEGREES = 20
"""Blocks of the finest length before the estimate replaces the default."""

LEAST_DEGREES_OF_LENGTH = 10
"""Blocks of a length before that length has a say."""

LARGEST_OUTLIER = 25.0
"""What one block may count, in multiples of the mean before it. Blocks of one kind of noise hardly ever reach it (chi^2 of one
degree does once in two million), so it leaves bursts that come again and again as they are; but a single incident of one group,
which says nothing of the usual noise, must not make the judge blind for hours."""

CAUTION = 1.15
"""Factor on what exceeds 1: tempering by less than the truth costs false rollbacks, by more only patience."""

QUARTILE_NORMAL = 0.6745
"""Upper quartile of the normal distribution. Every length is taken at the lower end of its 75 % interval, since the
largest of four noisy estimates would otherwise be too large for counts that are pure chance."""


@dataclass(slots=True, kw_only=True)
class _Length:
    """The blocks of one length: those that are complete, as sums, and the one that is being filled."""

    intervals: int
    deviation: float = 0.0
    variance: float = 0.0
    filled: int = 0
    chi_squares: float = 0.0
    degrees: int = 0

    def add(self, deviation: float, variance: float) -> None:
        self.deviation += deviation
        self.variance += variance
        self.filled += 1
        if self.filled >= self.intervals and self.variance >= LEAST_VARIANCE:
            usual = max(1.0, self.chi_squares / self.degrees if self.degrees else 1.0)
            self.chi_squares += min(self.deviation**2 / self.variance, LARGEST_OUTLIER * usual)
            self.degrees += 1
            self.deviation, self.variance, self.filled = 0.0, 0.0, 0

    def phi(self) -> float:
        return self.chi_squares / chi_square_quantile(self.degrees, normal=QUARTILE_NORMAL)

    def to_json(self) -> list[float]:
        return [self.deviation, self.variance, self.filled, self.chi_squares, self.degrees]

    @classmethod
    def from_json(cls, data: list[float], *, intervals: int) -> _Length:
        deviation, variance, filled, chi_squares, degrees = data
        return cls(
            intervals=intervals,
            deviation=_finite(deviation),
            variance=_finite(variance),
            filled=int(_finite(filled)),
            chi_squares=_finite(chi_squares),
            degrees=int(_finite(degrees)),
        )


@dataclass(slots=True)
class DispersionMeter:
    """Estimates phi from two arms of one version, interval by interval, in order.

    To keep the judge's processes valid, use for an interval the phi of the intervals before it.
    """

    _lengths: tuple[_Length, ...] = field(
        default_factory=lambda: tuple(_Length(intervals=intervals) for intervals in BLOCK_LENGTHS)
    )
    _sizes: float = 0.0
    _variances: float = 0.0
    _intervals: int = 0

    def fold(self, first: Counts, second: Counts) -> None:
        """Take in one interval; one in which an arm had no requests tells nothing and is left out."""
        if not first.n or not second.n:
            return
        deviation, variance = _compare(first, second)
        self._sizes += comparison_size(first, second)
        self._variances += variance
        self._intervals += 1
        for length in self._lengths:
            length.add(deviation, variance)

    @property
    def degrees(self) -> int:
        """Degrees of freedom behind the estimate: complete blocks of the finest length."""
        return self._lengths[0].degrees

    def phi(self, default: float, *, size: float | None = None, variance: float | None = None) -> float:
        """Return phi, at least 1.

        Bursts that multiply an arm's rate weigh more the more bad events are compared: phi - 1 grows with the number of
        requests, and with their bad rate (an incident of both arms). Bursts that come in batches do not. So a larger
        comparison than those measured gets a larger phi and a smaller one the same.

        The variance is a number of bad events in both arms together, and given that number the likelihood ratios' expectation
        is at most 1 too (exactly so for Poisson counts), so phi may depend on it as on what was known before.

        :param default: What holds until :data:`LEAST_DEGREES` blocks have been compared; then already, if the first ones
            show more.
        :param size: :func:`comparison_size` of the comparison to be tempered, one interval's; ``None``: as those measured.
        :param variance: :func:`comparison_variance` of it; ``None``: as those measured.
        """
        measured = max(
            (length.phi() for length in self._lengths if length.degrees >= LEAST_DEGREES_OF_LENGTH), default=1.0
        )
        excess = max(0.0, measured - 1) * self._larger(size=size, variance=variance)
        return max(1.0 + CAUTION * excess, default if self.degrees < LEAST_DEGREES else 1.0)

    def _larger(self, *, size: float | None, variance: float | None) -> float:
        """Return how many times larger than those measured a comparison is; 1 if it is smaller."""
        # Blocks were measured, and where bad events are rare a block is many intervals: an interval with an event is no burst.
        blocks = self.degrees or self._intervals
        by_size = size * blocks / self._sizes if size and self._sizes else 1.0
        by_variance = variance * blocks / self._variances if variance and self._variances else 1.0
        return max(1.0, by_size, by_variance)

    def to_json(self) -> dict[str, Any]:
        """Give an object that JSON can hold, below 1 kB whatever was folded."""
        return {
            "lengths": [length.to_json() for length in self._lengths],
            "sizes": self._sizes,
            "variances": self._variances,
            "intervals": self._intervals,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> DispersionMeter:
        """Read what :meth:`to_json` gave; the meter goes on bit for bit as the one that was written.

        :raises InvalidState: if it is not that.
        """
        try:
            lengths = tuple(
                _Length.from_json(numbers, intervals=intervals)
                for intervals, numbers in zip(BLOCK_LENGTHS, data["lengths"], strict=True)
            )
            meter = cls(lengths, _finite(data["sizes"]), _finite(data["variances"]), int(_finite(data["intervals"])))
        except (KeyError, OverflowError, TypeError, ValueError) as fault:
            raise InvalidState(
                f"dispersion state {data!r} cannot be read ({fault!r}); it was not written by this package"
            ) from fault
        return meter


def metered(history: Iterable[Evidence]) -> DispersionMeter:
    """Return what stable's two groups showed of their noise in the past, which must be told in order."""
    meter = DispersionMeter()
    for item in history:
        meter.fold(counts_of(item.control), counts_of(item.stable))
    return meter


def comparison_size(first: Counts, second: Counts) -> float:
    """Return how large a comparison of two arms is: n1*n2/(n1 + n2), the requests of the smaller arm if the other is large."""
    total = first.n + second.n
    return first.n * second.n / total if total else 0.0


def comparison_variance(first: Counts, second: Counts) -> float:
    """Return the variance of the first arm's bad events under chance, given those of both: how many bad ones are compared."""
    return _compare(first, second)[1] if first.n and second.n else 0.0


def chi_square_quantile(degrees: int, *, normal: float) -> float:
    """Return about the quantile of chi^2 whose normal counterpart is given.

    Source: Wilson and Hilferty 1931: (chi^2/df)^(1/3) is nearly normal with mean 1 - 2/(9 df) and variance 2/(9 df).
    """
    spread = 2 / (9 * degrees)
    return degrees * (1 - spread + normal * math.sqrt(spread)) ** 3


def _finite(number: Any) -> float:
    """Read a number; one that is not finite would make every log-likelihood ratio none."""
    if not math.isfinite(number):
        raise ValueError(f"{number!r} is not finite")
    return float(number)


def _compare(first: Counts, second: Counts) -> tuple[float, float]:
    """Return by how much the first arm's bad events deviate from its share of all, and the variance under chance."""
    requests, bad = first.n + second.n, first.bad + second.bad
    share = first.n / requests
    finite = (requests - bad) / (requests - 1)
    return first.bad - bad * share, bad * share * (1 - share) * finite
