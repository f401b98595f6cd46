"""The Model Registry: every version of a model is one version of one parent model there.

The registry gives versions ids of its own, ``1``, ``2``, ...; the alias ``v-...`` says which of ours each is. The aliases
``stable``, ``canary`` and ``golden`` mirror the labels. ``default`` is never sent, so it stays where a person put it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

from airflow_model_ops.adapters.serving.vertex_clients import VertexClients
from airflow_model_ops.adapters.serving.vertex_deployments import operation_name
from airflow_model_ops.adapters.serving.vertex_names import version_alias
from airflow_model_ops.adapters.serving.vertex_plan import MoveAlias
from airflow_model_ops.adapters.serving.vertex_seen import NUMBER_LABEL, RegistrySeen, RegistryVersion
from airflow_model_ops.adapters.serving.vertex_settings import VertexSettings
from airflow_model_ops.core.errors import EndpointNotFound, InvalidConfig
from airflow_model_ops.core.versioning import Version

_SERVES_ON = 8501
"""The REST port of the images with TensorFlow Serving."""
_log = logging.getLogger(__name__)


class ModelVersions:
    """The versions of one parent model."""

    def __init__(self, clients: VertexClients, settings: VertexSettings) -> None:
        self._clients = clients
        self._settings = settings

    def look(self) -> RegistrySeen:
        """Return all versions. Touches the network, once per page."""
        name = self._settings.registry_name
        doing = f"listing the versions of model {name!r}"
        request = {"name": name, "page_size": 100}
        versions: list[RegistryVersion] = []
        while True:
            try:
                page = self._clients.ask(doing, self._clients.models.list_model_versions, request)
            except EndpointNotFound:
                return RegistrySeen(exists=False)
            for found in page.models:
                told = found.labels.get(NUMBER_LABEL, "")
                versions.append(
                    RegistryVersion(
                        id=found.version_id,
                        aliases=frozenset(found.version_aliases),
                        number=int(told) if told.isdecimal() else None,
                    )
                )
            if not page.next_page_token:
                return RegistrySeen(exists=True, versions=tuple(versions))
            request = {**request, "page_token": page.next_page_token}

    def upload(self, version: Version, *, uri: str, registry: RegistrySeen) -> str:
        """Begin an upload, never waited for; return the operation's name.

        :raises InvalidConfig: if Vertex AI could not read the files.
        """
        settings = self._settings
        request = {
            "parent": settings.parent,
            **({"parent_model": settings.registry_name} if registry.exists else {"model_id": settings.registry_model}),
            "model": {
                "display_name": settings.model,
                "description": f"model {settings.model}, versions pushed by airflow-model-ops",
                "version_description": version.name,
                "version_aliases": [version_alias(version)],
                "labels": {NUMBER_LABEL: str(version.number)},
                "artifact_uri": readable_uri(uri),
                "container_spec": container_spec(settings),
            },
        }
        doing = f"uploading version {version.name!r} of {settings.model!r} from {uri}"
        return operation_name(self._clients.ask(doing, self._clients.models.upload_model, request))

    def move(self, calls: Iterable[MoveAlias]) -> RegistrySeen:
        """Take each alias from where it is, then give it, then look: that adding it moves it is promised nowhere.

        :return: The registry as it is then.
        """
        for call in calls:
            for holder in call.held_by:
                self._merge(holder, f"-{call.alias}")
            if call.to is not None:
                self._merge(call.to, call.alias)
            _log.info("model=%s alias=%s registry_version=%s", self._settings.model, call.alias, call.to)
        return self.look()

    def _merge(self, registry_version: str, alias: str) -> None:
        name = f"{self._settings.registry_name}@{registry_version}"
        self._clients.ask(
            f"changing the aliases of {name!r}",
            self._clients.models.merge_version_aliases,
            {"name": name, "version_aliases": [alias]},
        )


def readable_uri(uri: str) -> str:
    """Return an address unchanged if Vertex AI can read it.

    :raises InvalidConfig: if it is not in Google Cloud Storage.
    """
    if not uri.startswith("gs://"):
        raise InvalidConfig(
            f"Vertex AI reads models from Google Cloud Storage only, and {uri!r} is elsewhere; set root in the "
            "model_repository connection to gs://<bucket>/<prefix>"
        )
    return uri


def container_spec(settings: VertexSettings) -> dict[str, object]:
    """Return the container; Google's own images know their ports and paths, others of TF Serving are told."""
    spec: dict[str, object] = {"image_uri": settings.container_image}
    if "docker.pkg.dev/vertex-ai/" not in settings.container_image:
        model = settings.model
        spec |= {
            "ports": [{"container_port": _SERVES_ON}],
            "predict_route": f"/v1/models/{model}:predict",
            "health_route": f"/v1/models/{model}",
            "env": [{"name": "MODEL_NAME", "value": model}],
        }
    return spec
