"""The model servers of a fleet as one: asked all at once, told the whole list, the silent ones named."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from airflow_model_ops.adapters.serving import tf_serving_plan as planning
from airflow_model_ops.adapters.serving.envoy_spec import Endpoint
from airflow_model_ops.adapters.serving.tf_serving_client import (
    LoadState,
    ModelServiceClient,
    VersionStatus,
    model_server_config_text,
)
from airflow_model_ops.adapters.serving.tf_serving_plan import ServingDocument, Statuses
from airflow_model_ops.adapters.serving.tf_serving_reloads import UnansweredReloads, is_done
from airflow_model_ops.core.errors import (
    FleetBusy,
    FleetNotAdopted,
    LoadFailed,
    ServerRefused,
    ServerUnreachable,
    ServerWedged,
)
from airflow_model_ops.core.ports import FleetStore

SERVING_DOCUMENT = "serving.json"
STARTUP_CONFIG = "models.config"
"""The list in text format, for ``--model_config_file`` of a server that starts fresh; without labels, which TF Serving
refuses at its start."""
ADOPTED_MARK = "adopted.json"

_T = TypeVar("_T")
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Replica:
    """One model server.

    :param grpc: ``host:port`` of its gRPC port.
    :param rest: Its REST endpoint, as the router reaches it.
    """

    grpc: str
    rest: Endpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """How to treat the servers of one fleet; all times in seconds.

    :param models_root: The repository's root as the servers see it.
    :param declared_empty: Whether the fleet is known to have served nothing before us, so that it needs no adoption.
    :param reload_seconds: How long a pass waits for the answer to a reload. One that brings a new model is answered when
        that is loaded, so passes poll for it: under the fleet lock nobody waits for a load or for a server that hangs.
    """

    models_root: str
    declared_empty: bool = False
    status_seconds: float = 2.0
    reload_seconds: float = 1.0


class Servers:
    """The replicas of one fleet and the list they were last sent."""

    def __init__(self, *, store: FleetStore, replicas: Sequence[Replica], settings: ServerSettings) -> None:
        self._store = store
        self._settings = settings
        self._unanswered = UnansweredReloads(store)
        self.may_follow_a_stale_list = False
        """Whether a list of ours may have come after a newer one, which no status shows yet: it must be sent again."""
        self._clients = {
            replica.grpc: ModelServiceClient(replica.grpc, timeout_seconds=settings.status_seconds)
            for replica in replicas
        }

    def close(self) -> None:
        """Close the connections."""
        for client in self._clients.values():
            client.close()

    def check(self) -> None:
        """Check that every server answers.

        :raises ServerUnreachable: naming the first that does not.
        """
        for client in self._clients.values():
            client.status("-")

    def document(self) -> ServingDocument:
        """Return the list last sent.

        :raises FleetNotAdopted: if nothing was ever sent and the fleet is neither adopted nor declared empty.
        """
        content = self._store.read(SERVING_DOCUMENT)
        if content is None and not self._settings.declared_empty and self._store.read(ADOPTED_MARK) is None:
            raise FleetNotAdopted(
                "this fleet was never applied by us and may serve models that a full list would unload; run "
                "`airflow model-ops adopt`, or set `initially: empty` in the fleet's settings if it serves nothing"
            )
        return ServingDocument.from_bytes(content)

    def statuses(self, models: Iterable[str]) -> dict[str, Statuses]:
        """Return what each server says of each model."""
        names = sorted(set(models))
        known = self._ask(lambda client: {model: client.status(model) for model in names})
        return {
            model: {server: answer[model] if answer is not None else None for server, answer in known.items()}
            for model in names
        }

    def resolved_labels(self, model: str, labels: Iterable[str]) -> dict[str, dict[str, int | None] | None]:
        """Return per server what each label resolves to; ``None`` for a server that does not answer."""
        wanted = sorted(labels)
        if not wanted:
            return {}
        return self._ask(lambda client: {label: client.resolve_label(model, label) for label in wanted})

    def strays(self, model: str, wanted: Mapping[str, Mapping[str, int]]) -> list[str]:
        """Return the servers that resolve a label otherwise than wanted; silent ones are not among them.

        :param wanted: Per server to ask: label to number.
        """

        def asked(server: str) -> bool:
            client, labels = self._clients[server], wanted[server]
            return any(client.resolve_label(model, label) != number for label, number in labels.items())

        return sorted(server for server, astray in self._each(asked, wanted).items() if astray)

    def send(
        self,
        document: ServingDocument,
        *,
        statuses: Mapping[str, Statuses],
        servers: Collection[str] | None = None,
    ) -> None:
        """Keep the document and send it: kept first, so that a killed worker's successor knows what may be loaded.

        :param statuses: What the servers said of models that may have lost versions; labels are fitted to it.
        :param servers: Only these; ``None``: all. A server that does not answer is left for a later pass.
        :raises ServerRefused: if a server refused the list.
        :raises FleetBusy: if the fleet lock was lost meanwhile: the list may have come after a newer one.
        """
        self.keep(document)
        busy = self._busy()
        chosen = [server for server in self._clients if (servers is None or server in servers) and server not in busy]
        answered = _parallel(lambda server: self._reload(server, document, statuses=statuses), chosen)
        try:
            self._unanswered.update(
                answered={server for server, word in answered.items() if word},
                silent={server: document.models for server, word in answered.items() if not word},
            )
            self._store.write(SERVING_DOCUMENT, document.to_bytes())
        except FleetBusy:
            self.may_follow_a_stale_list = True
            raise
        if servers is None:
            self.may_follow_a_stale_list = False

    def _busy(self) -> frozenset[str]:
        """Return the servers that still work on a reload or hang in it."""
        waiting = self._unanswered.waiting()
        if not waiting:
            return frozenset()
        known = self.statuses({model for models in waiting.values() for model in models})
        return frozenset(
            server
            for server, models in waiting.items()
            if not is_done(known[model].get(server) or {} for model in models)
        )

    def _reload(self, server: str, document: ServingDocument, *, statuses: Mapping[str, Statuses]) -> bool:
        """Send the list to one server; return whether it answered."""
        try:
            try:
                self._reload_once(server, document, statuses=statuses)
            except ServerRefused as refusal:
                # Most often a restarted server has lost a version that a label of another model points to.
                _log.warning("%s; asking what it has of every model and trying once more", refusal)
                self._reload_once(server, document, statuses=self.statuses(document.models))
        except LoadFailed as error:  # shows in the statuses too, and concerns that model alone
            _log.warning("%s", error)
        except ServerUnreachable as error:
            _log.info("%s", error)
            return not isinstance(error, ServerWedged)
        return True

    def _reload_once(self, server: str, document: ServingDocument, *, statuses: Mapping[str, Statuses]) -> None:
        known = {model: by_server[server] or {} for model, by_server in statuses.items() if server in by_server}
        models = planning.served_models(document, models_root=self._settings.models_root, statuses=known)
        self._clients[server].reload(
            models, timeout_seconds=self._settings.reload_seconds, allow_empty=True, foreign=document.foreign
        )

    def keep(self, document: ServingDocument) -> None:
        """Replace the stored list without sending it."""
        self._store.write(SERVING_DOCUMENT, document.to_bytes())
        bare = planning.served_models(document, models_root=self._settings.models_root, statuses={})
        text = model_server_config_text(bare, with_labels=False, foreign=document.foreign)
        self._store.write(STARTUP_CONFIG, text.encode())

    def _ask(self, question: Callable[[ModelServiceClient], _T]) -> dict[str, _T | None]:
        return self._each(lambda server: question(self._clients[server]), self._clients)

    def _each(self, question: Callable[[str], _T], servers: Collection[str]) -> dict[str, _T | None]:
        def one(server: str) -> _T | None:
            try:
                return question(server)
            except (ServerUnreachable, ServerRefused) as error:
                # An error instead of an answer is silence too: a way back must not hang on one sick server.
                _log.warning("%s", error)
                return None

        return _parallel(one, servers)


def available(statuses: Mapping[int, VersionStatus]) -> frozenset[int]:
    """Return the versions that a server can answer with."""
    return frozenset(number for number, status in statuses.items() if status.state is LoadState.AVAILABLE)


def _parallel(work: Callable[[str], _T], servers: Collection[str]) -> dict[str, _T]:
    if len(servers) <= 1:
        return {server: work(server) for server in servers}
    with ThreadPoolExecutor(max_workers=min(16, len(servers))) as pool:
        return dict(zip(servers, pool.map(work, servers), strict=True))
