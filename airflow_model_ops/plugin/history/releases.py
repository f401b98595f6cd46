"""The releases of a model by its log: what they tried, how they ended, and what was recorded of their judging. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice

from airflow_model_ops.core.log import Entry, FactKind
from airflow_model_ops.core.state import Fence, LiveRelease, ServingState
from airflow_model_ops.core.transitions import Action

MOST_ENTRIES = 1_000
MOST_RELEASES = 20
"""How far back a log is looked through for releases."""


@dataclass(slots=True, kw_only=True)
class Attempt:
    """One attempt of a release.

    :param at: When it started.
    :param stable: What was stable while it was live.
    :param outcome: The action that ended it, or took back what it promoted; ``None``: it is live.
    :param verdicts: The facts ``verdict`` of it, newest first.
    """

    fence: Fence
    version: str | None
    at: datetime
    stable: str | None = None
    outcome: str | None = None
    verdicts: list[Entry] = field(default_factory=list)

    def is_looked_after(self, state: ServingState | None) -> bool:
        """Whether it is live, or holds a version back while what it promoted is watched.

        :param state: The newest one of the model.
        """
        return state is not None and state.leased == self.fence

    def may_be_watched(self, state: ServingState | None) -> bool:
        """Whether what it promoted is stable and no verdict of its watch was recorded."""
        promoted = state is not None and state.promoted_by == self.fence and state.release is None
        return promoted and not self.watch_is_over

    @property
    def watch_is_over(self) -> bool:
        """Whether the newest verdict is that of its watch: a step's says nothing of what is held back."""
        return bool(self.verdicts) and "held_back" in self.verdicts[0].detail


def attempts_of(entries: Iterable[Entry]) -> dict[Fence, Attempt]:
    """Return the newest attempts by a log, newest first.

    :param entries: Newest first; no more are taken than :data:`MOST_RELEASES` and :data:`MOST_ENTRIES` allow.
    """
    found: dict[Fence, Attempt] = {}
    verdicts: dict[Fence, list[Entry]] = {}
    taken_back: set[Fence] = set()
    newer: Entry | None = None
    for entry in islice(entries, MOST_ENTRIES):
        if entry.state is None:
            if entry.name == FactKind.VERDICT.value and entry.release is not None:
                verdicts.setdefault(entry.release, []).append(entry)
            continue
        if entry.action is Action.ROLLBACK and entry.release is not None:
            taken_back.add(entry.release)
        live = entry.state.release
        if live is not None:
            if live.fence not in found and len(found) == MOST_RELEASES:
                break
            attempt = found.setdefault(live.fence, _seen_last(entry.state, live, newer, taken_back))
            if entry.action is Action.START_CANARY:
                attempt.at = datetime.fromisoformat(entry.at)
        newer = entry
    for fence, attempt in found.items():
        attempt.verdicts = verdicts.get(fence, [])
    return found


def _seen_last(state: ServingState, live: LiveRelease, newer: Entry | None, taken_back: set[Fence]) -> Attempt:
    """Return an attempt by the newest state in which it was live.

    :param newer: The transition that followed.
    """
    outcome = None if newer is None else newer.name
    return Attempt(
        fence=live.fence,
        version=live.version.name,
        at=datetime.fromisoformat(live.started_at),
        stable=state.stable.name if state.stable else None,
        outcome=Action.ROLLBACK.value if live.fence in taken_back else outcome,
    )
