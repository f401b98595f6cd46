"""Prometheus's answer to a range selector, read as counters. Pure."""

from __future__ import annotations

import math
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from airflow_model_ops.adapters.metrics.counting import Counter, Process, scrape_times
from airflow_model_ops.adapters.metrics.prometheus_queries import COUNTED_LABELS, Role, role_of
from airflow_model_ops.core.errors import MetricsUnavailable

_MOST_EVENTS = 2**53
"""Above it floats skip whole numbers, so that their differences count nothing."""
_FAULT_LASTS_MS = 300_000
_JOB_GONE_MS = 120_000
"""After so long without a scrape a job leaves its address to another job."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """What was scraped.

    :param fault: What is wrong with the newest scrape of a process, if it holds what is no count. Such a scrape counts as
        one that failed, so one that passes loses no event.
    """

    counters: tuple[Counter, ...]
    fault: str | None = None

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
    try:
        series = [_series(each) for each in answer]
    except (AttributeError, KeyError, TypeError, ValueError) as fault:
        raise MetricsUnavailable(
            f"{source} does not answer raw samples ({fault!r}); check that the connection's URL is a Prometheus's"
        ) from fault
    faults = {
        (each.process, at): f"{each.name} is {value:g}, which is no count; check what {source} scrapes"
        for each in series
        for at, value in each.values.items()
        if not 0 <= value <= _MOST_EVENTS
    }
    counters = _scraped_once(each.counter(left_out=faults) for each in series)
    return Samples(counters=counters, fault=_present_fault(faults, scrape_times(counters)))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Series:
    process: Process
    name: str
    role: Role
    values: Mapping[int, float]

    def counter(self, *, left_out: Container[tuple[Process, int]]) -> Counter:
        return Counter(
            process=self.process,
            group=self.role.group,
            name=self.role.name,
            of_all=self.role.of_all,
            of_bad=self.role.of_bad,
            values={at: math.floor(value) for at, value in self.values.items() if (self.process, at) not in left_out},
        )


def _series(answered: Any) -> _Series:
    labels = {str(name): str(value) for name, value in answered["metric"].items()}
    role = role_of(labels)
    if role is None:
        raise ValueError(f"nobody asked for {labels}")
    return _Series(
        process=tuple(sorted((name, value) for name, value in labels.items() if name not in COUNTED_LABELS)),
        name=f"{labels['__name__']} of {labels.get('instance') or 'an unnamed instance'}",
        role=role,
        values={round(float(at) * 1000): float(value) for at, value in answered["values"]},
    )


def _present_fault(faults: Mapping[tuple[Process, int], str], times: Mapping[Process, Sequence[int]]) -> str | None:
    """Give a fault that no later scrape of its process has mended, unless it is long past."""
    present = [(at, text) for (process, at), text in faults.items() if process not in times or at > times[process][-1]]
    if not present:
        return None
    newest, text = max(present)
    return text if newest >= max((scraped[-1] for scraped in times.values()), default=0) - _FAULT_LASTS_MS else None


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
