"""Prometheus's answer to a range selector, read as counters. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from airflow_model_ops.adapters.metrics.counting import Counter, Process, scrape_times
from airflow_model_ops.adapters.metrics.prometheus_queries import COUNTED_LABELS, role_of
from airflow_model_ops.core.errors import MetricsUnavailable

_JOB_GONE_MS = 120_000
"""After so long without a scrape a job leaves its address to another job."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """What was scraped.

    :param faults: Scrape time in milliseconds to what was scraped instead of a count; such a sample is in no counter.
    """

    counters: tuple[Counter, ...]
    faults: Mapping[int, str]

    def fault_after(self, after: int | None) -> str | None:
        """Give the newest fault that is newer than a time."""
        newest = max(self.faults, default=None)
        return None if newest is None or (after is not None and newest <= after) else self.faults[newest]

    @property
    def lacks_bucket(self) -> bool:
        """Whether, at the newest scrape of its process, a histogram has no bucket that ends at the bound."""
        newest = {process: times[-1] for process, times in scrape_times(self.counters).items()}
        shown = {
            (counter.process, counter.group, counter.name)
            for counter in self.counters
            if newest.get(counter.process) in counter.values
        }
        return any(name == "all times" and (process, group, "within") not in shown for process, group, name in shown)


def read_samples(answer: Sequence[Any], *, source: str) -> Samples:
    """Read series of raw samples. Fractions of events, which only a rule or a bridge can make, are rounded down.

    :param source: How the metric source is called in an error.
    :raises MetricsUnavailable: if the answer does not consist of series of samples.
    """
    counters: list[Counter] = []
    faults: dict[int, str] = {}
    try:
        for series in answer:
            labels = {str(name): str(value) for name, value in series["metric"].items()}
            values = {round(float(at) * 1000): float(value) for at, value in series["values"]}
            counters.append(_counter(labels, values))
            faults |= {at: _fault(labels, value) for at, value in values.items() if not _is_count(value)}
    except (AttributeError, KeyError, TypeError, ValueError) as fault:
        raise MetricsUnavailable(
            f"{source} does not answer raw samples ({fault!r}); check that the connection's URL is a Prometheus's"
        ) from fault
    return Samples(counters=_scraped_once(counters), faults=faults)


def _counter(labels: Mapping[str, str], values: Mapping[int, float]) -> Counter:
    role = role_of(labels)
    if role is None:
        raise ValueError(f"nobody asked for {dict(labels)}")
    return Counter(
        process=tuple(sorted((name, value) for name, value in labels.items() if name not in COUNTED_LABELS)),
        group=role.group,
        name=role.name,
        of_all=role.of_all,
        of_bad=role.of_bad,
        values={at: math.floor(value) for at, value in values.items() if _is_count(value)},
    )


def _is_count(value: float) -> bool:
    return math.isfinite(value) and value >= 0


def _fault(labels: Mapping[str, str], value: float) -> str:
    return f"{labels['__name__']} of {labels.get('instance') or 'an unnamed instance'} is {value:g}, which is no count"


def _scraped_once(counters: Iterable[Counter]) -> tuple[Counter, ...]:
    """Keep one of several jobs that scrape the same address: its events are the same ones."""
    counters = tuple(counters)
    times = scrape_times(counters)
    chosen: dict[Process, Process] = {}
    for process in sorted(times):
        rival = chosen.setdefault(_address(process), process)
        if times[rival][-1] < times[process][-1] - _JOB_GONE_MS:
            chosen[_address(process)] = process
    return tuple(counter for counter in counters if chosen.get(_address(counter.process)) == counter.process)


def _address(process: Process) -> Process:
    labels = dict(process)
    if labels.get("instance"):
        labels.pop("job", None)
    return tuple(sorted(labels.items()))
