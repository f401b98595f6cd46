"""Commands about verdicts: forecast a release, replay a past one, run a policy over recorded days."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import asdict
from typing import TYPE_CHECKING

from airflow_model_ops.cli_commands.output import Outcome
from airflow_model_ops.cli_commands.session import command, connection, fleet_at, person, way_back
from airflow_model_ops.config.model_file import ModelFile
from airflow_model_ops.core.errors import InvalidConfig
from airflow_model_ops.core.judge.forecast import duration
from airflow_model_ops.hooks.arms import arms_at
from airflow_model_ops.hooks.repository import repository_of
from airflow_model_ops.hooks.tf_serving import check_latency_bounds
from airflow_model_ops.hooks.wiring import source_at

if TYPE_CHECKING:
    from airflow_model_ops.control.model_control import ModelControl
    from airflow_model_ops.control.past_days import ReplayedDay
    from airflow_model_ops.core.ports import MetricSource
    from airflow_model_ops.core.versioning import Version


@command
def forecast(args: Namespace) -> Outcome:
    """Say how long the checks would need by the present traffic, and what cannot be decided in time."""
    from airflow_model_ops.control.heads import read_head
    from airflow_model_ops.control.preflight import StableShare, look_ahead

    file, control, stable = _serving(args)
    policy = file.policy()
    ahead = look_ahead(
        policy,
        source=_source(file),
        arms=arms_at(file).compared(file.model, stable, stable),
        now=control.clock.now(),
        stable_share=StableShare.of(read_head(control.repository.log(file.model))),
    )
    rows = [{"about": "forecast", "text": line} for line in ahead.lines]
    rows += [{"about": "problem", "text": problem} for problem in ahead.problems]
    deadline = f"within canary.deadline of {duration(policy.deadline_seconds)}"
    if ahead.problems:
        return Outcome(rows=rows, failed=f"this policy cannot be decided {deadline}: {'; '.join(ahead.problems)}")
    if not ahead.forecasts:
        return Outcome(rows=rows, failed=f"nothing can be forecast: {'; '.join(ahead.unknown.values()) or _NO_COUNTS}")
    return Outcome(rows=rows, note=f"everything that could be forecast is decided {deadline}")


@command
def replay(args: Namespace) -> Outcome:
    """Judge a past release again from its kept evidence, or run the policy over recorded days of stable against itself."""
    if (args.release is None) == (args.days is None):
        raise InvalidConfig("give either a release, as history shows it, or --days")
    return _replay_release(args) if args.release is not None else _replay_days(args)


_NO_COUNTS = "no check counts requests or predictions"


def _replay_release(args: Namespace) -> Outcome:
    from airflow_model_ops.control.replay import replay_release

    repository = repository_of(connection(way_back(args).connections.repository))
    verdicts = replay_release(repository, model=args.model, release=args.release)
    rows = [asdict(verdict) for verdict in verdicts]
    different = [verdict for verdict in verdicts if not verdict.same]
    if different:
        told = "; ".join(f"entry {verdict.entry}: {verdict.differs}" for verdict in different)
        failed = f"{len(different)} of {len(verdicts)} verdicts do not follow from the kept evidence, by which {told}"
        return Outcome(rows=rows, failed=failed)
    return Outcome(
        rows=rows, note=f"{len(verdicts)} of {len(verdicts)} verdicts follow from the kept evidence, bit for bit"
    )


def _replay_days(args: Namespace) -> Outcome:
    from airflow_model_ops.control.past_days import replay_history

    file, control, stable = _serving(args)
    if file.target.vertex_ai is not None:
        raise InvalidConfig(
            f"model {file.model!r} is on Vertex AI, where stable has no second group to compare it with; replay a "
            "release instead, or ask for a forecast"
        )
    arms = arms_at(file).compared(file.model, stable, stable)
    days = tuple(
        replay_history(file.policy(), source=_source(file), arms=arms, now=control.clock.now(), days=args.days)
    )
    judged, wrong = (sum(day.has_data for day in days), sum(day.rolled_back for day in days))
    rows = [{**asdict(day), "rolled_back": _told(day)} for day in days]
    if not judged:
        return Outcome(
            rows=rows, failed=f"none of the {len(days)} days has data of stable's two groups; nothing was judged"
        )
    blank = f"; {len(days) - judged} more without data tell nothing" if judged < len(days) else ""
    told = f"the policy would have rolled back {stable.name} for nothing on {wrong} of {judged} days{blank}"
    return Outcome(rows=rows, failed=told) if wrong else Outcome(rows=rows, note=told)


def _told(day: ReplayedDay) -> str:
    if not day.has_data:
        return "no data"
    return "yes" if day.rolled_back else "no"


def _serving(args: Namespace) -> tuple[ModelFile, ModelControl, Version]:
    """Return the model's file, its controls and its stable version, whose traffic is looked at."""
    file = way_back(args)
    if not isinstance(file, ModelFile):
        raise InvalidConfig(
            f"the YAML file of model {file.model!r} has mistakes, so it has no policy; correct it first"
        )
    fleet = fleet_at(file.place)
    check_latency_bounds(file.policy().checks, config=fleet.config)
    control = fleet.control(file, origin=person())
    stable = control.state.stable
    if stable is None:
        raise InvalidConfig(f"model {file.model!r} has no stable version yet, so there is no traffic to look at")
    return file, control, stable


def _source(file: ModelFile) -> MetricSource:
    return source_at(file, connection(file.metrics_connection))
