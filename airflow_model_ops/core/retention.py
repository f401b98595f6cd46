"""Which versions may go: ``keep_last`` counts promoted versions, and nothing that serves or may be rolled back to goes."""

from __future__ import annotations

from collections.abc import Collection

from airflow_model_ops.core.state import ServingState
from airflow_model_ops.core.versioning import Version


def choose_retired(
    state: ServingState, *, present: Collection[Version], keep_last: int, spared: Collection[Version] = ()
) -> tuple[Version, ...]:
    """Return the versions to retire, lowest number first.

    Kept are the ``keep_last`` newest promoted versions, stable and the way back from it (which differ after a rollback),
    all that is labelled, warm or on trial, whatever is ``spared`` (a fleet still lists it, a waiting release wants it), and
    every version newer than the oldest kept promoted one: it may still be released. While fewer than ``keep_last``
    versions were promoted nothing goes: the older ones may be what an adopted fleet had served before.

    :param present: Versions whose files are in the repository.
    :param keep_last: How many promoted versions to keep, at least 1.
    """
    if len(state.promoted) < max(1, keep_last):
        return ()
    serving = {*state.promoted[-max(1, keep_last) :], *_way_back(state, steps=max(1, keep_last - 1))}
    serving |= {state.stable} if state.stable else set()
    on_trial = (state.release.version,) if state.release else ()
    kept = {*serving, *state.warm, *on_trial, *spared, *state.retired}
    return tuple(sorted(version for version in present if version not in kept and version < min(serving)))


def _way_back(state: ServingState, *, steps: int) -> tuple[Version, ...]:
    """Return the nearest rollback targets: what was stable before, newest last, without the quarantined ones."""
    return tuple(version for version in state.earlier if version not in state.quarantined)[-steps:]
