"""The Vertex AI endpoint of one model behind a ``google_cloud_platform`` connection.

The connection type and its ways to log in (key file, key as JSON, application default credentials, impersonation, none) are
those of Airflow's Google provider. Its Vertex AI hooks are not used: they know no address but the location's own, send no
etag, and import the high-level SDK.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_model_ops.core.errors import InvalidConfig

if TYPE_CHECKING:
    from airflow.sdk import Connection

    from airflow_model_ops.adapters.serving.vertex_clients import VertexAccess
    from airflow_model_ops.adapters.serving.vertex_settings import VertexSettings
    from airflow_model_ops.adapters.serving.vertex_target import VertexAITarget
    from airflow_model_ops.config.target_part import VertexPart
    from airflow_model_ops.core.ports import Repository

CONN_TYPE = "google_cloud_platform"


def vertex_target_of(
    part: VertexPart, connection: Connection, repository: Repository, model: str, *, fleet: str | None = None
) -> VertexAITarget:
    """Return the endpoint of a model as a target; touches no network yet.

    :param part: ``target.vertex_ai`` of the model's file.
    :param connection: The connection it names, fetched already: in a trigger that must not happen here.
    :param fleet: Name of the fleet; ``None``: the one that the part gives it.
    :raises InvalidConfig: if the connection or the part is wrong.
    """
    from airflow_model_ops.adapters.serving.vertex_clients import VertexClients
    from airflow_model_ops.adapters.serving.vertex_target import VertexAITarget

    return VertexAITarget(
        settings=vertex_settings_of(part, connection, model),
        clients=VertexClients(vertex_access_of(connection, location=part.location)),
        store=repository.fleet(fleet or part.fleet_of(model)),
        uri_of=lambda version: repository.version_uri(model, version),
        root_uri=repository.uri,
    )


def vertex_settings_of(part: VertexPart, connection: Connection, model: str) -> VertexSettings:
    """Return what the target is told.

    :raises InvalidConfig: if neither the part nor the connection names a project.
    """
    from airflow_model_ops.adapters.serving.vertex_settings import DEFAULT_IMAGE, VertexSettings

    return VertexSettings(
        project=project_of(connection, given=part.project),
        location=part.location,
        model=model,
        registry_model=part.registry_model_of(model),
        endpoint=part.endpoint_of(model),
        container_image=part.container_image or DEFAULT_IMAGE,
        machine_type=part.machine_type,
        min_replicas=part.min_replicas,
        max_replicas=part.max_replicas,
        accelerator_type=part.accelerator_type,
        accelerator_count=part.accelerator_count,
        service_account=part.service_account,
        declared_empty=part.initially == "empty",
        drain_seconds=part.drain,
    )


def project_of(connection: Connection, *, given: str | None = None) -> str:
    """Return the Google Cloud project: the given one, the connection's ``project``, or that of its key.

    :raises InvalidConfig: if the connection is of another type, or none is named. Default credentials are not asked: that
        takes seconds, and answers differ between machines, which would be different endpoints.
    """
    _check_type(connection)
    extra = connection.extra_dejson
    named = given or _field(extra, "project") or _key(extra).get("project_id")
    if not named:
        raise InvalidConfig(
            f"connection {connection.conn_id!r} names no Google Cloud project; set `Project Id` in its form, or "
            "target.vertex_ai.project in the model's file"
        )
    return str(named)


def vertex_access_of(connection: Connection, *, location: str) -> VertexAccess:
    """Return how Vertex AI is reached: the connection's extra ``api_endpoint`` and ``api_transport`` may say otherwise.

    :raises InvalidConfig: if the connection is of another type, or what it says makes no sense.
    """
    from airflow_model_ops.adapters.serving.vertex_clients import VertexAccess

    _check_type(connection)
    extra = connection.extra_dejson
    transport, address = str(_field(extra, "api_transport") or "grpc"), _field(extra, "api_endpoint")
    return VertexAccess(
        location=location,
        credentials=lambda: credentials_of(connection),
        api_endpoint=None if address is None else str(address),
        transport=transport,
    )


def credentials_of(connection: Connection) -> Any:
    """Return the credentials of a connection, in each of the Google provider's ways; may touch the network.

    :raises InvalidConfig: if the connection's fields contradict one another or hold no key.
    """
    from airflow.providers.google.common.hooks.base_google import GoogleBaseHook
    from airflow.sdk.exceptions import AirflowException

    class FetchedHook(GoogleBaseHook):
        """The provider's hook over a connection that is here already: a second request would block a trigger's loop."""

        def get_connection(self, conn_id: str) -> Connection:  # type: ignore[override]  # noqa: ARG002
            return connection

    try:
        return FetchedHook(gcp_conn_id=connection.conn_id).get_credentials()
    except (AirflowException, FileNotFoundError, PermissionError, ValueError) as error:
        raise InvalidConfig(
            f"connection {connection.conn_id!r} gives no credentials ({error}); correct its key, or leave all of "
            "Keyfile Path, Keyfile JSON and Credential Configuration File empty for application default credentials"
        ) from error


def _check_type(connection: Connection) -> None:
    if connection.conn_type not in (CONN_TYPE, None):
        raise InvalidConfig(
            f"connection {connection.conn_id!r} is of type {connection.conn_type!r}; target.vertex_ai.connection must name "
            f"one of type {CONN_TYPE}"
        )


def _field(extra: dict[str, Any], name: str) -> Any:
    """Return a field of the extra, which older forms wrote under a longer name."""
    value = extra.get(name, extra.get(f"extra__{CONN_TYPE}__{name}"))
    return value or None


def _key(extra: dict[str, Any]) -> dict[str, Any]:
    """Return the key that the connection holds as JSON."""
    import json

    value = _field(extra, "keyfile_dict")
    try:
        read = json.loads(value) if isinstance(value, str) else value
    except ValueError:
        return {}  # credentials_of says so
    return read if isinstance(read, dict) else {}
