"""The TF Serving fleet behind a ``tf_serving`` connection."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseHook

from airflow_model_ops.config.fleet import FleetConfig, parse_fleet
from airflow_model_ops.core.checks import Check, CheckKind
from airflow_model_ops.core.errors import InvalidConfig, ModelOpsError

if TYPE_CHECKING:
    from airflow.sdk import Connection

    from airflow_model_ops.adapters.serving.envoy_spec import RouterSettings
    from airflow_model_ops.adapters.serving.tf_serving_servers import Replica, Servers
    from airflow_model_ops.adapters.serving.tf_serving_target import TfServingTarget
    from airflow_model_ops.core.ports import Repository


class TfServingHook(BaseHook):
    """Opens the fleet of a connection.

    :param tf_serving_conn_id: Id of a connection of type ``tf_serving``; its extra holds the fields of
        :class:`~airflow_model_ops.config.fleet.FleetConfig`.
    """

    conn_name_attr = "tf_serving_conn_id"
    default_conn_name = "tf_serving_default"
    conn_type = "tf_serving"
    hook_name = "TF Serving fleet"

    def __init__(self, tf_serving_conn_id: str = default_conn_name, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.tf_serving_conn_id = tf_serving_conn_id

    def get_config(self) -> FleetConfig:
        """Return the fleet's settings.

        :raises InvalidConfig: with every mistake.
        """
        return fleet_of(self.get_connection(self.tf_serving_conn_id))

    def test_connection(self) -> tuple[bool, str]:
        """Ask every server and every router, and check that the routers' directory can be written."""
        from airflow_model_ops.adapters.serving.tf_serving_client import ModelServiceClient

        try:
            config = self.get_config()
            router_of(config).check()
            for server in config.servers:
                with ModelServiceClient(f"{server.host}:{server.grpc}") as client:
                    client.status("-")
        except ModelOpsError as error:
            return False, str(error)
        return True, f"{len(config.servers)} model servers and {len(config.router_admin)} routers answer."


def require_tf_serving(connection: Connection) -> None:
    """Check that a connection is one of a TF Serving fleet, for what only such a fleet has.

    :raises InvalidConfig: if it is Google Cloud's.
    """
    if connection.conn_type == "google_cloud_platform":
        raise InvalidConfig(
            f"connection {connection.conn_id!r} is of Google Cloud; this command is for TF Serving fleets behind Envoy, and an "
            "endpoint of Vertex AI has neither model servers nor routers of yours: name a connection of type tf_serving"
        )


def fleet_of(connection: Connection) -> FleetConfig:
    """Return the settings that a connection holds."""
    return parse_fleet(connection.extra_dejson, source=f"connection {connection.conn_id!r}")


def router_settings(config: FleetConfig) -> RouterSettings:
    """Return what the fleet's routers are told."""
    from airflow_model_ops.adapters.serving.envoy_spec import RouterSettings

    if config.latency_buckets_ms is None:
        return RouterSettings(route_timeout_seconds=config.route_timeout)
    return RouterSettings(
        route_timeout_seconds=config.route_timeout, latency_buckets_ms=tuple(sorted(config.latency_buckets_ms))
    )


def check_latency_bounds(checks: Iterable[Check], *, config: FleetConfig | None) -> None:
    """Check that the fleet's routers can count what each latency check asks for.

    :param config: ``None``: a platform's endpoint, whose edges only its metrics tell; the source says then what is wrong.
    :raises InvalidConfig: naming each check whose bound is no edge of their histogram. A muted check decides nothing, so it
        is left alone.
    """
    if config is None:
        return
    edges = router_settings(config).latency_buckets_ms
    between = [
        f"{check.name!r} ({check.latency_bound_ms:g} ms)"
        for check in checks
        if check.kind is CheckKind.LATENCY and not check.muted and check.latency_bound_ms not in edges
    ]
    if between:
        raise InvalidConfig(
            f"the routers of fleet {config.fleet!r} cannot count for the latency checks {', '.join(between)}: set"
            f" latency_bound_ms to an edge of their histogram ({', '.join(f'{edge:g}' for edge in edges)}), or add the bound"
            " to latency_buckets_ms in the fleet's connection and start the routers with that"
        )


def router_of(config: FleetConfig) -> Any:
    """Return the fleet's router."""
    from airflow_model_ops.adapters.serving.envoy_router import EnvoyRouter

    return EnvoyRouter(
        config_dir=Path(config.router_config_dir),
        admin_urls=config.router_admin,
        settings=router_settings(config),
        log_paths=[Path(path) for path in config.router_log],
    )


def replicas_of(config: FleetConfig) -> list[Replica]:
    """Return the fleet's model servers."""
    from airflow_model_ops.adapters.serving.envoy_spec import Endpoint
    from airflow_model_ops.adapters.serving.tf_serving_servers import Replica

    return [
        Replica(grpc=f"{server.host}:{server.grpc}", rest=Endpoint(server.host, server.rest))
        for server in config.servers
    ]


def servers_of(config: FleetConfig, *, repository: Repository, root: str) -> Servers:
    """Return the fleet's model servers and the list they were last sent.

    :param root: The repository's root on this machine, for servers that see it under the same path.
    """
    from airflow_model_ops.adapters.serving.tf_serving_servers import Servers, ServerSettings

    settings = ServerSettings(models_root=config.models_root or root, declared_empty=config.initially == "empty")
    return Servers(store=repository.fleet(config.fleet), replicas=replicas_of(config), settings=settings)


def target_of(config: FleetConfig, *, repository: Repository, root: str) -> TfServingTarget:
    """Return the fleet as a target, its documents kept beside the repository's logs.

    :param root: The repository's root on this machine, for servers that see it under the same path.
    """
    from airflow_model_ops.adapters.serving.tf_serving_routes import FleetRoutes
    from airflow_model_ops.adapters.serving.tf_serving_target import TfServingTarget

    return TfServingTarget(
        servers=servers_of(config, repository=repository, root=root),
        routes=FleetRoutes(
            store=repository.fleet(config.fleet),
            router=router_of(config),
            rest={replica.grpc: replica.rest for replica in replicas_of(config)},
            confirm_seconds=5.0,
        ),
    )
