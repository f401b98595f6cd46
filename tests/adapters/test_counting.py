"""Counts are exact while nothing fails, and whatever fails they never exceed what happened."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from airflow_model_ops.adapters.metrics.counting import Count, Counted, Counter, count, scrape_pairs, total

SECOND = 1_000
INTERVAL = 10 * SECOND
LOOK_BACK = 300 * SECOND
ROUTER = (("instance", "router:9901"),)


def counters_of(
    scrapes: Sequence[Mapping[str, Mapping[str, int]]],
    *,
    process: tuple[tuple[str, str], ...] = ROUTER,
    times: Sequence[int] | None = None,
) -> list[Counter]:
    """Give the series of one process from what each scrape showed: group to series to value."""
    times = times or [number * INTERVAL for number in range(len(scrapes))]
    series: dict[tuple[str, str], dict[int, int]] = {}
    for at, shown in zip(times, scrapes, strict=True):
        for group, values in shown.items():
            for name, value in values.items():
                series.setdefault((group, name), {})[at] = value
    return [
        Counter(
            process=process,
            group=group,
            name=name,
            of_all=int(name != "completed"),
            of_bad=int(name == "5"),
            values=values,
        )
        for (group, name), values in series.items()
    ]


def counted_in(*scrapes: Mapping[str, Mapping[str, int]]) -> dict[str, Count]:
    return total(scrape_pairs(counters_of(scrapes)))


def shows(good: int, bad: int | None = None) -> dict[str, int]:
    """Show a cluster as Envoy does: a class is there from its first answer on."""
    classes = {"2": good} if good else {}
    return {"completed": good + (bad or 0), **classes, **({} if bad is None else {"5": bad})}


def test_the_first_scrape_of_a_process_is_where_counting_starts() -> None:
    assert counted_in({"stable": shows(1_000, 9)}) == {}
    assert counted_in({"stable": shows(1_000, 9)}, {"stable": shows(1_030, 10)})["stable"] == Count(all=31, bad=1)


def test_a_series_that_is_born_counts_with_all_it_has() -> None:
    counted = counted_in({"canary": shows(10), "stable": shows(90)}, {"canary": shows(12, 3), "stable": shows(99)})
    assert counted["canary"] == Count(all=5, bad=3)


def test_a_cluster_that_is_not_there_had_no_requests() -> None:
    first, second = {"stable": shows(100)}, {"stable": shows(150), "canary": shows(4, 1)}
    assert counted_in(first, second) == {"stable": Count(all=50), "canary": Count(all=5, bad=1)}
    assert counted_in(second, {"stable": shows(170)}) == {"stable": Count(all=20), "canary": Count()}


def test_a_restarted_process_counts_from_zero_with_all_its_series() -> None:
    before = {"canary": shows(100, 10), "stable": shows(900, 9)}
    after = {"canary": shows(7, 1), "stable": shows(50)}
    assert counted_in(before, after) == {"canary": Count(all=8, bad=1), "stable": Count(all=50)}


def test_a_cluster_that_was_made_anew_beside_one_that_went_on_is_left_out_with_it() -> None:
    """Counting the other from zero too would add the lifetime of a process that may never have stopped."""
    before = {"canary": shows(100, 10), "stable": shows(900, 9)}
    after = {"canary": shows(7, 1), "stable": shows(1_000, 10)}
    assert counted_in(before, after) == {}
    assert counted_in(before, after, {"canary": shows(9, 1), "stable": shows(1_050, 11)}) == {
        "canary": Count(all=2),
        "stable": Count(all=51, bad=1),
    }


def test_a_cluster_that_was_away_at_a_scrape_and_comes_back_lower_counts_from_zero() -> None:
    with_canary = {"canary": shows(100, 10), "stable": shows(900)}
    counted = counted_in(with_canary, {"stable": shows(950)}, {"stable": shows(1_000), "canary": shows(5, 1)})
    assert counted == {"stable": Count(all=100), "canary": Count(all=6, bad=1)}


def test_a_cluster_that_comes_back_no_lower_is_left_out_for_all() -> None:
    """A source that merges two servers may skip a scrape of some series; a lifetime must not be counted as an interval."""
    with_canary = {"canary": shows(100, 10), "stable": shows(900)}
    counted = counted_in(with_canary, {"stable": shows(950)}, {"stable": shows(1_000), "canary": shows(105, 10)})
    assert counted == {"stable": Count(all=50), "canary": Count()}


def test_a_series_that_vanishes_alone_makes_its_scrapes_unusable_until_it_is_told_again() -> None:
    whole, torn = {"stable": shows(100, 10)}, {"stable": shows(130)}
    assert counted_in(whole, torn) == {}
    assert counted_in(whole, torn, {"stable": shows(160, 11)}) == {}
    later = counted_in(whole, torn, {"stable": shows(160, 11)}, {"stable": shows(170, 12)})
    assert later == {"stable": Count(all=11, bad=1)}


def test_what_is_left_out_is_told() -> None:
    counters = counters_of([{"s": shows(100, 10)}, {"s": shows(130)}, {"s": shows(160, 11)}, {"s": shows(170, 12)}])
    found = count(counters, begin=0, after=None)
    assert (found.counts, found.left_out, found.begin) == ({"s": Count(all=11, bad=1)}, 2, 2 * INTERVAL)


def test_more_bad_events_than_events_make_a_pair_unusable_for_all() -> None:
    def latency(everything: int, within: int) -> list[Counter]:
        values = {0: 0, INTERVAL: everything}, {0: 0, INTERVAL: within}
        parts = zip(("all", "within"), (1, 0), (1, -1), values, strict=True)
        return [
            Counter(process=ROUTER, group="canary", name=name, of_all=of_all, of_bad=of_bad, values=each)
            for name, of_all, of_bad, each in parts
        ]

    assert total(scrape_pairs(latency(10, 7))) == {"canary": Count(all=10, bad=3)}
    stable = counters_of([{"stable": shows(0)}, {"stable": shows(50)}])
    assert total(scrape_pairs([*latency(7, 10), *stable])) == {}


def test_a_failed_scrape_only_makes_the_next_pair_longer() -> None:
    times = [0, INTERVAL, 9 * INTERVAL]
    (_, long) = scrape_pairs(counters_of([{"s": shows(0)}, {"s": shows(5)}, {"s": shows(90, 3)}], times=times))
    assert (long.begin, long.end, long.counts) == (INTERVAL, 9 * INTERVAL, {"s": Count(all=88, bad=3)})


@pytest.mark.parametrize(("begin", "counted"), [(0, 40), (1, 30), (INTERVAL, 30), (INTERVAL + 1, 20), (10**9, 0)])
def test_a_pair_that_starts_before_the_present_split_is_not_counted(begin: int, counted: int) -> None:
    counters = counters_of([{"s": shows(10 * number)} for number in range(5)])
    found = count(counters, begin=begin, after=None)
    assert found.counts.get("s", Count()).all == counted
    assert found.at == found.newest == 4 * INTERVAL


def test_without_a_newer_scrape_there_is_nothing_and_the_end_stays() -> None:
    counters = counters_of([{"s": shows(10)}, {"s": shows(20)}])
    assert count(counters, begin=0, after=INTERVAL) == Counted(counts={}, begin=None, at=INTERVAL, newest=INTERVAL)
    assert count([], begin=0, after=INTERVAL).at is None


def scraped(name: str, *times: int) -> list[Counter]:
    """Give a process that counts one event per scrape."""
    return counters_of([{"s": shows(n)} for n in range(len(times))], process=(("instance", name),), times=times)


def test_counting_waits_for_a_scrape_that_is_under_way_elsewhere() -> None:
    mine = scraped("mine", 0, 10_000, 20_000)
    assert count([*mine, *scraped("other", 9_500, 19_500)], begin=0, after=None).at == 20_000
    under_way = count([*mine, *scraped("other", -500, 9_500)], begin=-1_000, after=None)
    assert under_way.at == 10_000, "the one of 19,500 may still come in"
    assert under_way.newest == 20_000
    just_born = count([*mine, *scraped("other", 9_500)], begin=0, after=None)
    assert just_born.at == 10_000, "it may be scraped as often as the others"
    assert count([*scraped("mine", 20_000), *scraped("other", 9_500)], begin=0, after=None).at == 9_500


def test_a_process_that_is_scraped_no_more_does_not_hold_up_the_others_for_long() -> None:
    mine, gone = (5_000, 15_000, 25_000), scraped("gone", 0, 10_000)
    assert count([*scraped("mine", *mine), *gone], begin=0, after=None).at == 15_000
    later = count([*scraped("mine", *mine, 35_000), *gone], begin=0, after=15_000)
    assert (later.at, later.counts["s"].all) == (35_000, 2), "what was held up is counted now"


# -- a simulated fleet ------------------------------------------------------------------------------------------------

Traffic = dict[str, tuple[int, int]]
GROUPS = ("canary", "stable", "control")


@dataclass
class Process:
    """A router that counts, may restart, and is scraped; it keeps what really happened beside what it shows."""

    label: str
    counts: dict[str, dict[str, int]] = field(default_factory=lambda: {group: shows(0) for group in GROUPS})
    truth: dict[str, Count] = field(default_factory=lambda: dict.fromkeys(GROUPS, Count()))
    scrapes: list[tuple[int, int, dict[str, dict[str, int]], dict[str, Count]]] = field(default_factory=list)

    def serve(self, traffic: Traffic) -> None:
        for group, (good, bad) in traffic.items():
            if group not in self.counts:
                continue  # nothing is routed to a cluster that is not there
            counts = self.counts[group]
            counts["completed"] += good + bad
            for name, events in (("2", good), ("5", bad)):
                if events:
                    counts[name] = counts.get(name, 0) + events
            self.truth[group] += Count(all=good + bad, bad=bad)

    def restart(self) -> None:
        self.counts = {group: shows(0) for group in GROUPS}

    def scrape(self, *, at: int, there_at: int) -> None:
        shown = {group: dict(values) for group, values in self.counts.items()}
        self.scrapes.append((at, there_at, shown, dict(self.truth)))

    def visible(self, *, now: int, since: int) -> list[Counter]:
        seen = [(at, shown) for at, there_at, shown, _ in self.scrapes if there_at <= now and since <= at <= now]
        times = [at for at, _ in seen]
        return counters_of([shown for _, shown in seen], process=(("instance", self.label),), times=times)

    def truth_between(self, begin: int, end: int) -> dict[str, Count]:
        """Give what happened from the first scrape since ``begin`` to the last one until ``end``."""
        known = [truth for at, _, _, truth in self.scrapes if begin <= at <= end]
        if not known:
            return dict.fromkeys(GROUPS, Count())
        return {
            group: Count(all=known[-1][group].all - known[0][group].all, bad=known[-1][group].bad - known[0][group].bad)
            for group in GROUPS
        }


events = st.integers(0, 4)
traffic = st.fixed_dictionaries(
    {
        "canary": st.tuples(events, events),
        "stable": st.tuples(st.integers(0, 60), events),
        "control": st.tuples(events, events),
    }
)
FAULTS = ("restart", "remove canary", "add canary", "replace canary", "missed scrape", "missed scrapes")
quiet_interval = st.tuples(st.just("none"), traffic, traffic, st.integers(0, 300), st.integers(0, 8_000))
any_interval = st.tuples(
    st.sampled_from(("none", "none", *FAULTS)), traffic, traffic, st.integers(0, 300), st.integers(0, 8_000)
)
Interval = tuple[str, Traffic, Traffic, int, int]


def run(label: str, offset: int, intervals: Sequence[Interval]) -> Process:
    process, pause = Process(label=label), 0
    for number, (fault, before, after, jitter, delay) in enumerate(intervals):
        event(fault)
        process.serve(before)
        if fault == "restart":
            process.restart()
        if fault in {"remove canary", "replace canary"}:
            process.counts.pop("canary", None)
        if fault in {"add canary", "replace canary"}:
            process.counts.setdefault("canary", shows(0))
        process.serve(after)
        pause = max(pause, {"missed scrape": 1, "missed scrapes": 3}.get(fault, 0))
        if pause:
            pause -= 1
            continue
        at = offset + number * INTERVAL + jitter
        process.scrape(at=at, there_at=at + delay)
    return process


def fleets(intervals: st.SearchStrategy[Interval]) -> st.SearchStrategy[list[Process]]:
    one = st.tuples(st.integers(0, INTERVAL - 1), st.lists(intervals, min_size=2, max_size=10))
    return st.lists(one, min_size=1, max_size=3).map(
        lambda drawn: [run(f"router-{number}", offset, each) for number, (offset, each) in enumerate(drawn)]
    )


ticks = st.lists(st.integers(0, 13 * INTERVAL), max_size=12).map(sorted)
END = 14 * INTERVAL


def counted_over(fleet: Sequence[Process], *, ticks: Sequence[int], begin: int) -> tuple[dict[str, Count], int | None]:
    """Ask at each tick as the source does, each time for what is new, and sum the answers."""
    sums, after = dict.fromkeys(GROUPS, Count()), None
    for now in (*ticks, END):
        since = max(begin, begin if after is None else after) - LOOK_BACK
        found = count(
            [each for process in fleet for each in process.visible(now=now, since=since)], begin=begin, after=after
        )
        assert found.at is None or after is None or found.at >= after
        after = found.at if found.at is not None else after
        for group, counted in found.counts.items():
            assert counted.is_possible
            sums[group] += counted
    return sums, after


@settings(deadline=None)
@given(fleet=fleets(quiet_interval), ticks=ticks, begin=st.integers(0, 4 * INTERVAL))
def test_however_often_it_is_asked_every_event_is_counted_exactly_once(
    fleet: list[Process], ticks: list[int], begin: int
) -> None:
    sums, at = counted_over(fleet, ticks=ticks, begin=begin)
    assert at is not None
    for group in GROUPS:
        truth = [process.truth_between(begin, at)[group] for process in fleet]
        assert sums[group] == sum(truth, start=Count())


@settings(deadline=None)
@given(fleet=fleets(any_interval), ticks=ticks, begin=st.integers(0, 4 * INTERVAL))
def test_whatever_fails_no_arm_is_counted_more_than_happened(
    fleet: list[Process], ticks: list[int], begin: int
) -> None:
    sums, at = counted_over(fleet, ticks=ticks, begin=begin)
    for group in GROUPS:
        truth = [process.truth_between(begin, END if at is None else at)[group] for process in fleet]
        most = sum(truth, start=Count())
        assert sums[group].all <= most.all
        assert sums[group].bad <= most.bad


@settings(deadline=None)
@given(fleet=fleets(any_interval), begin=st.integers(0, 4 * INTERVAL))
def test_when_all_is_asked_at_once_the_same_is_counted_as_bit_by_bit(fleet: list[Process], begin: int) -> None:
    """Faults and all, as long as each answer comes after the scrapes it is about: so a replay agrees with the release."""
    for process in fleet:
        process.scrapes = [(at, at, shown, truth) for at, _, shown, truth in process.scrapes]
    bit_by_bit, _ = counted_over(fleet[:1], ticks=range(0, END, 3 * SECOND), begin=begin)
    at_once, _ = counted_over(fleet[:1], ticks=(), begin=begin)
    assert bit_by_bit == at_once
