"""Whether the canary really gets the share of requests that was declared: before any comparison is believed.

A router that draws by itself for each request gives a binomial split. Two Bernoulli e-processes test the canary's share
against a band around the declared one: above its upper edge, and below its lower one. Little is remembered, so that a
mismatch that was mended is believed again.

Source: sample ratio mismatch, Lindon & Malek, "Anytime-valid inference for multinomial count data", 2022.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from airflow_model_ops.core.judge.counts import Counts
from airflow_model_ops.core.judge.mixture import Mixture
from airflow_model_ops.core.judge.processes import REMEMBERED_NATS, ShareAbove, ShareBelow
from airflow_model_ops.core.judge.settings import JudgeSettings

SPLIT_ALPHA = 0.01
"""Greatest chance to freeze a step whose split is within the band."""


class SplitCheck:
    """Judges the split of one step.

    :param percent: The canary's declared share.
    """

    def __init__(self, *, settings: JudgeSettings, percent: float) -> None:
        self.percent = percent
        self._band = settings.split_band
        share = percent / 100
        self._at = math.log(1 / SPLIT_ALPHA)
        cap = self._at + REMEMBERED_NATS
        high = share * (1 + self._band)
        self._above = ShareAbove(rate=high, log_cap=cap) if high < 1 else None
        self._below = ShareBelow(rate=share * (1 - self._band), log_cap=cap, onset=True)
        self._counts = Counts()

    def fold(self, canary: Counts, baseline: Counts) -> None:
        """Take in one interval's requests."""
        counts = Counts(canary.n + baseline.n, canary.n)
        self._counts += counts
        for process in (self._above, self._below):
            if process is not None:
                process.mixture.open_slot()
                process.fold(counts, phi=1.0)

    def mismatch(self) -> str | None:
        """Say how the split is off, or ``None``."""
        logs = [process.log_e for process in (self._above, self._below) if process is not None]
        if max(logs) - math.log(len(logs)) < self._at:
            return None
        counts = self._counts
        return (
            f"the canary got {100 * counts.rate:.3g} % of the requests ({counts.bad:,} of {counts.n:,}) where "
            f"{self.percent:g} % was declared, beyond the {100 * self._band:g} % that it may be off; look at the router's "
            "routes and at retries"
        )

    def to_json(self) -> dict[str, Any]:
        """Give what :meth:`restore` needs to go on bit for bit."""
        return {
            "percent": self.percent,
            "counts": [self._counts.n, self._counts.bad],
            "mixtures": {name: mixture.to_json() for name, mixture in self._mixtures().items()},
        }

    def restore(self, data: Mapping[str, Any]) -> None:
        """Go on from what :meth:`to_json` gave."""
        self._counts = Counts(*data["counts"])
        for name, mixture in self._mixtures().items():
            mixture.restore(data["mixtures"][name])

    def _mixtures(self) -> dict[str, Mixture]:
        processes = {"above": self._above, "below": self._below}
        return {name: process.mixture for name, process in processes.items() if process is not None}
