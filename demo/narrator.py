"""What the demo says on the terminal: plain lines, each with the seconds since it began."""

from __future__ import annotations

import time

from airflow_model_ops.core.log import Entry, FactKind
from airflow_model_ops.core.transitions import Action

_LONGEST = 220


class Narrator:
    """Prints chapters and what happens in them; each line is written at once, also into a pipe."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    @property
    def seconds(self) -> float:
        """Seconds since the demo began."""
        return time.monotonic() - self._began

    def chapter(self, text: str) -> None:
        """Begin a part of the story."""
        print(f"\n{self._clock()} {text}", flush=True)

    def line(self, text: str) -> None:
        """Say one thing within a part."""
        print(f"{self._clock()}   {_clipped(text)}", flush=True)

    def plain(self, text: str = "") -> None:
        """Print text as it is: tables, addresses."""
        print(text, flush=True)

    def _clock(self) -> str:
        return f"[{self.seconds:4.0f} s]"


def news_of(entry: Entry) -> str | None:
    """Return a log entry as a line for the terminal; ``None`` for one that says nothing new to a newcomer."""
    if entry.name == FactKind.APPLIED:
        return None  # it follows its transition within a fraction of a second
    reason = entry.reason
    if entry.action in {Action.PROMOTE, Action.ABORT}:
        reason = reason.partition(": ")[0]  # what follows is the verdict, which has a line of its own
    elif entry.name == FactKind.VERDICT:
        reason = reason.replace(f" of {entry.version}", "")
    return f"{entry.name:<13} {reason}"


def _clipped(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
