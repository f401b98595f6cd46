"""Taking over a TF Serving fleet that serves already: asks its servers, and writes the list from which all later ones grow.

Nothing is sent here. The list names every version that is available now, under the repository's base path, and every
model of others verbatim; so the first list that is sent, and each one after it, unloads nothing that serves.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from airflow_model_ops.adapters.serving import tf_serving_inventory as inventory
from airflow_model_ops.adapters.serving import tf_serving_plan as planning
from airflow_model_ops.adapters.serving.tf_serving_config import model_server_config_text
from airflow_model_ops.adapters.serving.tf_serving_plan import ServingDocument
from airflow_model_ops.adapters.serving.tf_serving_servers import (
    ADOPTED_MARK,
    SERVING_DOCUMENT,
    STARTUP_CONFIG,
    Servers,
)
from airflow_model_ops.core.errors import ServerUnreachable
from airflow_model_ops.core.ports import FleetStore, FoundModel


class TfServingAdoption:
    """A fleet of TF Serving replicas that is taken over.

    :param models_root: The repository's root as the servers see it.
    :param config_text: The content of the servers' ``--model_config_file``.
    :param directories_at: Returns number to directory, here or in a bucket, of a base path of the servers.
    """

    def __init__(
        self,
        *,
        store: FleetStore,
        servers: Servers,
        models_root: str,
        config_text: str,
        directories_at: Callable[[str], Mapping[int, str]],
    ) -> None:
        self._store = store
        self._servers = servers
        self._models_root = models_root
        self._configured = inventory.configured_models(config_text)
        self._directories_at = directories_at

    def find(self) -> tuple[FoundModel, ...]:
        """Return every model of the configuration file, sorted by name.

        :raises ServerUnreachable: if a server does not answer: what it serves would stay unknown.
        """
        self._servers.check()
        former = self._present()
        statuses = self._servers.statuses(model.name for model in self._configured)
        silent = sorted({server for known in statuses.values() for server, answer in known.items() if answer is None})
        if silent:
            raise ServerUnreachable(
                f"model server {silent[0]!r} does not say what it serves; adopt when all servers answer"
            )
        return tuple(
            inventory.found_model(
                model,
                statuses=statuses[model.name],
                resolved=self._servers.resolved_labels(model.name, inventory.labels_of(model, former)),
                directories=self._directories_at(model.base_path),
                former=former,
            )
            for model in self._configured
        )

    def keep(self, ours: Mapping[str, FoundModel]) -> tuple[str, ...]:
        """Keep the list of all models beside the logs; return the names of the foreign ones. Callers hold the lock."""
        document = inventory.adopted_document(self._present(), configured=self._configured, ours=ours)
        bare = planning.served_models(document, models_root=self._models_root, statuses={})
        text = model_server_config_text(bare, with_labels=False, foreign=document.foreign)
        self._store.write(SERVING_DOCUMENT, document.to_bytes())
        self._store.write(STARTUP_CONFIG, text.encode())
        return planning.foreign_names(document)

    def mark_adopted(self, note: Mapping[str, Any]) -> None:
        """Mark the fleet as adopted; the note says when and by whom."""
        self._store.write(ADOPTED_MARK, json.dumps(dict(note), indent=1, sort_keys=True).encode())

    def _present(self) -> ServingDocument:
        return ServingDocument.from_bytes(self._store.read(SERVING_DOCUMENT))
