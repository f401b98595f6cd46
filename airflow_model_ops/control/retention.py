"""Retention: versions that nobody needs any longer are retired, un-listed, waited for, deleted; safe to retry anywhere.

The order is the safety: a version is retired in the log before its files go, so nothing can choose it meanwhile; its files
go only when every server has said that it holds it no longer; and the state forgets it only when the files are gone.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace

from airflow_model_ops.control.commit import seconds_of
from airflow_model_ops.control.model_control import ModelControl
from airflow_model_ops.core import transitions
from airflow_model_ops.core.errors import NotApplied
from airflow_model_ops.core.log import FactKind
from airflow_model_ops.core.retention import choose_retired
from airflow_model_ops.core.state import ServingState
from airflow_model_ops.core.transitions import Decision
from airflow_model_ops.core.versioning import Version

_PUSHED_SECONDS = 24 * 3600.0
"""How long a pushed version is spared that no release has started with yet: it has no lease."""
_PUSHED_LOOKBACK = 400
"""How many log entries back such a push is looked for."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cleanup:
    """What one cleaning did.

    :param retired: Versions whose deletion this call committed.
    :param deleted: Versions whose files are gone now, those of an earlier call that was cut short included.
    :param spared: Versions that are old enough and stay for now, with the reason.
    """

    retired: tuple[Version, ...]
    deleted: tuple[Version, ...]
    spared: Mapping[Version, str]


def cleanup(control: ModelControl, *, keep_last: int, deadline_seconds: float) -> Cleanup:
    """Delete the versions of a model beyond its retention.

    :param keep_last: How many promoted versions to keep, at least 1.
    :param deadline_seconds: How long to wait for drains and unloads; what takes longer goes the next time.
    :raises FleetNotAdopted: if the fleet may serve what we do not know.
    """
    _finish_former(control)
    listed = _unload(control, deadline_seconds=0)
    retired = _retire(control, keep_last=keep_last, listed=listed)
    waiting = _gone_to_be(control)
    if waiting:
        listed = _unload_retired(control, deadline_seconds=deadline_seconds)
    deleted = tuple(version for version in waiting if version.number not in listed)
    for version in deleted:
        _delete(control, version)
    held = {version: "a server still holds it or does not answer" for version in waiting if version not in deleted}
    return Cleanup(retired=retired, deleted=deleted, spared=held | _spared(control, keep_last=keep_last, listed=listed))


def _finish_former(control: ModelControl) -> None:
    """Finish the deletions of a call that died between deleting files and saying so."""
    present = set(control.repository.versions(control.model))
    for version in control.state.retired:
        if version not in present:
            _delete(control, version)


def _unload(control: ModelControl, *, deadline_seconds: float) -> frozenset[int]:
    """Un-list what no head needs; return what a server still holds of the model."""
    held = control.applier.unload(deadline_seconds=deadline_seconds, model=control.model)
    return held.get(control.model, frozenset())


def _unload_retired(control: ModelControl, *, deadline_seconds: float) -> frozenset[int]:
    try:
        control.apply(deadline_seconds=deadline_seconds)
    except NotApplied as error:  # e.g. a silent server, which keeps what it holds: unloading says what that is
        _log.warning("%s; versions that are still held stay until the next cleaning", error)
    return _unload(control, deadline_seconds=deadline_seconds)


def _retire(control: ModelControl, *, keep_last: int, listed: frozenset[int]) -> tuple[Version, ...]:
    """Commit to deleting what may go, and forget what is gone; decided anew on each state that a lost race shows."""
    chosen: tuple[Version, ...] = ()

    def decide(state: ServingState) -> Decision:
        nonlocal chosen
        present = set(control.repository.versions(control.model))
        chosen = choose_retired(
            state,
            present=present,
            keep_last=keep_last,
            spared={*_awaited(control), *_just_pushed(control), *_in(present, listed)},
        )
        return transitions.retire(
            state,
            versions=chosen,
            reason=f"beyond the {keep_last} promoted versions to keep",
            forget=set(state.retired) - present,
        )

    commit = control.committer.commit(decide, origin=replace(control.origin, request=None))
    return chosen if commit.changed else ()


def _gone_to_be(control: ModelControl) -> tuple[Version, ...]:
    """Return the retired versions whose files are still there."""
    retired = set(control.state.retired)
    return tuple(version for version in control.repository.versions(control.model) if version in retired)


def _delete(control: ModelControl, version: Version) -> None:
    control.repository.delete(control.model, version)
    control.committer.record(
        FactKind.RETIRED,
        reason=f"the files of {version} are deleted",
        origin=replace(control.origin, request=f"retired {version.name}"),
        version=version,
    )


def _spared(control: ModelControl, *, keep_last: int, listed: frozenset[int]) -> dict[Version, str]:
    state, present = control.state, control.repository.versions(control.model)
    old = choose_retired(state, present=present, keep_last=keep_last)
    awaited = {*_awaited(control), *_just_pushed(control)}
    return {
        version: "a release waits with it" if version in awaited else "a server still holds it or does not answer"
        for version in old
        if version in awaited or version.number in listed
    }


def _awaited(control: ModelControl) -> tuple[Version, ...]:
    """Return the versions that somebody looks after: waiting for their turn, or about to start."""
    now = control.clock.now()
    return tuple(lease.version for lease in control.repository.leases(control.model) if lease.until >= now)


def _just_pushed(control: ModelControl) -> frozenset[Version]:
    """Return the versions pushed lately that nothing was decided on since: a release may be about to start with one."""
    known: set[Version] = set()
    pushed: set[Version] = set()
    since = control.clock.now() - _PUSHED_SECONDS
    entry = control.committer.log.last()
    for _ in range(_PUSHED_LOOKBACK):
        if entry is None or seconds_of(entry.at) < since:
            break
        if entry.version is not None and entry.is_transition:
            known.add(entry.version)
        elif entry.version is not None and entry.name == FactKind.PUSHED.value and entry.version not in known:
            pushed.add(entry.version)
        entry = control.committer.log.read(entry.sequence - 1)
    return frozenset(pushed)


def _in(present: set[Version], numbers: frozenset[int]) -> set[Version]:
    return {version for version in present if version.number in numbers}
