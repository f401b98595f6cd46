"""One endpoint of Vertex AI as a target: it serves one model, so it is a fleet of its own.

A pass looks, shifts what may be shifted, and begins what is missing; it never waits for an operation. Uploads and
deployments take minutes, so whoever waits for them does it without a worker and repeats the pass.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace

from airflow_model_ops.adapters.serving import vertex_plan as planning
from airflow_model_ops.adapters.serving.vertex_book import Book
from airflow_model_ops.adapters.serving.vertex_clients import VertexClients
from airflow_model_ops.adapters.serving.vertex_deployments import Deployments
from airflow_model_ops.adapters.serving.vertex_names import deployment_id
from airflow_model_ops.adapters.serving.vertex_operations import Operations, Patience
from airflow_model_ops.adapters.serving.vertex_registry import ModelVersions, readable_uri
from airflow_model_ops.adapters.serving.vertex_seen import (
    GENERATION_LABEL,
    MEANWHILE_LABEL,
    EndpointSeen,
    Kind,
    RegistrySeen,
)
from airflow_model_ops.adapters.serving.vertex_settings import VertexSettings
from airflow_model_ops.adapters.serving.vertex_traffic import EndpointTraffic
from airflow_model_ops.core.errors import (
    EndpointMoved,
    EndpointNotFound,
    FleetNotAdopted,
    InvalidConfig,
    LoadFailed,
    ModelOpsError,
)
from airflow_model_ops.core.ports import FleetPlan, FleetStore, ModelPlan, Observed, Progress
from airflow_model_ops.core.versioning import Version

SERVER = "vertex"
"""What :attr:`Observed.loaded` calls the endpoint."""
_FRESH_SECONDS = 3.0
"""How long an answer about the generation is used again: several ask every second, and reads have a quota."""
_log = logging.getLogger(__name__)


class VertexAITarget:
    """The endpoint of one model. Callers hold the fleet lock during ``apply`` and ``unload``.

    :param store: What is kept of the fleet; holds the document of operations.
    :param uri_of: Where the repository has a version's files.
    :param root_uri: Where the repository is.
    :param now: Seconds since the epoch.
    """

    def __init__(
        self,
        *,
        settings: VertexSettings,
        clients: VertexClients,
        store: FleetStore,
        uri_of: Callable[[Version], str],
        root_uri: str,
        patience: Patience | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.settings = settings
        self._clients = clients
        self._uri_of = uri_of
        self._root_uri = root_uri
        self._traffic = EndpointTraffic(clients, settings)
        self._registry = ModelVersions(clients, settings)
        self._deployments = Deployments(clients, settings)
        self._operations = Operations(clients=clients, settings=settings, store=store, patience=patience, now=now)
        self._generation: tuple[float, int | None] | None = None

    @property
    def loads_slowly(self) -> bool:
        """Whether a load takes minutes: machines are started for each version."""
        return True

    def close(self) -> None:
        """Close the connections."""
        self._clients.close()

    def check(self) -> None:
        """Check that the endpoint answers, or may be made, and that Vertex AI can read the repository.

        :raises InvalidConfig: if the repository is not in Google Cloud Storage.
        :raises EndpointNotFound: if the endpoint is not there and not declared empty.
        """
        readable_uri(self._root_uri)
        if self._look() is None and not self.settings.declared_empty:
            raise self._missing()

    def apply(self, plan: FleetPlan, *, focus: frozenset[str]) -> Progress:
        """Make one pass: traffic first, then what is missing, then the aliases.

        :raises FleetNotAdopted: if others have traffic on the endpoint, or it is full of what we do not know.
        """
        model = self.settings.model
        failed: dict[str, Exception] = {other: self._wrong_model(other) for other in plan.models.keys() - {model}}
        wanted = plan.models.get(model)
        if wanted is None:
            return Progress(applied={}, failed=failed)
        endpoint = self._look()
        if endpoint is not None and model not in focus and endpoint.generation == wanted.generation:
            return Progress(applied={}, failed=failed)
        try:
            done = self._create(wanted) if endpoint is None else self._drive(wanted, endpoint)
        except ModelOpsError as error:
            if not error.retryable:
                raise
            _log.warning("pass over endpoint %s was cut short: %s", self.settings.endpoint, error)
            done = Progress(applied={}, pending={model: str(error)})
        return replace(done, failed={**failed, **done.failed})

    def unload(self, plan: FleetPlan) -> Mapping[str, frozenset[int]]:
        """Begin to undeploy what no plan spares and what has drained; return what is deployed or on its way.

        What others deployed is never touched.
        """
        wanted = plan.models.get(self.settings.model)
        if wanted is None:
            return {}
        endpoint = self._look()
        if endpoint is None:
            book = self._operations.poll(self._operations.book(), generation=wanted.generation)
            return {wanted.model: self._held(book, ())}
        book, endpoint = self._polled(wanted, self._operations.book(), endpoint)
        book = self._numbered(book, endpoint)
        for call in planning.surplus(wanted, endpoint, book, drain_seconds=self.settings.drain_seconds):
            if book.unanswered is None and self._may_begin(book, Kind.UNDEPLOY, call.version, wanted):
                _log.info("model=%s undeploying %s: %s", wanted.model, call.version, call.reason)
                book = self._operations.begin(
                    book,
                    Kind.UNDEPLOY,
                    call.version,
                    generation=wanted.generation,
                    call=lambda version=call.version: self._deployments.undeploy(version),  # type: ignore[misc]
                )
        return {wanted.model: self._held(book, endpoint.ours)}

    def observe(self, model: str) -> Observed:
        """Return what really serves of a model.

        Traffic of what others deployed stands in the split under its deployment id, below zero: no version has such a number.
        """
        endpoint = self._look() if model == self.settings.model else None
        if endpoint is None:
            return Observed(generation=None, split={}, loaded={SERVER: frozenset()})
        registry = self._registry.look()
        numbers = self._numbers(self._operations.book(), endpoint, registry)
        known = {deployment_id(name): number for name, number in numbers.items()}
        split = {known.get(id_, -int(id_)): float(percent) for id_, percent in endpoint.split.items()}
        serving = (name for name, deployment in endpoint.ours.items() if not deployment.without_replicas)
        return Observed(
            generation=endpoint.generation,
            split=split,
            loaded={SERVER: frozenset(numbers[name] for name in serving if name in numbers)},
            labels={
                alias: found.number
                for alias in planning.ALIASES
                if (found := registry.by_alias(alias)) is not None and found.number is not None
            },
        )

    def astray(self, plan: FleetPlan) -> Mapping[str, str]:
        """Say whether a version or an alias is missing, or somebody else changed the traffic."""
        wanted = plan.models.get(self.settings.model)
        if wanted is None:
            return {}
        book, endpoint = self._operations.book(), self._look()
        if endpoint is None:
            return {wanted.model: f"endpoint {self.settings.endpoint!r} is gone"}
        if _is_newer(endpoint, wanted):
            return {}
        why = planning.strays(wanted, endpoint, self._registry.look(), book, now=self._operations.now())
        return {wanted.model: "; ".join(why)} if why else {}

    def is_loaded(self, model: str, version: Version) -> bool:
        """Whether a version is deployed. Never raises."""
        if model != self.settings.model:
            return False
        try:
            endpoint = self._look()
            return endpoint is not None and version.name in planning.deployed(endpoint, self._operations.book())
        except (ModelOpsError, OSError) as error:
            _log.warning("model=%s whether %s is deployed is not known: %s", model, version, error)
            return False

    def document_generations(self) -> Mapping[str, int]:
        """Return the generation in the endpoint's label, a few seconds old at most."""
        known = self._generation
        if known is None or time.monotonic() - known[0] > _FRESH_SECONDS:
            self._look()
        generation = self._generation[1] if self._generation else None
        return {} if generation is None else {self.settings.model: generation}

    def _look(self) -> EndpointSeen | None:
        endpoint = self._traffic.look()
        self._generation = (time.monotonic(), endpoint.generation if endpoint else None)
        return endpoint

    def _held(self, book: Book, deployed: Collection[str]) -> frozenset[int]:
        """Return the numbers of what is deployed or under way: an upload reads the files as well."""
        held = {*deployed} | {name for _, name in book.running}
        return frozenset(book.numbers[name] for name in held if name in book.numbers)

    def _create(self, plan: ModelPlan) -> Progress:
        """Make the endpoint."""
        if not self.settings.declared_empty:
            raise self._missing()
        before = self._operations.book()
        book = self._operations.poll(before, generation=plan.generation)
        trouble = book.hindrance((Kind.CREATE, ""), generation=plan.generation, now=self._operations.now())
        if trouble is not None and trouble.fault.permanent:
            why = f"endpoint {self.settings.endpoint!r} cannot be made ({trouble.fault}); correct the model's target"
            return Progress(applied={}, failed={plan.model: LoadFailed(why)})
        if trouble is not None:
            again = max(0.0, trouble.until - self._operations.now())
            why = f"making endpoint {self.settings.endpoint!r} failed ({trouble.fault}); try {trouble.tries + 1} in {again:.0f} s"
            return Progress(applied={}, pending={plan.model: why})
        # What was being made when we looked may be there by now: only a look after that may find it missing.
        if not before.running and not book.running:
            self._operations.begin(
                book, Kind.CREATE, None, generation=plan.generation, call=self._deployments.create_endpoint
            )
        return Progress(applied={}, pending={plan.model: f"endpoint {self.settings.endpoint!r} is being made"})

    def _drive(self, plan: ModelPlan, endpoint: EndpointSeen) -> Progress:
        """Take an endpoint one pass towards the plan."""
        if _is_newer(endpoint, plan):
            why = (
                f"the endpoint follows generation {endpoint.newest}: the plan of {plan.generation} is late; if the model's log was "
                f"begun anew or restored, remove the labels {GENERATION_LABEL} and {MEANWHILE_LABEL} from the endpoint"
            )
            return Progress(applied={}, pending={plan.model: why})
        self._refuse_unknown(endpoint)
        book = self._operations.book()
        if any(book.runs(Kind.UNDEPLOY, version.name) for version in plan.needed):
            book, endpoint = self._polled(plan, book, endpoint)
        endpoint, applied = self._shifted(plan, endpoint, book)
        self._refuse_foreign_traffic(endpoint)
        try:
            book, again = self._polled(plan, book, endpoint)
            if not applied and again is not endpoint:
                endpoint, applied = self._shifted(plan, again, book)
            book = self._load(plan, again, book)
            if not applied:
                return self._unfinished(plan, again, book)
            self._mirror(plan, book)
        except ModelOpsError as error:
            if not applied:
                raise
            _log.warning("model=%s its traffic is applied, and the rest has to wait: %s", plan.model, error)
        return Progress(applied=applied)

    def _shifted(
        self, plan: ModelPlan, endpoint: EndpointSeen, book: Book
    ) -> tuple[EndpointSeen, dict[str, dict[str, float]]]:
        """Write the traffic that may be written now; return what is applied then."""
        decided = planning.traffic(plan, endpoint, book)
        if decided.shift is not None:
            _log.info("model=%s shifting: %s", plan.model, decided.shift.reason)
            endpoint = self._traffic.shift(decided.shift, seen=endpoint)
            self._generation = (time.monotonic(), endpoint.generation)
            if dict(endpoint.split) != dict(decided.shift.split):
                raise EndpointMoved(
                    f"endpoint {self.settings.endpoint!r} did not take the split; it is looked at again"
                )
        if not decided.follows:
            return endpoint, {}
        shares = {version.name: str(version.number) for version, _ in plan.state.split}
        return endpoint, {plan.model: {shares[name]: float(percent) for name, percent in endpoint.traffic.items()}}

    def _polled(self, plan: ModelPlan, book: Book, endpoint: EndpointSeen) -> tuple[Book, EndpointSeen]:
        """Ask for what is under way; look again if something has ended, which the look before may not have seen."""
        book = self._operations.done(book, planning.visible(endpoint, book))
        polled = self._operations.poll(book, generation=plan.generation)
        ended = book.running.keys() - polled.running.keys()
        return polled, (self._look() or endpoint) if ended else endpoint

    def _load(self, plan: ModelPlan, endpoint: EndpointSeen, book: Book) -> Book:
        """Begin what is missing, and cancel what is needed no longer."""
        for cancel in planning.needless(plan, book):
            book = self._operations.cancel(book, (cancel.kind, cancel.version), reason=cancel.reason)
        if all(version.name in endpoint.ours for version in plan.state.warm):
            return book
        registry = self._registry.look()
        for call in planning.loads(plan, endpoint, registry, book, now=self._operations.now()):
            if book.unanswered is not None:
                break
            kind = Kind.UPLOAD if isinstance(call, planning.Upload) else Kind.DEPLOY
            unheard = self._operations.unheard_upload(book) if kind is Kind.UPLOAD else None
            if unheard is not None:
                _log.warning("model=%s %s is not uploaded before %s ends", plan.model, call.version, unheard)
                continue
            _log.info("model=%s %s: %s", plan.model, type(call).__name__.lower(), call.reason)
            book = self._operations.begin(
                book,
                kind,
                call.version,
                generation=plan.generation,
                call=lambda call=call: self._begin_call(call, registry),  # type: ignore[misc]
            )
        return book

    def _begin_call(self, call: planning.Upload | planning.Deploy, registry: RegistrySeen) -> str:
        if isinstance(call, planning.Upload):
            return self._registry.upload(call.version, uri=self._uri_of(call.version), registry=registry)
        return self._deployments.deploy(call.version, registry_version=call.registry_version)

    def _mirror(self, plan: ModelPlan, book: Book) -> None:
        """Let the aliases follow the labels; one that somebody takes back at once is found by ``astray``."""
        moves = planning.aliases(plan, self._registry.look(), book)
        left = planning.aliases(plan, self._registry.move(moves), book) if moves else ()
        for move in left:
            _log.warning("model=%s alias %r is not where it was put: %s", plan.model, move.alias, move.reason)

    def _unfinished(self, plan: ModelPlan, endpoint: EndpointSeen, book: Book) -> Progress:
        now = self._operations.now()
        why = planning.waits_for(plan, endpoint, book, now=now) or "what it needs is deployed; the next pass shifts"
        failed = planning.failure(plan, endpoint, book, now=now)
        if failed is None:
            return Progress(applied={}, pending={plan.model: why})
        version, trouble = failed
        error = LoadFailed(
            f"Vertex AI could not {trouble.kind.value} version {version.name!r} of {plan.model!r} "
            f"({trouble.fault}); mend what it names (container_image, machine_type, service_account, or the model, pushed "
            "under a new version), then release it again"
        )
        return Progress(applied={}, pending={plan.model: why}, failed={plan.model: error})

    def _refuse_unknown(self, endpoint: EndpointSeen) -> None:
        """Refuse an endpoint that others use and that we never wrote, before anything is written."""
        known = endpoint.generation is not None or self.settings.declared_empty
        if endpoint.foreign and not known:
            names = ", ".join(deployment.name or deployment.id for deployment in endpoint.foreign)
            raise FleetNotAdopted(
                f"endpoint {self.settings.endpoint!r} was never applied by us and has {names} deployed; name an endpoint of "
                "the model's own, or undeploy them, or set `initially: empty` in its target if they may stay without traffic"
            )
        if endpoint.generation is None:
            self._refuse_foreign_traffic(endpoint)

    def _refuse_foreign_traffic(self, endpoint: EndpointSeen) -> None:
        if endpoint.foreign_traffic:
            shares = ", ".join(f"{id_} {percent} %" for id_, percent in endpoint.foreign_traffic.items())
            raise FleetNotAdopted(
                f"deployments of others get traffic on endpoint {self.settings.endpoint!r}: {shares}; only you may take it "
                "from them: give them 0 % on the endpoint, or name another endpoint in the model's target"
            )
        for deployment in endpoint.foreign:
            _log.info("endpoint %s also has %s (%s) of others", self.settings.endpoint, deployment.name, deployment.id)

    def _may_begin(self, book: Book, kind: Kind, version: Version, plan: ModelPlan) -> bool:
        key = (kind, version.name)
        return book.hindrance(key, generation=plan.generation, now=self._operations.now()) is None

    def _numbered(self, book: Book, endpoint: EndpointSeen) -> Book:
        """Return the book with the number of every deployment of ours, from the registry if the document was lost."""
        if endpoint.ours.keys() <= book.numbers.keys():
            return book
        return replace(book, numbers=self._numbers(book, endpoint, self._registry.look()))

    def _numbers(self, book: Book, endpoint: EndpointSeen, registry: RegistrySeen) -> dict[str, int]:
        by_id = {version.id: version.number for version in registry.versions if version.number is not None}
        told = {
            name: by_id[found.registry_version]
            for name, found in endpoint.ours.items()
            if found.registry_version in by_id
        }
        return {**told, **book.numbers}

    def _missing(self) -> EndpointNotFound:
        return EndpointNotFound(
            f"endpoint {self.settings.endpoint_name!r} is not there; make it, correct `endpoint` in the model's target, or "
            "set `initially: empty` there and it is made"
        )

    def _wrong_model(self, model: str) -> InvalidConfig:
        return InvalidConfig(
            f"model {model!r} is on the fleet of endpoint {self.settings.endpoint!r}, which serves {self.settings.model!r} "
            "alone; give each model an endpoint of its own"
        )


def _is_newer(endpoint: EndpointSeen, plan: ModelPlan) -> bool:
    return endpoint.newest > plan.generation
