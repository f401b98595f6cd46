"""One model's controls from its YAML file and Airflow's connections: what operators, triggers and the command line share.

Fetching connections and building adapters are apart, because a trigger must fetch them asynchronously. Tests of DAGs put
a fleet of their own in the place of all connections, with :func:`standing_in`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowNotFoundException

from airflow_model_ops.config.fleet import FleetConfig
from airflow_model_ops.config.fleet_place import FleetPlace
from airflow_model_ops.config.model_file import ConnectionsPart, ModelIdentity
from airflow_model_ops.control.clock import SystemClock
from airflow_model_ops.core.errors import ConnectionUnavailable, InvalidConfig
from airflow_model_ops.core.log import Origin
from airflow_model_ops.core.ports import Clock, MetricSource, Repository, Target
from airflow_model_ops.core.state import ServingState
from airflow_model_ops.hooks.repository import repository_of, served_root
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


def fetch_connections(place: FleetPlace) -> FleetConnections:
    """Fetch the connections of a fleet and its repository.

    :raises ConnectionUnavailable: if there is no such connection, or Airflow does not answer.
    """
    return FleetConnections(repository=fetch_connection(place.repository), target=fetch_connection(place.target))


async def afetch_connections(place: FleetPlace) -> FleetConnections:
    """Fetch the connections inside a trigger, whose loop must not block."""
    return FleetConnections(
        repository=await afetch_connection(place.repository), target=await afetch_connection(place.target)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """An opened repository and fleet.

    :param name: The fleet's name, under which its lock and its documents are kept beside the logs.
    :param config: The settings of a TF Serving fleet; ``None`` on Vertex AI.
    """

    name: str
    repository: Repository
    target: Target
    config: FleetConfig | None = None
    clock: Clock = field(default_factory=SystemClock)

    def control(self, model: ModelIdentity, *, origin: Origin) -> ModelControl:
        """Return the controls of a model on this fleet."""
        from airflow_model_ops.control.model_control import ModelControl

        return ModelControl(
            model=model.model,
            naming=model.naming(),
            repository=self.repository,
            target=self.target,
            initial=ServingState(fleet=self.name, keep_warm=model.keep_warm),
            origin=origin,
            clock=self.clock,
        )

    def upkeep(self, *, origin: Origin) -> Upkeep:
        """Return what looks after all models of this fleet."""
        from airflow_model_ops.control.upkeep import Upkeep

        return Upkeep(repository=self.repository, target=self.target, fleet=self.name, clock=self.clock, origin=origin)

    def applier(self, *, origin: Origin) -> FleetApplier:
        """Return what applies the heads of all models of this fleet."""
        from airflow_model_ops.control.apply import FleetApplier

        return FleetApplier(
            repository=self.repository, target=self.target, fleet=self.name, clock=self.clock, origin=origin
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


def open_fleet_of(place: FleetPlace) -> Fleet:
    """Open a fleet and its repository.

    :raises ConnectionUnavailable: if there is no such connection, or Airflow does not answer.
    :raises InvalidConfig: if a connection is wrong.
    """
    return _stand_ins[-1].fleet if _stand_ins else open_fleet(place, fetch_connections(place))


async def aopen_fleet_of(place: FleetPlace) -> Fleet:
    """Open them inside a trigger, whose loop must not block."""
    if _stand_ins:
        return _stand_ins[-1].fleet
    return await asyncio.to_thread(open_fleet, place, await afetch_connections(place))


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


def open_source_of(identity: ModelIdentity) -> MetricSource:
    """Open the metric source of a model.

    :raises ConnectionUnavailable: if there is no such connection, or Airflow does not answer.
    :raises InvalidConfig: if the connection is wrong.
    """
    stand_in = _stand_in_source()
    return stand_in or source_at(identity, fetch_connection(identity.metrics_connection))


async def aopen_source_of(identity: ModelIdentity) -> MetricSource:
    """Open it inside a trigger, whose loop must not block."""
    stand_in = _stand_in_source()
    if stand_in is not None:
        return stand_in
    return await asyncio.to_thread(source_at, identity, await afetch_connection(identity.metrics_connection))


def source_at(identity: ModelIdentity, connection: Connection) -> MetricSource:
    """Return the metric source behind a connection, whose type says which one it is.

    :raises InvalidConfig: if the connection is wrong, or Cloud Monitoring is asked about a fleet that is not on Vertex AI.
    """
    if connection.conn_type == "google_cloud_platform":
        from airflow_model_ops.hooks.cloud_monitoring import cloud_monitoring_source_of

        vertex = identity.target.vertex_ai
        if vertex is None:
            raise InvalidConfig(
                f"connections.metrics of model {identity.model!r} is {connection.conn_id!r}, of Google Cloud, where the metrics of "
                "Vertex AI's endpoints are; TF Serving's are in Prometheus: name a connection of type prometheus"
            )
        return cloud_monitoring_source_of(connection, vertex, model=identity.model)
    from airflow_model_ops.hooks.prometheus import source_of

    return source_of(connection)


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


def open_fleet(place: FleetPlace, connections: FleetConnections) -> Fleet:
    """Build the adapters; touches no network yet.

    :raises InvalidConfig: if a connection is wrong.
    """
    repository = repository_of(connections.repository)
    if place.vertex_ai is not None and place.model is not None:
        from airflow_model_ops.hooks.vertex_ai import vertex_target_of

        target = vertex_target_of(
            place.vertex_ai,
            connection=connections.target,
            repository=repository,
            model=place.model,
            fleet=place.shown,
        )
        return Fleet(name=place.shown, repository=repository, target=target)
    config = fleet_of(connections.target)
    root = served_root(connections.repository)
    target_ = target_of(config, repository=repository, root=root)
    return Fleet(name=config.fleet, repository=repository, target=target_, config=config)
