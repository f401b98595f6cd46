"""Commands about verdicts: forecast a release, replay a past one, run a policy over recorded days."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import asdict
from typing import TYPE_CHECKING

from airflow_model_ops.cli_commands.output import Outcome
from airflow_model_ops.cli_commands.session import command, connection, opened, way_back
from airflow_model_ops.config.model_file import ModelFile
from airflow_model_ops.core.errors import InvalidConfig
from airflow_model_ops.hooks.prometheus import source_of
from airflow_model_ops.hooks.repository import repository_of
from airflow_model_ops.hooks.wiring import arms_of

if TYPE_CHECKING:
    from airflow_model_ops.control.model_control import ModelControl


@command
def forecast(args: Namespace) -> Outcome:
    """Say how long the checks would need by the present traffic, and what cannot be decided in time."""
    from airflow_model_ops.control.preflight import look_ahead

    file, control = _releasable(args)
    stable = control.state.stable
    if stable is None:
        raise InvalidConfig(f"model {file.model!r} has no stable version yet, so there is no traffic to forecast from")
    ahead = look_ahead(
        file.policy(),
        source=source_of(connection(file.connections.metrics)),
        arms=arms_of(file.model, stable, stable),
        now=control.clock.now(),
    )
    rows = [{"about": "forecast", "text": line} for line in ahead.lines]
    rows += [{"about": "problem", "text": problem} for problem in ahead.problems]
    failed = f"{len(ahead.problems)} checks cannot decide within the deadline" if ahead.problems else None
    return Outcome(rows=rows, failed=failed)


@command
def replay(args: Namespace) -> Outcome:
    """Judge a past release again from its kept evidence, or run the policy over recorded days of stable against itself."""
    if (args.release is None) == (args.days is None):
        raise InvalidConfig("give either a release, as history shows it, or --days")
    return _replay_release(args) if args.release is not None else _replay_days(args)


def _replay_release(args: Namespace) -> Outcome:
    from airflow_model_ops.control.replay import replay_release

    repository = repository_of(connection(way_back(args).connections.repository))
    verdicts = replay_release(repository, model=args.model, release=args.release)
    different = sum(not verdict.same for verdict in verdicts)
    failed = f"{different} of {len(verdicts)} verdicts do not follow from the kept evidence" if different else None
    return Outcome(rows=[asdict(verdict) for verdict in verdicts], failed=failed)


def _replay_days(args: Namespace) -> Outcome:
    from airflow_model_ops.control.replay import replay_history

    if args.days < 1:
        raise InvalidConfig(f"--days is {args.days}; give at least 1")
    file, control = _releasable(args)
    stable = control.state.stable
    if stable is None:
        raise InvalidConfig(f"model {file.model!r} has no stable version yet, so there is no history to replay")
    days = replay_history(
        file.policy(),
        source=source_of(connection(file.connections.metrics)),
        arms=arms_of(file.model, stable, stable),
        now=control.clock.now(),
        days=args.days,
    )
    wrong = sum(day.acted is not None for day in days)
    rows = [{**asdict(day), "acted": day.acted or "no"} for day in days]
    failed = f"the policy would have rolled back on {wrong} of {len(days)} days for nothing" if wrong else None
    return Outcome(rows=rows, failed=failed)


def _releasable(args: Namespace) -> tuple[ModelFile, ModelControl]:
    file, control = opened(args)
    if not isinstance(file, ModelFile):
        raise InvalidConfig(
            f"the YAML file of model {file.model!r} has mistakes, so it has no policy; correct it first"
        )
    return file, control
