"""Counting events from raw samples, in whole numbers and each event once. Pure.

PromQL's ``increase`` extrapolates to the window's edges and so invents fractions of events; here counts are differences
between two scrapes of one process, as they were scraped. What cannot be told for certain is left out for all groups at
once: a pair of scrapes that speaks for one version only would be no comparison.

- All series of a process are scraped at one instant, so one that is missing had no events until then: one that is born while
  its process was scraped before counts with all it has (Envoy makes a 5xx counter at the first 5xx), and the first scrape of
  a process is only where counting starts.
- Counters that fall started from zero. If every counter of the process did, it restarted. If one group fell while another
  went on, either the process restarted or that group was made anew, and the pair is left out.
- A scrape that failed makes the next pair longer; its differences are as exact.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from itertools import pairwise
from statistics import median

Process = tuple[tuple[str, str], ...]
"""The labels that name who counted: everything but what is counted."""

_SCRAPE_IN_FLIGHT = 0.9
"""The next scrape of a process starts no earlier than this many intervals after its newest one."""
_SCRAPE_OVERDUE = 2.1
"""After so many intervals the scrape that was due has failed: no scrape takes longer than an interval."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counter:
    """One series: what a process had counted so far, at each of its scrapes.

    :param group: The version, or the router's cluster, that its events belong to.
    :param name: Tells it from the group's other series.
    :param of_all: What one of its events adds to the group's events: 1, or 0 for a series that only shows scrapes.
    :param of_bad: What one of its events adds to the bad ones; -1 takes it from them.
    :param values: Scrape time in milliseconds to the cumulative value.
    """

    process: Process
    group: str
    name: str
    of_all: int
    of_bad: int
    values: Mapping[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """Events, and how many of them were bad."""

    all: int = 0
    bad: int = 0

    def __add__(self, other: Count) -> Count:
        return Count(all=self.all + other.all, bad=self.bad + other.bad)

    @property
    def is_possible(self) -> bool:
        """Whether it can be true; what was scraped while it was written may not be."""
        return 0 <= self.bad <= self.all


@dataclass(frozen=True, slots=True, kw_only=True)
class ScrapePair:
    """What one process counted from one scrape to its next, by group; times in milliseconds.

    :param told: Whether that can be told; if not, there are no counts.
    """

    begin: int
    end: int
    counts: Mapping[str, Count]
    told: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """The sum of the pairs that belong to one interval; times in milliseconds.

    :param counts: By group; a group without events may be missing.
    :param begin: Where the earliest pair starts; ``None`` without pairs.
    :param at: Until when everything is counted; the next interval goes on from there. ``None`` when nothing was scraped.
    :param newest: The newest scrape, be it counted or not.
    :param left_out: How many pairs could not be told.
    """

    counts: Mapping[str, Count]
    begin: int | None
    at: int | None
    newest: int | None
    left_out: int = 0


def count(counters: Iterable[Counter], *, begin: int, after: int | None) -> Counted:
    """Sum the pairs that are new since ``after`` and start no earlier than ``begin``."""
    counters = tuple(counters)
    times = scrape_times(counters)
    at = _settled_at(times)
    if at is not None and after is not None:
        at = max(at, after)
    chosen = [
        pair
        for pair in scrape_pairs(counters)
        if pair.begin >= begin and at is not None and pair.end <= at and (after is None or pair.end > after)
    ]
    return Counted(
        counts=total(chosen),
        begin=min((pair.begin for pair in chosen if pair.told), default=None),
        at=at,
        newest=max((scraped[-1] for scraped in times.values()), default=None),
        left_out=sum(not pair.told for pair in chosen),
    )


def total(pairs: Iterable[ScrapePair]) -> dict[str, Count]:
    """Sum pairs by group."""
    sums: dict[str, Count] = {}
    for pair in pairs:
        for group, counted in pair.counts.items():
            sums[group] = sums.get(group, Count()) + counted
    return sums


def scrape_times(counters: Iterable[Counter]) -> dict[Process, list[int]]:
    """Give when each process was scraped, in order; one without samples is left out."""
    times: defaultdict[Process, set[int]] = defaultdict(set)
    for counter in counters:
        times[counter.process].update(counter.values)
    return {process: sorted(scraped) for process, scraped in times.items() if scraped}


def scrape_pairs(counters: Iterable[Counter]) -> Iterator[ScrapePair]:
    """Give every pair of scrapes, one process after the other and each in order."""
    by_process: defaultdict[Process, list[Counter]] = defaultdict(list)
    for counter in counters:
        by_process[counter.process].append(counter)
    for theirs in by_process.values():
        yield from _pairs_of_process(theirs)


def _settled_at(times: Mapping[Process, list[int]]) -> int | None:
    """Give the newest scrape before which no other scrape can still come in.

    A scrape is dated when it starts and is there when it ends, so one process's may come in after another's later one;
    counting past it would lose it. A process that is not scraped any more holds the others up for two intervals.
    """
    if not times:
        return None
    newest = max(scraped[-1] for scraped in times.values())
    rhythms = {process: [later - earlier for earlier, later in pairwise(seen[-11:])] for process, seen in times.items()}
    known = [spacings for spacings in rhythms.values() if spacings]
    if not known:
        return min(scraped[-1] for scraped in times.values())
    # A process that was scraped once so far may have any of the others' rhythms.
    shortest, longest = min(map(min, known)), max(median(spacings) for spacings in known)
    horizon = float(newest)
    for process, scraped in times.items():
        spacings = rhythms[process]
        if newest <= scraped[-1] + _SCRAPE_OVERDUE * (median(spacings) if spacings else longest):
            horizon = min(horizon, scraped[-1] + _SCRAPE_IN_FLIGHT * (min(spacings) if spacings else shortest))
    return max(scrape for scraped in times.values() for scrape in scraped if scrape <= horizon)


def _pairs_of_process(counters: Iterable[Counter]) -> Iterator[ScrapePair]:
    by_group: defaultdict[str, list[Counter]] = defaultdict(list)
    for counter in counters:
        by_group[counter.group].append(counter)
    folds = {group: _GroupFold(theirs) for group, theirs in by_group.items()}
    scraped = sorted({scrape for theirs in by_group.values() for counter in theirs for scrape in counter.values})
    if scraped:
        for fold in folds.values():
            fold.start(scraped[0])
    for earlier, later in pairwise(scraped):
        steps = {group: fold.step(earlier, later) for group, fold in folds.items()}
        changes = {change for change, _ in steps.values()}
        told = _Change.TORN not in changes and not {_Change.FELL, _Change.WENT_ON} <= changes
        told = told and all(counted.is_possible for _, counted in steps.values())
        counts = {group: counted for group, (_, counted) in steps.items()} if told else {}
        yield ScrapePair(begin=earlier, end=later, counts=counts, told=told)


class _Change(Enum):
    """What became of a group from one scrape to the next."""

    WENT_ON = auto()
    """It had events and its counters did not fall."""
    FELL = auto()
    """It started from zero in between."""
    BORN = auto()
    """It has counters now and had none, or only zeros: both readings give the same counts."""
    GONE = auto()
    """It has no counters."""
    TORN = auto()
    """Some of its series came or went without a reason that can be told."""


class _GroupFold:
    """Goes through the scrapes of one group in one process."""

    def __init__(self, counters: Iterable[Counter]) -> None:
        self._counters = {counter.name: counter for counter in counters}
        self._seen: dict[str, int] = {}

    def start(self, scrape: int) -> None:
        self._seen = self._at(scrape)

    def step(self, earlier: int, later: int) -> tuple[_Change, Count]:
        before, now, seen = self._at(earlier), self._at(later), self._seen
        change = _change(before, now, seen)
        started_anew = change is _Change.FELL or (change is _Change.BORN and not before)
        self._seen = now if started_anew else {**seen, **now}
        if change in {_Change.GONE, _Change.TORN}:
            return change, Count()
        return change, self._difference(now, {} if started_anew else before)

    def _at(self, scrape: int) -> dict[str, int]:
        return {name: counter.values[scrape] for name, counter in self._counters.items() if scrape in counter.values}

    def _difference(self, now: Mapping[str, int], before: Mapping[str, int]) -> Count:
        everything, bad = 0, 0
        for name, value in now.items():
            grown = value - before.get(name, 0)
            everything += self._counters[name].of_all * grown
            bad += self._counters[name].of_bad * grown
        return Count(all=everything, bad=bad)


def _change(before: Mapping[str, int], now: Mapping[str, int], seen: Mapping[str, int]) -> _Change:
    """Tell what happened between two scrapes in a row.

    :param seen: The newest value of each series since the group last started from zero.
    """
    if not now:
        return _Change.GONE
    if any(now[name] < before[name] for name in now.keys() & before.keys()):
        return _Change.FELL
    back = [name for name in (now.keys() & seen.keys()) - before.keys() if seen[name] > 0]
    if not before:
        made_anew = not back or any(now[name] < seen[name] for name in back)
        return _Change.BORN if made_anew else _Change.TORN
    vanished = any(before[name] > 0 for name in before.keys() - now.keys())
    if vanished or any(now[name] >= seen[name] for name in back):
        return _Change.TORN
    return _Change.WENT_ON if any(before.values()) else _Change.BORN
