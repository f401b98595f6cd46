"""Findings: what one check has to say at a moment, before the checks of a release are weighed together."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from airflow_model_ops.core.checks.definition import Check
from airflow_model_ops.core.checks.evidence import Evidence
from airflow_model_ops.core.judge.blindness import Blindness

NONE = -math.inf
"""Logarithm of no evidence at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """The sentences of a check, one for each thing it may be found to say."""

    harm: str = ""
    breach: str = ""
    safe: str = ""
    undecided: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What a check shows now.

    :param log_harm: Logarithm of its e-process against "no worse than stable allows"; :data:`NONE` if it has none, or if
        what it shows is negligible.
    :param log_breach: Logarithm of its e-process against "below the ceiling".
    :param breached: Whether a plain threshold is crossed, which acts without an error bound.
    :param blind: Why it cannot be judged now.
    :param safe: Whether safety is shown at this moment.
    :param skipped: Whether it has nothing to be compared with.
    :param beyond: Whether its newest measurement is beyond a plain limit.
    :param numbers: What is behind it, for displays.
    """

    log_harm: float = NONE
    log_breach: float = NONE
    breached: bool = False
    blind: Blindness | None = None
    safe: bool = False
    skipped: bool = False
    beyond: bool = False
    words: Words
    numbers: Mapping[str, Any] = field(default_factory=dict)


class CheckJudge(Protocol):
    """Judges one check through one release."""

    @property
    def check(self) -> Check:
        """The check."""
        ...

    @property
    def parts(self) -> int:
        """Among how many e-processes its part of alpha is shared out."""
        ...

    def enter_step(self) -> None:
        """Forget what was shown safe: the next share of traffic must show it anew."""
        ...

    def fold(self, evidence: Evidence) -> None:
        """Take in one interval."""
        ...

    def finding(self, *, subject: str) -> Finding:
        """Say what is shown so far.

        :param subject: How the sentences call the canary, e.g. its version.
        """
        ...

    def to_json(self) -> dict[str, Any]:
        """Give what :meth:`restore` needs to go on bit for bit."""
        ...

    def restore(self, data: Mapping[str, Any]) -> None:
        """Go on from what :meth:`to_json` gave."""
        ...
