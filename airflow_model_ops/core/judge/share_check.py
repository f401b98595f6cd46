"""Judging a share of bad events by counts: against stable, against the negligible rate, and against a ceiling."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from airflow_model_ops.core.checks.definition import Check, Verdict
from airflow_model_ops.core.checks.evidence import Evidence, Measurement
from airflow_model_ops.core.errors import InvalidState
from airflow_model_ops.core.judge.blindness import Blindness, out_of_order, unanswered, uncountable
from airflow_model_ops.core.judge.counts import NOTHING, Counts, baseline_of, counts_of
from airflow_model_ops.core.judge.dispersion import DispersionMeter, comparison_size, comparison_variance
from airflow_model_ops.core.judge.finding import NONE, Finding
from airflow_model_ops.core.judge.forecast import Traffic
from airflow_model_ops.core.judge.mixture import SLOT_SECONDS, Mixture, pack, unpack
from airflow_model_ops.core.judge.processes import (
    REMEMBERED_NATS,
    RatioHarm,
    RatioInterval,
    RatioSafe,
    ShareAbove,
    ShareBelow,
    ratio_steps,
)
from airflow_model_ops.core.judge.ramp import Exposure, Pace, RiseDecision, excess, may_rise
from airflow_model_ops.core.judge.settings import JudgeSettings
from airflow_model_ops.core.judge.share_words import Standing, words_of

FEWEST_SAMPLES = 0.1
"""Share of ``min_samples`` below which nothing was seen: a single request is no ground for a promotion without proof."""
_RECENT_FACTOR = 2.0
"""The harm, in multiples of the allowed ratio, after which the sentence looks for where the canary turned bad."""


class ShareCheck:
    """Judges one check whose answer is bad events among events.

    Harm is carried over the whole release; safety, and what people are shown, start anew at each step.

    :param meter: What is known of the counts' overdispersion from before the release.
    """

    def __init__(self, check: Check, *, settings: JudgeSettings, has_stable: bool, meter: DispersionMeter) -> None:
        self.check = check
        self._settings = settings
        self._has_stable = has_stable
        self._meter = meter
        self._safe_at = math.log(1 / settings.beta)
        self._cap = self._safe_at + REMEMBERED_NATS
        self._harm = RatioHarm(max_ratio=check.max_ratio)
        self._above_negligible = ShareAbove(rate=check.negligible) if check.negligible else None
        self._above_ceiling = ShareAbove(rate=check.max) if check.max else None
        self._slot_at = -math.inf
        self._at = -math.inf
        self._newest: Evidence | None = None
        self._release = (NOTHING, NOTHING)
        self._recent = (NOTHING, NOTHING)
        self._recent_since = ""
        self._recent_log = 0.0
        self.enter_step()

    @property
    def parts(self) -> int:
        """Among how many e-processes its part of alpha is shared out."""
        return int(self._has_stable) + int(self._above_ceiling is not None)

    def phi(self, canary: Counts = NOTHING, baseline: Counts = NOTHING) -> float:
        """Return the overdispersion that an interval is judged with; without its counts, that of one like those before."""
        given = self.check.dispersion
        if given is not None:
            return given
        size, variance = comparison_size(canary, baseline), comparison_variance(canary, baseline)
        return self._meter.phi(self._settings.dispersion, size=size, variance=variance)

    def enter_step(self) -> None:
        """Forget what was shown safe: the next share of traffic must show it anew."""
        check = self.check
        self._safe = RatioSafe(margin=check.margin, log_threshold=self._safe_at)
        self._below_negligible = ShareBelow(rate=check.negligible, log_cap=self._cap) if check.negligible else None
        self._below_ceiling = ShareBelow(rate=check.max, log_cap=self._cap) if check.max else None
        self._interval = RatioInterval()
        self._step = (NOTHING, NOTHING)
        self._step_seconds = 0.0
        self._heard_at = -math.inf
        self._baseline_heard_at = -math.inf

    def fold(self, evidence: Evidence) -> None:
        """Take in one interval; one that ends no later than the one before holds nothing new."""
        self._newest = evidence
        at = evidence.instant.timestamp()
        if evidence.canary.error is not None or at <= self._at or self._uncountable(evidence, subject="") is not None:
            return
        canary, baseline = counts_of(evidence.canary), baseline_of(evidence)
        counted_to, self._at = self._at, at
        if at - self._slot_at >= SLOT_SECONDS:
            self._slot_at = at
            for mixture in self._mixtures().values():
                mixture.open_slot()
        phi = self.phi(canary, baseline)
        self._judge(canary, baseline, phi=phi)
        if evidence.begin is not None:  # the scrapes of several routers overlap in time
            self._step_seconds += at - max(counted_to, datetime.fromisoformat(evidence.begin).timestamp())
        self._remember(evidence, canary, baseline, phi=phi)
        if evidence.control is not None:
            self._meter.fold(counts_of(evidence.control), counts_of(evidence.stable))

    def finding(self, *, subject: str) -> Finding:
        """Say what is shown so far."""
        standing = self._standing(subject=subject)
        if not self._has_stable and self._above_ceiling is None:
            return Finding(skipped=True, words=words_of(self.check, standing))
        blind = self._blindness(subject=subject)
        matters = self._above_negligible is None or self._above_negligible.log_e >= self._safe_at
        # In a watch without a hold-back nothing is compared any more: what only now matters may have come to stable, too.
        compared = self._has_stable and (self._newest is None or self._newest.stable is not None)
        return Finding(
            log_harm=self._harm.log_e if compared and matters else NONE,
            log_breach=NONE if self._above_ceiling is None else self._above_ceiling.log_e,
            blind=blind,
            safe=blind is None and self._is_safe(),
            words=words_of(self.check, standing),
            numbers=standing.to_json(),
        )

    def may_rise(self, percent: float, *, pace: Pace, alpha_part: float) -> RiseDecision | None:
        """Say whether a larger share fits into the harm budget; ``None`` if this check has no stable to exceed.

        :param alpha_part: The check's part of the release's alpha.
        """
        if not self._has_stable:
            return None
        canary, baseline = self._step
        seconds = max(self._step_seconds, pace.interval_seconds)
        _, upper = self._interval.bounds(alpha=self._settings.alpha)
        below = self._below_negligible
        exposure = Exposure(
            check=self.check,
            traffic=Traffic(rate_rps=(canary.n + baseline.n) / seconds, base_rate=baseline.rate),
            ratio_upper=upper,
            is_negligible=below is not None and below.log_e >= self._safe_at,
            phi=self.phi(),
            settings=self._settings,
            alpha_part=alpha_part,
            interval_seconds=pace.interval_seconds,
            horizon_seconds=pace.horizon_seconds,
        )
        spent = excess(*self._release, phi=exposure.phi)
        return may_rise(percent, exposure=exposure, budget=pace.max_bad_events, spent=spent)

    def to_json(self) -> dict[str, Any]:
        """Give what :meth:`restore` needs to go on bit for bit."""
        return {
            "mixtures": {name: mixture.to_json() for name, mixture in self._mixtures().items()},
            "interval": pack(self._interval.log_likelihoods),
            "meter": self._meter.to_json(),
            "counts": [[each.n, each.bad] for each in (*self._release, *self._step, *self._recent)],
            "recent": [self._recent_since, self._recent_log],
            "step_seconds": self._step_seconds,
            "times": [
                each if math.isfinite(each) else None
                for each in (self._slot_at, self._at, self._heard_at, self._baseline_heard_at)
            ],
            "newest": None if self._newest is None else self._newest.to_json(),
        }

    def restore(self, data: Mapping[str, Any]) -> None:
        """Go on from what :meth:`to_json` gave."""
        for name, mixture in self._mixtures().items():
            mixture.restore(data["mixtures"][name])
        likelihoods = unpack(data["interval"])
        if len(likelihoods) != len(self._interval.log_likelihoods) or not all(map(math.isfinite, likelihoods)):
            raise InvalidState(f"kept evidence of {self.check.name!r} was written by another version of this package")
        self._interval.log_likelihoods = likelihoods
        self._meter = DispersionMeter.from_json(data["meter"])
        release_c, release_b, step_c, step_b, recent_c, recent_b = (Counts(*each) for each in data["counts"])
        self._release, self._step, self._recent = (release_c, release_b), (step_c, step_b), (recent_c, recent_b)
        self._recent_since, self._recent_log = str(data["recent"][0]), float(data["recent"][1])
        self._step_seconds = float(data["step_seconds"])
        self._slot_at, self._at, self._heard_at, self._baseline_heard_at = (
            -math.inf if each is None else float(each) for each in data["times"]
        )
        self._newest = None if data["newest"] is None else Evidence.from_json(data["newest"])

    def _mixtures(self) -> dict[str, Mixture]:
        processes: dict[str, RatioHarm | RatioSafe | ShareAbove | ShareBelow | None] = {
            "harm": self._harm,
            "safe": self._safe,
            "above_negligible": self._above_negligible,
            "below_negligible": self._below_negligible,
            "above_ceiling": self._above_ceiling,
            "below_ceiling": self._below_ceiling,
        }
        return {name: process.mixture for name, process in processes.items() if process is not None}

    def _judge(self, canary: Counts, baseline: Counts, *, phi: float) -> None:
        if self._has_stable:
            self._harm.fold(canary, baseline, phi=phi)
            self._safe.fold(canary, baseline, phi=phi)
            self._interval.fold(canary, baseline, phi=phi)
        # By how much one arm's bad events are tempered must not depend on them: a low rate would be excused for its high counts.
        alone = self.phi(Counts(canary.n), Counts(baseline.n))
        for process in (self._above_negligible, self._below_negligible, self._above_ceiling, self._below_ceiling):
            if process is not None:
                process.fold(canary, phi=alone)

    def _remember(self, evidence: Evidence, canary: Counts, baseline: Counts, *, phi: float) -> None:
        """Keep the sums that people are shown, and where the canary may have turned bad (Page's CUSUM)."""
        at = evidence.instant.timestamp()
        self._heard_at = at if canary.n else self._heard_at
        self._baseline_heard_at = at if baseline.n else self._baseline_heard_at
        self._release = (self._release[0] + canary, self._release[1] + baseline)
        self._step = (self._step[0] + canary, self._step[1] + baseline)
        tested = self.check.max_ratio
        if not (canary.bad or baseline.bad):
            step = 0.0
        else:
            (step,) = ratio_steps((_RECENT_FACTOR * tested,), tested, canary, baseline, phi=phi)
        if self._recent_log + step <= 0:
            self._recent, self._recent_log, self._recent_since = (NOTHING, NOTHING), 0.0, ""
            return
        self._recent_log += step
        self._recent = (self._recent[0] + canary, self._recent[1] + baseline)
        self._recent_since = self._recent_since or (evidence.begin or evidence.at)

    def _blindness(self, *, subject: str) -> Blindness | None:
        evidence, check = self._newest, self.check
        if evidence is None:
            return Blindness(verdict=Verdict.NO_DATA, reason=f"{check.name} of {subject} has not been measured yet")
        blind = unanswered(check, evidence.canary, arm=subject) or self._uncountable(evidence, subject=subject)
        blind = blind or out_of_order(check, evidence, newest_at=self._at, arm=subject)
        blind = blind or self._silence(evidence.canary, subject, self._heard_at)
        if blind is not None or not self._has_stable:
            return blind
        if evidence.stable is None:
            return Blindness(verdict=Verdict.NO_DATA, reason=f"{check.name} of stable was not measured")
        blind = unanswered(check, evidence.stable, arm="stable")
        return blind or self._silence(evidence.stable, "stable", self._baseline_heard_at)

    def _uncountable(self, evidence: Evidence, *, subject: str) -> Blindness | None:
        arms = ((subject, evidence.canary), ("stable", evidence.stable), ("control", evidence.control))
        found = (uncountable(self.check, measured, arm=arm) for arm, measured in arms if measured is not None)
        return next((blind for blind in found if blind is not None), None)

    def _silence(self, measured: Measurement, arm: str, heard_at: float) -> Blindness | None:
        check, event = self.check, self.check.events
        if not math.isfinite(heard_at):
            return Blindness(
                verdict=Verdict.NO_DATA, reason=f"{check.name} of {arm}: no {event} were counted at this step yet"
            )
        if measured.age_seconds is None:
            return Blindness(
                verdict=Verdict.STALE, reason=f"{check.name} of {arm}: no sample is recent enough to tell its age"
            )
        silent = self._at - heard_at
        if silent > check.max_age_seconds:
            return Blindness(
                verdict=Verdict.NO_DATA, reason=f"{check.name} of {arm}: no {event} were counted for {silent:.0f} s"
            )
        if arm != "stable" and self._step[0].n < FEWEST_SAMPLES * check.min_samples:
            reason = (
                f"{check.name} of {arm}: only {self._step[0].n:,} {event} at this step, needed {check.min_samples:,}"
            )
            return Blindness(verdict=Verdict.NO_DATA, reason=reason)
        return None

    def _is_safe(self) -> bool:
        """Whether safety is shown: through the ratio or the negligible rate, which share beta, or else the ceiling."""
        if self._step[0].n < self.check.min_samples:
            return False
        if not self._has_stable:
            return self._below_ceiling is not None and self._below_ceiling.log_e >= self._safe_at
        return self._log_safe() >= self._safe_at

    def _log_safe(self) -> float:
        if self._below_negligible is None:
            return self._safe.log_e
        both = (self._safe.log_e, self._below_negligible.log_e)
        highest = max(both)
        if highest == NONE:
            return NONE
        return highest + math.log(math.fsum(math.exp(each - highest) for each in both) / 2)

    def _standing(self, *, subject: str) -> Standing:
        low, high = self._interval.bounds(alpha=self._settings.alpha)
        return Standing(
            subject=subject,
            settings=self._settings,
            step=self._step,
            recent=self._recent,
            recent_since=self._recent_since,
            ratio_low=low,
            ratio_high=high,
            compared=self._has_stable,
            through_negligible=self._below_negligible is not None and self._below_negligible.log_e > self._safe.log_e,
            phi=self.phi(),
            phi_measured=self.check.dispersion is None and self._meter.degrees > 0,
            log_harm=self._harm.log_e,
            log_safe=self._log_safe() if self._has_stable else self._ceiling_log(),
        )

    def _ceiling_log(self) -> float:
        return NONE if self._below_ceiling is None else self._below_ceiling.log_e
