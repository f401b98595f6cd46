"""Questions to one Envoy's admin interface: which documents it took and what it serves.

An Envoy applies an update on its main thread, which also answers here, so an answer that names a version means that the
update is done there and queued, in order, for every worker thread.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import requests

from airflow_model_ops.adapters.serving.envoy_bootstrap import STAT_PREFIX
from airflow_model_ops.adapters.serving.envoy_documents import ROUTE_CONFIGURATION, Endpoint
from airflow_model_ops.core.errors import RouterUnreachable

CLUSTERS_SUBSCRIPTION = "cluster_manager.cds"
ROUTES_SUBSCRIPTION = f"http.{STAT_PREFIX}.rds.{ROUTE_CONFIGURATION}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """How far an Envoy is with one document.

    :param version: ``version_info`` of the last document it accepted; empty before the first.
    :param refused: how many documents it has refused since it started (rejected, or not readable).
    """

    version: str
    refused: int


class EnvoyAdmin:
    """The admin interface of one Envoy; may be used from several threads.

    :param url: for example ``http://127.0.0.1:9901``.
    :param timeout_seconds: longest to wait for one answer.
    """

    def __init__(self, url: str, *, timeout_seconds: float) -> None:
        self.url = url.rstrip("/")
        self._timeout_seconds = timeout_seconds
        self._local = threading.local()

    def subscription(self, name: str) -> Subscription:
        """Ask which version of a document was taken, and how many were refused.

        The statistic ``version_text`` and not ``/config_dump``: it names the newest accepted document also when that
        changed nothing but its generations, and costs a fraction.

        :raises RouterUnreachable: if there is no usable answer; so do all other questions.
        """
        wanted = rf"^{re.escape(name)}\.(version_text|update_rejected|update_failure)$"
        stats = self._stats(wanted)
        return Subscription(
            version=str(stats.get(f"{name}.version_text", "")),
            refused=int(stats.get(f"{name}.update_rejected", 0)) + int(stats.get(f"{name}.update_failure", 0)),
        )

    def active_endpoints(self, names: Iterable[str]) -> dict[str, set[Endpoint]]:
        """Ask which clusters are active (a warming one is not listed) and their resolved endpoints.

        An endpoint given by name is listed both by its name and by its address.
        """
        pattern = "^(" + "|".join(re.escape(name) for name in names) + ")$"
        answer = self._get("/clusters", params={"format": "json", "filter": pattern}).json()
        return {status["name"]: _host_endpoints(status) for status in answer.get("cluster_statuses", ())}

    def route_configuration(self) -> dict[str, Any]:
        """Ask for the routes in force; empty before the first ones."""
        answer = self._get("/config_dump", params={"resource": "dynamic_route_configs"}).json()
        for entry in answer.get("configs", ()):
            configuration: dict[str, Any] = entry["route_config"]
            if configuration.get("name") == ROUTE_CONFIGURATION:
                return configuration
        return {}

    def _stats(self, pattern: str) -> dict[str, Any]:
        answer = self._get("/stats", params={"format": "json", "filter": pattern}).json()
        return {stat["name"]: stat["value"] for stat in answer["stats"] if "name" in stat}

    def _get(self, path: str, *, params: dict[str, str]) -> requests.Response:
        try:
            response = self._session().get(f"{self.url}{path}", params=params, timeout=self._timeout_seconds)
            response.raise_for_status()
        except requests.RequestException as error:
            raise RouterUnreachable(
                f"router {self.url!r} did not answer on its admin interface ({error}); start it or correct the"
                " connection's admin URLs, then apply again: the documents are in place and it reads them when it starts"
            ) from error
        return response

    def _session(self) -> requests.Session:
        """One kept connection per thread; requests' sessions are not made for sharing."""
        session: requests.Session | None = getattr(self._local, "session", None)
        if session is None:
            session = self._local.session = requests.Session()
            session.trust_env = False  # an admin interface is near: no proxy, no .netrc to look up on each poll
        return session


def _host_endpoints(status: dict[str, Any]) -> set[Endpoint]:
    found = set()
    for host in status.get("host_statuses", ()):
        address = host["address"]["socket_address"]
        for name in {address["address"], host.get("hostname") or address["address"]}:
            found.add(Endpoint(host=name, port=address["port_value"]))
    return found
