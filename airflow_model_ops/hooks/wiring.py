"""One model's controls from its YAML file and Airflow's connections: what operators, triggers and the command line share.

Fetching connections and building adapters are apart, because a trigger must fetch them asynchronously.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from airflow.sdk import BaseHook

from airflow_model_ops.config.fleet import FleetConfig
from airflow_model_ops.config.model_file import ConnectionsPart, ModelFile
from airflow_model_ops.core.checks import Arm
from airflow_model_ops.core.log import Origin
from airflow_model_ops.core.state import ServingState
from airflow_model_ops.core.versioning import Version
from airflow_model_ops.hooks.repository import repository_of
from airflow_model_ops.hooks.tf_serving import fleet_of, target_of

if TYPE_CHECKING:
    from airflow.sdk import Connection

    from airflow_model_ops.adapters.repository.posix_repository import PosixRepository
    from airflow_model_ops.adapters.serving.tf_serving_target import TfServingTarget
    from airflow_model_ops.control.apply import FleetApplier
    from airflow_model_ops.control.model_control import ModelControl


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetConnections:
    """The connections that a way back needs: no other system than these may stop one."""

    repository: Connection
    target: Connection


def fetch_connections(ids: ConnectionsPart) -> FleetConnections:
    """Fetch the connections of a model's repository and fleet."""
    return FleetConnections(
        repository=BaseHook.get_connection(ids.repository), target=BaseHook.get_connection(ids.target)
    )


async def afetch_connections(ids: ConnectionsPart) -> FleetConnections:
    """Fetch the connections inside a trigger, whose loop must not block."""
    return FleetConnections(
        repository=await BaseHook.aget_connection(ids.repository), target=await BaseHook.aget_connection(ids.target)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """An opened repository and fleet."""

    repository: PosixRepository
    target: TfServingTarget
    config: FleetConfig

    def control(self, model: ModelFile, *, origin: Origin) -> ModelControl:
        """Return the controls of a model on this fleet."""
        from airflow_model_ops.control.model_control import ModelControl

        return ModelControl(
            model=model.model,
            naming=model.naming(),
            repository=self.repository,
            target=self.target,
            initial=ServingState(fleet=self.config.fleet, keep_warm=model.keep_warm),
            origin=origin,
        )

    def applier(self, *, origin: Origin) -> FleetApplier:
        """Return what applies the heads of all models of this fleet."""
        from airflow_model_ops.control.apply import FleetApplier
        from airflow_model_ops.control.clock import SystemClock

        return FleetApplier(
            repository=self.repository, target=self.target, fleet=self.config.fleet, clock=SystemClock(), origin=origin
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
