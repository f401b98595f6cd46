"""How long a stream waits before it fires again for the same thing, which a run may be working on already."""

from __future__ import annotations

from collections.abc import Collection, Hashable


class Pause:
    """How long to leave each thing to the run that was started for it: longer each time that it could not help.

    :param first_seconds: The first pause; each one is twice as long as the one before.
    :param longest_seconds: No pause is longer, unless the first one is.
    """

    def __init__(self, *, first_seconds: float, longest_seconds: float) -> None:
        self._first = first_seconds
        self._longest = max(first_seconds, longest_seconds)
        self._pauses: dict[Hashable, tuple[float, float]] = {}  # until when, and how long the next one is

    def is_over(self, things: Collection[Hashable], *, now: float) -> bool:
        """Whether to fire for one of the things; one that is no longer among them is forgotten."""
        self._pauses = {thing: self._pauses.get(thing, (now, self._first)) for thing in things}
        due = {thing: length for thing, (until, length) in self._pauses.items() if now >= until}
        self._pauses |= {thing: (now + length, min(2 * length, self._longest)) for thing, length in due.items()}
        return bool(due)
