"""Commands that only look: models, status, history."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any

from airflow_model_ops.cli_commands.output import Outcome, about
from airflow_model_ops.cli_commands.session import command, connection, opened, way_back, ways_back
from airflow_model_ops.control.apply import shares
from airflow_model_ops.control.heads import Head, read_head
from airflow_model_ops.core.errors import InvalidConfig, InvalidVersionName, ModelOpsError
from airflow_model_ops.core.log import Entry
from airflow_model_ops.core.ports import Log, Observed, Repository
from airflow_model_ops.hooks.repository import repository_of

if TYPE_CHECKING:
    from airflow_model_ops.control.model_control import ModelControl
    from airflow_model_ops.core.state import Holdback

_APPLIED, _CHANGING, _NONE_YET = "applied", "changing", "none yet"


@command
def models(args: Namespace) -> Outcome:
    """List the models with a YAML file and those that only the repositories know."""
    files = ways_back(args)
    ids = sorted({file.connections.repository for file in files.values()})
    repositories = {conn_id: repository_of(connection(conn_id)) for conn_id in ids}
    rows = [
        _model_row(file.model, repositories[file.connections.repository], yaml=True)
        for _, file in sorted(files.items())
    ]
    for repository in repositories.values():
        rows += [_model_row(model, repository, yaml=False) for model in repository.models() if model not in files]
    return Outcome(rows=rows)


@command
def status(args: Namespace) -> Outcome:
    """Show what a model should serve and what really serves."""
    _, control = opened(args)
    head = read_head(control.repository.log(control.model))
    try:
        observed, trouble = control.target.observe(control.model), None
    except ModelOpsError as error:
        observed, trouble = None, f"unknown: {error}"
    return about({**_wanted(control, head), **_observed(control, head, observed, trouble)})


@command
def history(args: Namespace) -> Outcome:
    """List a model's newest log entries, newest first."""
    if args.ledger:
        rows = _ledger_rows(args)
    else:
        repository = repository_of(connection(way_back(args).connections.repository))
        rows = [_entry_row(entry) for entry in islice(_newest_first(repository.log(args.model)), args.limit)]
    return Outcome(rows=rows)


def _model_row(model: str, repository: Repository, *, yaml: bool) -> dict[str, Any]:
    try:
        head, trouble = read_head(repository.log(model)), None
    except ModelOpsError as error:
        head, trouble = None, f"unknown: {error}"
    state = head.state if head else None
    return {
        "model": model,
        "yaml": "yes" if yaml else "no",
        "fleet": state.fleet if state else None,
        "stable": state.stable if state else None,
        "canary": f"{state.canary.version} {state.canary.percent:g} %" if state and state.canary else None,
        "holdback": f"{state.holdback.version} {state.holdback.percent:g} %" if state and state.holdback else None,
        "golden": state.golden.version if state and state.golden else None,
        "traffic": trouble or _recorded(head),
        "held": "yes" if state and state.hold else "no",
    }


def _recorded(head: Head | None) -> str:
    if head is None:
        return _NONE_YET
    return _CHANGING if head.applied_at is None else _APPLIED


def _wanted(control: ModelControl, head: Head | None) -> dict[str, Any]:
    if head is None:
        return {"model": control.model, "head": "none: nothing was ever released or adopted"}
    state, entry = head.state, head.entry
    release = state.release
    return {
        "model": control.model,
        "fleet": state.fleet,
        "head": f"generation {head.generation}: {entry.reason} ({entry.origin.actor}, {entry.at})",
        "stable": state.stable,
        "split": shares({version.name: percent for version, percent in state.split}),
        "canary": state.canary.version if state.canary else None,
        "holdback": _held_back(state.holdback) if state.holdback else None,
        "golden": state.golden.version if state.golden else None,
        "earlier": [version.name for version in state.earlier],
        "quarantined": [version.name for version in state.quarantined],
        "hold": f"{state.hold.by}: {state.hold.reason}" if state.hold else None,
        "release": f"{release.id} attempt {release.attempt} of {release.version}" if release else None,
    }


def _held_back(holdback: Holdback) -> str:
    until = holdback.until or "its watch ends"
    return f"{holdback.version} {holdback.percent:g} % held back until {until}"


def _observed(
    control: ModelControl, head: Head | None, observed: Observed | None, trouble: str | None
) -> dict[str, Any]:
    if observed is None:
        return {"traffic": f"{_recorded(head)}, as the log says", "observed": trouble, "loaded": None, "labels": None}
    recorded = _recorded(head)
    behind = head is not None and recorded == _APPLIED and observed.generation != head.generation
    loaded = {
        server: "does not answer" if numbers is None else ", ".join(str(number) for number in sorted(numbers))
        for server, numbers in observed.loaded.items()
    }
    return {
        "traffic": _CHANGING if behind else recorded,
        "observed": shares(named(control, {str(number): percent for number, percent in observed.split.items()})),
        "loaded": loaded,
        "labels": dict(observed.labels),
    }


def named(control: ModelControl, split: Mapping[str, float]) -> dict[str, float]:
    """Return a split by serving numbers as one by versions' names; a number that belongs to none stays one, and says so."""
    return {_name(control, number): percent for number, percent in split.items()}


def _name(control: ModelControl, number: str) -> str:
    try:
        return control.naming.from_number(number).name
    except InvalidVersionName:
        return f"{number} (no version of this model)"


def _newest_first(log: Log) -> Iterator[Entry]:
    entry = log.last()
    while entry is not None:
        yield entry
        entry = log.read(entry.sequence - 1) if entry.sequence > 1 else None


def _entry_row(entry: Entry) -> dict[str, Any]:
    return {
        "entry": entry.sequence,
        "at": entry.at,
        "what": entry.name,
        "version": entry.version,
        "actor": entry.origin.actor,
        "reason": entry.reason,
        "release": entry.release.release if entry.release else None,
    }


def _ledger_rows(args: Namespace) -> list[dict[str, Any]]:
    from airflow_model_ops.adapters.lineage.queries import LedgerQueries
    from airflow_model_ops.hooks.mlmd import ledger_settings_of

    conn_id = way_back(args).connections.ledger
    if conn_id is None:
        raise InvalidConfig(
            f"model {args.model!r} has no ledger; set connections.ledger in its YAML, or leave out --ledger"
        )
    found = LedgerQueries(ledger_settings_of(connection(conn_id))).history(args.model, limit=args.limit)
    return [
        {
            "entry": row.sequence,
            "at": row.at,
            "what": row.name,
            "version": row.version,
            "actor": row.actor,
            "reason": row.reason,
            "release": row.release,
        }
        for row in found
    ]
