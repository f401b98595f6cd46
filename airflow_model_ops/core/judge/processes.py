"""The judge's e-processes: about the ratio of two arms' bad rates, and about one arm's bad rate.

Ratio of two arms. Canary with ``x_c`` bad of ``n_c``, baseline with ``x_b`` of ``n_b`` over the same instants. With
``p_r = r n_c / (r n_c + n_b)`` the likelihood ratio of risk ratio ``r`` against ``r0`` given the number of bad events is

    LR(r; r0) = (p_r / p_r0)^x_c * ((1 - p_r) / (1 - p_r0))^x_b

For independent requests its expectation is at most 1 under every risk ratio on the far side of ``r0`` from ``r``: with
``a, b`` the logarithms of the two bases and bad rates ``p_i`` that may differ from request to request but have the same mean
in both arms up to the ratio, ``E LR = prod (1 + p_i (e^a - 1)) prod (1 + p_i (e^b - 1)) <= exp(sum p_i (e^a - 1) + sum p_i
(e^b - 1))`` by ``1 + u <= e^u``, and the exponent is 0 at ``r0`` and below 0 beyond. So the base rate may move as it likes,
and so may the split.

One arm. ``LR(q; q0) = (q / q0)^x ((1 - q) / (1 - q0))^(n - x)``, the Bernoulli likelihood ratio, monotone in the true rate.

Overdispersion. Logarithms are divided by ``phi >= 1``, which must be known before the interval: by Jensen's inequality the
expectation stays at most 1 for independent requests; for bursty ones that is a quasi-likelihood, and measured, not proven.

Source: conditional test of two Poisson rates, Przyborowski & Wilenski 1940; sequential use, Lindon & Malek, "Anytime-valid
inference for multinomial count data", 2022; tempering, Gruenwald, de Heide, Koolen, "Safe testing", 2024.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from airflow_model_ops.core.judge.counts import Counts
from airflow_model_ops.core.judge.mixture import Mixture, geometric_grid

HARM_FACTORS = (1.1, 1.25, 1.6, 1.8, 2.2, 2.8, 4.0, 8.0)
"""Alternatives of harm, in multiples of the allowed ratio. Few, since each takes a part of the wealth from the others, and
densest where harm is hardest to see soon enough; beyond the last, the last finds it about as fast."""
SAFE_FACTORS = geometric_grid(1 / 30, 1 / 1.08, 20)
"""Alternatives of safety, in multiples of the margin."""
ODDS_ABOVE = geometric_grid(1.1, 50.0, 16)
ODDS_BELOW = geometric_grid(1 / 100, 1 / 1.1, 14)
"""Alternatives about one rate, in multiples of the odds of the tested one."""
REMEMBERED_NATS = 1.5
"""How much wealth beyond its threshold a capped process remembers: a few bad events use it up."""
_INTERVAL_GRID = geometric_grid(1 / 32, 32.0, 41)


class _RatioBets:
    """Bets on alternatives to one ratio of the arms' bad rates."""

    def __init__(self, mixture: Mixture, *, tested: float, factors: Sequence[float]) -> None:
        self.mixture = mixture
        self._tested = tested
        self._grid = tuple(tested * factor for factor in factors)

    @property
    def log_e(self) -> float:
        """Natural logarithm of the evidence."""
        return self.mixture.log_e

    def fold(self, canary: Counts, baseline: Counts, *, phi: float) -> None:
        """Take in one interval."""
        if _compares(canary, baseline):
            self.mixture.fold(ratio_steps(self._grid, self._tested, canary, baseline, phi=phi))


class RatioHarm(_RatioBets):
    """E-process against "the canary's bad rate is at most ``max_ratio`` times the baseline's", with late onset."""

    def __init__(self, *, max_ratio: float) -> None:
        mixture = Mixture(components=len(HARM_FACTORS), onset=True)
        super().__init__(mixture, tested=max_ratio, factors=HARM_FACTORS)


class RatioSafe(_RatioBets):
    """E-process against "the canary's bad rate is at least ``margin`` times the baseline's".

    :param log_threshold: Where it is compared; little is remembered beyond.
    """

    def __init__(self, *, margin: float, log_threshold: float) -> None:
        mixture = Mixture(components=len(SAFE_FACTORS), log_cap=log_threshold + REMEMBERED_NATS)
        super().__init__(mixture, tested=margin, factors=SAFE_FACTORS)


class _ShareBets:
    """Bets on alternatives to one arm's bad rate."""

    def __init__(self, mixture: Mixture, *, tested: float, odds: Sequence[float]) -> None:
        self.mixture = mixture
        self._tested = tested
        self._grid = tuple(by_odds(tested, factor) for factor in odds)

    @property
    def log_e(self) -> float:
        """Natural logarithm of the evidence."""
        return self.mixture.log_e

    def fold(self, counts: Counts, *, phi: float) -> None:
        """Take in one interval."""
        if counts.n:
            self.mixture.fold(share_steps(self._grid, self._tested, counts, phi=phi))


