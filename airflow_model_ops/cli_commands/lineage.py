"""Commands that ask the ledger, and those that bring it up to the logs: served, lineage, blast-radius, compare, record."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow_model_ops.cli_commands.output import Outcome, about
from airflow_model_ops.cli_commands.session import command, connection, way_back, ways_back
from airflow_model_ops.control.apply import shares
from airflow_model_ops.core.blast_radius import ArtifactRef, Move
from airflow_model_ops.core.errors import InvalidConfig, LedgerUnavailable, ModelOpsError
from airflow_model_ops.hooks.repository import repository_of

if TYPE_CHECKING:
    from airflow_model_ops.adapters.lineage.ancestry import Ancestry, Descendants
    from airflow_model_ops.adapters.lineage.blast_radius import AffectedModel, AffectedVersion
    from airflow_model_ops.adapters.lineage.comparison import Measured
    from airflow_model_ops.adapters.lineage.queries import LedgerQueries
    from airflow_model_ops.adapters.lineage.rows import ServedAt
    from airflow_model_ops.config.model_file import ModelIdentity

_PATIENCE_SECONDS = 5.0
"""Longest that a command about something else waits for a ledger that is away."""


@command
def served(args: Namespace) -> Outcome:
    """Show what a model served at a moment."""
    at = datetime.now(UTC).isoformat(timespec="seconds") if args.at is None else args.at
    answer = _queries(_ledger_of(args)).served_at(args.model, at=at)
    return replace(about(_served(answer)), note=_joined(_doubt(answer), _lacking(args, recorded=answer.recorded)))


@command
def lineage(args: Namespace) -> Outcome:
    """Show where a version comes from and what it led to."""
    queries = _queries(_ledger_of(args))
    version = _version_name(args)
    ancestry = queries.ancestry(args.model, version=version)
    led_to = queries.descendants(args.model, version=version, limit=args.limit)
    fields = {**_comes_from(ancestry), **_led_to(led_to), "recorded": ancestry.recorded}
    return replace(about(fields), note=_lacking(args, recorded=ancestry.recorded))


@command
def blast_radius(args: Namespace) -> Outcome:
    """Show every version that comes from an artifact, who serves one, and what would take it off; changes nothing."""
    ref = ArtifactRef.parse(args.artifact)
    files = ways_back(args)
    models = _affected(ref, _ledgers(args, files), files=files)
    rows = [_affected_row(model, version) for model in models for version in model.versions]
    live = [model.model for model in models if model.live]
    told = f"{len(rows)} versions of {len(models)} models come from {ref}; "
    told += f"live in {', '.join(live)}: model_blast_radius takes these back" if live else "none of them is live"
    return Outcome(rows=rows, note="; ".join([told, *_all_lacking(args, files)]))


@command
def compare(args: Namespace) -> Outcome:
    """Show what versions of a model showed, side by side."""
    names = [_version_name(args, text) for text in args.versions]
    answer = _queries(_ledger_of(args)).compare(args.model, names)
    for_people = args.output in {"table", "plain"}
    rows = [
        {
            "kind": row.kind.value,
            "metric": row.metric,
            **{each.version: _figure(row.values.get(each.version), for_people=for_people) for each in answer.versions},
        }
        for row in answer.rows
    ]
    nothing = None if rows else f"nothing is recorded of how good {', '.join(names)} are"
    return Outcome(rows=rows, note=_joined(nothing, _lacking(args, recorded=answer.recorded)))


@command
def record(args: Namespace) -> Outcome:
    """Bring ledgers up to the logs; one model's trouble does not stop the others."""
    files = ways_back(args)
    unknown = sorted(set(args.models) - files.keys())
    if unknown:
        raise InvalidConfig(
            f"no YAML file describes {', '.join(unknown)}; there are {', '.join(sorted(files)) or 'none'}"
        )
    rows, failed = [], []
    for name in args.models or sorted(files):
        ledger = args.connection or files[name].connections.ledger
        try:
            result = f"{catch_up(files[name], ledger=ledger)} entries recorded" if ledger else "has no ledger"
        except ModelOpsError as error:
            result = f"not recorded: {error}"
            failed.append(name)
        rows.append({"model": name, "ledger": ledger, "result": result})
    return Outcome(rows=rows, failed=f"not every model is recorded: {', '.join(failed)}" if failed else None)


