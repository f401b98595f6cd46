"""One model's controls from its YAML file and Airflow's connections: what operators, triggers and the command line share.

Fetching connections and building adapters are apart, because a trigger must fetch them asynchronously. Tests of DAGs put
a fleet of their own in the place of all connections, with :func:`standing_in`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowNotFoundException

from airflow_model_ops.config.fleet import FleetConfig
from airflow_model_ops.config.model_file import ConnectionsPart, ModelIdentity
from airflow_model_ops.control.clock import SystemClock
from airflow_model_ops.core.checks import Arm, Arms
from airflow_model_ops.core.errors import ConnectionUnavailable
from airflow_model_ops.core.log import Origin
from airflow_model_ops.core.ports import Clock, MetricSource, Repository, Target
from airflow_model_ops.core.state import ServingState
from airflow_model_ops.core.versioning import Version
from airflow_model_ops.hooks.repository import repository_of
from airflow_model_ops.hooks.tf_serving import fleet_of, target_of

if TYPE_CHECKING:
    from airflow.sdk import Connection

    from airflow_model_ops.control.apply import FleetApplier
    from airflow_model_ops.control.model_control import ModelControl
    from airflow_model_ops.control.upkeep import Upkeep


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetConnections:
    """The connections that a way back needs: no other system than these may stop one."""

    repository: Connection
    target: Connection


def fetch_connections(ids: ConnectionsPart) -> FleetConnections:
    """Fetch the connections of a model's repository and fleet.

    :raises ConnectionUnavailable: if there is no such connection, or Airflow does not answer.
    """
    return FleetConnections(repository=fetch_connection(ids.repository), target=fetch_connection(ids.target))


async def afetch_connections(ids: ConnectionsPart) -> FleetConnections:
    """Fetch the connections inside a trigger, whose loop must not block."""
    return FleetConnections(
        repository=await afetch_connection(ids.repository), target=await afetch_connection(ids.target)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """An opened repository and fleet."""

    repository: Repository
    target: Target
    config: FleetConfig
    clock: Clock = field(default_factory=SystemClock)

    def control(self, model: ModelIdentity, *, origin: Origin) -> ModelControl:
        """Return the controls of a model on this fleet."""
        from airflow_model_ops.control.model_control import ModelControl

        return ModelControl(
            model=model.model,
            naming=model.naming(),
            repository=self.repository,
            target=self.target,
            initial=ServingState(fleet=self.config.fleet, keep_warm=model.keep_warm),
            origin=origin,
            clock=self.clock,
        )

    def upkeep(self, *, origin: Origin) -> Upkeep:
        """Return what looks after all models of this fleet."""
        from airflow_model_ops.control.upkeep import Upkeep

        return Upkeep(
            repository=self.repository, target=self.target, fleet=self.config.fleet, clock=self.clock, origin=origin
        )

    def applier(self, *, origin: Origin) -> FleetApplier:
        """Return what applies the heads of all models of this fleet."""
        from airflow_model_ops.control.apply import FleetApplier

        return FleetApplier(
            repository=self.repository, target=self.target, fleet=self.config.fleet, clock=self.clock, origin=origin
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _StandIn:
    fleet: Fleet
    metrics: MetricSource | None


_stand_ins: list[_StandIn] = []


@contextmanager
def standing_in(fleet: Fleet, *, metrics: MetricSource | None = None) -> Iterator[None]:
    """Let every operator, sensor and trigger of this process act on ``fleet`` and ``metrics``, whatever its connections.

    For tests of DAGs, with the fakes of :mod:`airflow_model_ops.testing`.
    """
    _stand_ins.append(_StandIn(fleet=fleet, metrics=metrics))
    try:
        yield
    finally:
        _stand_ins.pop()


def open_fleet_of(ids: ConnectionsPart) -> Fleet:
    """Open the repository and the fleet of a model's connections.

    :raises ConnectionUnavailable: if there is no such connection, or Airflow does not answer.
    :raises InvalidConfig: if a connection is wrong.
    """
    return _stand_ins[-1].fleet if _stand_ins else open_fleet(fetch_connections(ids))


async def aopen_fleet_of(ids: ConnectionsPart) -> Fleet:
    """Open them inside a trigger, whose loop must not block."""
    if _stand_ins:
        return _stand_ins[-1].fleet
    return await asyncio.to_thread(open_fleet, await afetch_connections(ids))


def open_repository_of(ids: ConnectionsPart) -> Repository:
    """Open the repository of a model's connections alone, for those who only read the log.

    :raises ConnectionUnavailable: if there is no such connection, or Airflow does not answer.
    :raises InvalidConfig: if the connection is wrong.
    """
    return _stand_ins[-1].fleet.repository if _stand_ins else repository_of(fetch_connection(ids.repository))


async def aopen_repository_of(ids: ConnectionsPart) -> Repository:
    """Open it inside a trigger, whose loop must not block."""
    if _stand_ins:
        return _stand_ins[-1].fleet.repository
    return await asyncio.to_thread(repository_of, await afetch_connection(ids.repository))


def open_source_of(ids: ConnectionsPart) -> MetricSource:
    """Open the metric source of a model's connections.

    :raises ConnectionUnavailable: if there is no such connection, or Airflow does not answer.
    :raises InvalidConfig: if the connection is wrong.
    """
    from airflow_model_ops.hooks.prometheus import source_of

    stand_in = _stand_in_source()
    return source_of(fetch_connection(ids.metrics)) if stand_in is None else stand_in


async def aopen_source_of(ids: ConnectionsPart) -> MetricSource:
    """Open it inside a trigger, whose loop must not block."""
    from airflow_model_ops.hooks.prometheus import source_of

    stand_in = _stand_in_source()
    return await asyncio.to_thread(source_of, await afetch_connection(ids.metrics)) if stand_in is None else stand_in


def _stand_in_source() -> MetricSource | None:
    return _stand_ins[-1].metrics if _stand_ins else None


def fetch_connection(conn_id: str) -> Connection:
    """Fetch one connection.

    :raises ConnectionUnavailable: if there is no such connection, or Airflow does not answer.
    """
    try:
        return BaseHook.get_connection(conn_id)
    except AirflowNotFoundException:
        raise _unavailable(conn_id) from None


async def afetch_connection(conn_id: str) -> Connection:
    """Fetch one connection inside a trigger; see :func:`fetch_connection`."""
    try:
        return await BaseHook.aget_connection(conn_id)
    except AirflowNotFoundException:
        raise _unavailable(conn_id) from None


def _unavailable(conn_id: str) -> ConnectionUnavailable:
    """Airflow tells a connection that nobody defined and an API server in trouble with the same words."""
    return ConnectionUnavailable(
        f"connection {conn_id!r} is not defined, or Airflow's API server did not answer; create it in Airflow, or name "
        "another one in the model's YAML file; if it is there, look at the API server's log"
    )


def open_fleet(connections: FleetConnections) -> Fleet:
    """Build the adapters; touches no network yet.

    :raises InvalidConfig: if a connection is wrong.
    """
    repository = repository_of(connections.repository)
    config = fleet_of(connections.target)
    root = str(Path(connections.repository.extra_dejson["root"]).absolute())
    return Fleet(repository=repository, target=target_of(config, repository=repository, root=root), config=config)


def arm_of(model: str, version: Version) -> Arm:
    """Return how the metric source knows a version: its cluster in the router's metrics, its number and its name."""
    from airflow_model_ops.adapters.serving.envoy_spec import cluster_name

    cluster = cluster_name(model=model, number=version.number)
    return Arm(version_number=str(version.number), cluster=cluster, version_name=version.name)


def control_arm_of(model: str, version: Version) -> Arm:
    """Return how the metric source knows stable's second group: the same version, over its control cluster."""
    from airflow_model_ops.adapters.serving.envoy_spec import cluster_name

    cluster = cluster_name(model=model, number=version.number, control=True)
    return Arm(version_number=str(version.number), cluster=cluster, version_name=version.name)


def arms_of(model: str, canary: Version, stable: Version | None) -> Arms:
    """Return how the metric source knows the versions that are compared, and stable's second group."""
    return Arms(
        canary=arm_of(model, canary),
        stable=arm_of(model, stable) if stable else None,
        control=control_arm_of(model, stable) if stable else None,
    )


def guarded_arms_of(model: str, stable: Version) -> Arms:
    """Return how the metric source knows the stable version when it is looked at by itself, in its two groups."""
    return Arms(canary=arm_of(model, stable), control=control_arm_of(model, stable))
