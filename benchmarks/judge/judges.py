"""The one interface of all judges in the benchmark, and how one of them is let run over a release."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from benchmarks.judge.traffic import Seen


class Answer(StrEnum):
    """What a judge wants done after one look."""

    ROLL_BACK = "roll back"
    PROMOTE = "promote"
    WAIT = "wait"


class Judge(Protocol):
    """Looks at one release, interval by interval. One instance judges one release."""

    def observe(self, seen: Seen) -> Answer:
        """Take one interval in and say what is to be done now."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How one release ended.

    :param rolled_back: Seconds from the release's begin to the rollback; ``None`` if there was none.
    :param promoted: Seconds to the first time that the judge would have gone on; ``None`` if it never would.
    """

    rolled_back: float | None = None
    promoted: float | None = None


def let_judge(judge: Judge, intervals: Iterable[Seen], *, stop_at_promotion: bool = False) -> Outcome:
    """Show a judge a release until it rolls back.

    :param stop_at_promotion: Whether the release also ends when the judge would go on for the first time.
    """
    promoted = None
    for seen in intervals:
        answer = judge.observe(seen)
        if answer is Answer.ROLL_BACK:
            return Outcome(rolled_back=seen.end, promoted=promoted)
        if answer is Answer.PROMOTE and promoted is None:
            promoted = seen.end
            if stop_at_promotion:
                break
    return Outcome(promoted=promoted)
