"""Commands that change what serves: each commits to the model's log, drives the fleet, and says what serves now.

They need the repository and the fleet only, and are recorded like any other change, with the person who asked.
"""

from __future__ import annotations

import time
from argparse import Namespace
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from airflow_model_ops.cli_commands.lineage import catch_up_aside
from airflow_model_ops.cli_commands.output import Outcome, about
from airflow_model_ops.cli_commands.session import command, fleet_at, opened, person, version_of, ways_back
from airflow_model_ops.cli_commands.show import named
from airflow_model_ops.config.fleet_place import FleetPlace
from airflow_model_ops.control.apply import shares
from airflow_model_ops.core.errors import ModelOpsError, NotApplied

if TYPE_CHECKING:
    from airflow_model_ops.config.model_file import ModelIdentity
    from airflow_model_ops.control.commit import Commit
    from airflow_model_ops.control.model_control import ModelControl

_APPLY_SECONDS = 60.0
"""Longest to wait for a fleet on which everything is loaded; where a version may have to be loaded, its YAML says how long."""
_ASIDE_SECONDS = 10.0
"""Longest to wait after a change that moves no traffic and holds from its commit on."""


@command
def rollback(args: Namespace) -> Outcome:
    """Take a model back at once."""
    to = args.to

    def act(control: ModelControl) -> Commit:
        return control.rollback(reason=args.reason, to=control.naming.from_number(to).name if to.isdecimal() else to)

    return _change(args, act)


@command
def abort(args: Namespace) -> Outcome:
    """End the live release; stable goes on."""
    return _change(args, lambda control: control.abort(reason=args.reason, fence=None))


@command
def end_hold_back(args: Namespace) -> Outcome:
    """Give stable all traffic after a promotion."""
    return _change(args, lambda control: control.end_hold_back(reason=args.reason, fence=None))


@command
def hold(args: Namespace) -> Outcome:
    """Stop shifts and promotions."""
    return _change_aside(args, lambda control: control.hold(reason=args.reason))


@command
def resume(args: Namespace) -> Outcome:
    """End a hold."""
    return _change_aside(args, lambda control: control.resume(reason=args.reason))


@command
def pin(args: Namespace) -> Outcome:
    """Pin the known-good version."""

    def act(control: ModelControl) -> Commit:
        version = version_of(control, args.version) if args.version is not None else control.require_stable()
        return control.pin_golden(version)

    return _change(args, act)


@command
def quarantine(args: Namespace) -> Outcome:
    """Ban a version."""
    return _change(
        args,
        lambda control: control.quarantine(version_of(control, args.version), reason=args.reason, force=args.force),
    )


@command
def lift(args: Namespace) -> Outcome:
    """End a quarantine."""
    return _change_aside(args, lambda control: control.lift(version_of(control, args.version), reason=args.reason))


@command
def reconcile(args: Namespace) -> Outcome:
    """Finish what was left unfinished on every fleet; then bring the ledgers up to the logs, which may fail."""
    files = ways_back(args)
    places = sorted({file.place for file in files.values()}, key=FleetPlace.to_text)
    rows, failed = [], []
    for place in places:
        fleet = fleet_at(place)
        result = fleet.upkeep(origin=person()).reconcile(
            deadline_seconds=args.wait if args.wait is not None else _APPLY_SECONDS
        )
        rows += [
            {"fleet": fleet.name, "model": model, "result": what}
            for model, what in [*sorted(result.done.items()), *sorted(result.failed.items())]
        ]
        failed += sorted(result.failed)
    rows = rows or [{"fleet": "all", "model": "all", "result": "every model follows its head"}]
    recorded, unrecorded = catch_up_aside(files)
    rows += [
        {"fleet": "all", "model": model, "result": f"{count} entries recorded"}
        for model, count in recorded.items()
        if count
    ]
    return Outcome(
        rows=rows,
        note="; ".join(f"{what} is not recorded: {why}" for what, why in unrecorded.items()) or None,
        failed=f"not every model follows its head: {', '.join(failed)}" if failed else None,
    )


def _change(args: Namespace, act: Callable[[ModelControl], Commit]) -> Outcome:
    """Commit, apply, and fail if the fleet does not follow in time."""
    started = time.monotonic()
    file, control = opened(args)
    longest = args.wait if args.wait is not None else max(_APPLY_SECONDS, file.load_seconds)
    commit = act(control)
    try:
        applied = control.apply(deadline_seconds=longest)
    except ModelOpsError as error:
        again = "the watcher goes on, and `airflow model-ops reconcile` does it now"
        by_hand = "the watcher cannot mend that; once you have, run `airflow model-ops reconcile`"
        raise NotApplied(
            f"committed as generation {commit.generation} ({commit.reason}), but the fleet does not follow yet: {error}; "
            f"{again if error.retryable else by_hand}"
        ) from error
    return _report(file, commit, serves=shares(named(control, applied.split)), started=started)


def _change_aside(args: Namespace, act: Callable[[ModelControl], Commit]) -> Outcome:
    """Commit what holds from then on, and apply it if that is quick: a fleet that is down does not make it void."""
    started = time.monotonic()
    file, control = opened(args)
    commit = act(control)
    try:
        applied = control.apply(deadline_seconds=args.wait if args.wait is not None else _ASIDE_SECONDS)
        serves = shares(named(control, applied.split))
    except ModelOpsError as error:
        serves = f"changing: {error}"
    return _report(file, commit, serves=serves, started=started)


def _report(file: ModelIdentity, commit: Commit, *, serves: str, started: float) -> Outcome:
    return about(
        {
            "model": file.model,
            "result": commit.reason,
            "generation": commit.generation,
            "changed": "yes" if commit.changed else "no",
            "serves": serves,
            "seconds": round(time.monotonic() - started, 3),
        },
        then=lambda: _recorded({file.model: file}),
    )


def _recorded(files: Mapping[str, ModelIdentity]) -> str | None:
    """Bring the ledger up to the log once traffic is where it should be; return what is not recorded, and who does it later."""
    _, unrecorded = catch_up_aside(files)
    if not unrecorded:
        return None
    what = "; ".join(f"{name}: {why}" for name, why in unrecorded.items())
    return (
        f"done, but not yet recorded in ML Metadata ({what}); model_housekeeping does it, or `airflow model-ops record`"
    )
