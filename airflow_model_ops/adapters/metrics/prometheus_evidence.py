"""Evidence made of what was counted. Pure; times in milliseconds of Prometheus's clock."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from airflow_model_ops.adapters.metrics.counting import Count, Counted, ScrapePair, scrape_pairs, scrape_times, total
from airflow_model_ops.adapters.metrics.prometheus_queries import counted_arms, groups_of
from airflow_model_ops.adapters.metrics.prometheus_samples import Samples
from airflow_model_ops.core.checks import Arm, Arms, Check, Evidence, Measurement
from airflow_model_ops.core.errors import InvalidConfig

_MOST_STEPS = 100_000


def iso(milliseconds: float) -> str:
    """Write a time as evidence carries it."""
    return datetime.fromtimestamp(milliseconds / 1000, tz=UTC).isoformat(timespec="milliseconds")


def milliseconds_of(at: str) -> int:
    """Read what :func:`iso` wrote, or any ISO 8601 time with an offset."""
    return round(datetime.fromisoformat(at).timestamp() * 1000)


def evidence_without_answer(check: Check, arms: Arms, *, measured: Measurement, at: str) -> Evidence:
    """Say the same of every arm: why there is no answer, or that there is nothing."""
    return _evidence(check, arms, dict.fromkeys(counted_arms(check, arms), measured), begin=at, at=at)


def evidence_of(check: Check, arms: Arms, counted: Counted, *, begin: int, after: int | None, now: int) -> Evidence:
    """Give the evidence of one interval.

    :param begin: Stands for the interval's end when nothing was ever scraped.
    """
    if counted.at is None or counted.newest is None:
        age = None if after is None else (now - after) / 1000
        at = iso(begin if after is None else after)
        return evidence_without_answer(check, arms, measured=Measurement(age_seconds=age), at=at)
    age = (now - counted.newest) / 1000
    measured = {
        name: _measurement(check, arm, counted.counts, age=age) for name, arm in counted_arms(check, arms).items()
    }
    at = iso(counted.at)
    return _evidence(check, arms, measured, begin=at if counted.begin is None else iso(counted.begin), at=at)


def check_span(*, start: float, end: float, step_seconds: float) -> None:
    """Check that the past can be asked in such steps.

    :param start: Seconds since the epoch, as ``end``.
    :raises InvalidConfig: if the span holds no step, or more than a hundred thousand.
    """
    if not (step_seconds >= 1 and start < end and (end - start) / step_seconds <= _MOST_STEPS):
        raise InvalidConfig(
            f"history from {start!r} to {end!r} in steps of {step_seconds!r} s is not usable; "
            f"end after start, with steps of at least 1 s and at most {_MOST_STEPS:,} of them"
        )


class PastSteps:
    """Consecutive steps of a span of the past, filled chunk by chunk so that no more than one chunk's samples are held."""

    def __init__(self, *, start: int, end: int, step: int) -> None:
        self.start, self.end = start, end
        self._ends = [*range(start + step, end, step), end]
        self._step = step
        self._sums: dict[int, ScrapePair] = {}
        self._newest: dict[int, int] = {}

    def add(self, samples: Samples, *, begin: int, end: int) -> None:
        """Take in the scrapes after ``begin`` up to ``end``; the samples may reach further back."""
        fresh: defaultdict[int, list[ScrapePair]] = defaultdict(list)
        for pair in scrape_pairs(samples.counters):
            if pair.told and begin < pair.end <= end and pair.begin >= self.start:
                fresh[self._index(pair.end)].append(pair)
        for index, pairs in fresh.items():
            self._sums[index] = _merged([*pairs, self._sums[index]] if index in self._sums else pairs)
        for times in scrape_times(samples.counters).values():
            for scrape in times:
                if begin < scrape <= end:
                    index = self._index(scrape)
                    self._newest[index] = max(scrape, self._newest.get(index, scrape))

    def evidence(self, check: Check, arms: Arms) -> tuple[Evidence, ...]:
        """Give one evidence per step; one without a newer scrape has the end of the one before."""
        found: list[Evidence] = []
        newest: int | None = None
        for index, end in enumerate(self._ends):
            newest = self._newest.get(index, newest)
            sums = self._sums.get(index)
            counted = Counted(
                counts=sums.counts if sums else {}, begin=sums.begin if sums else None, at=newest, newest=newest
            )
            found.append(evidence_of(check, arms, counted, begin=self.start, after=None, now=end))
        return tuple(found)

    def _index(self, scrape: int) -> int:
        return (scrape - self.start - 1) // self._step


def _merged(pairs: Sequence[ScrapePair]) -> ScrapePair:
    return ScrapePair(begin=min(pair.begin for pair in pairs), end=max(pair.end for pair in pairs), counts=total(pairs))


def _evidence(check: Check, arms: Arms, measured: Mapping[str, Measurement], *, begin: str, at: str) -> Evidence:
    return Evidence(
        check=check.name,
        canary=measured["canary"],
        stable=None if arms.stable is None else measured["stable"],
        control=measured.get("control"),
        at=at,
        begin=begin,
    )


def _measurement(check: Check, arm: Arm, counts: Mapping[str, Count], *, age: float) -> Measurement:
    counted = Count()
    for group in groups_of(check, arm):
        counted += counts.get(group, Count())
    return Measurement(
        value=counted.bad / counted.all if counted.all else None,
        samples=float(counted.all),
        age_seconds=age,
        bad=float(counted.bad),
    )
