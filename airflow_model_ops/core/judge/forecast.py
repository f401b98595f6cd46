"""Forecasts: how long the judge will need, from present traffic, before anything is released.

With expected instead of counted events every process grows steadily: a component that bets on ratio r against r0 by

    g = (lambda_c log(p_r / p_r0) + lambda_b log((1 - p_r) / (1 - p_r0))) / phi      per second,

``lambda`` the arms' bad events per second and ``p_r = r n_c / (r n_c + n_b)``. What is asked is when the whole mixture
reaches its threshold, so the real processes are folded with the expected counts of a span and the span is searched for. The
median of simulated releases comes up to a third sooner, since chance lets a process cross early; a good half is done by then.

Source: Wald 1947 (expected sample size is threshold over growth); Howard, Ramdas, McAuliffe, Sekhon 2021 (mixtures).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from airflow_model_ops.core.checks.definition import Check
from airflow_model_ops.core.errors import InvalidConfig
from airflow_model_ops.core.judge.counts import Counts
from airflow_model_ops.core.judge.finding import NONE
from airflow_model_ops.core.judge.processes import REMEMBERED_NATS, RatioHarm, RatioSafe, ShareAbove, ShareBelow
from airflow_model_ops.core.judge.settings import JudgeSettings

RATIOS = (2.0, 1.5, 1.2)
"""How much worse than stable the canaries are whose detection is forecast."""
HORIZON_SECONDS = 30 * 86_400.0
"""What would take longer is "not within 30 days"."""
_GRAIN = 1_000_000
"""Counts are whole numbers and expectations are not: both counts and phi are taken this many times, which cancels."""
_HALVINGS = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """What a check counts at present, over all arms.

    :param rate_rps: Events per second: requests, or labelled predictions.
    :param base_rate: Stable's share of bad ones, 0 to 1; on a first release what is hoped for.
    :raises InvalidConfig: if either is no such number.
    """

    rate_rps: float
    base_rate: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.rate_rps) and self.rate_rps >= 0 and 0 <= self.base_rate <= 1):
            raise InvalidConfig(
                f"traffic of {self.rate_rps!r} events per second with bad rate {self.base_rate!r} cannot be; give a rate of at "
                "least 0 and a share from 0 to 1"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """What a forecast is made from: one check at one step.

    :param percent: The canary's share of the traffic, above 0 to 100.
    :param phi: The overdispersion expected at that share.
    :param alpha_part: The check's part of the release's alpha, above 0 to 1.
    :param has_stable: Whether there is a stable version; else the ceiling ``max`` alone is judged.
    :param bake_seconds: How long the share is held at least.
    """

    check: Check
    traffic: Traffic
    percent: float
    phi: float
    settings: JudgeSettings
    alpha_part: float = 1.0
    has_stable: bool = True
    interval_seconds: float = 15.0
    bake_seconds: float = 0.0

    @property
    def canary_rps(self) -> float:
        """Events per second that the canary answers."""
        return self.traffic.rate_rps * self.percent / 100

    def expected(self, seconds: float, *, bad_rate: float) -> Counts:
        """Return the canary's expected counts of a span, :data:`_GRAIN` times."""
        return _expected(self.canary_rps * seconds, bad_rate)

    def expected_baseline(self, seconds: float) -> Counts:
        """Return the baseline's, in the same way."""
        rps = self.traffic.rate_rps - self.canary_rps
        return _expected(max(0.0, rps) * seconds if self.has_stable else 0.0, self.traffic.base_rate)

    @property
    def grained_phi(self) -> float:
        """Phi, :data:`_GRAIN` times, so that expected counts weigh what they should."""
        return self.phi * _GRAIN


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """How long one check needs at one step.

    :param harm_seconds: By ratio to stable (on a first release: to the ceiling), until harm is shown; ``None``: not within
        :data:`HORIZON_SECONDS`, or never because it is allowed or negligible.
    :param safe_seconds: Until a canary as good as stable may go on: shown safe, enough samples, bake time over.
    """

    outlook: Outlook
    harm_seconds: Mapping[float, float | None]
    safe_seconds: float | None

    @property
    def lines(self) -> tuple[str, ...]:
        """The forecast in words."""
        return _lines(self)


def forecast(outlook: Outlook) -> Forecast:
    """Return how long harm of each of :data:`RATIOS`, and safety, will take to show."""
    return Forecast(
        outlook=outlook,
        harm_seconds={ratio: harm_seconds(outlook, ratio=ratio) for ratio in RATIOS},
        safe_seconds=safe_seconds(outlook),
    )


def harm_seconds(outlook: Outlook, *, ratio: float) -> float | None:
    """Return the time until a canary this many times as bad as stable (or as the ceiling) is caught."""
    check = outlook.check
    reference = outlook.traffic.base_rate if outlook.has_stable else check.max
    if reference is None:
        return None
    bad_rate = min(1.0, ratio * reference)
    ways = [
        _until_worse_than_stable(outlook, bad_rate),
        _until_above(outlook, bad_rate, check.max, _log_acting(outlook)),
    ]
    found = [seconds for seconds in ways if seconds is not None]
    return _whole_intervals(outlook, min(found)) if found else None


