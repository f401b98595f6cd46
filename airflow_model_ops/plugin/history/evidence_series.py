"""The evidence of a release as a chart shows it: after each interval, what each check showed. Pure.

Nothing is computed here that the judge does not compute: a point is what :meth:`ReleaseJudge.summary` says after the
interval. Of a share these are, with counts as totals over the step:

- ``ratio``, the canary's bad rate over stable's, and its confidence sequence ``low`` to ``high`` of the judge's
  :class:`~airflow_model_ops.core.judge.processes.RatioInterval`. A risk ratio ``r`` is left out of it once the average
  likelihood over a grid of ratios is ``1 / alpha`` times its own,

      mean over s of L(s) >= L(r) / alpha,  with  log L(r) = sum over intervals of
          (x_c log p_r + x_b log(1 - p_r)) / phi  and  p_r = r n_c / (r n_c + n_b).

  For the true ratio the left side over ``L(r)`` is an e-process, so that by Ville's inequality the true ratio is ever left
  out with probability ``alpha`` at most, at whichever moments one looks. ``low > max_ratio`` so says the same as harm at
  level alpha, by the counts of this step alone.
- ``harm`` and ``safe``, log10 of the e-values that act. Harm is carried over all steps and bets on late onsets, too, and a
  release's alpha is shared out among its checks; so ``harm`` may cross its line before ``low`` crosses ``max_ratio``, or
  after. What acts is ``harm``.

Source: core/judge/processes.py; the mixture in the numerator: Robbins, "Statistical methods related to the law of the
iterated logarithm", 1970; Wasserman, Ramdas, Balakrishnan, "Universal inference", 2020.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

from airflow_model_ops.core.checks import Assessment, Check, CheckKind, Evidence, Summary
from airflow_model_ops.core.judge.record import Entry, Opening
from airflow_model_ops.core.judge.release import ReleaseJudge
from airflow_model_ops.plugin.datamodels.history import CheckSeries, Point

MOST_POINTS = 300
"""Of one check, but for those that must be shown: a chart has no more pixels."""
_DIGITS = 5
"""How exactly figures are sent: finer than a chart can show, and half the bytes."""
_LN_10 = math.log(10)


@dataclass(slots=True)
class Step:
    """A share of traffic that was judged.

    :param at: When its first interval began; ``None``: nothing was measured yet.
    """

    percent: float
    at: datetime | None = None


@dataclass(slots=True)
class Replay:
    """A judge that takes in an attempt's evidence again, and what it showed after each interval.

    :param subject: How its sentences call the canary.
    """

    opening: Opening
    subject: str
    steps: list[Step] = field(default_factory=list)
    points: dict[str, list[Point]] = field(default_factory=dict)
    judge: ReleaseJudge = field(init=False)

    def __post_init__(self) -> None:
        self.judge = self.opening.judge()
        self.points = {check.name: [] for check in self.opening.checks}

    @property
    def summary(self) -> Summary:
        """What all checks show now."""
        return self.judge.summary(subject=self.subject)

    def take(self, entries: Iterable[Entry]) -> None:
        """Take in what comes next."""
        for entry in entries:
            entry.apply(self.judge)
            if entry.percent is not None:
                self.steps.append(Step(entry.percent))
            else:
                self._note(entry.evidence)

    def skip(self, entries: Sequence[Entry], *, state: Mapping[str, Any]) -> None:
        """Go on behind intervals of one step, of which only the last one is shown.

        :param state: The judge's state after them.
        """
        self._begin_step(entries[0].evidence)
        self.judge = self.opening.judge()
        self.judge.restore(state)
        self._note(entries[-1].evidence)

    def _begin_step(self, evidence: Sequence[Evidence]) -> None:
        step = self.steps[-1]
        if step.at is None and evidence:
            step.at = min(_time(each.begin or each.at) for each in evidence)

    def _note(self, evidence: Sequence[Evidence]) -> None:
        if not evidence:
            return
        self._begin_step(evidence)
        ends = {each.check: each.instant for each in evidence}
        latest = max(ends.values())
        for assessment in self.summary.assessments:
            points = self.points.get(assessment.check)
            if points is None:  # the split, which is no check
                continue
            at = ends.get(assessment.check, latest).astimezone(UTC)
            at = max(at, points[-1].at) if points else at
            points.append(point_of(assessment, at=at, percent=self.steps[-1].percent))
            if len(points) >= 2 * MOST_POINTS and len(points) % MOST_POINTS == 0:
                points[:] = thinned(points)


def point_of(assessment: Assessment, *, at: datetime, percent: float) -> Point:
    """Return what a check showed at a moment."""
    numbers = assessment.numbers
    canary, stable = numbers.get("canary"), numbers.get("stable")
    canary_counts = canary if isinstance(canary, Mapping) else {}
    stable_counts = stable if isinstance(stable, Mapping) else {}
    return Point(
        at=at,
        percent=percent,
        ratio=_shown(numbers.get("ratio")),
        low=_shown(numbers.get("ratio_low")),
        high=_shown(numbers.get("ratio_high")),
        canary_bad=canary_counts.get("bad"),
        canary_total=canary_counts.get("n"),
        stable_bad=stable_counts.get("bad"),
        stable_total=stable_counts.get("n"),
        value=None if canary_counts else _shown(canary),
        stable_value=None if stable_counts else _shown(stable),
        harm=_log10(numbers.get("log_harm")),
        safe=_log10(numbers.get("log_safe")),
        verdict=assessment.verdict.value,
    )


def series_of(replay: Replay) -> list[CheckSeries]:
    """Return every check's series, in the policy's order."""
    now = {assessment.check: assessment for assessment in replay.summary.assessments}
    return [_series(check, replay, now[check.name]) for check in replay.opening.checks]


def thinned(points: Sequence[Point], *, most: int = MOST_POINTS) -> list[Point]:
    """Return about ``most`` of a series' points, evenly over its time.

    The first and the last of each step are kept, and so are both points beside a change of the verdict; where it changes
    without end, as many changes as there is room for.
    """
    if len(points) <= most:
        return list(points)
    kept = {0, len(points) - 1, *_beside(points, _is_another_step)}
    changes = sorted(_beside(points, _is_another_verdict) - kept)
    kept.update(_evenly(points, changes, most=most // 2))
    kept.update(_evenly(points, range(len(points)), most=max(1, most - len(kept))))
    return [points[index] for index in sorted(kept)]


def _beside(points: Sequence[Point], differ: Callable[[Point, Point], bool]) -> set[int]:
    """Return the places before and after each border between two points."""
    borders = [index for index, (one, other) in enumerate(pairwise(points)) if differ(one, other)]
    return {*borders, *(index + 1 for index in borders)}


def _evenly(points: Sequence[Point], places: Sequence[int], *, most: int) -> Iterable[int]:
    """Return the last of the places in each of so many equal spans of the series' time; all of them if there are no more."""
    if len(places) <= most:
        return places
    begin, span = points[0].at, (points[-1].at - points[0].at).total_seconds()
    if not span:
        return places[-most:]
    # The very end belongs to the last span, or there would be one more than so many.
    return {
        min(most - 1, int(most * (points[place].at - begin).total_seconds() / span)): place for place in places
    }.values()


