"""A metric source of a story: it counts the requests that the router's split gives each version, each exactly once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from airflow_model_ops.core.checks import Arm, Arms, Check, Evidence, Measurement
from airflow_model_ops.core.errors import MetricsUnavailable
from airflow_model_ops.core.ports import Clock
from airflow_model_ops.core.versioning import Version


def arms_of(model: str, canary: Version, stable: Version | None) -> Arms:
    """Name the versions by their numbers, and stable's second group as the router does."""

    def arm(version: Version, suffix: str = "") -> Arm:
        return Arm(version_number=str(version.number), cluster=f"{model}/{version.number}{suffix}")

    if stable is None:
        return Arms(canary=arm(canary))
    return Arms(canary=arm(canary), stable=arm(stable), control=arm(stable, "~control"))


@dataclass(frozen=True, kw_only=True)
class Span:
    """What was counted at once."""

    check: str
    begin: float
    end: float


class CountedTraffic:
    """Steady traffic whose bad rates the story changes.

    :ivar canary_bad: Share of the canary's requests that are bad; ``stable_bad`` is stable's.
    :ivar gauge: What ``promql`` checks measure, of canary and stable.
    :ivar trouble: Why the source does not answer; ``None``: it does.
    :ivar rps: Requests per second of all versions together; 0: there is no traffic.
    :ivar behind: Seconds by which the newest scrape lags.
    :ivar misrouted: By how many times the canary gets more than its share.
    :ivar past: What the past held, for calibration; ``None``: it is not known.
    :param split: What the router gives now, serving number to percent.
    """

    def __init__(self, clock: Clock, *, split: Callable[[], Mapping[int, float]]) -> None:
        self._clock = clock
        self._split = split
        self.canary_bad = self.stable_bad = 0.01
        self.gauge: tuple[float, float] = (1.0, 1.0)
        self.trouble: str | None = None
        self.rps = 1000.0
        self.behind = 0.0
        self.misrouted = 1.0
        self.past: Callable[[float, float], tuple[Measurement, Measurement]] | None = None
        self.seconds_per_answer = 0.0
        self.asked = self.past_asked = 0
        self.spans: list[Span] = []

    def good(self) -> None:
        """Let the canary be as good as stable."""
        self.canary_bad = self.stable_bad = 0.01

    def harmful(self) -> None:
        """Let the canary be ten times as bad as stable."""
        self.canary_bad = 0.1

    def awful(self) -> None:
        """Let both be bad beyond any ceiling."""
        self.canary_bad = self.stable_bad = 0.5

    def gather(self, check: Check, *, model: str, arms: Arms, begin: float, after: str | None) -> Evidence:
        """Count everything from the last count up to the newest scrape."""
        self.asked += 1
        if self.seconds_per_answer:
            self._clock.sleep(self.seconds_per_answer)
        start = begin if after is None else max(begin, datetime.fromisoformat(after).timestamp())
        if self.trouble is not None:
            silent = Measurement(error=self.trouble)
            return self._evidence(check, arms, silent, silent, silent, begin=start, end=start)
        end = max(start, self._clock.now() - self.behind)
        if not check.is_share:
            values = (Measurement(value=value, age_seconds=self.behind) for value in (*self.gauge, 0.0))
            return self._evidence(check, arms, *values, begin=end, end=end)
        self.spans.append(Span(check=check.name, begin=start, end=end))
        canary, stable, control = self._requests(arms, end - start)
        return self._evidence(
            check,
            arms,
            self._counted(canary, self.canary_bad),
            self._counted(stable, self.stable_bad),
            self._counted(control, self.stable_bad),
            begin=start,
            end=end,
        )

    def history(
        self, check: Check, *, model: str, arms: Arms, start: float, end: float, step_seconds: float
    ) -> tuple[Evidence, ...]:
        """Tell the past of stable's two groups."""
        self.past_asked += 1
        if self.trouble is not None or self.past is None:
            raise MetricsUnavailable(self.trouble or "nothing is kept of the past")
        found = []
        for index in range(int((end - start) // step_seconds)):
            begin = start + index * step_seconds
            stable, control = self.past(begin, begin + step_seconds)
            nothing = self._counted(0, 0.0)
            found.append(self._evidence(check, arms, nothing, stable, control, begin=begin, end=begin + step_seconds))
        return tuple(found)

    def delay_seconds(self, check: Check) -> float:
        del check
        return 0.0

    def ping(self) -> str:
        """Say that it is there."""
        return "here"

    def _requests(self, arms: Arms, seconds: float) -> tuple[int, int, int]:
        share = self._split().get(int(arms.canary.version_number), 0.0) / 100 * self.misrouted
        canary = round(self.rps * seconds * share)
        rest = round(self.rps * seconds) - canary if arms.stable else 0
        control = min(canary, rest // 2) if arms.control else 0
        return canary, rest - control, control

    def _counted(self, requests: int, bad_rate: float) -> Measurement:
        bad = round(requests * bad_rate)
        return Measurement(
            value=bad / requests if requests else None, samples=requests, age_seconds=self.behind, bad=bad
        )

    def _evidence(
        self,
        check: Check,
        arms: Arms,
        canary: Measurement,
        stable: Measurement,
        control: Measurement,
        *,
        begin: float,
        end: float,
    ) -> Evidence:
        return Evidence(
            check=check.name,
            canary=canary,
            stable=stable if arms.stable else None,
            control=control if arms.control else None,
            begin=datetime.fromtimestamp(begin, UTC).isoformat(),
            at=datetime.fromtimestamp(end, UTC).isoformat(),
        )
