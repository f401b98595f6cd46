"""How often a candidate is told of, so that none is lost and none is told of for ever."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MOST_TIMES = 8
"""How often one candidate is told of when nothing comes of it, whether the runs failed or nobody listened."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Telling:
    """That a candidate was told of, which a run may be working on already.

    :param candidate: Its key.
    :param times: How often so far.
    :param at: The last time, seconds since the epoch.
    """

    candidate: str = ""
    times: int = 0
    at: float = 0.0

    def is_due(self, candidate: str, *, now: float, first_pause_seconds: float) -> bool:
        """Whether to tell of a candidate now: one that is new, or of which nothing came; each pause is twice as long.

        A clock that was set back does not silence it.
        """
        if candidate != self.candidate:
            return True
        pause = first_pause_seconds * 2 ** (self.times - 1)
        return self.times < MOST_TIMES and not self.at <= now < self.at + pause

    def told(self, candidate: str, *, now: float) -> Telling:
        """Return what is to be remembered once a candidate is told of."""
        times = self.times + 1 if candidate == self.candidate else 1
        return Telling(candidate=candidate, times=times, at=now)

    def to_json(self) -> dict[str, Any]:
        """Return the form that Airflow keeps."""
        return {"candidate": self.candidate, "times": self.times, "at": self.at}

    @classmethod
    def from_json(cls, data: Any) -> Telling:
        """Read what :meth:`to_json` gave; what cannot be read counts as nothing told."""
        if not isinstance(data, Mapping):
            return cls()
        try:
            return cls(candidate=str(data["candidate"]), times=int(data["times"]), at=float(data["at"]))
        except (KeyError, TypeError, ValueError):
            return cls()
