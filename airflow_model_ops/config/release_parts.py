"""The parts of a model's YAML file that say how it is released and judged: the ramp, the checks, the watch and the guard."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from airflow_model_ops.config.durations import LongerThanZero, Seconds
from airflow_model_ops.core.checks import Check, CheckKind
from airflow_model_ops.core.checks.definition import MARGIN, NEGLIGIBLE
from airflow_model_ops.core.judge.settings import JudgeSettings
from airflow_model_ops.core.policy import OnDeadline
from airflow_model_ops.core.state import LARGEST_HOLD_BACK

_SMALLEST_SHARE = 0.01
"""In percent: the finest that a router is told."""
_MOST_SHARES = 20
_PROMQL_ONLY = ("consecutive", "window")


class Part(BaseModel):
    """What all parts share: unknown fields are mistakes."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class StepPart(Part):
    """One entry of ``canary.steps:``."""

    percent: float = Field(gt=0, le=100)
    bake: Seconds = 300.0


class AdaptivePart(Part):
    """``canary.adaptive:`` a ramp whose shares rise as soon as safety is shown, each ``factor`` times the one before."""

    start: float = Field(default=1.0, ge=_SMALLEST_SHARE, lt=100)
    end: float = Field(default=50.0, ge=_SMALLEST_SHARE, lt=100)
    factor: float = Field(default=2.5, ge=1.1, le=100)

    @model_validator(mode="after")
    def _rises(self) -> AdaptivePart:
        if self.start > self.end:
            raise ValueError(
                f"adaptive starts at {self.start:g} % and ends at {self.end:g} %; give a start below the end"
            )
        for share in (self.start, self.end):
            if round(share, 2) != share:
                raise ValueError(f"{share!r} % is no share that a router can give; give steps of {_SMALLEST_SHARE:g}")
        if len(self.steps()) > _MOST_SHARES:
            raise ValueError(
                f"adaptive makes {len(self.steps())} steps, each a group of tasks; raise factor or start until at most "
                f"{_MOST_SHARES} are left"
            )
        return self

    def steps(self, *, whole: bool = False) -> tuple[StepPart, ...]:
        """Return the shares of the ramp, which need no time to bake: the evidence alone lets them rise.

        :param whole: Whether the target splits in whole percents only.
        """
        finest, digits = (1.0, 0) if whole else (_SMALLEST_SHARE, 2)
        shares = [self.start]
        while shares[-1] < self.end:
            least = round(shares[-1] + finest, digits)
            shares.append(min(self.end, max(least, round(shares[-1] * self.factor, digits))))
        return tuple(StepPart(percent=share, bake=0.0) for share in shares)


class CanaryPart(Part):
    """``canary:`` the ramp.

    :param load_timeout: ``None``: as long as a load takes on the model's target.
    """

    steps: tuple[StepPart, ...] = (StepPart(percent=10), StepPart(percent=50))
    adaptive: AdaptivePart | None = None
    interval: Seconds = 15.0
    deadline: Seconds = 3600.0
    on_deadline: OnDeadline = OnDeadline.HOLD
    max_bad_events: float | None = Field(default=None, gt=0)
    load_timeout: LongerThanZero | None = None

    @model_validator(mode="after")
    def _is_one_ramp(self) -> CanaryPart:
        default = type(self).model_fields["steps"].default
        if self.adaptive is not None and self.steps != default:
            raise ValueError("canary has both steps and adaptive; keep one of them")
        return self

    def ramp(self, *, whole: bool = False) -> tuple[StepPart, ...]:
        """Return the steps of the release.

        :param whole: Whether the target splits in whole percents only.
        """
        return self.steps if self.adaptive is None else self.adaptive.steps(whole=whole)


class JudgePart(Part):
    """``judge:`` the error rates that verdicts keep."""

    alpha: float = JudgeSettings().alpha
    beta: float = JudgeSettings().beta
    dispersion: float = JudgeSettings().dispersion
    split_band: float = JudgeSettings().split_band
    calibrate: Seconds = 6 * 3600.0
    undecidable: Literal["warn", "refuse"] = "warn"

    @model_validator(mode="after")
    def _makes_sense(self) -> JudgePart:
        self.settings()
        return self

    def settings(self) -> JudgeSettings:
        """Return core's form."""
        return JudgeSettings(alpha=self.alpha, beta=self.beta, dispersion=self.dispersion, split_band=self.split_band)


class WatchPart(Part):
    """``watch:`` after the promotion."""

    duration: Seconds = 0.0
    hold_back: float = Field(default=0.0, ge=0, le=LARGEST_HOLD_BACK)


class GuardPart(Part):
    """``guard:`` what takes stable back when it rises above a ceiling, long after its release."""

    enabled: bool = True
    checks: tuple[str, ...] | None = None
    mean_time_between_false_alarms: LongerThanZero = 90 * 86_400.0
    interval: LongerThanZero = 15.0


class CheckPart(Part):
    """One entry of ``checks:``."""

    name: str
    kind: CheckKind
    max: float | None = None
    min: float | None = None
    max_ratio_to_stable: float | None = None
    max_difference_to_stable: float | None = None
    margin: float = MARGIN
    negligible: float = NEGLIGIBLE
    dispersion: float | None = None
    critical: bool = False
    min_samples: int = 100
    window: Seconds = 60.0
    max_age: Seconds = 60.0
    consecutive: int = 2
    latency_bound_ms: float | None = None
    query: str | None = None
    selector: str | None = None
    muted: bool = False

    @model_validator(mode="after")
    def _is_a_check(self) -> CheckPart:
        self.to_check()
        return self

    def idle(self) -> list[str]:
        """Return which fields say nothing about a share of a release, whose every event is counted once."""
        defaults = {field: type(self).model_fields[field].default for field in _PROMQL_ONLY}
        idle = [name for name, default in defaults.items() if getattr(self, name) != default]
        return idle if self.kind is not CheckKind.PROMQL else []

    def to_check(self) -> Check:
        """Return core's form."""
        data = self.model_dump(exclude={"window", "max_age"})
        return Check(**data, window_seconds=self.window, max_age_seconds=self.max_age)
