"""A serving platform in memory."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence

from airflow_model_ops.core.errors import FleetNotAdopted, LoadFailed, ServerUnreachable
from airflow_model_ops.core.ports import FleetPlan, ModelPlan, Observed, Progress
from airflow_model_ops.core.versioning import Version


class InMemoryTarget:
    """A fleet in memory whose servers take as many passes to load a version as told, and answer or not.

    :ivar unavailable_servers: Servers that do not answer; change it as the story goes.
    :ivar broken_versions: Serving numbers that no server can load.
    :ivar foreign_models: Models the fleet serves besides those of any plan; apply refuses as long as there is one.
    :ivar slow: Whether it counts as a platform on which loads take minutes.
    :ivar documents: Every document that was written: model to its generation and split, serving number to percent.
    :param load_passes: Passes from listing a version to its being available; 0: it is at once.
    """

    def __init__(self, *, servers: Sequence[str] = ("server-1",), load_passes: int = 0) -> None:
        self.servers = tuple(servers)
        self.load_passes = load_passes
        self.slow = False
        self.unavailable_servers: set[str] = set()
        self.broken_versions: set[int] = set()
        self.foreign_models: set[str] = set()
        self.documents: list[dict[str, tuple[int, dict[int, float]]]] = []
        self._lock = threading.RLock()
        self._passes_left: dict[str, dict[str, dict[int, int]]] = {server: {} for server in self.servers}
        self._routes: dict[str, tuple[int, dict[int, float]]] = {}
        self._labels: dict[str, dict[str, int | None]] = {}

    @property
    def loads_slowly(self) -> bool:
        """Whether a load takes minutes: change :attr:`slow` as the story goes."""
        return self.slow

    def check(self) -> None:
        """Check that every server answers.

        :raises ServerUnreachable: naming those that do not.
        """
        silent = sorted(self.unavailable_servers.intersection(self.servers))
        if silent:
            raise ServerUnreachable(f"model server {', '.join(silent)} does not answer; start it, then try again")

    def apply(self, plan: FleetPlan, *, focus: frozenset[str]) -> Progress:
        """Make one pass: list, load a little, and shift the models whose versions are available.

        :raises FleetNotAdopted: if the fleet serves a model that the plan does not know.
        """
        with self._lock:
            unknown = sorted(self.foreign_models - plan.models.keys())
            if unknown:
                raise FleetNotAdopted(
                    f"fleet {plan.fleet!r} serves {', '.join(unknown)}, which no log knows; adopt it first"
                )
            applied: dict[str, dict[str, float]] = {}
            pending: dict[str, str] = {}
            failed: dict[str, Exception] = {}
            for model, wanted in plan.models.items():
                if model in focus or self.document_generations().get(model) != wanted.generation:
                    self._load(wanted)
                    needed = {version.number for version in wanted.needed}
                    missing = sorted(number for number in needed if not self._is_ready(wanted, number))
                    broken = self.broken_versions.intersection(missing)
                    if broken:
                        failed[model] = LoadFailed(
                            f"version {min(broken)} of {model!r} cannot be loaded; push a better one"
                        )
                    elif missing:
                        pending[model] = f"version {missing[0]} is not available on every server yet"
                    else:
                        applied[model] = self._shift(wanted)
            if applied:
                self.documents.append(dict(self._routes))
            return Progress(applied=applied, pending=pending, failed=failed)

    def unload(self, plan: FleetPlan) -> Mapping[str, frozenset[int]]:
        """Un-list what no plan names; a server that does not answer keeps what it has."""
        with self._lock:
            for model, wanted in plan.models.items():
                needed = {version.number for version in (*wanted.spare, *wanted.state.warm)}
                needed |= set(self._split(model))
                for listed in self._answering(model).values():
                    for number in listed.keys() - needed:
                        del listed[number]
            return {
                model: frozenset(number for held in self._passes_left.values() for number in held.get(model, ()))
                for model in plan.models
            }

    def observe(self, model: str) -> Observed:
        """Return what really serves of a model."""
        with self._lock:
            return Observed(
                generation=self.document_generations().get(model),
                split=self._split(model),
                loaded={server: self._available(server, model) for server in self.servers},
                labels=dict(self._labels.get(model, {})),
            )

    def astray(self, plan: FleetPlan) -> Mapping[str, str]:
        """Return the models of which an answering server lacks a version."""
        with self._lock:
            return {
                model: f"version {version.number} is missing on {server}"
                for model, wanted in plan.models.items()
                for server, listed in self._answering(model).items()
                for version in wanted.state.warm
                if version.number not in listed
            }

    def is_loaded(self, model: str, version: Version) -> bool:
        """Return whether a version is available on every server that answers, and at least one does."""
        with self._lock:
            answers = [held for server in self.servers if (held := self._available(server, model)) is not None]
            return bool(answers) and all(version.number in held for held in answers)

    def document_generations(self) -> Mapping[str, int]:
        """Return the generation of each model that the present documents were derived from."""
        return {model: generation for model, (generation, _) in self._routes.items()}

    def _split(self, model: str) -> dict[int, float]:
        return dict(self._routes[model][1]) if model in self._routes else {}

    def _answering(self, model: str) -> dict[str, dict[int, int]]:
        return {
            server: held.setdefault(model, {})
            for server, held in self._passes_left.items()
            if server not in self.unavailable_servers
        }

    def _load(self, wanted: ModelPlan) -> None:
        for listed in self._answering(wanted.model).values():
            for number in listed:
                listed[number] = max(0, listed[number] - 1)
            for version in wanted.state.warm:
                listed.setdefault(version.number, self.load_passes)

    def _available(self, server: str, model: str) -> frozenset[int] | None:
        if server in self.unavailable_servers:
            return None
        listed = self._passes_left[server].get(model, {})
        return frozenset(number for number, left in listed.items() if left == 0 and number not in self.broken_versions)

    def _is_ready(self, wanted: ModelPlan, number: int) -> bool:
        """A way back is taken with the servers that answer; anything else waits for all of them."""
        held = [self._available(server, wanted.model) for server in self.servers]
        if wanted.urgent:
            answers = [numbers for numbers in held if numbers is not None]
            return bool(answers) and all(number in numbers for numbers in answers)
        return all(numbers is not None and number in numbers for numbers in held)

    def _shift(self, wanted: ModelPlan) -> dict[str, float]:
        split = {version.number: percent for version, percent in wanted.state.split}
        self._routes[wanted.model] = (wanted.generation, split)
        self._labels[wanted.model] = {label: version.number for label, version in wanted.state.labels.items()}
        return {str(number): percent for number, percent in split.items()}
