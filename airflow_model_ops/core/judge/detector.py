"""The e-detector: notices when one version's bad rate rises above a ceiling, however long all was well before.

A release ends; the guard of stable does not, so no error can be promised for its whole life. What can be promised is how
seldom it cries wolf. With ``LR_k`` the likelihood ratio of interval ``k``, whose expectation is at most 1 while the rate is at
most the ceiling, the detector is a sum of e-processes, one started at each interval:

    M_k = (M_{k-1} + 1) * LR_k

``M_k - k`` then is a supermartingale, so an alarm at ``M >= A`` comes after ``A`` intervals in the mean, or later, as long as no
interval is above the ceiling, however the rate moves below it. Good hours leave ``M`` near nothing, and the next interval adds
a new 1, so that they cannot hide what comes after. An average of detectors over several alternatives, or checks, is one.

An interval in which nothing is added makes ``M`` smaller, and so does a cap; both keep the promise.

Source: Shin, Ramdas, Rinaldo, "E-detectors: a nonparametric framework for sequential change detection", 2024 (the
Shiryaev-Roberts e-detector); Pollak, "Optimal detection of a change in distribution", 1985.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from typing import Any

from airflow_model_ops.core.errors import InvalidState
from airflow_model_ops.core.judge.counts import NOTHING, Counts
from airflow_model_ops.core.judge.mixture import multiplied, pack, unpack
from airflow_model_ops.core.judge.processes import ODDS_ABOVE, REMEMBERED_NATS, by_odds, share_steps

_RECENT_ODDS = 2.0
"""The alternative, in multiples of the ceiling's odds, after which it looks for where the rate rose."""


class CeilingDetector:
    """Notices that one version's bad rate is above a ceiling.

    :param ceiling: The bad rate that is still allowed, above 0 and below 1.
    :param log_threshold: Natural logarithm of where its value is compared; little is remembered beyond, so that an alarm ends
        soon after its cause.
    """

    def __init__(self, *, ceiling: float, log_threshold: float) -> None:
        self._ceiling = ceiling
        self._highest = math.exp(log_threshold + REMEMBERED_NATS)
        self._grid = tuple(by_odds(ceiling, factor) for factor in ODDS_ABOVE)
        self._sums = [0.0] * len(self._grid)
        self._recent_log = 0.0
        self.recent = NOTHING
        self.recent_since: str | None = None

    @property
    def value(self) -> float:
        """What is compared with the threshold."""
        return math.fsum(self._sums) / len(self._sums)

    def fold(self, counts: Counts, *, begin: str, phi: float, starts: bool = True) -> None:
        """Take in one interval; one without events tells nothing.

        :param begin: When the interval began, ISO 8601, for people.
        :param phi: The overdispersion, known before the interval but for its number of events.
        :param starts: Whether an e-process starts with it. More of them per time than was promised for would break the promise.
        """
        if not counts.n:
            return
        steps = share_steps(self._grid, self._ceiling, counts, phi=phi)
        top = self._highest * len(self._sums)
        self._sums = multiplied([each + starts for each in self._sums], steps, highest=top)
        if self.value > self._highest:
            scale = self._highest / self.value
            self._sums = [each * scale for each in self._sums]
        self._remember(counts, begin=begin, phi=phi)

    def to_json(self) -> dict[str, Any]:
        """Give what :meth:`restore` needs to go on bit for bit."""
        recent = [self.recent.n, self.recent.bad, self.recent_since, self._recent_log]
        return {"ceiling": self._ceiling, "sums": pack(self._sums), "recent": recent}

    def restore(self, data: Mapping[str, Any]) -> None:
        """Go on from what :meth:`to_json` gave.

        :raises InvalidState: if it is not that, or was counted against another ceiling.
        """
        try:
            sums, ceiling = unpack(data["sums"]), data["ceiling"]
            n, bad, since, log = data["recent"]
            recent, recent_log = Counts(int(n), int(bad)), float(log)
        except (KeyError, OverflowError, TypeError, ValueError, struct.error) as fault:
            raise InvalidState(
                f"detector state {data!r} cannot be read ({fault!r}); let the guard start anew"
            ) from fault
        if len(sums) != len(self._sums) or ceiling != self._ceiling:
            raise InvalidState(
                f"detector state is of {len(sums)} alternatives to a ceiling of {ceiling!r}, in use are {len(self._sums)} to "
                f"{self._ceiling!r}; let the guard start anew"
            )
        if not (math.isfinite(recent_log) and all(0 <= each < math.inf for each in sums)):
            raise InvalidState(f"detector state holds {sums}, which no counts can make; let the guard start anew")
        self._sums, self.recent, self._recent_log = sums, recent, recent_log
        self.recent_since = None if since is None else str(since)

    def _remember(self, counts: Counts, *, begin: str, phi: float) -> None:
        """Keep the counts since the rate may have risen, which people are shown (Page's CUSUM)."""
        (step,) = share_steps((by_odds(self._ceiling, _RECENT_ODDS),), self._ceiling, counts, phi=phi)
        if self._recent_log + step <= 0:
            self.recent, self.recent_since, self._recent_log = NOTHING, None, 0.0
            return
        self._recent_log += step
        self.recent += counts
        self.recent_since = self.recent_since or begin
