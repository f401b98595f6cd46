"""TensorFlow Serving replicas behind Envoy as a target: loads, labels and shifts, in the order that fails no request.

Up: listed, loaded, available on every server, cluster active in every Envoy, label, shift. Down (``unload``): shift
confirmed, drained for at least the route's time-out, cluster, label and version. A way back (abort, rollback) shifts
first: what it shifts to is loaded already, and a server that hangs in a reload must not delay it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace

from airflow_model_ops.adapters.serving import tf_serving_plan as planning
from airflow_model_ops.adapters.serving.envoy_documents import ClusterSpec, ModelRoute
from airflow_model_ops.adapters.serving.tf_serving_plan import ServingDocument, Statuses
from airflow_model_ops.adapters.serving.tf_serving_routes import FleetRoutes
from airflow_model_ops.adapters.serving.tf_serving_servers import Servers, available
from airflow_model_ops.core.errors import LoadFailed, RouterRefused, RouterUnreachable, ServerRefused, ServerUnreachable
from airflow_model_ops.core.ports import FleetPlan, Observed, Progress
from airflow_model_ops.core.versioning import Version

_log = logging.getLogger(__name__)


class TfServingTarget:
    """A fleet of TF Serving replicas behind Envoy. Callers hold the fleet lock during ``apply`` and ``unload``."""

    def __init__(self, *, servers: Servers, routes: FleetRoutes) -> None:
        self._servers = servers
        self._routes = routes

    @property
    def loads_slowly(self) -> bool:
        """Whether a load takes minutes: the servers run already, and read files."""
        return False

    def close(self) -> None:
        """Close the connections to the servers."""
        self._servers.close()

    def check(self) -> None:
        """Check that every server and router answers."""
        self._servers.check()
        self._routes.check()

    def apply(self, plan: FleetPlan, *, focus: frozenset[str]) -> Progress:
        """Make one pass: ways back first, then the list, then everybody who is ready."""
        document = self._servers.document()
        derived = self._routes.generations()
        watched = {m for m, wanted in plan.models.items() if m in focus or derived.get(m) != wanted.generation}
        one_pass = _Pass(plan=plan, watched=watched, statuses=self._servers.statuses(watched))
        urgent = {model for model in watched if plan.models[model].urgent}
        try:
            self._narrow_clusters(one_pass)
            self._shift(one_pass, urgent)
            document = self._list(one_pass, document)
            self._shift(one_pass, urgent - one_pass.applied.keys())
            self._shift(
                one_pass, watched - urgent, before=lambda ready: self._label(one_pass, document=document, ready=ready)
            )
            self._label(one_pass, document=self._servers.document(), ready=urgent & one_pass.applied.keys())
        except (ServerRefused, ServerUnreachable, RouterRefused, RouterUnreachable) as error:
            _log.warning("pass over fleet %s was cut short: %s", plan.fleet, error)
            one_pass.blame(str(error))
        return Progress(applied=one_pass.applied, pending=one_pass.pending, failed=one_pass.failed)

    def unload(self, plan: FleetPlan) -> Mapping[str, frozenset[int]]:
        """Un-list what no plan needs and what has drained: cluster first, then label and version."""
        document = self._servers.document()
        routed = {model: frozenset(n for n, _ in route.split) for model, route in self._routes.routes().items()}
        surplus = planning.surplus_versions(document, plan, routed=routed, drain_seconds=self._routes.drain_seconds)
        document = planning.reduced(document, surplus)
        if surplus:
            self._drop_clusters(surplus)
            self._servers.send(document, statuses=self._servers.statuses(surplus))
        statuses = self._servers.statuses({*plan.models, *document.leaving})
        behind = planning.behind(document, statuses) if not surplus else ()
        if behind:  # it did not answer when it was told
            self._servers.send(document, statuses=statuses, servers=behind)
        remaining = planning.left(document, statuses)
        if remaining != document:
            self._servers.keep(remaining)
        return {model: planning.still_held(model, remaining, statuses[model]) for model in plan.models}

    def observe(self, model: str) -> Observed:
        """Return what really serves of a model."""
        statuses = self._servers.statuses({model})[model]
        listed = self._servers.document().models.get(model)
        resolved = self._servers.resolved_labels(model, listed.labels if listed else ())
        labels = next((answer for answer in resolved.values() if answer is not None), {})
        return Observed(
            generation=self._routes.generations().get(model),
            split=self._routes.observed_split(model),
            loaded={server: None if known is None else available(known) for server, known in statuses.items()},
            labels=labels,
        )

    def astray(self, plan: FleetPlan) -> Mapping[str, str]:
        """Ask every server for versions and labels; say of which models one lacks some, and which server."""
        models = plan.models.keys() & self._servers.document().models.keys()
        found: dict[str, str] = {}
        for model, statuses in self._servers.statuses(models).items():
            state = plan.models[model].state
            needed = planning.Listed(versions=tuple(version.number for version in state.warm))
            answering = {server: known for server, known in statuses.items() if known is not None}
            lacking = sorted(server for server, known in answering.items() if planning.lacking(needed, known))
            labels = {label: version.number for label, version in state.labels.items()}
            strays = self._servers.strays(
                model,
                {
                    server: {label: number for label, number in labels.items() if number in available(known)}
                    for server, known in answering.items()
                },
            )
            if lacking or strays:
                found[model] = f"versions are missing on {lacking}, labels on {strays}"
        return found

    def is_loaded(self, model: str, version: Version) -> bool:
        """Whether a version is available on every server that answers, and at least one does."""
        return planning.is_available(self._servers.statuses({model})[model], version.number)

    def document_generations(self) -> Mapping[str, int]:
        """Return the generation of each model in the routers' present routes."""
        return self._routes.generations()

    def _list(self, one_pass: _Pass, document: ServingDocument) -> ServingDocument:
        """Send the list with everything that the heads need, to every server that lacks some of it."""
        wanted = planning.extended(document, one_pass.plan)
        changed = (
            planning.versions_of(wanted) != planning.versions_of(document) or self._servers.may_follow_a_stale_list
        )
        lacking = {
            server
            for model in one_pass.watched & wanted.models.keys()
            for server, known in one_pass.statuses[model].items()
            if known is not None and planning.lacking(wanted.models[model], known)
        }
        if changed or lacking:
            self._servers.send(wanted, statuses=one_pass.statuses, servers=None if changed else lacking)
            one_pass.statuses = self._servers.statuses(one_pass.watched)
        return wanted

    def _label(self, one_pass: _Pass, *, document: ServingDocument, ready: Collection[str]) -> dict[str, str]:
        """Move the labels of ready models: the second reload of TF Serving's two-phase label move.

        :return: The models whose labels do not resolve as told on every server that answers, with the reason.
        """
        wanted = planning.relabelled(document, one_pass.plan, ready=ready, statuses=one_pass.statuses)
        if wanted == document and not any(self._strays(wanted, model) for model in ready):
            return {}
        self._servers.send(wanted, statuses=one_pass.statuses)
        return {
            model: f"its labels do not resolve to {dict(wanted.models[model].labels)} after a reload yet"
            for model in ready
            if self._strays(wanted, model)
        }

    def _strays(self, document: ServingDocument, model: str) -> bool:
        """Whether an answering server resolves a label otherwise than it was told, e.g. after its restart."""
        labels = dict(document.models[model].labels) if model in document.models else {}
        answers = self._servers.resolved_labels(model, labels)
        return any(answer is not None and answer != labels for answer in answers.values())

    def _shift(
        self, one_pass: _Pass, models: set[str], *, before: Callable[[set[str]], dict[str, str]] | None = None
    ) -> None:
        """Shift the traffic of those of the models that are ready.

        :param before: Runs between clusters and routes, and says of which models the routes must wait, and why.
        """
        routes = self._routes.routes()
        ready = {model for model in models if one_pass.judge(model, route=routes.get(model))}
        interim = [
            route
            for model in sorted(models - ready)
            if (route := planning.interim_route(one_pass.plan.models[model], routes.get(model))) is not None
        ]
        if not ready and not interim:
            return
        widened, needed = self._widened(one_pass, ready)
        # A way back to what has its cluster already shifts first; that document then gets the new generation only.
        shift_first = before is None and widened == self._routes.clusters()
        if shift_first:
            confirmed = not needed or self._routes.look_for_clusters(needed)
        else:
            confirmed = self._write_clusters(one_pass, widened, ready=ready, wait_for=needed)
        waits = before(ready) if before is not None and ready else {}
        one_pass.pending |= waits
        ready -= waits.keys()
        routes |= {route.model: route for route in interim}
        active = widened.keys() if confirmed else ()
        routes |= {model: planning.route_of(one_pass.plan.models[model], active=active) for model in ready}
        if ready or interim:
            self._routes.write_routes(routes.values())
        if shift_first and ready:
            self._write_clusters(one_pass, widened, ready=ready, wait_for=())
        for model in ready:
            one_pass.applied[model] = {str(number): percent for number, percent in routes[model].split}

    def _widened(self, one_pass: _Pass, ready: Collection[str]) -> tuple[dict[str, ClusterSpec], set[str]]:
        """Return the present clusters plus two for every available version of the ready models, and those they need.

        Every version has its control cluster as long as its cluster, so that none waits for one when it becomes stable, and
        its counts begin at 0. Only a way back does not wait for one that an earlier release of this package did not make.
        """
        clusters = self._routes.clusters()
        needed: set[str] = set()
        for model in ready:
            plan = one_pass.plan.models[model]
            for version in plan.state.warm:
                spec = self._cluster(model, version.number, one_pass.statuses[model], clusters)
                if spec is None:
                    continue
                control = replace(spec, control=True)
                if spec.name not in clusters or control.name in clusters or plan.applied or not plan.urgent:
                    clusters[control.name] = control
                clusters[spec.name] = spec
            needed |= planning.needed_clusters(plan) & clusters.keys()
        return clusters, needed

    def _write_clusters(
        self, one_pass: _Pass, clusters: Mapping[str, ClusterSpec], *, ready: Collection[str], wait_for: Collection[str]
    ) -> bool:
        plans = [one_pass.plan.models[model] for model in ready]
        return self._routes.write_clusters(
            clusters.values(),
            generations=self._routes.cluster_generations() | {plan.model: plan.generation for plan in plans},
            wait_for=wait_for,
            urgent=all(plan.urgent for plan in plans),
        )

    def _narrow_clusters(self, one_pass: _Pass) -> None:
        """Take servers that say they lack a version, e.g. after a restart, out of its cluster if another one has it."""
        clusters = self._routes.clusters()
        narrowed = dict(clusters)
        for name, spec in clusters.items():
            if spec.model in one_pass.watched:
                able = planning.endpoints_of(
                    spec.number, one_pass.statuses[spec.model], rest=self._routes.rest, old=spec.endpoints
                )
                kept = tuple(endpoint for endpoint in spec.endpoints if endpoint in able)
                narrowed[name] = replace(spec, endpoints=kept or spec.endpoints)
        if narrowed != clusters:
            self._routes.write_clusters(
                narrowed.values(), generations=self._routes.cluster_generations(), wait_for=(), urgent=True
            )

    def _cluster(
        self, model: str, number: int, statuses: Statuses, clusters: Mapping[str, ClusterSpec]
    ) -> ClusterSpec | None:
        old = next((spec.endpoints for spec in clusters.values() if (spec.model, spec.number) == (model, number)), ())
        endpoints = planning.endpoints_of(number, statuses, rest=self._routes.rest, old=old)
        return ClusterSpec(model=model, number=number, endpoints=endpoints) if endpoints else None

    def _drop_clusters(self, surplus: Mapping[str, frozenset[int]]) -> None:
        clusters = self._routes.clusters()
        kept = [spec for spec in clusters.values() if spec.number not in surplus.get(spec.model, frozenset())]
        if len(kept) < len(clusters):
            self._routes.write_clusters(kept, generations=self._routes.cluster_generations(), wait_for=())


