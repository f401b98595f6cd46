"""A metric source over events that happen at known times, counted as a real one counts them: each once, by their time."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime

from airflow_model_ops.core.checks import Arm, Arms, Check, Evidence, Measurement
from airflow_model_ops.core.judge.counts import NOTHING, Counts
from airflow_model_ops.testing import ManualClock


@dataclass
class CountingSource:
    """Answers from a list of events per cluster.

    :ivar down: Why it does not answer, if it does not.
    :ivar age_seconds: How old its newest sample is.
    """

    clock: ManualClock
    events: defaultdict[str, list[tuple[float, Counts]]] = field(default_factory=lambda: defaultdict(list))
    down: str | None = None
    age_seconds: float = 1.0
    asked: int = 0

    def serve(self, cluster: str, *, n: int, bad: int, seconds: float = 15.0) -> None:
        """Let requests come, and time pass."""
        self.clock.advance(seconds)
        self.events[cluster].append((self.clock.now(), Counts(n, bad)))

    def gather(self, check: Check, *, model: str, arms: Arms, begin: float, after: str | None) -> Evidence:
        self.asked += 1
        since = begin if after is None else max(begin, datetime.fromisoformat(after).timestamp())
        if self.down is not None:
            silent = Measurement(error=self.down)
            return Evidence(check=check.name, canary=silent, control=silent, at=_iso(since), begin=_iso(since))
        return Evidence(
            check=check.name,
            canary=self._count(arms.canary, since),
            control=None if arms.control is None else self._count(arms.control, since),
            at=_iso(self.clock.now()),
            begin=_iso(since),
        )

    def history(
        self, check: Check, *, model: str, arms: Arms, start: float, end: float, step_seconds: float
    ) -> tuple[Evidence, ...]:
        return ()

    def delay_seconds(self, check: Check) -> float:
        del check
        return 0.0

    def ping(self) -> str:
        return "here"

    def _count(self, arm: Arm, since: float) -> Measurement:
        counts = sum((each for at, each in self.events[arm.cluster] if at > since), NOTHING)
        value = counts.rate if counts.n else None
        return Measurement(value=value, samples=float(counts.n), bad=float(counts.bad), age_seconds=self.age_seconds)


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()
