"""How far an action is, in words: from its DAG run, and from the model's log, which is the truth of what was committed."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from airflow_model_ops.core.log import Entry
from airflow_model_ops.core.ports import Log
from airflow_model_ops.plugin.datamodels.actions import Progress
from airflow_model_ops.plugin.history.log_walk import newest_first
from airflow_model_ops.plugin.runs.dag_runs import Run

_SUCCESS = "success"
_ENDED = frozenset({_SUCCESS, "failed", "upstream_failed", "skipped", "removed"})
"""States of a task after which it does nothing more."""
_LATE = timedelta(seconds=30)
"""A run that is not begun after this is worth a word: the scheduler may be down."""
_CLOCKS = timedelta(minutes=1)
"""How far the clocks of Airflow's database and of a worker may be apart."""
_MOST_ENTRIES = 200
_FEW = 8


def committed_by(log: Log, run: Run) -> Entry | None:
    """Return the transition that a run has committed; ``None``: none so far, or there was nothing to change."""
    for count, entry in enumerate(newest_first(log, batch=_FEW)):
        if count >= _MOST_ENTRIES or datetime.fromisoformat(entry.at) < run.queued_at - _CLOCKS:
            return None
        origin = entry.origin.run
        if entry.is_transition and (origin.get("dag_id"), origin.get("run_id")) == (run.dag_id, run.run_id):
            return entry
    return None


def is_done(run: Run) -> bool:
    """Whether the task that acts will do nothing more; the run may still be recording."""
    return run.task_state in _ENDED or run.state in {_SUCCESS, "failed"}


def has_succeeded(run: Run) -> bool:
    """Whether it has done what was wished."""
    return run.task_state == _SUCCESS


def told(
    run: Run,
    *,
    committed: Entry | None,
    result: Mapping[str, Any],
    failure: str | None,
    now: datetime,
) -> Progress:
    """Return how far an action is.

    :param result: What the acting task returned, if it has succeeded.
    :param failure: Why it failed, if it did and that is known.
    """
    done = is_done(run)
    generation = committed.generation if committed else result.get("generation")
    return Progress(
        dag_id=run.dag_id,
        run_id=run.run_id,
        state=run.state,
        done=done,
        succeeded=has_succeeded(run) if done else None,
        message=_ending(run, committed, result, failure) if done else _waiting(run, committed, now),
        generation=generation if isinstance(generation, int) else None,
    )


def _ending(run: Run, committed: Entry | None, result: Mapping[str, Any], failure: str | None) -> str:
    if has_succeeded(run):
        return str((committed.reason if committed else None) or result.get("reason") or "done")
    if run.task_state in {None, "removed"}:
        return "the run was ended before it could act"
    why = failure or ("it was marked so, or its log cannot be read" if run.task_state == "failed" else run.task_state)
    if committed is not None:
        return f"committed ({committed.reason}), but not confirmed: {why}; the watcher goes on, see the run"
    return str(failure or f"not done: {why}; see the run")


def _waiting(run: Run, committed: Entry | None, now: datetime) -> str:
    said = f"committed: {committed.reason}" if committed else None
    if run.task_state == "deferred":
        return f"{said or 'begun'}; a version is being loaded, which may take minutes"
    if run.task_state == "up_for_retry":
        return f"{said or 'a try failed'}; it is tried again"
    if run.task_state == "running":
        return f"{said}; waiting for the routers to confirm it" if said else "at work"
    if now - run.queued_at > _LATE:
        return (
            "waiting for Airflow to start it, longer than usual: is the scheduler running? `airflow model-ops` does the same "
            "without it"
        )
    return "waiting for Airflow to start it"