class ShareAbove(_ShareBets):
    """E-process against "one arm's bad rate is at most ``rate``", with late onset.

    :param log_cap: Natural logarithm of the most wealth that is remembered, for a process that must recover.
    """

    def __init__(self, *, rate: float, log_cap: float | None = None) -> None:
        mixture = Mixture(components=len(ODDS_ABOVE), onset=True, log_cap=log_cap)
        super().__init__(mixture, tested=rate, odds=ODDS_ABOVE)


class ShareBelow(_ShareBets):
    """E-process against "one arm's bad rate is at least ``rate``".

    :param log_cap: Natural logarithm of the most wealth that is remembered.
    :param onset: Whether part of the wealth waits for a rate that sinks later.
    """

    def __init__(self, *, rate: float, log_cap: float, onset: bool = False) -> None:
        mixture = Mixture(components=len(ODDS_BELOW), onset=onset, log_cap=log_cap)
        super().__init__(mixture, tested=rate, odds=ODDS_BELOW)


class RatioInterval:
    """A confidence sequence of the risk ratio, for people to look at: it holds at all times at once.

    A ratio is excluded once the average likelihood over all ratios is ``1 / alpha`` times its own.
    """

    def __init__(self) -> None:
        self.log_likelihoods = [0.0] * len(_INTERVAL_GRID)

    def fold(self, canary: Counts, baseline: Counts, *, phi: float) -> None:
        """Take in one interval."""
        if not _compares(canary, baseline):
            return
        bad = canary.bad + baseline.bad
        self.log_likelihoods = [
            before + (canary.bad * math.log(ratio) - bad * math.log(ratio * canary.n + baseline.n)) / phi
            for before, ratio in zip(self.log_likelihoods, _INTERVAL_GRID, strict=True)
        ]
        highest = max(self.log_likelihoods)
        self.log_likelihoods = [each - highest for each in self.log_likelihoods]

    def bounds(self, *, alpha: float) -> tuple[float | None, float | None]:
        """Return the lowest and the highest ratio that is not excluded; ``None`` where the grid has no end to it."""
        average = math.fsum(math.exp(each) for each in self.log_likelihoods) / len(self.log_likelihoods)
        least = math.log(average) + math.log(alpha)
        inside = [index for index, each in enumerate(self.log_likelihoods) if each > least]
        first, last = inside[0], inside[-1]
        lower = None if first == 0 else self._edge(first - 1, first, least)
        upper = None if last == len(_INTERVAL_GRID) - 1 else self._edge(last + 1, last, least)
        return lower, upper

    def _edge(self, outer: int, inner: int, level: float) -> float:
        """Return the ratio between two neighbours of the grid beyond which the log-likelihood is surely below a level.

        It is concave in the logarithm of the ratio, so it lies below the line through two neighbours everywhere but between
        them; with very many counts it may peak between two, which a line from one to the other would cut off.
        """
        logs, away = self.log_likelihoods, outer - inner
        part = 0.0
        if 0 <= outer + away < len(logs) and logs[outer] > logs[outer + away]:
            part = (level - logs[outer]) / (logs[outer] - logs[outer + away])
        if 0 <= inner - away < len(logs) and logs[inner - away] > logs[inner]:
            part = max(part, 1 - (logs[inner] - level) / (logs[inner - away] - logs[inner]))
        low, high = math.log(_INTERVAL_GRID[outer]), math.log(_INTERVAL_GRID[inner])
        return math.exp(low + min(1.0, part) * (high - low))


def _compares(canary: Counts, baseline: Counts) -> bool:
    """Tell whether an interval says anything about the ratio: both arms had requests, and one of them a bad one."""
    return bool(canary.n and baseline.n and (canary.bad or baseline.bad))


def ratio_steps(grid: Sequence[float], tested: float, canary: Counts, baseline: Counts, *, phi: float) -> list[float]:
    """Return log LR(r; tested) / phi for each ratio ``r`` of a grid."""
    bad, bad_c = (canary.bad + baseline.bad) / phi, canary.bad / phi
    whole = tested * canary.n + baseline.n
    return [
        bad_c * math.log(ratio / tested) + bad * math.log(whole / (ratio * canary.n + baseline.n)) for ratio in grid
    ]


def share_steps(grid: Sequence[float], tested: float, counts: Counts, *, phi: float) -> list[float]:
    """Return log LR(q; tested) / phi for each rate ``q`` of a grid."""
    bad, good = counts.bad / phi, (counts.n - counts.bad) / phi
    return [bad * math.log(rate / tested) + good * math.log((1 - rate) / (1 - tested)) for rate in grid]


def by_odds(rate: float, factor: float) -> float:
    """Return the rate whose odds are ``factor`` times those of ``rate``."""
    odds = factor * rate / (1 - rate)
    return odds / (1 + odds)
