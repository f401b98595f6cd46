"""Measuring a release interval by interval: ask the metric source, keep the evidence, let the judge take it in."""

from __future__ import annotations

import logging
from collections.abc import Callable

from airflow_model_ops.control.evidence_book import EvidenceBook, Position
from airflow_model_ops.control.leases import HANDOVER_SECONDS
from airflow_model_ops.control.model_control import ModelControl
from airflow_model_ops.core.checks import Arms, Check, Summary
from airflow_model_ops.core.errors import MetricsUnavailable
from airflow_model_ops.core.judge.dispersion import DispersionMeter, metered
from airflow_model_ops.core.judge.record import Opening
from airflow_model_ops.core.policy import ReleasePolicy
from airflow_model_ops.core.ports import MetricSource
from airflow_model_ops.core.state import Fence
from airflow_model_ops.core.versioning import Version

ArmsOf = Callable[[str, Version, Version | None], Arms]
"""How a metric source knows a model's canary and stable."""
_log = logging.getLogger(__name__)


class Observer:
    """Measures one attempt of a release and judges it. It changes nothing but the kept evidence and the lease.

    :param arms_of: How the metric source knows the versions.
    """

    def __init__(
        self,
        *,
        control: ModelControl,
        source: MetricSource,
        policy: ReleasePolicy,
        fence: Fence,
        version: Version,
        arms_of: ArmsOf,
    ) -> None:
        self._control = control
        self._source = source
        self._policy = policy
        self._fence = fence
        self._version = version
        self._arms_of = arms_of
        self.book = EvidenceBook(control.repository, model=control.model, fence=fence)

    def begin(self, position: Position, *, stable: Version | None, percent: float) -> None:
        """Begin the judging: measure how noisy the counts are, fix the checks, and enter the first share of traffic."""
        arms = self._arms_of(self._control.model, self._version, stable)
        meters = {
            check.name: self._calibrated(check, arms, end=position.started_at)
            for check in self._policy.checks
            if check.is_share
            and check.dispersion is None
            and arms.control is not None
            and self._policy.calibration_seconds
        }
        opening = Opening(
            checks=self._policy.checks, settings=self._policy.judge, has_stable=stable is not None, meters=meters
        )
        self.book.begin(opening, position, percent=percent)

    def measure(self, *, stable: Version | None, begin: float) -> str:
        """Measure one interval of all checks and let the judge take it in; return the reference of the evidence.

        :param stable: The version to compare with.
        :param begin: When the present share of traffic was applied, seconds since the epoch.
        """
        arms = self._arms_of(self._control.model, self._version, stable)
        evidence = []
        for check in self.book.opening.checks:
            self.renew_lease()  # an unreachable source may take its whole time-out for every check
            after = self.book.after.get(check.name)
            evidence.append(self._source.gather(check, model=self._control.model, arms=arms, begin=begin, after=after))
        return self.book.add(tuple(evidence))

    def summary(self) -> Summary:
        """Say what everything that was taken in shows."""
        return self.book.judge.summary(subject=self._version.name)

    def renew_lease(self) -> None:
        """Promise to look after the release for as long as a restart of the triggerer takes."""
        self._control.leases.renew(self._fence, self._version, seconds=HANDOVER_SECONDS)

    def _calibrated(self, check: Check, arms: Arms, *, end: float) -> DispersionMeter:
        """Compare stable with itself over the past; without an answer nothing is known and the default is used.

        :param end: When the share was applied: what is judged must not tell how much it is to be tempered.
        """
        try:
            # A slow source may take its time-out for each of many pieces of a day: longer than any lease lasts by itself.
            with self._control.leases.working(self._fence, self._version):
                history = self._source.history(
                    check,
                    model=self._control.model,
                    arms=arms,
                    start=end - self._policy.calibration_seconds,
                    end=end,
                    step_seconds=self._policy.interval_seconds,
                )
        except MetricsUnavailable as error:
            _log.warning("check=%s: its noise before the release is not known: %s", check.name, error)
            return DispersionMeter()
        meter = metered(history)
        default = self._policy.judge.dispersion
        _log.info(
            "check=%s: overdispersion %.2f from %d blocks of history", check.name, meter.phi(default), meter.degrees
        )
        return meter
