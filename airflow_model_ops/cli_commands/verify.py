"""The command that checks whether everything still is as it was written: log, files, verdicts, ledger."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

from airflow_model_ops.cli_commands.output import Outcome
from airflow_model_ops.cli_commands.session import command, connection, opened, version_of
from airflow_model_ops.control.replay import replay_model
from airflow_model_ops.core.errors import InvalidConfig, InvalidState, ModelOpsError

if TYPE_CHECKING:
    from airflow_model_ops.adapters.lineage.differences import Finding
    from airflow_model_ops.adapters.lineage.settings import LedgerSettings
    from airflow_model_ops.config.model_file import ModelIdentity
    from airflow_model_ops.control.model_control import ModelControl
    from airflow_model_ops.core.versioning import Version

_OK, _WRONG, _UNKNOWN, _BEHIND, _NOT_CHECKED = "ok", "wrong", "unknown", "behind", "not checked"
_MOST_FINDINGS = 20
"""How many differences are shown; what comes first matters."""


@command
def verify(args: Namespace) -> Outcome:
    """Check a model's log for gaps and edits, hash its files, judge its verdicts again, compare the ledger with the log."""
    file, control = opened(args)
    versions = control.repository.versions(control.model)
    if args.version is not None:
        versions = (version_of(control, args.version),)
    rows = [_check_log(control), *(_check_files(control, version) for version in versions)]
    if args.version is None and rows[0]["result"] == _OK:
        rows += [_check_verdicts(control), *_check_ledger(file, control)]
    elif args.version is None:
        rows += [_row(what, _NOT_CHECKED, "the log is wrong") for what in ("verdicts", "ledger")]
    wrong, unknown = _named(rows, _WRONG), _named(rows, _UNKNOWN)
    faults = [f"model {args.model!r} is not as it was written: {wrong}"] if wrong else []
    faults += [f"could not be checked: {unknown}"] if unknown else []
    return Outcome(rows=rows, failed="; ".join(faults) or None)


def _named(rows: list[dict[str, Any]], result: str) -> str:
    return ", ".join(dict.fromkeys(row["checked"] for row in rows if row["result"] == result))


def _check_log(control: ModelControl) -> dict[str, Any]:
    def count() -> str:
        return f"{sum(1 for _ in control.repository.log(control.model).entries())} entries follow one another"

    return _checked("log", count)


def _check_files(control: ModelControl, version: Version) -> dict[str, Any]:
    def compare() -> str:
        control.repository.verify(control.model, version)
        return f"{len(control.repository.manifest(control.model, version).files)} files match the manifest"

    return _checked(version.name, compare)


def _check_verdicts(control: ModelControl) -> dict[str, Any]:
    """Judge every release again; the first verdict that does not follow is told."""
    same = 0
    try:
        for verdict in replay_model(control.repository, model=control.model):
            if not verdict.same:
                told = f"entry {verdict.entry}, {verdict.recorded} of release {verdict.release!r}: {verdict.differs}"
                return _row("verdicts", _WRONG, told)
            same += 1
    except ModelOpsError as error:
        return _row("verdicts", _WRONG, str(error))
    return _row("verdicts", _OK, f"{same} follow from the kept evidence")


def _check_ledger(file: ModelIdentity, control: ModelControl) -> Iterator[dict[str, Any]]:
    """Yield a row per difference, or one that says that there is none."""
    if file.connections.ledger is None:
        yield _row("ledger", _NOT_CHECKED, "the model has none")
        return
    try:
        settings = _settings(file.connections.ledger, asked_for="ledger" in file.connections.model_fields_set)
        if settings is None:
            yield _row("ledger", _NOT_CHECKED, f"connection {file.connections.ledger!r} is not defined")
            return
        found = _findings(settings, control)
        first = list(islice(found, _MOST_FINDINGS))
        more = sum(1 for _ in found)
    except InvalidState as error:
        yield _row("ledger", _WRONG, str(error))
        return
    except ModelOpsError as error:  # it is away, or its connection makes no sense
        yield _row("ledger", _UNKNOWN, str(error))
        return
    yield from (_row("ledger", _WRONG if finding.is_fault else _BEHIND, str(finding)) for finding in first)
    if more:
        yield _row("ledger", _WRONG, f"and {more} more differences")
    if not first:
        yield _row("ledger", _OK, "holds the log, entry by entry")


def _settings(conn_id: str, *, asked_for: bool) -> LedgerSettings | None:
    """Return where the ledger is; ``None`` if nobody set one up."""
    from airflow_model_ops.hooks.mlmd import ledger_settings_of

    try:
        found = connection(conn_id)
    except InvalidConfig:
        if asked_for:
            raise
        return None
    return ledger_settings_of(found)


def _findings(settings: LedgerSettings, control: ModelControl) -> Iterator[Finding]:
    from airflow_model_ops.adapters.lineage.verification import LedgerVerification

    repository, model = control.repository, control.model
    return LedgerVerification(settings).compare(
        model, repository.log(model), lambda version: repository.manifest(model, version)
    )


def _checked(what: str, check: Callable[[], str]) -> dict[str, Any]:
    try:
        return _row(what, _OK, check())
    except ModelOpsError as error:
        return _row(what, _WRONG, str(error))


def _row(checked: str, result: str, detail: str) -> dict[str, Any]:
    return {"checked": checked, "result": result, "detail": detail}
