"""Sampling periods: which ones are complete, and their events as whole numbers, each counted once. Pure; times in milliseconds.

Cloud Monitoring samples a metric once a period and shows the sample up to a delay later; a period is complete when that delay has
passed since its end. Periods end at whole multiples of their length since the epoch, as Cloud Monitoring aligns them.

``increase`` interpolates, so a period's events may be fractions. They are added up from an anchor, the sum is rounded, and the
differences of rounded sums are counted: whole numbers that add up to the rounded sum, so nothing is lost or counted twice however
the periods are shared out to intervals. The anchor stays for an hour; each new one may put one event astray, and none where the
answers are whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from airflow_model_ops.adapters.metrics.cloud_monitoring_queries import Events
from airflow_model_ops.adapters.metrics.counting import Counter

LONGEST_LOOK_MS = 3_600_000
"""What nobody asked for during so long is not counted any more."""
_ANCHORED_MS = 3_600_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Periods:
    """Consecutive periods of one length.

    :param anchor: Where the first one begins.
    :param end: Where the last one ends; at ``anchor`` there is none.
    """

    anchor: int
    end: int
    length: int

    @property
    def none(self) -> bool:
        """Whether it holds no period."""
        return self.end <= self.anchor


def complete_until(now: int, *, delay: int, length: int) -> int:
    """Give the end of the newest period whose samples are all visible."""
    return (now - delay) // length * length


def uncounted(*, begin: int, after: int | None, complete: int, length: int) -> Periods:
    """Give the periods that an interval is counted from: none from before ``begin``, but back to the anchor.

    :param begin: Nothing from before is counted, nor a period that spans it.
    :param after: Until when everything is counted already; ``None`` if nothing is.
    """
    first = -(-begin // length) * length
    since = max(first, complete - LONGEST_LOOK_MS, first if after is None else after)
    kept = length * max(1, _ANCHORED_MS // length)
    return Periods(anchor=max(first, since // kept * kept), end=complete, length=length)


def counters_of(events: Mapping[str, Events], periods: Periods, *, groups: Iterable[str]) -> tuple[Counter, ...]:
    """Write the events as counters that start at the anchor and are read at the end of each period.

    They end with the newest period in which anything was sampled: later ones may come in late. Until there, a deployed model
    without a sample had no events. Without any sample there are no counters.
    """
    ends = range(periods.anchor + periods.length, periods.end + 1, periods.length)
    sampled = {at for each in events.values() for values in (each.good, each.bad) for at in values}
    newest = max((end for end in ends if end in sampled), default=None)
    if newest is None:
        return ()
    shown = [end for end in ends if end <= newest]
    return tuple(
        Counter(
            process=(),
            group=group,
            name=name,
            of_all=1,
            of_bad=int(name == "bad"),
            values=_rounded_sums(values, anchor=periods.anchor, ends=shown),
        )
        for group in sorted(set(groups))
        for name, values in _kinds(events.get(group, Events()))
    )


def _kinds(events: Events) -> tuple[tuple[str, Mapping[int, float]], ...]:
    return ("good", events.good), ("bad", events.bad)


def _rounded_sums(values: Mapping[int, float], *, anchor: int, ends: Iterable[int]) -> dict[int, int]:
    total, sums = 0.0, {anchor: 0}
    for end in ends:
        total += values.get(end, 0.0)
        sums[end] = round(total)
    return sums
