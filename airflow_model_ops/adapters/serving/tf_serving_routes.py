"""The routers of a TF Serving fleet: what they route now, and the whole documents with some models changed."""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Iterable, Mapping

from airflow_model_ops.adapters.serving.envoy_documents import (
    ClusterSpec,
    Endpoint,
    ModelRoute,
    clusters_document,
    control_of,
    document_endpoints,
    document_generations,
    document_version,
    parse_cluster_name,
    routes_document,
    split_of,
)
from airflow_model_ops.adapters.serving.envoy_router import EnvoyRouter
from airflow_model_ops.core.errors import RouterRefused, RouterUnreachable
from airflow_model_ops.core.ports import FleetStore

_CLUSTERS_COPY, _ROUTES_COPY = "clusters.json", "routes.json"
_MIXED = -1
_URGENT_SECONDS = 1.0
"""How long a way back waits for clusters that were in place before it."""
_log = logging.getLogger(__name__)


class FleetRoutes:
    """Writes and confirms the routers' documents. A copy goes beside the logs first, which fails once the lock is lost.

    :param rest: REST endpoint of every server, by its gRPC address.
    :param confirm_seconds: Deadline of a confirmation by all routers.
    """

    def __init__(
        self, *, store: FleetStore, router: EnvoyRouter, rest: Mapping[str, Endpoint], confirm_seconds: float
    ) -> None:
        self._store = store
        self._router = router
        self.rest = dict(rest)
        self._confirm_seconds = confirm_seconds

    @property
    def drain_seconds(self) -> float:
        """The longest a request may still run on a cluster that gets no new ones."""
        return self._router.settings.route_timeout_seconds

    def check(self) -> None:
        """Check that every router answers.

        :raises RouterUnreachable: if one does not.
        :raises InvalidConfig: if the directory they watch cannot be written.
        """
        self._router.check()

    def observed_split(self, model: str) -> dict[int, float]:
        """Return the split that every router really has.

        :raises RouterRefused: if two differ.
        """
        return dict(self._router.observed_split().get(model, ()))

    def generations(self) -> dict[str, int]:
        """Return the generation of each model on disk; -1 where routes and clusters were derived from different ones."""
        documents = self._router.read_documents()
        routes = document_generations(documents.routes) if documents.routes else {}
        clusters = document_generations(documents.clusters) if documents.clusters else {}
        return {
            model: generation if clusters.get(model) == generation else _MIXED for model, generation in routes.items()
        }

    def cluster_generations(self) -> dict[str, int]:
        """Return the generation of each model in the clusters on disk."""
        clusters = self._router.read_documents().clusters
        return document_generations(clusters) if clusters else {}

    def routes(self) -> dict[str, ModelRoute]:
        """Return the routes on disk."""
        content = self._router.read_documents().routes
        if not content:
            return {}
        generations = document_generations(content)
        configuration = json.loads(content)["resources"][0]
        control = control_of(configuration)
        return {
            model: ModelRoute(
                model=model, generation=generations.get(model, 0), split=split, control=control.get(model, 0.0)
            )
            for model, split in split_of(configuration).items()
        }

    def clusters(self) -> dict[str, ClusterSpec]:
        """Return the versions' clusters and control clusters on disk, by name."""
        content = self._router.read_documents().clusters
        found = {}
        for name, endpoints in (document_endpoints(content) if content else {}).items():
            if "/" in name and endpoints:
                found[name] = ClusterSpec(**parse_cluster_name(name)._asdict(), endpoints=endpoints)
        return found

    def write_clusters(
        self,
        clusters: Iterable[ClusterSpec],
        *,
        generations: Mapping[str, int],
        wait_for: Collection[str],
        urgent: bool = False,
    ) -> bool:
        """Replace the clusters, wait until ``wait_for`` are active in every router, and say whether they are.

        :param urgent: Go on without the word of a router that is silent or does not take its clusters: it must not stop a
            way back on the others.
        """
        content = clusters_document(
            clusters, settings=self._router.settings, generations=generations, fleet=self.rest.values()
        )
        self._store.write(_CLUSTERS_COPY, content)
        self._router.write_clusters(content)
        return self._wait_clusters(wait_for, urgent=urgent, seconds=self._confirm_seconds)

    def look_for_clusters(self, names: Collection[str]) -> bool:
        """Wait a moment until clusters that are on disk are active in every router, before a way back; say if they are."""
        return self._wait_clusters(names, urgent=True, seconds=min(_URGENT_SECONDS, self._confirm_seconds))

    def _wait_clusters(self, names: Collection[str], *, urgent: bool, seconds: float) -> bool:
        try:
            self._router.wait_clusters_active(names, deadline_seconds=seconds, urgent=urgent)
        except (RouterUnreachable, RouterRefused) as error:
            if not urgent:
                raise
            _log.warning("the way back goes on without the word of a router: %s", error)
            return False
        return True

    def write_routes(self, routes: Iterable[ModelRoute]) -> None:
        """Replace the routes and wait until every router serves them.

        :raises RouterRefused: if a router did not take them.
        :raises RouterUnreachable: if one does not answer; the routes are written all the same.
        """
        content = routes_document(routes, settings=self._router.settings)
        self._store.write(_ROUTES_COPY, content)
        self._router.write_routes(content)
        self._router.wait_routes(document_version(content), deadline_seconds=self._confirm_seconds)
