"""The record of a release's judging: what it began with and what it took in, from which its verdicts follow bit for bit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from airflow_model_ops.core.checks.definition import Check
from airflow_model_ops.core.checks.evidence import Evidence
from airflow_model_ops.core.errors import InvalidState
from airflow_model_ops.core.judge.dispersion import DispersionMeter
from airflow_model_ops.core.judge.release import ReleaseJudge
from airflow_model_ops.core.judge.settings import JudgeSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """What a release is judged by, fixed when its judging begins: a YAML file that changes later does not change it.

    :param meters: What was known of each check's overdispersion, by name.
    """

    checks: tuple[Check, ...]
    settings: JudgeSettings
    has_stable: bool
    meters: Mapping[str, DispersionMeter] = field(default_factory=dict)

    def judge(self) -> ReleaseJudge:
        """Return a judge that has taken in nothing yet."""
        meters = {name: DispersionMeter.from_json(meter.to_json()) for name, meter in self.meters.items()}
        return ReleaseJudge(self.checks, settings=self.settings, has_stable=self.has_stable, meters=meters)

    def to_json(self) -> dict[str, Any]:
        """Give an object that JSON can hold."""
        return {
            "checks": [check.to_json() for check in self.checks],
            "settings": asdict(self.settings),
            "has_stable": self.has_stable,
            "meters": {name: meter.to_json() for name, meter in self.meters.items()},
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Opening:
        """Read what :meth:`to_json` gave.

        :raises InvalidState: if a part is missing or makes no sense.
        """
        try:
            return cls(
                checks=tuple(Check.from_json(check) for check in data["checks"]),
                settings=JudgeSettings(**data["settings"]),
                has_stable=bool(data["has_stable"]),
                meters={name: DispersionMeter.from_json(meter) for name, meter in data["meters"].items()},
            )
        except (AttributeError, KeyError, TypeError) as fault:
            raise InvalidState(f"what a release is judged by cannot be read ({fault!r}): {data!r}") from fault


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One thing a judge took in: a share of traffic that began, or the evidence of one interval.

    :param percent: The share that began; ``None`` for an interval.
    """

    percent: float | None = None
    evidence: tuple[Evidence, ...] = ()

    def apply(self, judge: ReleaseJudge) -> None:
        """Let a judge take it in."""
        if self.percent is not None:
            judge.enter_step(self.percent)
        else:
            judge.fold(self.evidence)

    def to_json(self) -> dict[str, Any]:
        """Give an object that JSON can hold."""
        if self.percent is not None:
            return {"percent": self.percent}
        return {"evidence": [each.to_json() for each in self.evidence]}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Entry:
        """Read what :meth:`to_json` gave.

        :raises InvalidState: if a part is missing or makes no sense.
        """
        try:
            if "percent" in data:
                return cls(percent=float(data["percent"]))
            return cls(evidence=tuple(Evidence.from_json(each) for each in data["evidence"]))
        except (KeyError, TypeError, ValueError) as fault:
            raise InvalidState(f"kept evidence {data!r} cannot be read ({fault!r})") from fault


def replay(opening: Opening, entries: Iterable[Entry]) -> ReleaseJudge:
    """Return the judge after all that it took in: the same verdict as then, bit for bit."""
    judge = opening.judge()
    for entry in entries:
        entry.apply(judge)
    return judge