def safe_seconds(outlook: Outlook) -> float | None:
    """Return the time until a canary as good as stable may go on."""
    check, base_rate = outlook.check, outlook.traffic.base_rate
    threshold = math.log(1 / outlook.settings.beta)

    def log_safe(seconds: float) -> float:
        canary = outlook.expected(seconds, bad_rate=base_rate)
        absolute = check.negligible if outlook.has_stable else check.max
        logs = [_log_below(outlook, canary, absolute)] if absolute else []
        if outlook.has_stable:
            process = RatioSafe(margin=check.margin, log_threshold=threshold)
            process.fold(canary, outlook.expected_baseline(seconds), phi=outlook.grained_phi)
            logs.append(process.log_e)
        return _log_mean(logs)

    shown = _first_reaching(log_safe, threshold)
    if shown is None or not outlook.canary_rps:
        return None
    return max(_whole_intervals(outlook, max(shown, check.min_samples / outlook.canary_rps)), outlook.bake_seconds)


def _log_acting(outlook: Outlook) -> float:
    """Return the logarithm of the evidence at which one process of the check acts alone."""
    parts = int(outlook.has_stable) + int(outlook.check.max is not None)
    return math.log(parts / (outlook.alpha_part * outlook.settings.alpha))


def _until_worse_than_stable(outlook: Outlook, bad_rate: float) -> float | None:
    """Return the time until harm is shown and is known not to be negligible."""
    if not outlook.has_stable:
        return None

    def log_harm(seconds: float) -> float:
        process = RatioHarm(max_ratio=outlook.check.max_ratio)
        canary = outlook.expected(seconds, bad_rate=bad_rate)
        process.fold(canary, outlook.expected_baseline(seconds), phi=outlook.grained_phi)
        return process.log_e

    negligible = outlook.check.negligible
    shown = _first_reaching(log_harm, _log_acting(outlook))
    matters = _until_above(outlook, bad_rate, negligible, math.log(1 / outlook.settings.beta)) if negligible else 0.0
    return None if shown is None or matters is None else max(shown, matters)


def _until_above(outlook: Outlook, bad_rate: float, limit: float | None, threshold: float) -> float | None:
    if not limit or bad_rate <= limit:
        return None

    def log_above(seconds: float) -> float:
        process = ShareAbove(rate=limit)
        process.fold(outlook.expected(seconds, bad_rate=bad_rate), phi=outlook.grained_phi)
        return process.log_e

    return _first_reaching(log_above, threshold)


def _log_below(outlook: Outlook, canary: Counts, limit: float) -> float:
    process = ShareBelow(rate=limit, log_cap=math.log(1 / outlook.settings.beta) + REMEMBERED_NATS)
    process.fold(canary, phi=outlook.grained_phi)
    return process.log_e


def _log_mean(logs: list[float]) -> float:
    if not logs:
        return NONE
    highest = max(logs)
    return highest + math.log(math.fsum(math.exp(each - highest) for each in logs) / len(logs))


def _first_reaching(log_e: Callable[[float], float], threshold: float) -> float | None:
    """Return when steadily growing evidence reaches a threshold, by halving the span of its logarithm.

    A logarithm of a sum of exponentials is convex and starts at 0, so it crosses the threshold once at most.
    """
    if log_e(HORIZON_SECONDS) < threshold:
        return None
    low, high = math.log(0.01), math.log(HORIZON_SECONDS)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if log_e(math.exp(middle)) >= threshold else (middle, high)
        if high - low < 0.001:
            break
    return math.exp(high)


def _whole_intervals(outlook: Outlook, seconds: float) -> float:
    """Return when it is seen: evidence comes once per interval."""
    return max(1, math.ceil(seconds / outlook.interval_seconds)) * outlook.interval_seconds


def _expected(events: float, bad_rate: float) -> Counts:
    requests = round(events * _GRAIN)
    return Counts(requests, min(requests, round(events * bad_rate * _GRAIN)))


def _lines(of: Forecast) -> tuple[str, ...]:
    outlook, check = of.outlook, of.outlook.check
    where = f"{check.name} at {outlook.percent:g} %"
    if not outlook.has_stable and check.max is None:
        return (f"{where}: there is no stable version to compare with and no max, so it decides nothing",)
    reference = "stable" if outlook.has_stable else "the ceiling"
    harm = ", ".join(_harm_words(of, ratio, seconds) for ratio, seconds in of.harm_seconds.items())
    safe = f"in about {duration(of.safe_seconds)}" if of.safe_seconds is not None else _never()
    return (
        f"{where}: a canary that is worse than {reference} is found, at {harm}",
        f"{where}: one as good as {'stable' if outlook.has_stable else 'hoped for'} may go on {safe}",
    )


def _harm_words(of: Forecast, ratio: float, seconds: float | None) -> str:
    if seconds is not None:
        return f"{ratio:g} times in about {duration(seconds)}"
    outlook, check = of.outlook, of.outlook.check
    if outlook.has_stable and ratio <= check.max_ratio:
        return f"{ratio:g} times never (it is allowed)"
    if outlook.has_stable and ratio * outlook.traffic.base_rate <= check.negligible:
        return f"{ratio:g} times never (it is negligible)"
    return f"{ratio:g} times {_never()}"


def _never() -> str:
    return f"not within {duration(HORIZON_SECONDS)}"


def duration(seconds: float) -> str:
    """Write a span with two significant digits at most: 45 s, 19 min, 2.5 h, 3 days."""
    for unit, length, following in (("s", 1, 60), ("min", 60, 3600), ("h", 3600, 2 * 86_400)):
        if seconds < 0.995 * following:
            return f"{_two_digits(seconds / length)} {unit}"
    return f"{_two_digits(seconds / 86_400)} days"


def _two_digits(number: float) -> str:
    return f"{number:.1f}".removesuffix(".0") if number < 9.95 else f"{number:.0f}"
