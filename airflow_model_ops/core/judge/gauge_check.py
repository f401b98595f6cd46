"""Judging a ``promql`` value: plain thresholds on the value, and a sequential sign test on its difference to stable.

A value such as an accuracy carries no counts, so ``max`` and ``min`` are plain thresholds: crossed in ``consecutive``
measurements in a row is a BREACH, without an error bound.

The difference to stable has one. In each window the canary's value is beyond what stable's allows, or it is not; if the
canary is no worse, then given the past that happens with probability one half at most. So the number of windows beyond is
tested as a Bernoulli share against 1/2 by an e-process. Windows that overlap are left out, since they tell the same twice; and
so is a pair beyond in which either value is exactly the one before: what was set once and never measured anew is one witness
however often it is read, and however often it is compared with something fresh. For such values use ``max`` and ``min``.
The test asks for the median, not for the mean, and needs no other assumption on the values.

Source: sign test by betting, Waudby-Smith & Ramdas, "Estimating means of bounded random variables by betting", 2024; Shafer,
"Testing by betting", 2021.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from airflow_model_ops.core.checks.definition import Check, Verdict
from airflow_model_ops.core.checks.evidence import Evidence, Measurement
from airflow_model_ops.core.judge.blindness import Blindness, out_of_order, unanswered, without_number
from airflow_model_ops.core.judge.counts import Counts
from airflow_model_ops.core.judge.finding import NONE, Finding, Words
from airflow_model_ops.core.judge.mixture import Mixture
from airflow_model_ops.core.judge.processes import REMEMBERED_NATS, ShareAbove, ShareBelow
from airflow_model_ops.core.judge.settings import JudgeSettings

_EVEN = 0.5


class GaugeCheck:
    """Judges one check whose answer is a value."""

    def __init__(self, check: Check, *, settings: JudgeSettings, has_stable: bool) -> None:
        self.check = check
        self._settings = settings
        self._compares = has_stable and check.has_relative_limit
        self._skipped = not (self._compares or check.has_absolute_limit)
        self._safe_at = math.log(1 / settings.beta)
        self._worse = ShareAbove(rate=_EVEN)
        self._newest: Evidence | None = None
        self._at = self._signed_at = -math.inf
        self._signed: tuple[float, float] | None = None
        self._beyond = 0
        self.enter_step()

    @property
    def parts(self) -> int:
        """Among how many e-processes its part of alpha is shared out."""
        return int(self._compares)

    def enter_step(self) -> None:
        """Forget what was shown safe: the next share of traffic must show it anew."""
        self._no_worse = ShareBelow(rate=_EVEN, log_cap=self._safe_at + REMEMBERED_NATS)
        self._signs = Counts()
        self._within = 0

    def fold(self, evidence: Evidence) -> None:
        """Take in one measurement; one that is no later than the one before holds nothing new."""
        self._newest = evidence
        if evidence.canary.error is not None:
            self._within = self._beyond = 0
            return
        at = evidence.instant.timestamp()
        if at <= self._at:
            return
        self._at = at
        if self._blindness_of(evidence.canary, "canary") is not None:
            self._within = self._beyond = 0
            return
        beyond = _crossed(self.check, _value(evidence.canary)) is not None
        self._beyond = self._beyond + 1 if beyond else 0
        self._within = 0 if beyond else self._within + 1
        if self._compares and evidence.stable is not None:
            self._compare(evidence.canary, evidence.stable, at=at)

    def finding(self, *, subject: str) -> Finding:
        """Say what is shown so far."""
        if self._skipped:
            nothing = (
                f"{self.check.name} of {subject} was not compared: there is no stable version yet, and it has no limit"
            )
            return Finding(skipped=True, words=Words(undecided=f"{nothing} of its own"))
        blind = self._blindness(subject)
        return Finding(
            log_harm=self._worse.log_e if self._compares else NONE,
            breached=self._beyond >= self.check.consecutive,
            blind=blind,
            safe=blind is None and self._is_safe(),
            beyond=self._beyond > 0,
            words=self._words(subject),
            numbers=self._numbers(),
        )

    def to_json(self) -> dict[str, Any]:
        """Give what :meth:`restore` needs to go on bit for bit."""
        return {
            "mixtures": {name: mixture.to_json() for name, mixture in self._mixtures().items()},
            "counts": [self._signs.n, self._signs.bad, self._beyond, self._within],
            "times": [each if math.isfinite(each) else None for each in (self._at, self._signed_at)],
            "signed": self._signed,
            "newest": None if self._newest is None else self._newest.to_json(),
        }

    def restore(self, data: Mapping[str, Any]) -> None:
        """Go on from what :meth:`to_json` gave."""
        for name, mixture in self._mixtures().items():
            mixture.restore(data["mixtures"][name])
        signs, worse, self._beyond, self._within = (int(each) for each in data["counts"])
        self._signs = Counts(signs, worse)
        self._at, self._signed_at = (-math.inf if each is None else float(each) for each in data["times"])
        self._signed = None if data["signed"] is None else (float(data["signed"][0]), float(data["signed"][1]))
        self._newest = None if data["newest"] is None else Evidence.from_json(data["newest"])

    def _mixtures(self) -> dict[str, Mixture]:
        return {"worse": self._worse.mixture, "no_worse": self._no_worse.mixture}

    def _compare(self, canary: Measurement, stable: Measurement, *, at: float) -> None:
        if at - self._signed_at < self.check.window_seconds or self._blindness_of(stable, "stable") is not None:
            return
        pair = (float(_value(canary)), float(_value(stable)))
        excess = _excess(self.check, canary=pair[0], stable=pair[1])
        if excess is None:
            return
        is_old = self._signed is not None and any(now == then for now, then in zip(pair, self._signed, strict=True))
        self._signed, self._signed_at = pair, at
        sign = Counts(1, int(excess > 0))
        self._no_worse.fold(sign, phi=1.0)
        if is_old and sign.bad:
            return
        self._signs += sign
        self._worse.mixture.open_slot()
        self._worse.fold(sign, phi=1.0)

    def _is_safe(self) -> bool:
        shown = not self._compares or self._no_worse.log_e >= self._safe_at
        return shown and (not self.check.has_absolute_limit or self._within >= self.check.consecutive)

    def _blindness(self, subject: str) -> Blindness | None:
        evidence = self._newest
        if evidence is None:
            reason = f"{self.check.name} of {subject} has not been measured yet"
            return Blindness(verdict=Verdict.NO_DATA, reason=reason)
        blind = self._blindness_of(evidence.canary, subject)
        blind = blind or out_of_order(self.check, evidence, newest_at=self._at, arm=subject)
        if blind is not None or not self._compares:
            return blind
        if evidence.stable is None:
            return Blindness(verdict=Verdict.NO_DATA, reason=f"{self.check.name} of stable was not measured")
        return self._blindness_of(evidence.stable, "stable")

    def _blindness_of(self, measured: Measurement, arm: str) -> Blindness | None:
        return unanswered(self.check, measured, arm=arm) or without_number(self.check, measured, arm=arm)

    def _words(self, subject: str) -> Words:
        check, evidence = self.check, self._newest
        shown = f"{check.name} of {subject}"
        if evidence is not None and evidence.canary.value is not None:
            shown += f" {evidence.canary.value:.4g}"
        if self._compares and evidence is not None and evidence.stable and evidence.stable.value is not None:
            shown += f" against stable's {evidence.stable.value:.4g}"
        worse = f"beyond what stable allows in {self._signs.bad} of {self._signs.n} windows at this step"
        return Words(
            harm=f"{shown}: {worse}, more than half with {100 * (1 - self._settings.alpha):.6g} % confidence",
            breach=f"{shown}: {self._threshold()}, {self._beyond} times in a row (a plain threshold, no error bound)",
            safe=f"{shown}: within {_limits(check)}",
            undecided=f"{shown}: {self._so_far(worse)}",
        )

    def _so_far(self, worse: str) -> str:
        check = self.check
        told = [worse] if self._compares else []
        if check.has_absolute_limit:
            run, what = (
                (self._beyond, self._threshold()) if self._beyond else (self._within, f"within {_limits(check)}")
            )
            told.append(f"{what}; seen {run} of {check.consecutive} times in a row")
        return ", ".join(told)

    def _threshold(self) -> str:
        value = math.nan if self._newest is None else _value(self._newest.canary)
        return _crossed(self.check, value) or f"within {_limits(self.check)}"

    def _numbers(self) -> dict[str, Any]:
        evidence = self._newest
        stable = None if evidence is None or evidence.stable is None else evidence.stable.value
        return {
            "canary": None if evidence is None else _finite(evidence.canary.value),
            "stable": _finite(stable),
            "windows": self._signs.n,
            "worse": self._signs.bad,
            "log_harm": self._worse.log_e if self._compares else None,
        }


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _value(measured: Measurement) -> float:
    return math.nan if measured.value is None else measured.value


def _crossed(check: Check, value: float) -> str | None:
    if check.max is not None and value > check.max:
        return f"above the allowed {check.max:.4g}"
    if check.min is not None and value < check.min:
        return f"below the required {check.min:.4g}"
    return None


def _excess(check: Check, *, canary: float, stable: float) -> float | None:
    """Return by how much the canary's value is beyond the nearest relative limit; ``None`` if a ratio means nothing."""
    ratio, difference = check.max_ratio_to_stable, check.max_difference_to_stable
    if ratio is not None and min(canary, stable) < 0:
        return None
    by_ratio = None if ratio is None else canary - ratio * stable
    by_difference = None if difference is None else canary - stable - difference
    return max(each for each in (by_ratio, by_difference) if each is not None)


def _limits(check: Check) -> str:
    words = [
        (check.max, f"at most {check.max}"),
        (check.min, f"at least {check.min}"),
        (check.max_ratio_to_stable, f"{check.max_ratio_to_stable} times stable"),
        (check.max_difference_to_stable, f"stable plus {check.max_difference_to_stable}"),
    ]
    return " and ".join(text for limit, text in words if limit is not None)