def describe(check: Check) -> str:
    """Say what a check asks, for people."""
    if check.kind is CheckKind.PROMQL:
        return f"the value of {check.query}{_against_stable(check)}"
    bound = f"took longer than {check.latency_bound_ms:g} ms" if check.latency_bound_ms is not None else "were slow"
    bad = {
        CheckKind.ERROR_RATE: "requests that failed",
        CheckKind.LATENCY: f"requests that {bound}",
        CheckKind.WRONG_PREDICTIONS: "labelled predictions that were wrong",
    }
    return f"the share of {bad[check.kind]}"


def _against_stable(check: Check) -> str:
    ratio, difference = check.max_ratio_to_stable, check.max_difference_to_stable
    told = [] if ratio is None else [f"{ratio:g} times stable's"]
    told += [] if difference is None else [f"stable's plus {difference:g}"]
    return f", at most {' and '.join(told)}" if told else ""


def _series(check: Check, replay: Replay, now: Assessment) -> CheckSeries:
    compared = check.is_share and replay.opening.has_stable
    points = thinned(replay.points[check.name])
    harm_line = replay.judge.log_harm_line(check.name)
    return CheckSeries(
        check=check.name,
        description=describe(check),
        kind="share" if check.is_share else "gauge",
        muted=check.muted,
        rollback_line=check.max_ratio if compared else None,
        promotion_line=check.margin if compared else None,
        limits={name: limit for name, limit in (("min", check.min), ("max", check.max)) if limit is not None},
        harm_line=_log10(harm_line) if any(point.harm is not None for point in points) else None,
        safe_line=_log10(math.log(1 / replay.opening.settings.beta)) if check.is_share else None,
        points=points,
        reason=now.reason,
        verdict=now.verdict.value,
    )


def _is_another_verdict(one: Point, other: Point) -> bool:
    return one.verdict != other.verdict


def _is_another_step(one: Point, other: Point) -> bool:
    """Whether a step begins between two points: with another share, or with counts that begin at nothing."""
    if one.percent != other.percent:
        return True
    return one.canary_total is not None and other.canary_total is not None and other.canary_total < one.canary_total


def _log10(log: Any) -> float | None:
    return _shown(log / _LN_10) if isinstance(log, int | float) else None


def _shown(number: Any) -> float | None:
    if not isinstance(number, int | float) or not math.isfinite(number):
        return None
    return float(f"{number:.{_DIGITS}g}")


def _time(written: str) -> datetime:
    return datetime.fromisoformat(written).astimezone(UTC)
