"""What one check says, and what all checks of a release say together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from airflow_model_ops.core.checks.definition import Verdict
from airflow_model_ops.core.errors import InvalidState

WORST_FIRST = (
    Verdict.HARM,
    Verdict.BREACH,
    Verdict.PROVIDER_DOWN,
    Verdict.STALE,
    Verdict.NO_DATA,
    Verdict.SPLIT_MISMATCH,
    Verdict.UNDECIDED,
    Verdict.SAFE,
)
"""The order in which one check's verdict outranks another's: bad news, then blindness, then patience, then SAFE."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Assessment:
    """What one check says about the canary.

    :param check: The check's name.
    :param reason: A sentence with the numbers, for the person on call.
    :param skipped: The check had nothing to compare with (a first release) and decides nothing.
    :param muted: The check is shown and decides nothing.
    :param suspicious: A plain limit is crossed just now, or much of the evidence that acts is there.
    :param numbers: What is behind it, for displays; JSON.
    """

    check: str
    verdict: Verdict
    reason: str
    skipped: bool = False
    muted: bool = False
    suspicious: bool = False
    numbers: Mapping[str, Any] = field(default_factory=dict)

    @property
    def decides(self) -> bool:
        """Whether it counts when the checks are combined."""
        return not (self.skipped or self.muted)

    def to_json(self) -> dict[str, Any]:
        """Give an object that JSON can hold."""
        return {
            "check": self.check,
            "verdict": self.verdict.value,
            "reason": self.reason,
            "skipped": self.skipped,
            "muted": self.muted,
            "suspicious": self.suspicious,
            "numbers": dict(self.numbers),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Assessment:
        """Read what :meth:`to_json` gave.

        :raises InvalidState: if a field is missing or malformed.
        """
        try:
            return cls(
                check=str(data["check"]),
                verdict=Verdict(data["verdict"]),
                reason=str(data["reason"]),
                skipped=bool(data["skipped"]),
                muted=bool(data["muted"]),
                suspicious=bool(data.get("suspicious", False)),
                numbers=dict(data.get("numbers", {})),
            )
        except (KeyError, ValueError) as fault:
            raise InvalidState(
                f"assessment {data!r} cannot be read ({fault!r}); it was not written by this package"
            ) from fault


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What all checks of a release say together, with the assessments behind it."""

    verdict: Verdict
    reason: str
    assessments: tuple[Assessment, ...]

    @property
    def suspicious(self) -> bool:
        """Whether a check that decides is."""
        return any(assessment.suspicious and assessment.decides for assessment in self.assessments)

    def to_json(self) -> dict[str, Any]:
        """Give an object that JSON can hold."""
        return {
            "verdict": self.verdict.value,
            "reason": self.reason,
            "assessments": [assessment.to_json() for assessment in self.assessments],
        }


def combine(assessments: Iterable[Assessment]) -> Summary:
    """Give the worst verdict of all checks that decide, in the order :data:`WORST_FIRST`.

    So SAFE needs every deciding check to be SAFE. Muted and skipped checks are kept for display and decide nothing. When
    none decides (there are no checks, all are muted, or all are skipped on a first release) the verdict is UNDECIDED:
    nothing was proven, and only a person or a deadline policy that allows promotion "without proof" may go on.
    """
    everything = tuple(assessments)
    deciding = [assessment for assessment in everything if assessment.decides]
    if not deciding:
        return Summary(verdict=Verdict.UNDECIDED, reason=_why_nothing_decides(everything), assessments=everything)
    verdict = min((assessment.verdict for assessment in deciding), key=WORST_FIRST.index)
    reasons = [assessment.reason for assessment in deciding if assessment.verdict is verdict]
    return Summary(verdict=verdict, reason="; ".join(reasons), assessments=everything)


def _why_nothing_decides(assessments: tuple[Assessment, ...]) -> str:
    if not assessments:
        return "there are no checks, so nothing can be proven; add a check to the release policy"
    reasons = "; ".join(assessment.reason for assessment in assessments if assessment.skipped)
    if not reasons:
        return f"all {len(assessments)} checks are muted, so none decides; unmute one"
    return f"no check can decide: {reasons}"