def catch_up(file: ModelIdentity, *, ledger: str, patience_seconds: float | None = None) -> int:
    """Record what is missing of a model's log; return how many entries that was.

    :param ledger: Id of the ledger's connection.
    :param patience_seconds: Longest to wait for a ledger that is away; ``None``: as its connection says.
    """
    from airflow_model_ops.adapters.lineage.recorder import MlmdLedger
    from airflow_model_ops.control import recording
    from airflow_model_ops.hooks.mlmd import ledger_settings_of

    settings = ledger_settings_of(connection(ledger))
    if patience_seconds is not None:
        settings = replace(settings, retry_seconds=min(settings.retry_seconds, patience_seconds))
    repository = repository_of(connection(file.connections.repository))
    return recording.record(MlmdLedger(settings), repository, file.model)


def catch_up_aside(files: Mapping[str, ModelIdentity]) -> tuple[dict[str, int], dict[str, str]]:
    """Bring all ledgers up to the logs beside something more important; return what was recorded by model, and what failed.

    A ledger that is away is waited for once, briefly.
    """
    recorded: dict[str, int] = {}
    failed: dict[str, str] = {}
    away: dict[str, str] = {}
    for name, file in sorted(files.items()):
        ledger = file.connections.ledger
        if ledger is None or ledger in away:
            continue
        try:
            recorded[name] = catch_up(file, ledger=ledger, patience_seconds=_PATIENCE_SECONDS)
        except LedgerUnavailable as error:
            away[ledger] = str(error)
        except ModelOpsError as error:
            failed[name] = str(error)
    return recorded, {**failed, **away}


def _served(answer: ServedAt) -> dict[str, Any]:
    because = answer.because
    traffic = "changing" if answer.changing else "applied"
    return {
        "model": answer.model,
        "at": answer.at,
        "traffic": traffic if answer.split or answer.changing else "nothing served",
        "serves": shares({share.version: share.percent for share in answer.split}),
        "changing_to": shares({share.version: share.percent for share in answer.changing_to})
        if answer.changing
        else "",
        "confirmed_at": answer.confirmed_at,
        "because": f"{because.name}: {because.reason}" if because else None,
        "actor": because.actor if because else None,
        "run": dict(because.run) if because else {},
        "release": because.release if because else None,
        "evidence": because.evidence if because else None,
        "recorded": f"entry {answer.recorded}, {answer.recorded_at}" if answer.recorded else "nothing",
    }


def _doubt(answer: ServedAt) -> str | None:
    """Return what speaks against the answer, in words."""
    if not answer.contradicted:
        return None
    return (
        f"entries of the log whose times do not fit to this answer: {answer.contradicted}, since their writers' clocks differed; "
        f"look at `airflow model-ops history {answer.model}` around that moment"
    )


def _comes_from(ancestry: Ancestry) -> dict[str, Any]:
    version, pushed, pipeline, upstream = ancestry.version, ancestry.pushed, ancestry.pipeline, ancestry.upstream
    return {
        "model": ancestry.model,
        "version": version.version,
        "serving_number": version.serving_number,
        "digest": version.digest,
        "created": version.created,
        "pushed": f"{pushed.at} by {pushed.actor}" if pushed else "adopted, not pushed",
        "run": dict(pushed.run) if pushed else {},
        "source": dict(version.source),
        "dataset_version": ancestry.dataset_version,
        "hyperparameters": dict(version.hyperparameters),
        "metrics": dict(version.metrics),
        "pipeline": list(pipeline.pipelines) if pipeline else [],
        "pipeline_run": list(pipeline.runs) if pipeline else [],
        "trainer": list(pipeline.trainers) if pipeline else [],
        "examples": list(pipeline.examples) if pipeline else [],
        "made_by": list(pipeline.made_by) if pipeline else [],
        "upstream": [
            f"{artifact.type} {artifact.uri} (upstream:{upstream.connection}/{artifact.id})"
            for artifact in upstream.artifacts
        ]
        if upstream
        else [],
        "upstream_complete": version.upstream_fault or ("no" if upstream and not upstream.complete else "yes"),
    }


