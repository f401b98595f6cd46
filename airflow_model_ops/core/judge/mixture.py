"""Mixtures of test martingales: the one engine under all of the judge's processes.

Each component bets on one alternative; its wealth is multiplied by a likelihood ratio whose expectation is at most 1 under
the hypothesis, whatever happened before. So every component, and every average of components that is fixed beforehand, is an
e-process: by Ville's inequality it ever reaches 1/alpha with probability alpha at most, however often one looks.

Late onset: a part of the wealth is kept aside and put in little by little, so that some of it starts to bet shortly before
any moment. The whole is still an average over bets fixed beforehand, one per starting time.

Cap: wealth above a cap is thrown away, which keeps a supermartingale one. What is not remembered cannot hide later harm.

Source: Ville 1939; Howard, Ramdas, McAuliffe, Sekhon, "Time-uniform, nonparametric, nonasymptotic confidence sequences",
2021; Ramdas, Gruenwald, Vovk, Shafer, "Game-theoretic statistics and safe anytime-valid inference", 2023; Shin, Ramdas,
Rinaldo, "E-detectors", 2024 (mixtures over onset times).
"""

from __future__ import annotations

import math
import struct
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from typing import Any

from airflow_model_ops.core.errors import InvalidState

START_SHARE = 0.5
"""Part of the wealth that bets from the very start; the rest waits for a later onset."""
SLOT_SECONDS = 15.0
"""How often kept wealth starts to bet: finer slots would only thin it out."""
_HIGHEST = 1e250
"""Wealth is kept below this, far beyond every threshold, so that sums of it stay finite."""
_LONGEST_STEP = 700.0
"""Largest logarithm whose exponential is a float."""


class Mixture:
    """The wealth of a fixed set of components with equal prior weight.

    :param components: How many.
    :param onset: Whether part of the wealth waits for a later onset.
    :param log_cap: Natural logarithm of the highest total wealth that is remembered; ``None`` for no cap.
    """

    __slots__ = ("_log_cap", "_onset", "slots", "wealth")

    def __init__(self, *, components: int, onset: bool = False, log_cap: float | None = None) -> None:
        self._onset = onset
        self._log_cap = log_cap
        self.wealth = [START_SHARE if onset else 1.0] * components
        self.slots = 0

    def open_slot(self) -> None:
        """Let the next part of the kept wealth bet from now on. Call it before what it is to bet on is known."""
        if self._onset:
            self.slots += 1
            fresh = _kept(self.slots) - _kept(self.slots + 1)
            self.wealth = [wealth + fresh for wealth in self.wealth]

    def fold(self, log_ratios: Sequence[float]) -> None:
        """Multiply each component's wealth by the likelihood ratio of what was just seen, given as its logarithm."""
        self.wealth = multiplied(self.wealth, log_ratios, highest=_HIGHEST)
        if self._log_cap is not None:
            excess = self.log_e - self._log_cap
            if excess > 0:
                scale = math.exp(-excess)
                self.wealth = [wealth * scale for wealth in self.wealth]

    @property
    def log_e(self) -> float:
        """Natural logarithm of the whole wealth, what is still kept aside included."""
        total = math.fsum(self.wealth) / len(self.wealth)
        if self._onset:
            total += _kept(self.slots + 1)
        return math.log(total) if total > 0 else -math.inf

    def to_json(self) -> dict[str, Any]:
        """Give what :meth:`restore` needs to go on bit for bit."""
        return {"wealth": pack(self.wealth), "slots": self.slots}

    def restore(self, data: Mapping[str, Any]) -> None:
        """Go on from what :meth:`to_json` gave.

        :raises InvalidState: if it belongs to another set of components.
        """
        wealth = unpack(data["wealth"])
        if len(wealth) != len(self.wealth):
            raise InvalidState(
                f"kept evidence holds {len(wealth)} components where {len(self.wealth)} are used; it was written by another "
                "version of this package: abort the release and start it again"
            )
        slots = int(data["slots"])
        if slots < 0 or not all(0 <= each <= _HIGHEST for each in wealth):
            raise InvalidState(
                f"kept evidence holds {wealth} after {slots} starts, which is no wealth; abort the release"
            )
        self.wealth, self.slots = wealth, slots


def multiplied(wealth: Sequence[float], log_ratios: Sequence[float], *, highest: float) -> list[float]:
    """Return each wealth times its likelihood ratio, which is given as a logarithm; ``highest`` at most."""
    return [
        min(highest, each * math.exp(min(step, _LONGEST_STEP))) for each, step in zip(wealth, log_ratios, strict=True)
    ]


def pack(numbers: Sequence[float]) -> str:
    """Write floats exactly and in little space: eight bytes each, little-endian, in base 64."""
    return b64encode(struct.pack(f"<{len(numbers)}d", *numbers)).decode()


def unpack(text: str) -> list[float]:
    """Read what :func:`pack` wrote."""
    content = b64decode(text, validate=True)
    return list(struct.unpack(f"<{len(content) // 8}d", content))


def _kept(slot: int) -> float:
    """Return the wealth that is still kept aside before a slot, from 1; it sinks so slowly that late slots get some."""
    return (1 - START_SHARE) / (1 + math.log(slot))


def geometric_grid(low: float, high: float, count: int) -> tuple[float, ...]:
    """Return ``count`` numbers from ``low`` to ``high``, each the same factor above the one before."""
    factor = (high / low) ** (1 / (count - 1))
    return tuple(low * factor**index for index in range(count))
