"""The client's own account of the traffic: what it sent, what came back from which version, and what failed.

It is the independent witness of the demo: no server and no metrics system takes part in it.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

from airflow_model_ops.metrics import Outcome

UNKNOWN_VERSION = "unknown"
KEPT_FAILURES = 20
_BODY_CHARS = 300
_BUCKETS_PER_DOUBLING = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedRequest:
    """One finished request.

    :param due: When it was to be sent, seconds since the epoch. The wait is counted from here, not from the moment of
        sending: a stalled server must not hide its delay by stalling the client.
    :param done: When its answer was complete, or it failed.
    :param version: Serving number from the answer's `x-model-version`, if there was one.
    :param status: HTTP status; `None` without an answer.
    :param body: What to keep of a failure.
    """

    due: float
    done: float
    outcome: Outcome
    version: str = UNKNOWN_VERSION
    status: int | None = None
    body: str = ""

    @property
    def failed(self) -> bool:
        """True unless the answer was a 200 that could be read."""
        return self.outcome is Outcome.ERROR

    @property
    def latency_ms(self) -> float:
        """Milliseconds from when it was due."""
        return (self.done - self.due) * 1000


@dataclass(slots=True, kw_only=True)
class Latencies:
    """Counts by latency in buckets 4.4 % apart: constant in memory, exact enough for a median or a 99th percentile."""

    _buckets: Counter[int] = field(default_factory=Counter)
    _count: int = 0

    def add(self, milliseconds: float) -> None:
        """Count one request."""
        self._buckets[math.ceil(math.log2(max(milliseconds, 0.01)) * _BUCKETS_PER_DOUBLING)] += 1
        self._count += 1

    def quantile(self, share: float) -> float | None:
        """Return the milliseconds that this share of requests stayed within (upper end of its bucket); `None` if empty.

        :param share: From 0 to 1.
        """
        below = 0
        for bucket in sorted(self._buckets):
            below += self._buckets[bucket]
            if below >= share * self._count:
                return round(math.exp2(bucket / _BUCKETS_PER_DOUBLING), 2)
        return None

    def as_json(self) -> dict[str, float | None]:
        """Return the two quantiles that the demo shows."""
        return {"p50": self.quantile(0.5), "p99": self.quantile(0.99)}


@dataclass(slots=True, kw_only=True)
class VersionTally:
    """What one version answered; times in seconds since the epoch."""

    first_at: float
    last_at: float
    first_wrong_at: float | None = None
    outcomes: Counter[Outcome] = field(default_factory=Counter)
    latencies: Latencies = field(default_factory=Latencies)

    def add(self, request: FinishedRequest) -> None:
        """Count one request that this version answered."""
        self.first_at, self.last_at = min(self.first_at, request.done), max(self.last_at, request.done)
        self.outcomes[request.outcome] += 1
        self.latencies.add(request.latency_ms)
        if request.outcome is Outcome.WRONG and self.first_wrong_at is None:
            self.first_wrong_at = request.done

    def as_json(self) -> dict[str, Any]:
        """Return the version's part of the status file."""
        return {
            "sent": self.outcomes.total(),
            **{outcome.value: self.outcomes[outcome] for outcome in Outcome},
            "first_at": self.first_at,
            "last_at": self.last_at,
            "first_wrong_at": self.first_wrong_at,
            "latency_ms": self.latencies.as_json(),
        }


@dataclass(slots=True, kw_only=True)
class Tally:
    """The account of one run of the load generator.

    :param start_after_first_200: Leave out every request that was due before the first one that succeeded.
    """

    start_after_first_200: bool = False
    started_at: float | None = None
    left_out: int = 0
    failures: list[FinishedRequest] = field(default_factory=list)
    by_version: dict[str, VersionTally] = field(default_factory=dict)
    latencies: Latencies = field(default_factory=Latencies)
    timeline: dict[int, Counter[str]] = field(default_factory=dict)
    last_done: float = 0.0

    def add(self, request: FinishedRequest) -> bool:
        """Count a request; return False if it is left out because counting has not begun."""
        if not self._counting(request):
            self.left_out += 1
            return False
        version = self.by_version.setdefault(request.version, VersionTally(first_at=request.done, last_at=request.done))
        version.add(request)
        self.latencies.add(request.latency_ms)
        self.timeline.setdefault(int(request.done), Counter())[request.version] += 1
        self.last_done = max(self.last_done, request.done)
        if request.failed and len(self.failures) < KEPT_FAILURES:
            self.failures.append(request)
        return True

    @property
    def sent(self) -> int:
        """Requests counted so far, failed ones among them."""
        return sum(version.outcomes.total() for version in self.by_version.values())

    @property
    def failed(self) -> int:
        """Counted requests that were not answered by a 200 that could be read."""
        return sum(version.outcomes[Outcome.ERROR] for version in self.by_version.values())

    @property
    def achieved_rate(self) -> float:
        """Counted requests per second, from the first one due to the last one done."""
        seconds = self.last_done - self.started_at if self.started_at is not None else 0.0
        return round(self.sent / seconds, 2) if seconds > 0 else 0.0

    def as_json(self) -> dict[str, Any]:
        """Return the status file's account."""
        return {
            "sent": self.sent,
            "failed": self.failed,
            "left_out": self.left_out,
            "started_at": self.started_at,
            "rate": self.achieved_rate,
            "latency_ms": self.latencies.as_json(),
            "by_version": {number: version.as_json() for number, version in self.by_version.items()},
            "failures": [asdict(failure) for failure in self.failures],
            "timeline": [{"at": second, "versions": dict(self.timeline[second])} for second in sorted(self.timeline)],
        }

    def _counting(self, request: FinishedRequest) -> bool:
        if self.started_at is None:
            if self.start_after_first_200 and request.failed:
                return False
            self.started_at = request.due
        return not self.start_after_first_200 or request.due >= self.started_at


def clip(body: bytes | str) -> str:
    """Return the beginning of a body, as text, to keep with a failure."""
    text = body if isinstance(body, str) else body.decode("utf-8", errors="replace")
    return text[:_BODY_CHARS]