def _led_to(led_to: Descendants) -> dict[str, Any]:
    descendants = [f"{each.model}/{each.version} ({each.because})" for each in led_to.versions]
    newest = led_to.entries[0] if led_to.entries else None
    return {
        "descendants": [*descendants, *(["and more"] if led_to.more_versions else [])],
        "led_to": dict(sorted(led_to.counts.items())),
        "led_to_complete": "no: the newest only" if led_to.more_entries else "yes",
        "newest": f"{newest.at} {newest.name}: {newest.reason}" if newest else None,
    }


def _affected_row(model: AffectedModel, version: AffectedVersion) -> dict[str, Any]:
    live = [label for label, name in model.live.items() if name == version.version]
    return {
        "model": version.model,
        "version": version.version,
        "live": live,
        "because": version.because,
        "pushed_at": version.pushed_at,
        "way_out": _way_out(model) if live else "",
    }


def _way_out(model: AffectedModel) -> str:
    first = f"back to {model.target}" if model.move == Move.BACK else "none" if model.move == Move.STUCK else None
    return f"{first}: {model.why}" if first else model.why


def _affected(ref: ArtifactRef, ledgers: list[str], *, files: Mapping[str, ModelIdentity]) -> list[AffectedModel]:
    from airflow_model_ops.hooks.mlmd import affected_models

    return affected_models(
        ref,
        ledgers={each: _queries(each) for each in ledgers},
        ledger_of=lambda model: files[model].connections.ledger if model in files else None,
    )


def _figure(measured: Measured | None, *, for_people: bool) -> Any:
    if measured is None:
        return "-" if for_people else None
    if not for_people:
        return {key: value for key, value in asdict(measured).items() if value is not None}
    value = "-" if measured.value is None else f"{measured.value:.6g}"
    return value if measured.n is None else f"{value} ({measured.bad} of {measured.n})"


def _queries(conn_id: str) -> LedgerQueries:
    from airflow_model_ops.adapters.lineage.queries import LedgerQueries
    from airflow_model_ops.hooks.mlmd import ledger_settings_of

    return LedgerQueries(ledger_settings_of(connection(conn_id)))


def _ledger_of(args: Namespace) -> str:
    """Return the id of the ledger's connection: the one that was given, else the model's own."""
    if args.connection:
        return str(args.connection)
    ledger = way_back(args).connections.ledger
    if ledger is None:
        raise InvalidConfig(
            f"model {args.model!r} has no ledger; set connections.ledger in its YAML, or give --connection"
        )
    return ledger


def _ledgers(args: Namespace, files: Mapping[str, ModelIdentity]) -> list[str]:
    if args.connection:
        return [args.connection]
    ledgers = sorted({file.connections.ledger for file in files.values() if file.connections.ledger})
    if not ledgers:
        raise InvalidConfig("no model has a ledger; set connections.ledger in a YAML file, or give --connection")
    return ledgers


def _version_name(args: Namespace, text: str | None = None) -> str:
    """Return a version's name; a serving number takes the model's YAML file to be understood."""
    given = str(args.version if text is None else text)
    return way_back(args).naming().from_number(given).name if given.isdecimal() else given


def _lacking(args: Namespace, *, recorded: int) -> str | None:
    """Return what the model's log holds and the ledger does not, in words; ``None``: nothing, as far as can be told."""
    file = ways_back(args).get(args.model)
    return _lacks(file, recorded=recorded) if file else None


def _all_lacking(args: Namespace, files: Mapping[str, ModelIdentity]) -> Iterator[str]:
    """Yield the same for all models; one without a ledger cannot be looked at."""
    for name, file in sorted(files.items()):
        ledger = args.connection or file.connections.ledger
        if ledger is None:
            yield f"model {name!r} has no ledger: what its versions come from is not known"
            continue
        told = _lacks(file, recorded=_queries(ledger).latest(name).sequence)
        if told:
            yield told


def _lacks(file: ModelIdentity, *, recorded: int) -> str | None:
    try:
        last = repository_of(connection(file.connections.repository)).log(file.model).last()
    except (ModelOpsError, OSError) as error:
        return f"whether the ledger holds the whole log of model {file.model!r} is not known: {error}"
    missing = (last.sequence if last else 0) - recorded
    if missing <= 0:
        return None
    return f"the ledger lacks the newest {missing} entries of model {file.model!r}; run `airflow model-ops record {file.model}`"


def _joined(*parts: str | None) -> str | None:
    return "; ".join(part for part in parts if part) or None