@dataclass(kw_only=True)
class _Pass:
    """What one pass has seen and achieved."""

    plan: FleetPlan
    watched: set[str]
    statuses: dict[str, Statuses]
    applied: dict[str, dict[str, float]] = field(default_factory=dict)
    pending: dict[str, str] = field(default_factory=dict)
    failed: dict[str, Exception] = field(default_factory=dict)

    def judge(self, model: str, *, route: ModelRoute | None) -> bool:
        """Whether a model's head may take traffic now; if not, remember why."""
        plan, statuses = self.plan.models[model], self.statuses[model]
        routed = {number for number, _ in route.split} if route else set()
        why = planning.unready(plan, statuses, routed=routed)
        self.pending.pop(model, None)
        if why is None:
            return True
        failure = planning.failed_load(plan, statuses)
        if failure is not None:
            number, server, message = failure
            golden = plan.state.golden
            remedy = (
                "pin another version as golden"
                if plan.pins and golden is not None and golden.version.number == number
                else "a version in error stays in error: mend the model and push it under a new version"
            )
            self.failed[model] = LoadFailed(
                f"model server {server!r} could not load version {number} of {model!r}: {message or 'it gave no reason'}; "
                f"{remedy}"
            )
        self.pending[model] = why
        return False

    def blame(self, why: str) -> None:
        """Give every model that this pass did not finish a reason."""
        for model in self.watched - self.applied.keys() - self.failed.keys():
            self.pending[model] = f"{self.pending[model]}; {why}" if model in self.pending else why
